"""Schemes that look at training images: the same images for every draw under a seed."""

import copy
from functools import partial

import torch
from torch import Tensor, nn

from lottery.data.images import Examples
from lottery.errors import ConfigError, within
from lottery.init.network import (
    LayerModule,
    NetworkDraw,
    Weights,
    layers,
    network_scheme,
    root_mean_square,
)
from lottery.init.schemes import SCHEMES

CHUNK = 1000
"""Images looked at together."""


@SCHEMES.register
@network_scheme
def data_aware_first(draw: NetworkDraw, base: str = "xavier_normal", floor: float = 0.1) -> Weights:
    """`base`, but the first layer's weights of input i over σ_i + ε, rescaled to base's σ.

    σ_i is the standard deviation of the input over all training images: of a pixel, or of a channel
    before a convolution. Weights of constant inputs are 0. ε = floor · max σ_i, as pixels that are
    hardly ever lit would else outweigh all others. The layer's root mean square is then base's; a
    network's first layer must see the images as they are.
    """
    if floor < 0:
        raise ConfigError("init option floor", floor, "at least 0")
    with within("data_aware_first's base"):
        weights = draw.weights(base)
    name, first = next(iter(layers(draw.model).items()))
    deviations = input_deviations(first, draw.training)
    constant = deviations == 0
    if constant.all():
        raise ConfigError("data", "images that are all alike", "images that differ")
    factors = 1 / (deviations + floor * deviations.max())
    factors = factors.masked_fill(constant, 0.0).float().cpu()
    plain = weights[name]
    scaled = plain * factors.view(1, -1, *[1] * (plain.dim() - 2))
    scaled *= root_mean_square(plain) / root_mean_square(scaled)
    return {**weights, name: scaled}


def input_deviations(first: LayerModule, examples: Examples) -> Tensor:
    """Standard deviation over the examples of each input of a first layer: float64, inputs."""
    inputs = first.weight.shape[1]
    total = square = torch.zeros(inputs, dtype=torch.float64, device=examples.device)
    low = torch.full_like(total, torch.inf)
    high, count = -low, 0
    for start in range(0, len(examples), CHUNK):
        images = examples.batch(slice(start, start + CHUNK))[0].double()
        if isinstance(first, nn.Linear):
            values = images.flatten(1)
        else:
            values = images.movedim(1, -1).flatten(0, -2)
        if values.shape[1] != inputs:
            shape = tuple(images.shape[1:])
            allowed = f"a network whose first layer sees the images of shape {shape}"
            raise ConfigError("model", f"one with {inputs} inputs", allowed)
        total = total + values.sum(0)
        square = square + values.square().sum(0)
        low, high = torch.minimum(low, values.amin(0)), torch.maximum(high, values.amax(0))
        count += len(values)
    variances = (square / count - (total / count).square()).clamp_min(0)
    return variances.sqrt().masked_fill(low == high, 0.0)  # exactly, whatever the rounding


@SCHEMES.register
@network_scheme
def lsuv(
    draw: NetworkDraw,
    base: str = "orthogonal",
    images: int = 512,
    tolerance: float = 0.01,
    iterations: int = 10,
) -> Weights:
    """`base`, each layer divided in turn by its outputs' σ until |σ² − 1| < tolerance.

    Layer-sequential unit variance (Mishkin & Matas 2016): in the order in which layers run, on one
    batch of training images, before the activation, at most `iterations` times. Outputs are those
    in eval mode, of a layer's first run; one that gives a single value is left as base drew it.
    """
    with within("lsuv's base"):
        weights = draw.weights(base)
    batch = draw.images(images)
    model = copy.deepcopy(draw.model).eval()
    seen: set[str] = set()
    changed: set[str] = set()

    def settle(name: str, module: LayerModule, _: object, output: Tensor) -> Tensor | None:
        """Rescale a layer as it runs, so that the next ones already see what it will give."""
        variance = float(output.double().var(correction=0))
        if name in seen or variance == 0 or abs(variance - 1) < tolerance:
            seen.add(name)
            return None
        seen.add(name)
        changed.add(name)
        weights[name] = weights[name] / variance**0.5
        module.weight.copy_(weights[name])
        return output / variance**0.5

    with torch.no_grad():
        for name, module in layers(model).items():
            module.weight.copy_(weights[name])
            if module.bias is not None:
                module.bias.zero_()
            module.register_forward_hook(partial(settle, name))
        for _ in range(iterations):
            seen.clear()
            changed.clear()
            model(batch)
            if not changed:
                break
    return weights
