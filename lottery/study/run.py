"""Running a whole study: plan, execute, tabulate."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch

from lottery.data.images import Dataset, Splits, load, split
from lottery.data.sources import data_dir as default_data_dir
from lottery.errors import ConfigError, LotteryError
from lottery.models import build
from lottery.pruning.masks import Masks
from lottery.study.config import StudyConfig
from lottery.study.executors import run_here, run_local
from lottery.study.grid import cells
from lottery.study.manifest import describe_run
from lottery.study.progress import Progress
from lottery.study.store import StudyStore
from lottery.study.worker import Event, Task
from lottery.tickets.imp import step_to_rewind_to
from lottery.training.engines import choose_engine
from lottery.training.level import LevelTrainer


@dataclass(frozen=True)
class StudyResult:
    """What a run of a study left."""

    folder: Path
    levels: pd.DataFrame
    """Rows of levels.csv for the cells and levels that were asked for."""
    failures: dict[str, str]
    """Reason by cell that failed."""
    computed: int
    """Cells that this run finished; the others were finished before."""


def choose_device(name: str) -> str:
    """cpu or cuda; "auto" takes the GPU if there is one."""
    if name not in ("auto", "cpu", "cuda"):
        raise ConfigError("device", name, "auto, cpu, cuda")
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise ConfigError("device", name, "auto or cpu: PyTorch sees no GPU here")
    return "cuda" if available and name != "cpu" else "cpu"


def choose_workers(workers: int | None, device: str) -> int:
    """Processes at once: `workers`, by default one per core; 0, this process, on a GPU."""
    if workers is not None and workers < 0:
        raise ConfigError("workers", workers, "at least 0")
    if device == "cuda":
        return 0
    return (os.cpu_count() or 1) if workers is None else workers


def run_study(
    config: StudyConfig,
    *,
    results_dir: str | Path = "results",
    data_dir: str | Path | None = None,
    workers: int | None = None,
    device: str = "auto",
    fresh: bool = False,
    quiet: bool = False,
) -> StudyResult:
    """Run the cells of a study that are not finished yet, and write its tables.

    workers: processes at once, by default one per core; 0 runs in this process, as a GPU always
    does. fresh: discard what is there first. quiet: no progress display.
    An interruption loses of each running cell at most half a minute, or the time between two
    evaluations if that is longer; the same call goes on from there.
    """
    device = choose_device(device)
    workers = choose_workers(workers, device)
    place = default_data_dir(data_dir)
    dataset, steps = check(config, place)
    store = StudyStore(results_dir, config.name)
    grid = cells(config)
    failures: dict[str, str] = {}
    with store.open(config, fresh=fresh):
        todo = store.unfinished(grid)
        if todo:
            store.write_config(config)
        tasks = [Task(config, cell, Path(results_dir), place, device) for cell in todo]
        run = describe_run(device, workers, dataset.sha256)
        started = time.perf_counter()
        ended: list[str] = []
        try:
            with Progress(grid, todo, steps, quiet=quiet) as progress:

                def note(event: Event) -> None:
                    progress.event(event)
                    if event.kind == "failed":
                        failures[event.cell.name] = event.message
                    elif event.kind == "done":
                        ended.append(event.cell.name)

                if workers:
                    run_local(tasks, workers, note)
                else:
                    run_here(tasks, note)
        finally:
            if tasks or store.lacks_rows(grid):
                store.write_tables(config, grid)
            if tasks:
                run["seconds"] = round(time.perf_counter() - started, 1)
                run["cells_computed"] = len(ended)
                run["cells_failed"] = len(failures)
                store.add_run(config.name, run)
    return StudyResult(store.root, store.rows(grid), failures, len(ended))


def check(config: StudyConfig, data_dir: Path) -> tuple[Dataset, int]:
    """Load the data and check what depends on it; the data set and the steps of a level."""
    dataset = _load(config, data_dir)
    data = split(dataset, config.validation, seed=config.seeds[0], stratified=config.stratified)
    trainer = LevelTrainer(data, config.train, config.seeds[0], config.engine)
    step_to_rewind_to(config.rewind, trainer)
    _try_model(config, data)
    return dataset, trainer.last_step


def _load(config: StudyConfig, data_dir: Path) -> Dataset:
    try:
        return load(config.data, data_dir)
    except LotteryError:
        raise
    except Exception as error:  # a function of one's own may fail in any way
        reason = f"a data set that can be loaded ({type(error).__name__}: {error})"
        raise ConfigError("data", config.data, reason) from error


def _try_model(config: StudyConfig, data: Splits) -> None:
    """Show the network a few images, so that one that does not fit is found before training."""
    images, _ = data.val.batch(slice(0, 2))
    classes = data.classes
    try:
        model = build(config.model)
        masks = Masks.ones(model)
        with torch.no_grad():
            logits = model.eval()(images)
        if logits.dim() != 2 or logits.shape[1] < classes:
            raise ValueError(f"its output is {tuple(logits.shape)} for {len(images)} images")
        choose_engine(config.engine, model, masks, config.train, images)
    except LotteryError:
        raise
    except Exception as error:
        reason = f"a network from {tuple(images.shape[1:])} inputs to {classes} classes ({error})"
        raise ConfigError("model", config.model, reason) from error
