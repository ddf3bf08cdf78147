"""Criteria on single weights, and pruning by them to an exact count.

A criterion is a function (layer, context) -> scores of the weight's shape; the highest are kept:

    def movement(layer, context):
        return (layer.weight - layer.initial).abs()

    masks = prune(masks, weights, initial, keep, criterion=movement)
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from lottery.errors import ConfigError, DivergedError
from lottery.pruning.masks import Masks, split_like
from lottery.registry import Registry

CRITERIA = Registry("criterion", leading=2)


@dataclass(frozen=True)
class Layer:
    """One prunable parameter as a criterion sees it."""

    name: str
    weight: Tensor
    """Trained values."""
    initial: Tensor
    """Values at initialisation, same shape."""


@dataclass(frozen=True)
class Context:
    """What a criterion may need beside the layer."""

    generator: Generator


Criterion = Callable[[Layer, Context], Tensor]


@CRITERIA.register
def magnitude(layer: Layer, context: Context) -> Tensor:
    """|w| after training (Han et al. 2015; "large final" of Zhou et al. 2019)."""
    return layer.weight.abs()


@CRITERIA.register
def magnitude_at_init(layer: Layer, context: Context) -> Tensor:
    """|w| at initialisation (Frankle & Carbin 2019, app. F.4; "large init" of Zhou et al.)."""
    return layer.initial.abs()


@CRITERIA.register
def random(layer: Layer, context: Context) -> Tensor:
    """Uniform scores: every weight is as good as any other."""
    return torch.rand(layer.weight.shape, generator=context.generator).to(layer.weight.device)


def prune(
    masks: Masks,
    weights: Mapping[str, Tensor],
    initial: Mapping[str, Tensor],
    keep: Mapping[str, int],
    *,
    criterion: str | Criterion = "magnitude",
    scope: str = "layer",
    generator: Generator | None = None,
) -> Masks:
    """Masks within `masks` that keep exactly the highest-scoring weights.

    weights, initial: trained and initial values by parameter name. keep: weights to keep per
    parameter; with scope "global" their sum is kept, ranked over all layers with anything to
    prune together. generator: draws scores of random criteria and the order among ties.
    """
    if scope not in ("layer", "global"):
        raise ConfigError("scope", scope, "layer, global")
    generator = generator or torch.Generator().manual_seed(0)
    score = CRITERIA.resolve(criterion)
    context = Context(generator)
    scores = {}
    for name, mask in masks.items():
        scores[name] = score(Layer(name, weights[name], initial[name]), context).to(mask.device)
        if scores[name].shape != mask.shape:
            raise ConfigError("criterion", str(criterion), f"scores of the shape of {name}")
    if scope == "layer":
        return Masks(
            {
                name: _highest(scores[name], mask, keep[name], generator)
                for name, mask in masks.items()
            }
        )
    pool = {name: mask for name, mask in masks.items() if keep[name] < mask.numel()}
    if not pool:
        return masks
    joined = _highest(
        torch.cat([scores[name].flatten() for name in pool]),
        torch.cat([mask.flatten() for mask in pool.values()]),
        sum(keep[name] for name in pool),
        generator,
    )
    return Masks({**masks, **split_like(joined, pool)})


def _highest(scores: Tensor, alive: Tensor, count: int, generator: Generator) -> Tensor:
    """Mask of the `count` highest scores among those alive; ties fall in random, seeded order."""
    candidates = alive.flatten().nonzero().flatten()
    if not 0 <= count <= len(candidates):
        raise ConfigError("weights to keep", count, f"0 to the {len(candidates)} that remain")
    shuffled = candidates[torch.randperm(len(candidates), generator=generator).to(alive.device)]
    values = scores.detach().flatten()[shuffled]
    if bool(values.isnan().any()):
        raise DivergedError("scores contain NaN: the weights or the criterion diverged")
    best = shuffled[values.argsort(stable=True, descending=True)[:count]]
    kept = torch.zeros(alive.numel(), dtype=torch.bool, device=alive.device)
    kept[best] = True
    return kept.view(alive.shape)
