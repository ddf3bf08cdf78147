"""The engines by name, which of them a level runs on, and running it there."""

import time
from collections.abc import Hashable, Sequence

from torch import nn

from lottery.data.images import Examples
from lottery.errors import ConfigError
from lottery.objectives import is_classification
from lottery.pruning.masks import Masks
from lottery.training import sparse
from lottery.training.config import TrainConfig
from lottery.training.loop import run_reference
from lottery.training.replicas import key, stackable
from lottery.training.segment import Engine, Outcome, Segment
from lottery.training.sparse import run_sparse
from lottery.training.stacked import run_stacked

ENGINES: dict[str, Engine] = {
    "reference": run_reference,
    "sparse": run_sparse,
    "stacked": run_stacked,
}


def check_engine(name: str) -> None:
    """Raise ConfigError unless `name` is an engine or "auto"."""
    if name not in ("auto", *ENGINES):
        raise ConfigError("engine", name, ", ".join(("auto", *ENGINES)))


def choose_engine(
    name: str,
    model: nn.Module,
    masks: Masks,
    config: TrainConfig,
    examples: Examples | None = None,
    *,
    procedure: bool = False,
) -> str:
    """The engine that "auto" stands for at one level, or `name`.

    examples: what the network is for, and may be tried on. procedure: whether one changes updates
    or masks on the way (`prune.during`). Raises ConfigError if the engine that `name` asks for
    cannot run the network.
    """
    check_engine(name)

    def obstacle(engine: str) -> str | None:
        if engine not in ("sparse", "stacked"):
            return None
        if procedure:
            return "prune.during changes it while it trains"
        if examples is not None and not is_classification(examples.objective):
            return "it is not trained to tell classes"
        if config.clip_norm is not None:
            return "its gradients are clipped"
        if engine == "sparse":
            return sparse.obstacle(model, config.precision)
        few = None if examples is None else examples.batch(slice(0, 2))[0]
        return stackable(model, few)

    if name == "auto":
        on_gpu = next(model.parameters()).device.type == "cuda"
        fast = "stacked" if on_gpu else "sparse"
        pays = on_gpu or sparse.pays(model, masks)
        return fast if pays and not obstacle(fast) else "reference"
    if reason := obstacle(name):
        raise ConfigError(
            "engine", name, f"auto, or another engine: {name} cannot run this network ({reason})"
        )
    return name


def next_together(segments: Sequence[Segment]) -> list[Segment]:
    """Those of the waiting segments to run next, as one: the most that can be stacked."""
    groups: dict[Hashable, list[Segment]] = {}
    for segment in segments:
        group = key(segment) if segment.engine == "stacked" else id(segment)
        groups.setdefault(group, []).append(segment)
    return max(groups.values(), key=len, default=[])


def run(segments: Sequence[Segment]) -> list[Outcome]:
    """Work off segments of one engine; each is charged an equal share of the time."""
    if not segments:
        return []
    started = time.perf_counter()
    results = ENGINES[segments[0].engine](segments)
    seconds = (time.perf_counter() - started) / len(segments)
    return [Outcome(metrics, seconds) for metrics in results]
