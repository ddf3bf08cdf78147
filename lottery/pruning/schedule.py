"""How much to prune: the number of weights that each layer keeps at each level."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from lottery.errors import ConfigError, check_choices


@dataclass(frozen=True, kw_only=True)
class PruneConfig:
    """What is pruned between two levels, and by which criterion."""

    criterion: str = "magnitude"
    """Score by which weights are kept, highest first: magnitude, magnitude_at_init, random, or
    module:function."""

    scope: Literal["layer", "global"] = "layer"
    """Rank weights within each layer, or all together. The total kept is the same."""

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
    """Prune biases too, at their layer's rate."""

    def __post_init__(self) -> None:
        check_choices(self, "prune")
        for kind, rate in self.rates.items():
            if not 0 <= rate < 1:
                raise ConfigError(f"prune.{kind}_rate", rate, "a fraction of at least 0 below 1")

    @property
    def rates(self) -> dict[str, float]:
        """Rate per layer kind."""
        output = self.linear_rate / 2 if self.output_rate is None else self.output_rate
        return {"conv": self.conv_rate, "linear": self.linear_rate, "output": output}


def keep_counts(
    sizes: Mapping[str, int], kinds: Mapping[str, str], config: PruneConfig, level: int
) -> dict[str, int]:
    """Weights that each parameter keeps at `level`, after `level` prunings of round(rate · rest).

    sizes: weights per parameter; kinds: "conv", "linear" or "output" per parameter.
    Global scope keeps the sum of these, so that both scopes meet at equal weights remaining.

    >>> keep_counts({"w": 1000}, {"w": "output"}, PruneConfig(), 3)
    {'w': 729}
    """
    counts = dict(sizes)
    for _ in range(level):
        for name, count in counts.items():
            counts[name] = count - math.floor(config.rates[kinds[name]] * count + 0.5)
    return counts
