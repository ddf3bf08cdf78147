"""The standard deviation that a scheme gives each layer: a scheme's place on the axis of widths."""

import math
from collections.abc import Callable

from torch import Size, nn

from lottery.data.images import Examples
from lottery.init.by_layer import choose_by_layer
from lottery.init.network import NetworkDraw, Scheme, layer_fans, layers, root_mean_square
from lottery.init.schemes import RELU_GAIN, Fans, scaled_std
from lottery.registry import parse_spec

Formula = Callable[..., float]
"""(shape, fans, options of the scheme) -> σ."""


def _xavier(shape: Size, fans: Fans, gain: float = 1.0) -> float:
    return scaled_std(fans, gain, "fan_avg")


def _kaiming(shape: Size, fans: Fans, gain: float = RELU_GAIN, mode: str = "fan_in") -> float:
    return scaled_std(fans, gain, mode)


def _truncated(shape: Size, fans: Fans, gain: float = 1.0, mode: str = "fan_avg") -> float:
    return scaled_std(fans, gain, mode)


def _orthogonal(shape: Size, fans: Fans, gain: float = RELU_GAIN) -> float:
    """From the squared Frobenius norm, gain² · min(out, rest)."""
    return gain / math.sqrt(max(shape[0], math.prod(shape[1:])))


def _delta_orthogonal(shape: Size, fans: Fans, gain: float = RELU_GAIN) -> float:
    return _orthogonal(shape[:2], fans, gain) / math.sqrt(math.prod(shape[2:]))


FORMULAS: dict[str, Formula] = {
    "xavier_normal": _xavier,
    "xavier_uniform": _xavier,
    "kaiming_normal": _kaiming,
    "kaiming_uniform": _kaiming,
    "sign_constant": _kaiming,
    "truncated_normal": _truncated,
    "orthogonal": _orthogonal,
    "delta_orthogonal": _delta_orthogonal,
    "normal": lambda shape, fans, std: std,
    "uniform": lambda shape, fans, bound: bound / math.sqrt(3),
    "torch_default": lambda shape, fans: 1 / math.sqrt(3 * fans.fan_in),
}


def stds(
    model: nn.Module, scheme: Scheme, seed: int = 0, examples: Examples | None = None
) -> dict[str, float]:
    """Standard deviation of each layer's initial weights, by the weight's name.

    By formula where there is one, and for each layer's scheme of `by_layer`. Else it is the root
    mean square of the draw under `seed`, which is off by 1 / √(2n) for n normal weights. scheme and
    examples: as for `initialise`.
    """
    name, args, options = ("", [], {}) if callable(scheme) else parse_spec(scheme, "init")
    if name == "by_layer":

        def inner(one: str) -> dict[str, float]:
            return stds(model, one, seed, examples)

        return choose_by_layer(model, inner, *args, **options)
    if name in FORMULAS:
        return {
            weight: FORMULAS[name](module.weight.shape, layer_fans(module), *args, **options)
            for weight, module in layers(model).items()
        }
    drawn = NetworkDraw(model, seed, examples=examples).weights(scheme)
    return {weight: root_mean_square(drawn[weight]) for weight in layers(model)}
