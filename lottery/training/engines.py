"""The engines by name, which of them a level runs on, and running it there."""

import time
from collections.abc import Sequence

from torch import nn

from lottery.errors import ConfigError
from lottery.pruning.masks import Masks
from lottery.training import sparse
from lottery.training.config import TrainConfig
from lottery.training.loop import run_reference
from lottery.training.segment import Engine, Outcome, Segment
from lottery.training.sparse import run_sparse

ENGINES: dict[str, Engine] = {"reference": run_reference, "sparse": run_sparse}


def check_engine(name: str) -> None:
    """Raise ConfigError unless `name` is an engine or "auto"."""
    if name not in ("auto", *ENGINES):
        raise ConfigError("engine", name, ", ".join(("auto", *ENGINES)))


def choose_engine(name: str, model: nn.Module, masks: Masks, config: TrainConfig) -> str:
    """The engine that "auto" stands for at one level, or `name`."""
    check_engine(name)
    hindrance = sparse.obstacle(model, config.precision)
    if name == "sparse" and hindrance:
        raise ConfigError("engine", name, f"another for this network: {hindrance}")
    if name == "auto":
        return "reference" if hindrance or not sparse.pays(model, masks) else "sparse"
    return name


def next_together(segments: Sequence[Segment]) -> list[Segment]:
    """Those of the waiting segments to run next, as one."""
    return list(segments[:1])


def run(segments: Sequence[Segment]) -> list[Outcome]:
    """Work off segments of one engine; each is charged an equal share of the time."""
    if not segments:
        return []
    started = time.perf_counter()
    results = ENGINES[segments[0].engine](segments)
    seconds = (time.perf_counter() - started) / len(segments)
    return [Outcome(metrics, seconds) for metrics in results]
