"""Criteria on filters that data or batch norm decide: scores (filters,), the highest are kept.

Data are `prune.images` training images, on which batch norm uses the images' own statistics.
"""

import torch
from torch import Tensor

from lottery.errors import ConfigError
from lottery.pruning.criteria.base import CRITERIA, Context, Layer, ranked_network
from lottery.pruning.criteria.filters import over_layer

BATCHES = 10
"""Mini-batches whose squares are averaged; the authors' code has 30, of larger calibration sets."""


@CRITERIA.register
def bn_scale(layer: Layer, context: Context, normalise: str = "none") -> Tensor:
    """|γ| of the batch norm that follows (Network Slimming; Liu et al. 2017, 1708.06519)."""
    scales = ranked_network(bn_scale, context).scales()
    if layer.name not in scales:
        raise ConfigError(
            "criterion", "bn_scale",
            f"others, as no batch norm with scales follows {layer.name}",
        )  # fmt: skip
    return over_layer(scales[layer.name].abs(), normalise)


@CRITERIA.register
def taylor(
    layer: Layer, context: Context, batches: int = BATCHES, normalise: str = "none"
) -> Tensor:
    """(Σ z · ∂L/∂z)², z the filter's outputs after batch norm (Molchanov et al. 2019, 1906.10771).

    First-order Taylor expansion of what removing the filter does to the loss. The sum is over the
    positions and images of a mini-batch; squares are averaged over mini-batches. Averaged before
    squaring, gradients of a trained network would cancel.
    """
    slopes = ranked_network(taylor, context).gate_gradients(batches)[layer.name]
    scores = torch.stack([slope.sum(dim=0).square() for slope in slopes])
    return over_layer(scores.mean(dim=0), normalise)


@CRITERIA.register
def taylor_weights(
    layer: Layer,
    context: Context,
    batches: int = BATCHES,
    group: bool = False,
    normalise: str = "none",
) -> Tensor:
    """Σ (w · ∂L/∂w)² over the filter's weights (the same paper), averaged over mini-batches.

    group: (Σ w · ∂L/∂w)², the filter's weights removed as one.
    """
    scores = []
    for gradients in ranked_network(taylor_weights, context).loss_gradients(batches):
        effects = (layer.weight * gradients[layer.name]).flatten(1)
        scores.append(effects.sum(1).square() if group else effects.square().sum(1))
    return over_layer(torch.stack(scores).mean(dim=0), normalise)


@CRITERIA.register
def taylor_absolute(
    layer: Layer, context: Context, batches: int = BATCHES, normalise: str = "l2"
) -> Tensor:
    """|Σ z · ∂L/∂z| over positions, averaged over images (Molchanov et al. 2017, 1611.06440).

    z: outputs after batch norm; behind a ReLU, which it passes through, the same sum. The paper has
    the mean over positions, which the normalisation over the layer makes the same.
    """
    slopes = ranked_network(taylor_absolute, context).gate_gradients(batches)[layer.name]
    images = torch.cat([slope.abs() * len(slope) for slope in slopes])
    return over_layer(images.mean(dim=0), normalise)


@CRITERIA.register
def mean_activation(layer: Layer, context: Context, normalise: str = "l2") -> Tensor:
    """Mean |a| of the filter's activations over images and positions (the same paper, sec. 2.2)."""
    activity = ranked_network(mean_activation, context).activity()[layer.name]
    return over_layer(activity.strength, normalise)


@CRITERIA.register
def apoz(layer: Layer, context: Context, normalise: str = "none") -> Tensor:
    """1 − average percentage of zeros among the filter's activations (Hu et al. 2016, 1607.03250).

    A filter that is never active scores 0.
    """
    active = 1 - ranked_network(apoz, context).activity()[layer.name].zeros
    return over_layer(active, normalise)
