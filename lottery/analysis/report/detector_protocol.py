"""Rows of a protocol that studies of detectors have beside those of all studies."""

from typing import Any

from lottery.analysis.columns import ALL
from lottery.analysis.report.document import listed
from lottery.analysis.report.study import Study


def detecting(study: Study) -> list[list[str]]:
    """What detectors are trained for and judged by, and whose unpruned networks these are."""
    if not study.detecting:
        return []
    classes = ""
    if study.detectors is not None:
        names = [name for name in dict.fromkeys(study.detectors["class"]) if name != ALL]
        classes = f" for the class{'es' * (len(names) > 1)} {listed(names)}"
    rows = [
        [
            "Objective",
            f"region loss of YOLOv2{classes}; anchors by k-means on the boxes of training "
            "pictures; success is mean average precision (mean AP) at an IoU of 0.5 by the area "
            "rule",
        ]
    ]
    if start := study.config.get("start"):
        text = (
            f"level 0 of each scheme and seed is that of the study `{start}`, whose `study.yaml` "
            "has the settings of its training"
        )
        rows.append(["Unpruned networks", text])
    return rows


def stopping(prune: dict[str, Any]) -> list[list[str]]:
    """A row for the rule by which tickets end early, if there is one."""
    if not prune.get("stop"):
        return []
    text = (
        "after the first level whose validation accuracy lies more than "
        f"{100 * prune['stop']:g} points below that of level 0"
    )
    return [["A ticket ends", text]]
