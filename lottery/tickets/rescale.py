"""Mending what pruning does to the signal: a pruned layer sums fewer inputs than it was made for.

Scaled by 1 / √density a layer's outputs have the variance of the dense layer's again (Evci et al.
2022, sec. 3: initialisation with the fan that the mask leaves). Isometry goes further: it moves the
kept weights until the layer's singular values are equal again (Lee et al. 2020, eq. 7).
"""

import torch
from torch import Tensor

from lottery.errors import ConfigError
from lottery.pruning.masks import Masks, State

ISOMETRY_STEPS = 100
"""Steps of gradient descent: of 10 % of an orthogonal 300 × 784 layer, which start at a distance of
15.6 from isometry, 100 come within 2.1, at 2 % within 0.2."""


def rescaled(weights: State, masks: Masks, how: str) -> State:
    """The weights for a sparse network, by layers or by units; biases stay as they are.

    how: "none"; "layer", divided by the square root of the layer's density; "unit", by that of each
    output unit's incoming weights (the first dimension), where units without any become zero;
    "isometry", see `_isometric`. The state given is left alone; its weights need not be masked.
    """
    if how == "none":
        return weights
    if how not in ("layer", "unit", "isometry"):
        raise ConfigError("rescale", how, "none, layer, unit, isometry")
    changed = {}
    for name, mask in masks.items():
        if mask.dim() > 1:
            weight = weights[name]
            mask = mask.to(weight.device)
            if how == "isometry":
                changed[name] = _isometric(weight, mask)
            else:
                changed[name] = weight * _factors(mask, per_unit=how == "unit")
    return weights | changed


def _factors(mask: Tensor, per_unit: bool) -> Tensor:
    """1 / √density in a shape that multiplies the weights; 0 where nothing is left."""
    dims = tuple(range(1 if per_unit else 0, mask.dim()))
    density = mask.float().mean(dim=dims, keepdim=True)
    return torch.where(density > 0, density.rsqrt(), 0.0)


def _isometric(weight: Tensor, mask: Tensor) -> Tensor:
    """The masked weight A (out, rest), moved to make ‖A·Aᵀ − g²·I‖ small; Aᵀ·A where out > rest.

    g² is the mean square of the dense weight's singular values: its gain if it is orthogonal. By
    gradient descent on the kept weights, from the masked ones.
    """
    wide = weight.flatten(1)
    kept = mask.flatten(1).to(wide.dtype)
    if wide.shape[0] > wide.shape[1]:
        wide, kept = wide.T, kept.T
    gain = (wide.square().sum() / wide.shape[0]).sqrt()
    if gain == 0:
        return weight
    found, identity = wide / gain * kept, torch.eye(len(wide), device=wide.device)
    for _ in range(ISOMETRY_STEPS):
        # Half the gradient of ¼‖A·Aᵀ − I‖²; without a mask, Newton's iteration to the polar factor
        found = found - 0.5 * ((found @ found.T - identity) @ found) * kept
    found = found * gain
    return (found.T if weight.flatten(1).shape != found.shape else found).reshape(weight.shape)
