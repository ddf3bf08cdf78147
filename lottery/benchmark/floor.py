"""The floor of a training step: its matrix products and convolutions alone, back to back."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

Work = Callable[[], object]


@dataclass(frozen=True)
class LayerUse:
    """A layer and what goes through it in one step. Tensors have the step's shapes and layout."""

    module: nn.Module
    input: Tensor
    output: Tensor
    first: bool
    """The first layer needs no gradient of its input."""


def layer_uses(model: nn.Module, images: Tensor) -> list[LayerUse]:
    """The linear and convolution layers of `model`, in the order in which images pass them."""
    uses: list[LayerUse] = []

    def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        uses.append(LayerUse(module, inputs[0].detach(), output.detach(), first=not uses))

    kinds = (nn.Linear, nn.modules.conv._ConvNd)
    hooks = [
        module.register_forward_hook(note)
        for module in model.modules()
        if isinstance(module, kinds)
    ]
    try:
        with torch.no_grad():
            model(images)
    finally:
        for hook in hooks:
            hook.remove()
    return uses


def floor(model: nn.Module, images: Tensor, replicas: int = 1) -> Work:
    """The products of a training step on `images`: forward, then gradients of weights and inputs.

    With replicas, each has weights and activations of its own: linear layers multiply in batches,
    convolutions come one after the other.
    """
    forward: list[Work] = []
    backward: list[Work] = []
    for use in layer_uses(model, images):
        build = _linear if isinstance(use.module, nn.Linear) else _convolution
        ahead, back = build(use, replicas)
        forward += ahead
        backward = back + backward
    works = forward + backward

    def run() -> None:
        for work in works:
            work()

    return run


def _linear(use: LayerUse, replicas: int) -> tuple[list[Work], list[Work]]:
    """Products of a linear layer into tensors that are there already."""
    module = use.module
    assert isinstance(module, nn.Linear)
    batch = (replicas,) if replicas > 1 else ()
    multiply = torch.bmm if replicas > 1 else torch.mm
    inputs = use.input.flatten(0, -2).expand(*batch, -1, -1).clone()
    outputs = torch.randn_like(use.output.flatten(0, -2).expand(*batch, -1, -1).contiguous())
    weight = module.weight.detach().expand(*batch, -1, -1).clone()
    y, dx, dw = (torch.empty_like(like) for like in (outputs, inputs, weight))
    back: list[Work] = [lambda: multiply(outputs.mT, inputs, out=dw)]
    if not use.first:
        back.append(lambda: multiply(outputs, weight, out=dx))
    return [lambda: multiply(inputs, weight.mT, out=y)], back


def _convolution(use: LayerUse, replicas: int) -> tuple[list[Work], list[Work]]:
    module = use.module
    assert isinstance(module, nn.modules.conv._ConvNd)
    forward: list[Work] = []
    backward: list[Work] = []
    for _ in range(replicas):
        ahead, back = _one_convolution(module, use)
        forward.append(ahead)
        backward.append(back)
    return forward, backward


def _one_convolution(module: nn.modules.conv._ConvNd, use: LayerUse) -> tuple[Work, Work]:
    inputs, weight = use.input.clone(), module.weight.detach().clone()
    slopes = torch.randn_like(use.output)
    none = [0] * len(module.stride)
    where: tuple[Any, ...] = (
        module.stride,
        module.padding,
        module.dilation,
        False,
        none,
        module.groups,
    )
    wanted = (not use.first, True, False)

    def ahead() -> object:
        return torch.convolution(inputs, weight, None, *where)

    def back() -> object:
        convolution_backward = torch.ops.aten.convolution_backward
        return convolution_backward(slopes, inputs, weight, None, *where, wanted)

    return ahead, back
