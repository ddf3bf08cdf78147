"""Criteria on a layer's values alone: magnitude and its normalised forms, and chance."""

import torch
from torch import Tensor

from lottery.errors import ConfigError
from lottery.pruning.criteria.base import CRITERIA, Context, Layer


@CRITERIA.register
def magnitude(layer: Layer, context: Context) -> Tensor:
    """|w| after training (Han et al. 2015; "large final" of Zhou et al. 2019)."""
    return layer.weight.abs()


@CRITERIA.register
def magnitude_at_init(layer: Layer, context: Context) -> Tensor:
    """|w| at initialisation (Frankle & Carbin 2019, app. F.4; "large init" of Zhou et al.)."""
    return layer.initial.abs()


@CRITERIA.register
def magnitude_over_std(layer: Layer, context: Context) -> Tensor:
    """|w| / σ, with the standard deviation σ of the layer's initial weights.

    Ranks within a layer as `magnitude` does; over all layers together, where the scale of a scheme
    decides how much `magnitude` takes from each layer, it leaves that scale out. ConfigError for a
    layer whose initial weights are all equal.
    """
    std = layer.initial.std(correction=0)
    if not std > 0:
        raise ConfigError(
            "criterion", "magnitude_over_std", f"others: the initial weights of {layer.name} do "
            "not vary"
        )  # fmt: skip
    return layer.weight.abs() / std


@CRITERIA.register
def lamp(layer: Layer, context: Context) -> Tensor:
    """w² / Σ v² over the layer's weights v with |v| ≥ |w| (Lee et al. 2021, 2010.07611, eq. 4).

    Ranks within a layer as `magnitude` does, and is made for ranking all layers together. Computed
    in float64. Equal magnitudes are all in each other's sums and score the same, as the formula
    says; the authors' code breaks such ties by position. Zeros score 0.
    """
    squares = layer.weight.double().square().flatten()
    ascending = squares.sort().values
    at_least = ascending.flip(0).cumsum(0).flip(0)
    sums = at_least[torch.searchsorted(ascending, squares)]
    scores = torch.where(squares > 0, squares / sums, torch.zeros_like(squares))
    return scores.view(layer.weight.shape)


@CRITERIA.register
def random(layer: Layer, context: Context) -> Tensor:
    """Uniform scores: every weight is as good as any other."""
    return torch.rand(layer.weight.shape, generator=context.generator).to(layer.weight.device)
