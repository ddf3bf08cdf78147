"""Published results of detectors beside those that studies start from, without a verdict."""

from pathlib import Path
from typing import NamedTuple

from lottery.analysis.report.document import number, table
from lottery.analysis.report.study import Study
from lottery.registry import parse_spec


class Published(NamedTuple):
    """Mean AP in %, as stated there, of a network on pictures of that data set."""

    source: str
    network: str
    ap: float


PUBLISHED = {
    "BCCD": (
        Published(
            "Joshi et al. 2022 (Uniciencia 36(1), doi 10.15359/ru.36-1.28)",
            "one of their own, pictures of 640×480",
            85.35,
        ),
        Published(
            "Chen et al. 2025 (IET Computer Vision, doi 10.1049/cvi2.12341)",
            "YOLOv8n: 2.3 less than the next, as they say",
            92.4,
        ),
        Published(
            "Chen et al. 2025 (IET Computer Vision, doi 10.1049/cvi2.12341)", "NBCDC-YOLOv8", 94.7
        ),
    ),
}
"""By data set, or by the folder of one in VOC layout."""


def beside(study: Study, ap: str) -> str:
    """What others reach on a study's pictures; nothing where nothing is known.

    ap: mean AP of the study's unpruned detectors, in %.
    """
    found = PUBLISHED.get(_data(study), ())
    if not found:
        return ""
    rows = [[each.source, each.network, number(each.ap)] for each in found]
    rows.append(["here, unpruned", f"`{study.levels['model'].iloc[0]}`", ap])
    return (
        f"\n\nMean APs published for {_data(study)}, as they are stated there, are of networks of "
        "the usual width. Splits, sizes of pictures, augmentation, pretraining and the rule of AP "
        "differ too, so no verdict follows.\n\n"
        + table(["Published", "Network", "Mean AP (%)"], rows, aligned="llr")
    )


def _data(study: Study) -> str:
    """Name of a data set; of `voc`, which is any in its layout, that of the folder."""
    name, args, options = parse_spec(str(study.config.get("data", "")), "data")
    return Path(str(options.get("folder", *args[:1]))).name if name == "voc" else name
