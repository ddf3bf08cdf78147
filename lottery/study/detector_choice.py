"""One detector of a study, to be used: the best, or any."""

from pathlib import Path

import torch

from lottery.analysis import frames
from lottery.analysis.endpoints import ROUNDING, with_unpruned
from lottery.analysis.sizes import of_filters, sizes
from lottery.costs import cost
from lottery.data.images import load
from lottery.detectors import Detector
from lottery.errors import ConfigError, StoreError
from lottery.models import build
from lottery.study.detectors import objective_of, small_network
from lottery.study.grid import TICKET, cells
from lottery.study.store import StudyStore


def best(folder: Path, lose: float) -> tuple[str, int]:
    """Cell and level of fewest multiply-accumulates among a study's tickets that are good enough.

    lose: by how much the validation accuracy of a level may lie below its own level 0's, as a
    fraction. At equal cost the more accurate is better. It is level 0 if no pruned one is good
    enough. Unlike the report's furthest level it may lie after one that had fallen too far.
    ConfigError for another `lose`; StoreError where no sizes are known.
    """
    if not 0 <= lose <= 1:
        raise ConfigError("lose", lose, "a fraction from 0 to 1, such as 0.02 for 2 points of AP")
    levels = frames.levels(folder.name, folder.parent)
    if not of_filters(levels):
        raise StoreError(f"{folder / 'levels.csv'} has no sizes of networks without filters")
    tickets = with_unpruned(sizes(levels), "val_accuracy")
    good = tickets[tickets["val_accuracy"] >= tickets["unpruned"] - lose - ROUNDING]
    row = good.sort_values(["macs", "val_accuracy"], ascending=[True, False]).iloc[0]
    return str(row["cell"]), int(row["level"])


def pick(folder: Path, name: str, level: int, data_dir: str | Path | None = None) -> Detector:
    """A ticket's detector at a level, without the filters that it lost.

    data_dir: where the study's data are, which tell classes and anchors. ConfigError for a cell or
    level that is not there; StoreError where the data have changed since.
    """
    store = StudyStore(folder.parent, folder.name)
    config = store.config()
    tickets = {cell.name: cell for cell in cells(config) if cell.branch == TICKET}
    if name not in tickets:
        raise ConfigError("cell", name, f"a ticket of {folder}: {', '.join(tickets)}")
    levels = store.cell(name).finished_levels()
    if not levels:
        raise StoreError(
            f"no networks of {name} in {folder}/cells: they are not committed; "
            f"`python experiments/run_detector.py {folder.name} --results-dir again` trains them"
        )
    if level not in levels:
        raise ConfigError("level", level, f"a level of {name}: {', '.join(map(str, levels))}")
    data = load(config.data, data_dir)
    trained_on = store.data_sha256()
    if trained_on and data.sha256 != trained_on:
        raise StoreError(
            f"{config.data} is not what {folder} was trained on: its anchors would be others"
        )
    objective = objective_of(data, config.data)
    model = small_network(config, store, tickets[name], level, data.test)
    size = int(data.test.images.shape[1])
    return Detector(model, config.variant(tickets[name].variant).model, objective, size)


def compared(folder: Path, name: str, level: int, detector: Detector) -> list[str]:
    """What the detector picked does and costs, after what its ticket's unpruned one does: lines."""
    cell = StudyStore(folder.parent, folder.name).cell(name)
    records = (cell.record(0), cell.record(level))
    precision = [100 * record["level"]["test_accuracy"] for record in records if record]
    shown = [f"{value:.2f} %" for value in precision]
    image = torch.zeros(1, 3, detector.size, detector.size)
    costs = [cost(model, image) for model in (build(detector.spec).eval(), detector.model)]
    return [
        f"average precision on test pictures, as the study measured it: {_change(shown)}",
        f"parameters: {_change([f'{each.parameters:,}' for each in costs])}",
        f"multiply-accumulates: {_change([f'{each.macs:,}' for each in costs])}",
        f"bytes: {_change([f'{each.disk_bytes:,}' for each in costs])}",
    ]


def _change(values: list[str]) -> str:
    return " → ".join(values)
