"""What a criterion is: a function (layer, context) -> scores; the highest are kept.

def movement(layer, context):
    return (layer.weight - layer.initial).abs()

Scores of the weight's shape rank single weights. One score per filter or neuron, the first
dimension of the weight, ranks filters: then whole filters are pruned.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Generator, Tensor

from lottery.errors import ConfigError, DivergedError
from lottery.pruning.network import Network
from lottery.registry import Registry
from lottery.returned import name_of, unlike

CRITERIA = Registry("criterion", leading=2)


@dataclass(frozen=True)
class Layer:
    """One prunable parameter as a criterion sees it."""

    name: str
    weight: Tensor
    """Values that are ranked: trained ones, or initial ones at initialisation."""
    initial: Tensor
    """Values at initialisation, same shape."""


@dataclass(frozen=True)
class Context:
    """What a criterion may need beside the layer; one for all layers of a ranking."""

    generator: Generator
    network: Network | None = None
    """The whole network that is ranked, what is pruned already being zero, and some images."""


Criterion = Callable[[Layer, Context], Tensor]
"""Scores have the shape of the layer's weight, or are one per filter: (filters,)."""


def ranked_network(criterion: object, context: Context) -> Network:
    """The network that a criterion needs; ConfigError if it is given none."""
    if context.network is None:
        name = getattr(criterion, "__name__", "")
        allowed = (
            "others, unless images are given: batch=(images, labels) of prune_units, network= of "
            "prune"
        )
        raise ConfigError("criterion", name, allowed)
    return context.network


def check_scores(
    criterion: str | Criterion, layer: str, scores: object, *shapes: tuple[int, ...]
) -> None:
    """Raise ConfigError unless they are a layer's scores, of one of these shapes."""
    if wrong := unlike(scores, *shapes):
        wanted = " or ".join(str(tuple(shape)) for shape in shapes)
        allowed = f"one that returns a tensor of scores of shape {wanted} for {layer}, not {wrong}"
        raise ConfigError("criterion", name_of(criterion), allowed)


def check_numbers(criterion: str | Criterion, layer: str, scores: Tensor) -> None:
    """Raise DivergedError if scores that are to be ranked are NaN, which has no place in an order.

    Those of weights that are pruned already may be.
    """
    if bool(scores.isnan().any()):
        raise DivergedError(
            f"criterion {name_of(criterion)!r} gives NaN for {layer}: it or the training diverged"
        )
