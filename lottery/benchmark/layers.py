"""One linear layer's share of a training step, dense and in CSR, as the sparse engine has it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import Adam

from lottery.models import build
from lottery.pruning.masks import prunable
from lottery.training.head import CsrLayer, DenseLayer, Layer, Trained
from lottery.training.updates import make_update

Products = tuple[Tensor, Tensor, Tensor | None]
"""Output, gradient of the trained weights, and that of the input unless it is not needed."""


@dataclass(frozen=True)
class Shape:
    """A linear layer's size; the first layer of a network has no input gradient."""

    inputs: int
    outputs: int
    first: bool

    def __str__(self) -> str:
        return f"{self.inputs}×{self.outputs}" + (" (first)" if self.first else "")


def linear_shapes(models: Iterable[str]) -> list[Shape]:
    """The linear layers of these networks, each shape once."""
    found = []
    for spec in models:
        model = build(spec)
        for position, name in enumerate(prunable(model)):
            weight = model.get_parameter(name)
            if weight.dim() == 2:
                found.append(Shape(weight.shape[1], weight.shape[0], first=position == 0))
    return list(dict.fromkeys(found))


def layer_step(shape: Shape, density: float, batch: int, *, csr: bool) -> Callable[[], Products]:
    """Forward, weight and input gradients, and Adam, at a random mask of about that density.

    Dense, the weight gradient is multiplied by the mask and Adam updates all weights; in CSR there
    are the kept ones alone. The numbers are the same at each call.
    """
    chance = torch.Generator().manual_seed(0)
    size = torch.Size((shape.outputs, shape.inputs))
    weight = nn.init.normal_(torch.empty(size), std=0.05, generator=chance)
    mask = torch.rand(size, generator=chance) < density
    x = torch.randn(batch, shape.inputs, generator=chance).t()
    slope = torch.randn(shape.outputs, batch, generator=chance)
    if csr or not shape.first:
        x = x.contiguous()  # as layers leave it; images are the other way round
    values = weight[mask] if csr else weight * mask
    gradient = torch.zeros_like(values)
    trained = Trained(values, gradient, None if csr else mask.float())
    layer: Layer
    if csr:
        kept = mask.view(-1).nonzero().squeeze(1)
        layer = CsrLayer(trained, None, negative_slope=None, kept=kept, shape=size)
    else:
        layer = DenseLayer(trained, None, negative_slope=None)
    update = make_update(Adam([values]), values.view(-1), gradient.view(-1), {})

    def step() -> Products:
        output = layer.forward(x)
        layer.backward(slope, x, output)
        back = None if shape.first else layer.input_slope(slope)
        update(1.2e-3)
        return output, gradient, back

    return step
