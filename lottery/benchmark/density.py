"""Random masks of any wanted density, with the layer densities that pruning would give."""

import torch
from torch import nn

from lottery.errors import ConfigError
from lottery.pruning.masks import Masks, prunable
from lottery.pruning.schedule import PruneConfig
from lottery.study.plan import random_masks


def counts_at(model: nn.Module, density: float, config: PruneConfig) -> dict[str, int]:
    """Weights that each parameter keeps when `density` of them all is kept.

    Every layer keeps (1 - its rate) ** level of its weights, at the level, whole or not, at which
    the sum is as wanted. Raises ConfigError for a density that no level has.
    """
    if not 0 < density <= 1:
        raise ConfigError("density", density, "above 0, at most 1")
    sizes = Masks.ones(model, config.biases).sizes
    kept = {name: 1 - config.rates[kind] for name, kind in prunable(model, config.biases).items()}

    def total(level: float) -> float:
        return sum(size * kept[name] ** level for name, size in sizes.items())

    wanted = density * sum(sizes.values())
    low, high = 0.0, 1000.0
    if total(high) > wanted:
        raise ConfigError("density", density, "one that the pruning rates lead to")
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if total(middle) > wanted else (low, middle)
    return {name: round(size * kept[name] ** high) for name, size in sizes.items()}


def masks_at(model: nn.Module, density: float, config: PruneConfig) -> Masks:
    """Random masks of that density, on the model's device."""
    return random_masks(model, counts_at(model, density, config), config.biases)


def emptied(masks: Masks) -> dict[str, int]:
    """Filters and input channels of convolutions, and how many of each have no weight left."""
    convolutions = [mask for mask in masks.values() if mask.dim() > 2]
    kept = [
        (mask.flatten(1).any(1), mask.transpose(0, 1).flatten(1).any(1)) for mask in convolutions
    ]
    filters, inputs = (torch.cat([pair[side] for pair in kept]) for side in (0, 1))
    return {
        "filters": len(filters),
        "emptied_filters": int((~filters).sum()),
        "inputs": len(inputs),
        "emptied_inputs": int((~inputs).sum()),
    }
