"""Time of one training step, per engine and density, beside its floor and the reference."""

import functools
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from torch import nn

from lottery.benchmark.density import counts_at, emptied, masks_at
from lottery.benchmark.floor import floor
from lottery.costs.timing import Timing, clocked, log, per_call, round_robin
from lottery.data.batches import Batches
from lottery.data.images import Splits
from lottery.errors import ConfigError
from lottery.init import initialise
from lottery.models import build
from lottery.pruning.masks import Masks
from lottery.study.config import StudyConfig
from lottery.study.plan import random_masks
from lottery.training.config import LearningRate
from lottery.training.engines import ENGINES, choose_engine
from lottery.training.graphs import captured
from lottery.training.loop import make_optimizer
from lottery.training.segment import Segment

Row = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One way of training, at one density."""

    engine: str
    density: float
    replicas: int = 1
    mode: str | None = None
    """How the stacked engine computes, where it leaves a choice."""


def usable_engines(config: StudyConfig, device: str, wanted: list[str] | None = None) -> list[str]:
    """Those of the engines, or of the `wanted` ones, that can train the study's network."""
    model = build(config.model).to(device)
    masks = Masks.ones(model, config.prune.biases)
    found = []
    for name in wanted or ENGINES:
        if name not in ENGINES:
            raise ConfigError("engines", name, ", ".join(ENGINES))
        try:
            choose_engine(name, model, masks, config.train)
        except ConfigError as error:
            log.info("%s is not measured on %s: %s", name, config.model, error)
        else:
            found.append(name)
    return found


def cases(engines: list[str], densities: list[float], replicas: list[int]) -> list[Case]:
    """What is measured of each engine; only the stacked one has replicas and modes."""
    found = []
    for density in densities:
        for engine in engines:
            stacks = replicas if engine == "stacked" else [1]
            modes = ["vmap", "streams"] if max(stacks) > 1 else [None]
            found += [Case(engine, density, many, mode) for many in stacks for mode in modes]
    return found


def segment(config: StudyConfig, data: Splits, case: Case, seed: int, steps: int) -> Segment:
    """The first steps of a network at its density, from its initialisation on, unevaluated."""
    model = build(config.model, seed).to(data.train.device)
    initialise(model, config.inits[0], seed)
    masks = masks_at(model, case.density, config.prune)
    optimizer = make_optimizer(model, config.train)
    masks.apply(model, optimizer)
    augmentation = config.train.augmentation
    batches = Batches(data.train, config.train.batch_size, seed=seed, augmentation=augmentation)
    rate = LearningRate(config.train, batches.steps_per_epoch)
    return Segment(
        *(case.engine, model, masks, optimizer, batches, rate, 0, steps),
        precision=config.train.precision,
    )


def seconds_per_step(config: StudyConfig, data: Splits, case: Case, steps: int) -> float:
    """Seconds per step and replica of one segment, after one that is not counted."""
    device = data.train.device.type
    engine: Callable[..., object] = ENGINES[case.engine]
    run = functools.partial(engine, mode=case.mode) if case.mode else engine
    warm_up = max(1, steps // 100)
    first = [segment(config, data, case, seed, warm_up) for seed in range(case.replicas)]
    run(first)
    then = [replace(part, start=warm_up, stop=warm_up + steps) for part in first]
    return clocked(functools.partial(run, then), device) / steps / case.replicas


def measure_steps(
    config: StudyConfig, data: Splits, todo: list[Case], steps: int, rounds: int
) -> list[Row]:
    """A row per floor and per case, with its ratios to the floor and to the reference."""
    device = data.train.device.type
    measurements: dict[Case, Any] = {}
    model = build(config.model).to(device)
    images, _ = next(Batches(data.train, config.train.batch_size, seed=0).steps(0, 1))
    for replicas in sorted({case.replicas for case in todo}):
        work = floor(model, images, replicas)
        alone = per_call(captured(work) if device == "cuda" else work, steps, device)
        measurements[Case("floor", 1.0, replicas)] = functools.partial(_share, alone, replicas)
    for case in todo:
        measurements[case] = functools.partial(seconds_per_step, config, data, case, steps)
    timings = round_robin(measurements, rounds, f"step, {config.model}")
    remaining = {d: _weights_remaining(model, d, config) for d in {case.density for case in todo}}
    return [
        {
            "network": config.model,
            "engine": case.engine,
            "mode": case.mode,
            "replicas": case.replicas,
            "weights_remaining": remaining[case.density] if case.engine != "floor" else None,
            "steps": steps,
            "seconds": asdict(found),
            "to_floor": _ratio(found, timings.get(Case("floor", 1.0, case.replicas))),
            "to_reference": _ratio(found, timings.get(Case("reference", case.density)))
            if case.engine != "floor"
            else None,
            "to_dense_reference": _ratio(found, timings.get(Case("reference", 1.0))),
        }
        for case, found in timings.items()
    ]


def _share(measure: Any, replicas: int) -> float:
    return measure() / replicas


def _ratio(found: Timing, other: Timing | None) -> float | None:
    return found.median / other.median if other else None


def _weights_remaining(model: nn.Module, density: float, config: StudyConfig) -> float:
    counts = counts_at(model, density, config.prune)
    return sum(counts.values()) / sum(Masks.ones(model, config.prune.biases).sizes.values())


def count_emptied(config: StudyConfig, densities: list[float]) -> list[Row]:
    """How many whole filters and input channels random masks empty at each density."""
    model = build(config.model)
    rows = []
    for density in densities:
        masks = random_masks(model, counts_at(model, density, config.prune), config.prune.biases)
        rows.append(
            {
                "network": config.model,
                "weights_remaining": masks.weights_remaining,
                **emptied(masks),
            }
        )
    return rows
