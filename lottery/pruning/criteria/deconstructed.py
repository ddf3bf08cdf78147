"""Mask criteria of Zhou et al. 2019, "Deconstructing Lottery Tickets" (1905.01067, sec. 2).

With initial weights i and final weights f:

    large_final                   |f|              `magnitude`
    small_final                   −|f|
    large_init                    |i|              `magnitude_at_init`
    small_init                    −|i|
    large_init_large_final        min(α|f|, |i|)
    small_init_small_final        −max(α|f|, |i|)
    magnitude_increase            |f| − |i|
    movement                      |f − i|
    random                        chance           `random`
    ..., same sign                                 `same_sign(of=magnitude)`
    ..., different sign                            `diff_sign(of=magnitude)`

Names in backticks are those used here where they are not the paper's.
"""

import torch
from torch import Tensor

from lottery.pruning.criteria.base import CRITERIA, Context, Layer


@CRITERIA.register
def small_final(layer: Layer, context: Context) -> Tensor:
    """−|f|: the smallest trained weights are kept."""
    return -layer.weight.abs()


@CRITERIA.register
def small_init(layer: Layer, context: Context) -> Tensor:
    """−|i|: the smallest initial weights are kept."""
    return -layer.initial.abs()


@CRITERIA.register
def large_init_large_final(layer: Layer, context: Context, alpha: float = 1.0) -> Tensor:
    """min(α|f|, |i|): kept if large at both ends; α weighs the two scales."""
    return torch.minimum(alpha * layer.weight.abs(), layer.initial.abs())


@CRITERIA.register
def small_init_small_final(layer: Layer, context: Context, alpha: float = 1.0) -> Tensor:
    """−max(α|f|, |i|): kept if small at both ends."""
    return -torch.maximum(alpha * layer.weight.abs(), layer.initial.abs())


@CRITERIA.register
def magnitude_increase(layer: Layer, context: Context) -> Tensor:
    """|f| − |i|: kept if training made it larger."""
    return layer.weight.abs() - layer.initial.abs()


@CRITERIA.register
def movement(layer: Layer, context: Context) -> Tensor:
    """|f − i|: kept if training moved it far."""
    return (layer.weight - layer.initial).abs()


@CRITERIA.register
def same_sign(layer: Layer, context: Context, of: str = "magnitude") -> Tensor:
    """Scores of the criterion `of`, and below all of them weights whose sign training changed."""
    return _where(layer.weight * layer.initial > 0, of, layer, context)


@CRITERIA.register
def diff_sign(layer: Layer, context: Context, of: str = "magnitude") -> Tensor:
    """Scores of the criterion `of`, and below all of them weights that kept their sign."""
    return _where(layer.weight * layer.initial < 0, of, layer, context)


def _where(wanted: Tensor, of: str, layer: Layer, context: Context) -> Tensor:
    scores: Tensor = CRITERIA.resolve(of)(layer, context)
    return scores.masked_fill(~wanted, -torch.inf)
