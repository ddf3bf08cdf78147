"""Initialisation schemes: pure functions (shape, fans, generator, options) -> weights.

Most schemes are *variance scalings*: their standard deviation is gain / sqrt(fan), and the name
says the shape of the distribution and how the fan is counted. A layer's weights come from a
generator addressed by (seed, "init", layer name), so two normal schemes under one seed draw the
same numbers and differ in scale alone, and so do two uniform ones; a normal and a uniform scheme
share only the seed's data.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Generator, Size, Tensor, nn

from lottery.errors import ConfigError
from lottery.registry import Registry
from lottery.seeds import Address, generator

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


def _std(fans: Fans, gain: float, mode: str) -> float:
    """Standard deviation gain / sqrt(fan)."""
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
    return _normal(shape, _std(fans, gain, "fan_avg"), generator)


@SCHEMES.register
def xavier_uniform(shape: Size, fans: Fans, generator: Generator, gain: float = 1.0) -> Tensor:
    """U(−a, a) with a = gain·√(6 / (fan_in + fan_out)) (Glorot & Bengio 2010, eq. 16)."""
    return _uniform(shape, math.sqrt(3) * _std(fans, gain, "fan_avg"), generator)


@SCHEMES.register
def kaiming_normal(
    shape: Size, fans: Fans, generator: Generator, gain: float = RELU_GAIN, mode: str = "fan_in"
) -> Tensor:
    """N(0, σ²) with σ = gain / √fan, gain √2 for ReLU (He et al. 2015, eq. 10)."""
    return _normal(shape, _std(fans, gain, mode), generator)


@SCHEMES.register
def kaiming_uniform(
    shape: Size, fans: Fans, generator: Generator, gain: float = RELU_GAIN, mode: str = "fan_in"
) -> Tensor:
    """U(−a, a) with a = gain·√(3 / fan), gain √2 for ReLU (He et al. 2015)."""
    return _uniform(shape, math.sqrt(3) * _std(fans, gain, mode), generator)


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
    std = _std(fans, gain, mode) / std_after_cut
    weight = torch.empty(shape)
    return nn.init.trunc_normal_(weight, 0.0, std, -2 * std, 2 * std, generator=generator)


@SCHEMES.register
def orthogonal(shape: Size, fans: Fans, generator: Generator, gain: float = RELU_GAIN) -> Tensor:
    """gain times a matrix (out, rest) with orthonormal rows or columns (Saxe et al. 2014)."""
    return nn.init.orthogonal_(torch.empty(shape), gain, generator=generator)


@SCHEMES.register
def sign_constant(
    shape: Size, fans: Fans, generator: Generator, gain: float = RELU_GAIN, mode: str = "fan_in"
) -> Tensor:
    """±σ with equal chance, σ = gain / √fan: every weight of a layer has the same magnitude.

    The `binary` initialisation of Ramanujan et al. (2020): the sign and scale of Kaiming normal.
    """
    std = torch.full(shape, _std(fans, gain, mode))
    return torch.where(_normal(shape, 1.0, generator) < 0, -std, std)


@SCHEMES.register
def normal(shape: Size, fans: Fans, generator: Generator, std: float) -> Tensor:
    """N(0, std²) in every layer, whatever its fans."""
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


def initialise(
    model: nn.Module,
    scheme: str | Callable[..., Tensor] = "xavier_normal",
    seed: int = 0,
    address: tuple[Address, ...] = ("init",),
) -> nn.Module:
    """Set every linear and convolution layer of `model` by `scheme`, in place; biases to zero.

    scheme: a name such as "xavier_normal", a name with options such as "kaiming_normal(gain=1)",
        "module:function", or a function (shape, fans, generator) -> Tensor of that shape.
    seed, address: where the random streams are found, one per layer; another address is another
        draw under the same seed (the reinit control).
    Other parameters (batch norm, embeddings) are left as they are.
    """
    function = SCHEMES.resolve(scheme)
    with torch.no_grad():
        for name, module in model.named_modules():
            if not isinstance(module, (nn.Linear, nn.modules.conv._ConvNd)):
                continue
            weight = module.weight
            stream = generator(seed, *address, name)
            transposed = isinstance(module, nn.modules.conv._ConvTransposeNd)
            layer_fans = fans(weight, getattr(module, "groups", 1), transposed)
            values = function(weight.shape, layer_fans, stream)
            if values.shape != weight.shape:
                raise ConfigError("init", str(scheme), f"a scheme that returns {name}'s shape")
            weight.copy_(values)
            if module.bias is not None:
                module.bias.zero_()
    return model
