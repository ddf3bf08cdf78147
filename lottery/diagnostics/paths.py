"""Effective density: of the weights that a mask keeps, those that lie on a path through the net.

A kept weight whose unit sees no input, or reaches no output, does nothing; at 2 % and below many
are such, so densities should be compared without them (Vysogorets & Kempe 2021, 2107.02306).
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lottery.diagnostics.quantities import ratios
from lottery.pruning.masks import Masks

_WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d)
_POOLING = (nn.Flatten, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveMaxPool2d, nn.AdaptiveAvgPool2d)
_PASSING = (
    *(nn.Identity, nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Tanh),
    *(nn.Sigmoid, nn.Dropout, nn.Dropout2d, nn.BatchNorm1d, nn.BatchNorm2d),
)
"""Layers whose output depends, unit for unit, on their input."""


def effective_density(model: nn.Module, masks: Masks, image: Tensor) -> dict[str, float] | None:
    """Share of each layer's weights that are kept and on a path of kept weights.

    Biases and norms are left out.

    model: an nn.Sequential, nested or not, of linear and convolution layers, flattening, pooling
    and layers that act on units one by one; None for any other. masks: on the device of `image`, an
    input (1, ...) whose values do not matter.

    Where all weights are their masks and all inputs 1, no sums cancel: a weight is on a path
    exactly if the sum of outputs has a gradient with respect to it.
    """
    layers = list(_layers(model))
    if not all(_known(layer) for layer in layers):
        return None
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    own = {names[id(layer.weight)] for layer in layers if isinstance(layer, _WEIGHTED)}
    weights = {n: mask.double().requires_grad_() for n, mask in masks.items() if n in own}
    value = torch.ones_like(image, dtype=torch.float64)
    with torch.enable_grad():
        for layer in layers:
            if isinstance(layer, _WEIGHTED):
                value = _passed(layer, weights[names[id(layer.weight)]], value)
            else:
                value = _pooled(layer, value)
            value = value / value.detach().max().clamp(min=1.0)  # paths are many
        gradients = torch.autograd.grad(value.sum(), list(weights.values()))
    return ratios(
        {
            name: (int(((gradient > 0) & masks[name]).sum()), masks.sizes[name])
            for name, gradient in zip(weights, gradients, strict=True)
        }
    )


def _layers(model: nn.Module) -> Iterator[nn.Module]:
    """The layers of a Sequential in the order they are run; any other module is one layer."""
    if type(model) is not nn.Sequential:
        yield model
        return
    for child in model:
        yield from _layers(child)


def _known(layer: nn.Module) -> bool:
    """Whether the layer's paths are known. Subclasses may do anything, so types are exact."""
    if isinstance(layer, (nn.MaxPool2d, nn.AdaptiveMaxPool2d)) and layer.return_indices:
        return False
    if isinstance(layer, nn.MaxPool2d) and layer.dilation != 1:
        return False
    if isinstance(layer, (nn.Conv1d, nn.Conv2d)) and layer.padding_mode != "zeros":
        return False
    return type(layer) in (*_WEIGHTED, *_POOLING, *_PASSING)


def _passed(layer: nn.Linear | nn.Conv1d | nn.Conv2d, mask: Tensor, value: Tensor) -> Tensor:
    """A layer's output with its mask for weights and without bias."""
    if isinstance(layer, nn.Linear):
        return F.linear(value, mask)
    convolve: Callable[..., Tensor] = F.conv1d if isinstance(layer, nn.Conv1d) else F.conv2d
    return convolve(value, mask, None, layer.stride, layer.padding, layer.dilation, layer.groups)


def _pooled(layer: nn.Module, value: Tensor) -> Tensor:
    """The output of a layer without weights, with averages for maxima."""
    if isinstance(layer, nn.MaxPool2d):
        return F.avg_pool2d(value, layer.kernel_size, layer.stride, layer.padding, layer.ceil_mode)
    if isinstance(layer, nn.AdaptiveMaxPool2d):
        return F.adaptive_avg_pool2d(value, layer.output_size)
    return value if isinstance(layer, _PASSING) else layer(value)
