"""What the detectors of a study do and cost, each without the filters that it lost.

They are measured when all cells are done, one after the other, as times need a quiet machine. What
is measured of a level is kept beside it, so that an interruption costs one level at most.
"""

import hashlib
import json
import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from lottery.analysis import frames
from lottery.analysis.columns import ALL, OF_DETECTORS
from lottery.analysis.detectors import BUSY
from lottery.costs import cost
from lottery.costs.latency import in_turns
from lottery.costs.timing import OtherLoad
from lottery.data.images import Dataset, Examples, load
from lottery.detection.decoding import detections
from lottery.detection.drawing import SHOWN, SURE
from lottery.detection.objective import Detection
from lottery.detection.precision import RECALLS
from lottery.errors import ConfigError
from lottery.files import whole
from lottery.models import build
from lottery.pruning.channels import trace
from lottery.pruning.units import check_criterion
from lottery.study.config import StudyConfig
from lottery.study.detector_tables import write_tables
from lottery.study.grid import TICKET, Cell, cells
from lottery.study.run import choose_device
from lottery.study.store import StudyStore
from lottery.study.worker import repeatable
from lottery.tickets.ranking import example_of
from lottery.tickets.size import smaller
from lottery.training.loop import autocast, in_batches

log = logging.getLogger("lottery")

PASSES = 50
"""Of one picture, timed for the latency of a network that is fast enough."""
LEAST_PASSES = 5
"""Of one that is not."""
SECONDS = 10.0
"""For all passes of a level, those of the unpruned network among them."""

Found = dict[str, Any]
"""What is measured of a level: "rows" of detectors.csv, "curves", "detections"."""


def measure_detectors(
    config: StudyConfig,
    results_dir: str | Path,
    data_dir: str | Path | None = None,
    device: str = "auto",
) -> pd.DataFrame:
    """Measure the tickets of a study that are not measured yet, and write their tables.

    Returns the rows of detectors.csv, those of earlier runs too. Latency is that of one thread on
    the CPU in any case, all else is computed on `device`. ConfigError for data without boxes, or a
    device that is not there; StoreError where files of the study are broken.
    """
    device = choose_device(device)
    store = StudyStore(results_dir, config.name)
    with store.open(config):
        joined = store.joined(config)
        levels = list(_levels(joined, store))
        todo = [each for each in levels if not each.measured]
        if todo or (levels and not all((store.root / name).exists() for name in OF_DETECTORS)):
            data = load(config.data, data_dir)
            _measure_all(joined, store, levels, data, device)
            found = [(each.cell, each.level, json.loads(each.path.read_text())) for each in levels]
            write_tables(store.root, joined, found, data.test, SHOWN)
    return frames.detectors(store.root.name, store.root.parent)


@dataclass(frozen=True)
class _Level:
    """A finished level on this disk, and where what is measured of it is kept."""

    cell: Cell
    level: int
    of: Path
    path: Path

    @property
    def measured(self) -> bool:
        """Whether it is, since the level was trained."""
        return self.path.exists() and self.path.stat().st_mtime_ns >= self.of.stat().st_mtime_ns


def _levels(config: StudyConfig, store: StudyStore) -> Iterator[_Level]:
    for cell in cells(config):
        memory = store.cell(cell.name)
        for level in memory.finished_levels() if cell.branch == TICKET else ():
            path = memory.folder / f"detector_{level:02d}.json"
            yield _Level(cell, level, memory.path(level), path)


def _measure_all(
    config: StudyConfig, store: StudyStore, levels: Sequence[_Level], data: Dataset, device: str
) -> None:
    """Measure what is not measured yet; of unpruned networks that are one, only the first."""
    objective = objective_of(data, config.data)
    first: dict[tuple[str, ...], _Level] = {}
    for each in sorted(levels, key=lambda each: not each.measured):
        if each.level == 0:
            first.setdefault(_identity(config, each), each)
    todo = [each for each in levels if not each.measured]
    for number, each in enumerate(todo, start=1):
        twin = each if each.level else first[_identity(config, each)]
        if twin is not each:
            with whole(each.path) as path:
                shutil.copyfile(twin.path, path)
            continue
        what = f"{each.cell.label}, level {each.level}"
        log.info("measuring %s (%d of %d)", what, number, len(todo))
        networks = {
            level: small_network(config, store, each.cell, level, data.test)
            for level in (0, each.level)
        }
        precision = config.variant(each.cell.variant).train.precision
        found = measure(networks[each.level], data.test, objective, device, precision)
        found["rows"][0] |= _times(networks, each.level, example_of(data.test))
        busy = found["rows"][0]["busy_cores"]
        if busy is not None and busy > BUSY:
            log.warning("other processes kept %.1f cores busy: times are doubtful", busy)
        with whole(each.path) as path:
            path.write_text(json.dumps(found), encoding="utf-8")


def _identity(config: StudyConfig, level: _Level) -> tuple[str, ...]:
    """From what all that is measured of a level follows.

    The file is the same where several variants took an unpruned network from one study.
    """
    own = config.variant(level.cell.variant)
    with level.of.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return digest, own.model, own.train.precision


def objective_of(data: Dataset, spec: str) -> Detection:
    """What detectors learn from the data; ConfigError for data without boxes."""
    if not isinstance(data.test.objective, Detection):
        raise ConfigError("data", spec, "pictures with boxes: digit_scenes, voc(folder), voc2007")
    return data.test.objective


def small_network(
    config: StudyConfig, store: StudyStore, cell: Cell, level: int, examples: Examples
) -> nn.Module:
    """The trained network of a ticket's level without the filters that it lost, in eval mode.

    examples: as it is used on. Where single weights are pruned, it is as large as ever.
    """
    own = config.variant(cell.variant)
    masks, state = store.cell(cell.name).ticket(level)
    model = build(own.model)
    model.load_state_dict(state)
    model.eval()
    if not check_criterion(own.prune):
        return model
    return smaller(model, trace(model, example_of(examples)), masks)


def measure(
    model: nn.Module, examples: Examples, objective: Detection, device: str, precision: str
) -> Found:
    """Average precision on all examples by class, curves, and how large the network is.

    examples: pictures (N, height, width, 3) and their boxes. device: cpu or cuda. precision: that
    of training, so that average precision is that of the level's own evaluation. Average precision
    is a fraction, and sizes are those of `lottery.cost` on one picture.
    """
    boxes = examples.labels.cpu()
    with repeatable(device), autocast(precision, torch.device(device)):
        found = _detect(model.to(device), examples.to(device), objective).cpu()
    rules = {
        "ap_11": objective.precision(found, boxes, "voc2007"),
        "ap_area": objective.precision(found, boxes, "area"),
    }
    wanted = boxes[..., 0][boxes[..., 5] == 0]
    counts = [int((wanted == label).sum()) for label in range(len(objective.names))]
    every = {"class": ALL, **{rule: result.mean for rule, result in rules.items()}}
    rows = [every | {"boxes": sum(counts), "pictures": len(examples)} | _sizes(model, examples)]
    for label, name in enumerate(objective.names):
        values = {rule: float(result.by_class[label]) for rule, result in rules.items()}
        rows.append({"class": name, **values, "boxes": counts[label]})
    curves = zip(objective.names, rules["ap_area"].curves, counts, strict=True)
    return {
        "rows": rows,
        "curves": {name: curve.at(RECALLS).tolist() for name, curve, count in curves if count},
        "detections": list(_shown(found[:SHOWN], objective)),
    }


@torch.no_grad()
def _detect(model: nn.Module, examples: Examples, objective: Detection) -> Tensor:
    outputs = (model(images).float() for images, _ in in_batches(examples))
    return torch.cat([detections(output, objective.anchors) for output in outputs])


def _sizes(model: nn.Module, examples: Examples) -> Found:
    counted = cost(model.cpu(), example_of(examples).cpu())
    return {"parameters": counted.parameters, "macs": counted.macs, "bytes": counted.disk_bytes}


def _times(networks: Mapping[int, nn.Module], level: int, picture: Tensor) -> Found:
    """Of one picture on one thread of the CPU, in turns with the unpruned network of level 0."""
    picture = picture.cpu()
    with repeatable("cpu"):
        # Each timed pass follows one that is not counted.
        turn = 2 * sum(taken.median for taken in in_turns(networks, picture, 1).values())
        passes = min(PASSES, max(LEAST_PASSES, int(SECONDS / turn)))
        others = OtherLoad()
        taken = in_turns(networks, picture, passes)
        busy = others()
    own = taken[level]
    return {
        "latency_ms": 1e3 * own.median,
        "latency_low": 1e3 * own.low,
        "latency_high": 1e3 * own.high,
        "latency_n": own.n,
        "unpruned_ms": 1e3 * taken[0].median,
        "busy_cores": busy,
    }


def _shown(found: Tensor, objective: Detection) -> Iterator[Found]:
    """Rows of detections.parquet, of what is sure enough to be shown."""
    for picture, rows in enumerate(found):
        for label, *corners, score in rows[(rows[:, 0] >= 0) & (rows[:, 5] >= SURE)].tolist():
            place = dict(zip(("x0", "y0", "x1", "y1"), corners, strict=True))
            yield {"picture": picture, "class": objective.names[int(label)], "score": score} | place
