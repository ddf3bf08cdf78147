"""Published results of detectors beside those that studies start from, without a verdict."""

from pathlib import Path
from typing import NamedTuple

from lottery.analysis.report.document import ABSENT, number, table
from lottery.analysis.report.study import Study
from lottery.registry import parse_spec


class Published(NamedTuple):
    """Mean AP in % at an IoU of 0.5, and millions of parameters, as stated there."""

    source: str
    network: str
    ap: float
    parameters: float | None = None


_YANG = "Yang et al. (Parameter-Reduced YOLOv8n, PMC13023828)"
_CHEN = "Chen et al. 2025 (IET Computer Vision, doi 10.1049/cvi2.12341)"
PUBLISHED = {
    "BCCD": (
        Published(_YANG, "YOLOv8n", 90.43, 3.01),
        Published(_YANG, "YOLOv8n with GhostConv and C3Ghost", 90.01, 1.71),
        Published(_CHEN, "YOLOv8n: the next, less the 2.3 that they gain", 92.4),
        Published(_CHEN, "NBCDC-YOLOv8", 94.7),
    ),
}
"""By data set, or by the folder of one in VOC layout."""


def beside(study: Study, ap: str, parameters: str) -> str:
    """What others reach on a study's pictures; nothing where nothing is known.

    ap: mean AP of the study's unpruned detectors, in %. parameters: theirs, in millions.
    """
    found = PUBLISHED.get(_data(study), ())
    if not found:
        return ""
    rows = [
        [
            p.source,
            p.network,
            ABSENT if p.parameters is None else number(p.parameters),
            number(p.ap),
        ]
        for p in found
    ]
    rows.append(["here, unpruned", f"`{study.levels['model'].iloc[0]}`", parameters, ap])
    return (
        f"\n\nMean APs published for {_data(study)}, as they are stated there. Networks, splits, "
        "sizes of pictures, augmentation, pretraining and the rule of AP differ, so no verdict "
        "follows.\n\n"
        + table(["Published", "Network", "Million parameters", "Mean AP (%)"], rows, aligned="llrr")
    )


def _data(study: Study) -> str:
    """Name of a data set; of `voc`, which is any in its layout, that of the folder."""
    name, args, options = parse_spec(str(study.config.get("data", "")), "data")
    return Path(str(options.get("folder", *args[:1]))).name if name == "voc" else name
