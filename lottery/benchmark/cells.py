"""Whole cells of a study, alone or side by side, with the time that they take."""

import time
from dataclasses import dataclass, field

import torch

from lottery.costs.timing import clocked
from lottery.data.images import Dataset, split
from lottery.models import build
from lottery.study.config import StudyConfig
from lottery.study.worker import repeatable
from lottery.tickets import find_tickets
from lottery.tickets.level import Level, Walk
from lottery.training import engines
from lottery.training.segment import Outcome, Segment


@dataclass
class CellRun:
    """Cells that ran together once, and what came of each of their levels."""

    engine: str
    seeds: list[int]
    threads: int
    seconds: float = 0.0
    """Of all of them, with everything that belongs to a level."""
    steps: int = 0
    """Of one of them."""
    level_seconds: list[float] = field(default_factory=list)
    """Time from level to level, with pruning and all evaluation, per cell."""
    weights_remaining: list[float] = field(default_factory=list)
    """Of the first one's levels."""
    test_accuracy: list[float] = field(default_factory=list)
    """Of the first one's levels, at their last step."""


def run_cells(
    config: StudyConfig, dataset: Dataset, engine: str, seeds: list[int], levels: int
) -> CellRun:
    """Tickets of these seeds side by side, as a worker of a study runs them."""
    device = dataset.train.device.type
    walks = []
    with repeatable(device):
        for seed in seeds:
            data = split(dataset, config.validation, seed=seed, stratified=config.stratified)
            walks.append(
                find_tickets(
                    build(config.model, seed),
                    data,
                    init=config.inits[0],
                    seed=seed,
                    levels=levels,
                    train=config.train,
                    prune=config.prune,
                    rewind=config.rewind,
                    engine=engine,
                )
            )
        run = CellRun(engine, seeds, torch.get_num_threads())
        run.seconds = clocked(lambda: follow(walks, run), device)
    return run


def follow(walks: list[Walk], run: CellRun) -> None:
    """Advance the walks to their ends, together where they can be, and note the first's levels."""
    waiting: dict[int, Segment] = {}
    last = time.perf_counter()

    def advance(number: int, outcome: Outcome | None = None) -> None:
        nonlocal last
        item = walks[number].advance(outcome)
        while isinstance(item, Level):
            if number == 0:
                run.steps += item.steps
                now = time.perf_counter()
                run.level_seconds.append((now - last) / len(walks))
                last = now
                run.weights_remaining.append(item.weights_remaining)
                run.test_accuracy.append(item.test.accuracy)
            item = walks[number].advance()
        if item is not None:
            waiting[number] = item

    for number in range(len(walks)):
        advance(number)
    while waiting:
        group = engines.next_together(list(waiting.values()))
        outcomes = dict(zip(map(id, group), engines.run(group), strict=True))
        for number in [n for n, segment in waiting.items() if id(segment) in outcomes]:
            advance(number, outcomes[id(waiting.pop(number))])
