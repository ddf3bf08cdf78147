"""Networks that an earlier study trained, as the unpruned networks that another one prunes."""

import shutil
from collections.abc import Iterable
from pathlib import Path

from lottery.errors import ConfigError, LotteryError
from lottery.files import whole
from lottery.pruning.schedule import PruneConfig
from lottery.pruning.units import check_criterion
from lottery.study.config import StudyConfig
from lottery.study.grid import DENSE, TICKET, Cell, cells
from lottery.study.store import StudyStore


def take_unpruned(config: StudyConfig, grid: Iterable[Cell], results: Path) -> None:
    """Copy level 0 of each ticket and baseline that has none from the study `config.start` names.

    results: the folder of studies. Does nothing without `config.start`. Raises ConfigError, before
    anything is copied, unless that study has the networks.
    """
    store = StudyStore(results, config.name)
    found = unpruned(config, grid, results)
    for name, source in found.items():
        target = store.cell(name).path(0)
        if not target.exists():
            with whole(target) as path:
                shutil.copyfile(source, path)


def unpruned(config: StudyConfig, grid: Iterable[Cell], results: Path) -> dict[str, Path]:
    """Where level 0 of each ticket and baseline is, by its cell; nothing without `config.start`.

    Also empty where `grid` has no ticket or baseline: the networks of a finished study may be gone.

    Raises ConfigError unless the study is there, of the same network and data, and has a finished
    ticket of each scheme and seed.
    """
    unpruned_first = [cell for cell in grid if cell.branch in (TICKET, DENSE)]
    if config.start is None or not unpruned_first:
        return {}
    folder = Path(config.start) if Path(config.start).is_dir() else results / config.start
    store = StudyStore(folder.parent, folder.name)
    try:
        other = store.config()
    except LotteryError as error:
        raise ConfigError("start", config.start, f"a study's folder or name ({error})") from error
    check_alike(config, other)
    found = {}
    for cell in unpruned_first:
        prune = config.variant(cell.variant).prune
        found[cell.name] = _level_0(store, other, config.start, cell, prune)
    return found


def check_alike(config: StudyConfig, other: StudyConfig) -> None:
    """Raise ConfigError unless `other`, which `config.start` names, is of its network and data."""
    for own in map(config.variant, config.variant_names):
        if (own.model, own.data) != (other.model, other.data):
            allowed = f"a study of {own.model} on {own.data}, not {other.model} on {other.data}"
            raise ConfigError("start", config.start, allowed)


def _level_0(
    store: StudyStore, other: StudyConfig, start: str, cell: Cell, prune: PruneConfig
) -> Path:
    """Of the first variant that has it and prunes what `prune` does: masks cover that."""
    for candidate in cells(other):
        alike = (candidate.branch, candidate.init, candidate.seed) == (TICKET, cell.init, cell.seed)
        if not alike or not store.cell(candidate.name).record(0):
            continue
        own = other.variant(candidate.variant).prune
        if (check_criterion(own), own.biases) == (check_criterion(prune), prune.biases):
            return store.cell(candidate.name).path(0)
    what = "filters" if check_criterion(prune) else "weights"
    raise ConfigError(
        "start",
        start,
        f"a study with an unpruned network of {cell.init}, seed {cell.seed}, in {store.root}/cells "
        f"(not committed: run that study here first), whose {what} are to be pruned",
    )
