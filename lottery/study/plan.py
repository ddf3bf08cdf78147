"""What a study would do, and about how long it would take on this machine."""

import time
from dataclasses import dataclass
from pathlib import Path

import torch

from lottery.data.batches import Batches
from lottery.data.images import split
from lottery.data.sources import data_dir as default_data_dir
from lottery.init import initialise
from lottery.models import build
from lottery.pruning.masks import Masks
from lottery.study.config import StudyConfig
from lottery.study.grid import Cell, cells
from lottery.study.remote import LEVELS, opened
from lottery.study.run import check, choose_device, choose_workers
from lottery.study.store import StudyStore
from lottery.training.config import LearningRate
from lottery.training.level import LevelTrainer
from lottery.training.loop import ENGINES, choose_engine, evaluate, make_optimizer


@dataclass(frozen=True)
class Plan:
    """What a run would do."""

    cells: list[Cell]
    unfinished: list[Cell]
    levels: int
    """Levels to be trained."""
    steps_per_level: int
    evaluations_per_level: int
    workers: int
    seconds: float
    """Estimate for all workers together, from a few measured steps and evaluations."""


def plan_study(
    config: StudyConfig,
    *,
    results_dir: str | Path = "results",
    data_dir: str | Path | None = None,
    workers: int | None = None,
    device: str = "auto",
    fresh: bool = False,
) -> Plan:
    """What `run_study` would do with the same arguments; trains nothing but a few steps."""
    device = choose_device(device)
    at_once = max(1, choose_workers(workers, device))
    dataset, steps = check(config, default_data_dir(data_dir))
    grid = cells(config)
    if fresh:
        todo, levels = grid, sum(len(cell.levels) for cell in grid)
    else:
        with opened(results_dir, config.name) as results:
            store = StudyStore(results.folder, config.name)
            store.check_settings(config)
            if results.url is not None:
                results.pull_cells([cell.name for cell in store.unfinished(grid)], LEVELS)
            todo = store.unfinished(grid)
            levels = sum(not store.cell(c.name).record(level) for c in todo for level in c.levels)
    data = split(dataset, config.validation, seed=config.seeds[0], stratified=config.stratified)
    trainer = LevelTrainer(
        data.to(device), config.train, config.seeds[0], choose_engine(config.engine)
    )
    per_step, per_image = _measure(config, trainer)
    images = trainer.evaluations * (len(data.test) + 2 * len(data.val)) + len(data.train)
    per_level = steps * per_step + images * per_image
    seconds = levels * per_level / max(1, min(at_once, len(todo)))
    return Plan(grid, todo, levels, steps, trainer.evaluations, at_once, seconds)


def _measure(config: StudyConfig, trainer: LevelTrainer, steps: int = 30) -> tuple[float, float]:
    """Seconds of a training step and of an image evaluated, on one thread as in a worker."""
    data, device = trainer.data, trainer.data.train.labels.device

    def clock() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter()

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        model = initialise(build(config.model).to(device), config.inits[0])
        batches = Batches(data.train, config.train.batch_size, seed=0)
        schedule = LearningRate(config.train, trainer.steps_per_epoch)
        engine, masks = ENGINES[trainer.engine], Masks.ones(model)
        optimizer = make_optimizer(model, config.train)
        engine(model, masks, optimizer, batches, schedule, 0, steps // 3)
        started = clock()
        engine(model, masks, optimizer, batches, schedule, 0, steps)
        per_step = (clock() - started) / steps
        some = data.test.subset(torch.arange(min(1000, len(data.test))))
        started = clock()
        evaluate(model, some)
        per_image = (clock() - started) / len(some)
    finally:
        torch.set_num_threads(threads)
    return per_step, per_image
