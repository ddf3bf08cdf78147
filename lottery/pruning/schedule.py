"""How much to prune: the number of weights that each layer keeps at each level."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from lottery.errors import ConfigError, check_choices
from lottery.pruning.allocation import Shapes, allocate
from lottery.registry import canonical


@dataclass(frozen=True, kw_only=True)
class PruneConfig:
    """What is pruned between two levels, and by which criterion."""

    criterion: str = "magnitude"
    """Score by which weights are kept, highest first: magnitude, lamp, movement, snip, ... (all are
    in docs/methods.md), or module:function. l2, geometric_median, taylor, ... score whole filters,
    which are then pruned with all that reads and writes them."""

    at: Literal["trained", "initial"] = "trained"
    """Which network is ranked: the trained one of the last level; or the untrained one, from which
    each level's masks are computed straight to its density."""

    scope: Literal["layer", "global"] = "layer"
    """Rank weights within each layer, or all together. The total kept is the same."""

    allocation: Literal["rates", "uniform", "erk", "smart", "smart_vgg"] = "rates"
    """How layers share the total that the rates leave at a level, with scope layer: by the rates
    themselves, at one density, or by Erdős–Rényi-kernel or smart ratios."""

    iterations: int = 1
    """Rankings in which a level's masks are found, each keeping the same share of what the last one
    kept; 100 for synflow, as its authors have it."""

    images: int = 100
    """Training images on which criteria on gradients rank, drawn by the seed, as many of each class
    up to one, the same at every level."""

    linear_rate: float = 0.2
    """Fraction of the remaining weights pruned per level in linear layers."""

    conv_rate: float = 0.2
    """The same in convolution layers."""

    output_rate: float | None = None
    """The same in the output layer; by default half of linear_rate, as in the ICLR paper."""

    iterative: bool = True
    """Prune a little at every level; false: one-shot, from the unpruned network's trained weights
    straight to each level's density."""

    biases: bool = False
    """Prune biases too, at their layer's rate. Filters always take theirs along."""

    keep_at_least: int = 1
    """Filters that every layer keeps, with a criterion that ranks filters; rates are then of
    filters, and the output layer keeps all."""

    multiple_of: int = 1
    """Round the filters that a layer keeps to a multiple of this, such as 8 for fast kernels."""

    fixed: list[str] = field(default_factory=list)
    """Layers that keep all their filters, by name (conv1): those whose filters cannot be removed,
    as a group norm follows them, or that a method leaves whole."""

    during: str = "none"
    """What changes the network while a level trains: soft, shrinkage, centripetal, slimming, with
    options as in soft(every=1ep) (all are in docs/methods.md), or module:function."""

    stop: float | None = None
    """End a walk after the first level whose validation accuracy at its end lies more than this
    below level 0's, as a fraction (0.02); by default all levels are trained."""

    def __post_init__(self) -> None:
        check_choices(self, "prune")
        for name in ("criterion", "during"):
            object.__setattr__(self, name, canonical(getattr(self, name), f"prune.{name}"))
        for kind, rate in self.rates.items():
            if not 0 <= rate < 1:
                raise ConfigError(f"prune.{kind}_rate", rate, "a fraction of at least 0 below 1")
        for name in ("iterations", "images", "keep_at_least", "multiple_of"):
            if getattr(self, name) < 1:
                raise ConfigError(f"prune.{name}", getattr(self, name), "at least 1")
        if self.stop is not None and not 0 <= self.stop < 1:
            raise ConfigError("prune.stop", self.stop, "nothing, or a fraction from 0 below 1")
        if self.allocation != "rates" and (self.scope == "global" or self.biases):
            allowed = "rates, unless scope is layer and biases are not pruned"
            raise ConfigError("prune.allocation", self.allocation, allowed)
        if self.at == "initial" and not self.iterative:
            allowed = "true where the untrained network is pruned, which is one-shot by itself"
            raise ConfigError("prune.iterative", self.iterative, allowed)

    @property
    def rates(self) -> dict[str, float]:
        """Rate per layer kind."""
        output = self.linear_rate / 2 if self.output_rate is None else self.output_rate
        return {"conv": self.conv_rate, "linear": self.linear_rate, "output": output}

    @property
    def from_last_level(self) -> bool:
        """Whether a level's masks are cut from those of the level before, and so nest in them."""
        return self.iterative and self.at == "trained"


def ends_walk(stop: float | None, accuracy: float, first: float) -> bool:
    """Whether `prune.stop` ends a walk after a level, by its and level 0's validation accuracy.

    >>> ends_walk(0.02, 0.96, 0.98), ends_walk(0.02, 0.95, 0.98), ends_walk(None, 0.1, 0.98)
    (False, True, False)
    """
    # 0.98 - 0.96 is a little more than 0.02, and a table may differ in the last digit.
    return stop is not None and first - accuracy > stop + 1e-9


def keep_counts(
    sizes: Mapping[str, int],
    kinds: Mapping[str, str],
    config: PruneConfig,
    level: int,
    shapes: Shapes | None = None,
) -> dict[str, int]:
    """Weights that each parameter keeps at `level`, after `level` prunings of round(rate · rest).

    sizes: weights per parameter; kinds: "conv", "linear" or "output" per parameter. shapes: of the
    parameters, for allocations other than by rates. These and global scope keep the sum of what the
    rates leave, so that all methods meet at equal weights remaining. No count grows with the level.

    >>> keep_counts({"w": 1000}, {"w": "output"}, PruneConfig(), 3)
    {'w': 729}
    """
    counts, shared = dict(sizes), dict(sizes)
    for _ in range(level):
        for name, count in counts.items():
            counts[name] = count - math.floor(config.rates[kinds[name]] * count + 0.5)
        if config.allocation != "rates":
            if shapes is None:
                raise ConfigError("prune.allocation", config.allocation, "rates without shapes")
            shared = allocate(config.allocation, shapes, sum(counts.values()), shared)
    return counts if config.allocation == "rates" else shared
