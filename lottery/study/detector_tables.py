"""The tables of a study of detectors, from what is measured of its levels.

    detectors.csv             a row per ticket, level and class, and one for all classes, which has
                              ap_before too: mean AP as pruned, before the level was trained; and
                              times: the network's, that of the unpruned one, taken in turns with
                              it, and the cores that other processes kept busy meanwhile
    precision_recall.parquet  of each ticket's level 0 and the furthest at a small loss, by class
    detections.parquet        what the same levels of one ticket a variant find in a few pictures
    pictures/                 these pictures, as detectors see them

They lie beside levels.csv, and like there a ticket that is not on this disk keeps its rows.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from lottery.analysis import frames
from lottery.analysis.columns import (
    DETECTIONS,
    DETECTORS,
    MAYBE_COUNT,
    NO_SEED,
    OF_DETECTORS,
    PICTURES,
    TRUTH,
)
from lottery.analysis.detectors import before_retraining, furthest
from lottery.data.images import Examples
from lottery.detection.objective import Detection
from lottery.detection.precision import RECALLS
from lottery.files import whole
from lottery.study.config import StudyConfig
from lottery.study.grid import TICKET, Cell
from lottery.study.tables import Rows, places, read_table

Measured = tuple[Cell, int, dict[str, Any]]
"""A ticket's cell, a level, and what is measured of it."""
_IDENTITY = ["variant", "init", "seed", "level"]


def write_tables(
    folder: Path,
    config: StudyConfig,
    measured: Sequence[Measured],
    examples: Examples,
    pictures: int,
) -> None:
    """Put what is measured into the tables, in place of older rows of the same cells.

    folder: with levels.csv, whose validation accuracies say how far a ticket can be pruned, and
    curves.parquet, which has what networks did before they were trained on.
    examples: the test pictures. pictures: how many of them, the first, are written too.
    """
    levels = read_table(folder / "levels.csv")
    chosen = set(places(furthest(levels[levels["branch"] == TICKET])))
    ends = [
        (cell, level, found)
        for cell, level, found in measured
        if level == 0 or (cell.variant, cell.name, level) in chosen
    ]
    before = _before(folder, config, levels)
    table = []
    for cell, level, found in measured:
        identity = {"study": config.name} | _place(cell, level)
        every, *classes = found["rows"]
        ap = {"ap_before": before.get((cell.variant, cell.name, level), np.nan)}
        table += [identity | every | ap, *(identity | row for row in classes)]
    curves = [
        _place(cell, level) | {"class": name, "recall": recall, "precision": precision}
        for cell, level, found in ends
        for name, values in found["curves"].items()
        for recall, precision in zip(RECALLS, values, strict=True)
    ]
    first = {cell.variant: cell.name for cell, _, _ in reversed(measured)}
    seen = [
        _place(cell, level) | row
        for cell, level, found in ends
        if first[cell.variant] == cell.name
        for row in found["detections"]
    ]
    truth = _truth(examples, pictures)
    for name, rows in zip(OF_DETECTORS, (table, curves, truth + seen), strict=True):
        _merge(folder / name, rows, {cell.name for cell, _, _ in measured})
    for number, image in enumerate(examples.images[:pictures].cpu().numpy()):
        with whole(folder / PICTURES / f"{number}.jpg") as path:
            Image.fromarray(image).save(path, "JPEG", quality=90)


def _before(
    folder: Path, config: StudyConfig, levels: pd.DataFrame
) -> dict[tuple[str, str, int], float]:
    """AP before retraining by variant, cell and level; where weights go back, there is none."""
    kept = [v for v in config.variant_names if config.variant(v).rewind.mode != "weights"]
    own = levels[levels["variant"].isin(kept)]
    found = before_retraining(own, read_table(folder / "curves.parquet"))
    return dict(zip(places(found), found["test_accuracy"], strict=True))


def _place(cell: Cell, level: int) -> dict[str, Any]:
    own = {"cell": cell.name, "variant": cell.variant, "init": cell.init}
    return own | {"seed": cell.seed, "level": level}


def _truth(examples: Examples, pictures: int) -> Rows:
    """Boxes of the first pictures, as rows of no cell."""
    objective = examples.objective
    assert isinstance(objective, Detection)  # else nothing would be measured
    none = {"cell": "", "variant": TRUTH, "init": "", "seed": NO_SEED, "level": 0}
    rows = []
    for picture, boxes in enumerate(examples.labels[:pictures].cpu()):
        for label, x0, y0, x1, y1, _ in boxes[boxes[:, 0] >= 0].tolist():
            what = {"picture": picture, "class": objective.names[int(label)], "score": np.nan}
            rows.append(none | what | {"x0": x0, "y0": y0, "x1": x1, "y1": y1})
    return rows


def _merge(path: Path, rows: Rows, measured: set[str]) -> None:
    """Write a table; rows of cells that are not measured here stay as they were."""
    frame = pd.DataFrame(rows)
    if frame.empty:  # in the pictures that are kept nothing is there, and nothing was found
        frame = pd.DataFrame(columns=list(DETECTIONS))
    if path.exists():
        if path.suffix == ".csv":
            old = frames.detectors(path.parent.name, path.parent.parent)
        else:
            old = pd.read_parquet(path)
        old = old[~old["cell"].isin({*measured, ""})]
        frame = pd.concat([part for part in (old, frame) if len(part)] or [frame])
    frame = frame.sort_values(_IDENTITY, kind="stable")
    counts = [name for name, kind in DETECTORS.items() if kind == MAYBE_COUNT and name in frame]
    frame = frame.astype(dict.fromkeys(counts, MAYBE_COUNT))
    with whole(path) as place:
        if path.suffix == ".csv":
            frame.to_csv(place, index=False)
        else:
            frame.to_parquet(place, index=False)
