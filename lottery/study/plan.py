"""What a study would do, and about how long it would take on this machine."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from lottery.data.images import Examples, split
from lottery.data.sources import data_dir as default_data_dir
from lottery.init import initialise
from lottery.models import build
from lottery.pruning.channels import trace
from lottery.pruning.masks import Masks, prunable
from lottery.pruning.schedule import keep_counts
from lottery.pruning.shrink import unit_masks
from lottery.pruning.units import check_criterion, prune_units, unit_counts
from lottery.pruning.weights import prune
from lottery.study.config import StudyConfig
from lottery.study.grid import DENSE, Cell, cells, once
from lottery.study.remote import LEVELS, opened
from lottery.study.run import check, choose_device, choose_workers
from lottery.study.start import unpruned
from lottery.study.store import StudyStore
from lottery.study.together import cells_together
from lottery.tickets.ranking import example_of
from lottery.training import engines
from lottery.training.level import Checkpoint, LevelRun, LevelTrainer, snapshot
from lottery.training.loop import make_optimizer
from lottery.training.procedures import NONE, During, resolve


@dataclass(frozen=True)
class Plan:
    """What a run would do."""

    cells: list[Cell]
    unfinished: list[Cell]
    levels: int
    """Levels to be trained."""
    steps: int
    """Steps in them."""
    steps_per_level: dict[str, int]
    """By variant, as the next one."""
    evaluations_per_level: dict[str, int]
    workers: int
    seconds: float
    """Estimate for all workers together, from steps and evaluations measured at three levels."""


def plan_study(
    config: StudyConfig,
    *,
    results_dir: str | Path = "results",
    data_dir: str | Path | None = None,
    workers: int | None = None,
    device: str = "auto",
    fresh: bool = False,
    networks: bool = False,
) -> Plan:
    """What `run_study` would do with the same arguments; trains nothing but a few steps."""
    device = choose_device(device)
    workers = choose_workers(workers, device)
    dataset, steps = check(config, default_data_dir(data_dir))
    grid = cells(config)
    finished = set[tuple[str, int]]()
    if "://" not in str(results_dir):
        StudyStore(results_dir, config.name).check_place()
    if fresh:
        todo = once(grid)
    else:
        with opened(results_dir, config.name) as results:
            store = StudyStore(results.folder, config.name)
            store.check_settings(config)
            if results.url is not None:
                results.pull_cells(
                    [cell.name for cell in store.unfinished(grid, networks=networks)], LEVELS
                )
            todo = store.unfinished(grid, networks=networks)
            finished = {
                (cell.name, level)
                for cell in todo
                for level in cell.levels
                if store.cell(cell.name).record(level)
            }
    finished |= {(name, 0) for name in unpruned(config, todo, Path(results_dir))}
    data = split(dataset, config.validation, seed=config.seeds[0], stratified=config.stratified)
    data = data.to(device)
    measured = sorted({0, config.levels // 2, config.levels})
    levels, total, at_once, seconds, evaluations = 0, 0, workers, 0.0, {}
    for name in config.variant_names:
        own, cells_of = config.variant(name), [cell for cell in todo if cell.variant == name]
        trainer = LevelTrainer(data, own.train, own.seeds[0], own.engine)
        evaluations[name] = trainer.evaluations
        missing = [
            0 if cell.branch == DENSE else level
            for cell in cells_of
            for level in cell.levels
            if (cell.name, level) not in finished
        ]
        if not missing:
            continue
        stack = 1
        if workers == 0:
            fit = cells_together(own, device, len(own.seeds), lambda: dataset.to(device))
            stack = min(len(cells_of), fit)
        costs = [_seconds_of_level(own, trainer, level, stack) for level in measured]
        levels, total = levels + len(missing), total + len(missing) * steps[name]
        at_once = max(at_once, stack)
        seconds += float(np.interp(missing, measured, costs).sum())
    seconds /= max(1, min(workers, len(todo)))
    return Plan(once(grid), todo, levels, total, steps, evaluations, at_once, seconds)


def _seconds_of_level(config: StudyConfig, trainer: LevelTrainer, level: int, stack: int) -> float:
    """Time to train and evaluate a level, from a few steps at its density, on one thread.

    stack: cells that are trained as one; the time is one cell's share.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        device = trainer.data.train.device
        model = build(config.model).to(device)
        initialise(model, config.inits[0], config.seeds[0], examples=trainer.data.train)
        masks = _masks_at(config, trainer, model, level)
        optimizer = make_optimizer(model, config.train)
        masks.apply(model, optimizer)
        procedure, during = resolve(config.prune.during), None
        if config.prune.during != NONE and procedure.acts_in(level, config.prune):
            during = During(procedure, config.prune, lambda model: masks)
        begin = Checkpoint(level, 0, 0, {}, {})
        run = LevelRun(trainer, model, masks, optimizer, begin, during=during)
        evaluations, whole = run.evaluations_left, run.next_segment()
        assert whole is not None  # a level has at least one step

        test = trainer.data.test
        one, some = (test.subset(torch.arange(min(n, len(test)))) for n in (1, 1000))

        def measure(steps: int, examples: Examples = one) -> float:
            # A GPU is waited for by looking at metrics, so there is always something to evaluate.
            part = dataclasses.replace(whole, stop=steps, examples=(examples,))
            return engines.run([part] * stack)[0].seconds

        measure(3)
        per_step = measure(5) / 5
        steps = max(5, min(200, int(0.3 / per_step)))
        per_step = measure(steps) / steps
        per_image = measure(0, some) / len(some)
    finally:
        torch.set_num_threads(threads)
    images = evaluations * (len(trainer.data.test) + 2 * len(trainer.data.val))
    return trainer.last_step * per_step + (images + len(trainer.data.train)) * per_image


def _masks_at(config: StudyConfig, trainer: LevelTrainer, model: nn.Module, level: int) -> Masks:
    """Masks of a level by the configured rates, drawn at random; of whole filters where they go."""
    biases = config.prune.biases
    if not check_criterion(config.prune):
        full, kinds = Masks.ones(model, biases), prunable(model, biases)
        counts = keep_counts(full.sizes, kinds, config.prune, level, full.shapes)
        return random_masks(model, counts, biases)
    graph = trace(model, example_of(trainer.data.train), config.prune.fixed)
    keep = unit_counts(model, graph, config.prune, level)
    removed = prune_units(model, graph, keep, criterion="random_filters")
    return unit_masks(graph, model, removed).to(trainer.data.train.device)


def random_masks(model: nn.Module, counts: Mapping[str, int], biases: bool = False) -> Masks:
    """Masks that keep so many weights of each parameter, on the model's device."""
    state = snapshot(model)
    full = Masks.ones(model, biases).to("cpu")
    masks = prune(full, state, state, counts, criterion="random")
    return masks.to(next(model.parameters()).device)
