"""Rescaling what is left of a layer, so that pruning does not make its outputs smaller.

A pruned layer sums fewer inputs than its initialisation was made for. Scaled by 1 / √density its
outputs have the variance of the dense layer's again (Evci et al. 2022, sec. 3: initialisation with
the fan that the mask leaves).
"""

import torch
from torch import Tensor

from lottery.errors import ConfigError
from lottery.pruning.masks import Masks, State


def rescaled(weights: State, masks: Masks, how: str) -> State:
    """The weights divided by the square root of the density, of layers or of units.

    how: "none"; "layer", by the layer's density; or "unit", by that of each output unit's incoming
    weights (the first dimension), where units without any become zero. Biases stay as they are.
    The state given is left alone; its weights need not be masked.
    """
    if how not in ("none", "layer", "unit"):
        raise ConfigError("rescale", how, "none, layer, unit")
    if how == "none":
        return weights
    return weights | {
        name: weights[name] * _factors(mask.to(weights[name].device), how)
        for name, mask in masks.items()
        if mask.dim() > 1
    }


def _factors(mask: Tensor, how: str) -> Tensor:
    """1 / √density in a shape that multiplies the weights; 0 where nothing is left."""
    dims = tuple(range(1 if how == "unit" else 0, mask.dim()))
    density = mask.float().mean(dim=dims, keepdim=True)
    return torch.where(density > 0, density.rsqrt(), 0.0)
