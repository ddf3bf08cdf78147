"""Schemes of single layers: pure functions (shape, fans, generator, options) -> weights.

Most are *variance scalings*: their standard deviation is gain / √fan, and the name says the shape
of the distribution and how the fan is counted. `gain` walks the axis of widths, as in
xavier_normal(gain=0.25). Shapes are compared at one σ: xavier_normal, xavier_uniform,
truncated_normal and sign_constant(gain=1, mode=fan_avg) share Xavier's; kaiming_normal,
kaiming_uniform, truncated_normal(gain=1.41421356, mode=fan_in) and sign_constant share Kaiming's.
`lottery.init.stds` says what σ a scheme gives a network's layers.
"""

import math
from typing import NamedTuple

import torch
from torch import Generator, Size, Tensor, nn

from lottery.errors import ConfigError
from lottery.registry import Registry

RELU_GAIN = math.sqrt(2)
"""Gain that keeps the second moment through a ReLU (He et al. 2015, eq. 10)."""

SCHEMES = Registry("init", leading=3)


class Fans(NamedTuple):
    """Connections per unit: incoming to one output unit, outgoing from one input unit."""

    fan_in: int
    fan_out: int


def fans(weight: Tensor, groups: int = 1, transposed: bool = False) -> Fans:
    """Fans of a linear or convolution weight (out, in / groups, *kernel).

    fan_in = in / groups · kernel area, fan_out = out / groups · kernel area. A transposed
    convolution's weight has the two channel dimensions the other way round.
    """
    kernel = math.prod(weight.shape[2:])
    first, second = weight.shape[0] * kernel // groups, weight.shape[1] * kernel
    return Fans(first, second) if transposed else Fans(second, first)


def scaled_std(fans: Fans, gain: float, mode: str) -> float:
    """Standard deviation gain / √fan; mode: fan_in, fan_out or fan_avg, their mean."""
    choices = {**fans._asdict(), "fan_avg": (fans.fan_in + fans.fan_out) / 2}
    if mode not in choices:
        raise ConfigError("init option mode", mode, ", ".join(choices))
    return gain / math.sqrt(choices[mode])


def _normal(shape: Size, std: float, generator: Generator) -> Tensor:
    return torch.empty(shape).normal_(0.0, std, generator=generator)


def _uniform(shape: Size, bound: float, generator: Generator) -> Tensor:
    return torch.empty(shape).uniform_(-bound, bound, generator=generator)


@SCHEMES.register
def xavier_normal(shape: Size, fans: Fans, generator: Generator, gain: float = 1.0) -> Tensor:
    """N(0, σ²) with σ = gain·√(2 / (fan_in + fan_out)) (Glorot & Bengio 2010)."""
    return _normal(shape, scaled_std(fans, gain, "fan_avg"), generator)


@SCHEMES.register
def xavier_uniform(shape: Size, fans: Fans, generator: Generator, gain: float = 1.0) -> Tensor:
    """U(−a, a) with a = gain·√(6 / (fan_in + fan_out)) (Glorot & Bengio 2010, eq. 16)."""
    return _uniform(shape, math.sqrt(3) * scaled_std(fans, gain, "fan_avg"), generator)


@SCHEMES.register
def kaiming_normal(
    shape: Size, fans: Fans, generator: Generator, gain: float = RELU_GAIN, mode: str = "fan_in"
) -> Tensor:
    """N(0, σ²) with σ = gain / √fan, gain √2 for ReLU (He et al. 2015, eq. 10)."""
    return _normal(shape, scaled_std(fans, gain, mode), generator)


@SCHEMES.register
def kaiming_uniform(
    shape: Size, fans: Fans, generator: Generator, gain: float = RELU_GAIN, mode: str = "fan_in"
) -> Tensor:
    """U(−a, a) with a = gain·√(3 / fan), gain √2 for ReLU (He et al. 2015)."""
    return _uniform(shape, math.sqrt(3) * scaled_std(fans, gain, mode), generator)


@SCHEMES.register
def truncated_normal(
    shape: Size, fans: Fans, generator: Generator, gain: float = 1.0, mode: str = "fan_avg"
) -> Tensor:
    """Normal cut at two of its own σ, widened so that σ after the cut is gain / √fan.

    With the default options this is Keras' `glorot_normal`. A standard normal cut at ±2 keeps a
    variance of 1 − 2·2φ(2) / (2Φ(2) − 1) = 0.774, hence a standard deviation of 0.880.
    """
    density = math.exp(-2) / math.sqrt(2 * math.pi)
    std_after_cut = math.sqrt(1 - 4 * density / math.erf(math.sqrt(2)))
    std = scaled_std(fans, gain, mode) / std_after_cut
    weight = torch.empty(shape)
    return nn.init.trunc_normal_(weight, 0.0, std, -2 * std, 2 * std, generator=generator)


@SCHEMES.register
def orthogonal(shape: Size, fans: Fans, generator: Generator, gain: float = RELU_GAIN) -> Tensor:
    """gain times a matrix (out, rest) with orthonormal rows or columns (Saxe et al. 2014).

    Its singular values are all `gain`, and σ = gain / √max(out, rest). Gain 1 is dynamical isometry
    in a linear network; √2 makes up for the half that a ReLU takes.
    """
    return nn.init.orthogonal_(torch.empty(shape), gain, generator=generator)


@SCHEMES.register
def delta_orthogonal(
    shape: Size, fans: Fans, generator: Generator, gain: float = RELU_GAIN
) -> Tensor:
    """Zero but for each kernel's centre tap: gain times an orthogonal (out, in) (Xiao et al. 2018).

    Then a convolution keeps norms as `orthogonal` does in a linear layer, where the two are the
    same. Rows are orthonormal where out < in, which keeps norms backwards alone.
    """
    weight = torch.zeros(shape)
    taps = weight.view(*shape[:2], -1)
    taps[:, :, taps.shape[2] // 2] = orthogonal(shape[:2], fans, generator, gain)
    return weight


@SCHEMES.register
def sign_constant(
    shape: Size, fans: Fans, generator: Generator, gain: float = RELU_GAIN, mode: str = "fan_in"
) -> Tensor:
    """±σ with equal chance, σ = gain / √fan: every weight of a layer has the same magnitude.

    The `binary` initialisation of Ramanujan et al. (2020): the sign and scale of Kaiming normal.
    """
    std = torch.full(shape, scaled_std(fans, gain, mode))
    return torch.where(_normal(shape, 1.0, generator) < 0, -std, std)


@SCHEMES.register
def normal(shape: Size, fans: Fans, generator: Generator, std: float) -> Tensor:
    """N(0, std²) in every layer, whatever its fans.

    It is the scheme to choose for Adam if weights of all layers are to travel equally far for their
    size: Adam's steps are about as long as its learning rate, whatever the scale of a layer, so
    the relative travel lr·√steps / σ is the same in every layer when σ is. Frankle & Carbin (2019,
    app. G.5) found σ = 0.1 best for LeNet, near Xavier's of its last layers.
    """
    return _normal(shape, std, generator)


@SCHEMES.register
def uniform(shape: Size, fans: Fans, generator: Generator, bound: float) -> Tensor:
    """U(−bound, bound) in every layer, whatever its fans."""
    return _uniform(shape, bound, generator)


@SCHEMES.register
def torch_default(shape: Size, fans: Fans, generator: Generator) -> Tensor:
    """PyTorch's own weights of Linear and Conv: U(±1/√fan_in), that is σ = 1/√(3·fan_in).

    Biases are zero here as in every scheme, unlike PyTorch's, so that schemes differ in weights
    alone.
    """
    return _uniform(shape, 1 / math.sqrt(fans.fan_in), generator)
