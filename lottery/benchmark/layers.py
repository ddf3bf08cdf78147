"""One linear layer's share of a training step, dense and in CSR, with PyTorch's own kernels."""

import functools
import itertools
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim.adam import adam

from lottery.models import build
from lottery.pruning.masks import prunable

Products = tuple[Tensor, Tensor | None, Tensor]
"""Output, gradient of the input unless it is not needed, gradient of the weights."""


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


@functools.cache
def csr_works() -> bool:
    """Whether this build of PyTorch has the kernels."""
    try:
        csr_step(Shape(4, 3, first=False), 0.5, 2)()
    except (RuntimeError, NotImplementedError):
        return False
    return True


def dense_step(shape: Shape, density: float, batch: int) -> Callable[[], Products]:
    """Forward, input gradient, weight gradient times the mask, and Adam on all weights."""
    weight, mask, inputs, slopes = _tensors(shape, density, batch)
    weight, factor = weight * mask, mask.float()
    gradient = torch.empty_like(weight)
    update = _adam(weight, gradient)

    def step() -> Products:
        output = torch.mm(inputs, weight.t())
        back = None if shape.first else torch.mm(slopes, weight)
        torch.mm(slopes.t(), inputs, out=gradient)
        gradient.mul_(factor)
        update()
        return output, back, gradient

    return step


def csr_step(shape: Shape, density: float, batch: int) -> Callable[[], Products]:
    """The same with the kept weights in CSR, and Adam on those alone; activations transposed."""
    weight, mask, inputs, slopes = _tensors(shape, density, batch)
    inputs, slopes = inputs.t().contiguous(), slopes.t().contiguous()
    kept = torch.zeros(weight.shape, dtype=torch.int64)
    kept[mask] = torch.arange(int(mask.sum()))
    order = kept.t()[mask.t()]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        matrix, gradient = _csr(mask, weight[mask]), _csr(mask, torch.zeros(len(order)))
        turned = _csr(mask.t(), weight[mask][order])
    update = _adam(matrix.values(), gradient.values())

    def step() -> Products:
        output = matrix @ inputs
        back = None
        if not shape.first:
            torch.index_select(matrix.values(), 0, order, out=turned.values())
            back = turned @ slopes
        torch.sparse.sampled_addmm(gradient, slopes, inputs.t(), beta=0.0, out=gradient)
        update()
        return output, back, gradient

    return step


def _tensors(shape: Shape, density: float, batch: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Weights, mask, inputs and gradients of the outputs, the same at each call."""
    chance = torch.Generator().manual_seed(0)
    size = (shape.outputs, shape.inputs)
    weight = nn.init.normal_(torch.empty(size), std=0.05, generator=chance)
    inputs = torch.randn(batch, shape.inputs, generator=chance)
    slopes = torch.randn(batch, shape.outputs, generator=chance)
    return weight, torch.rand(size, generator=chance) < density, inputs, slopes


def _csr(mask: Tensor, values: Tensor) -> Tensor:
    """Indices of 32 bits are what the kernels take without converting."""
    rows = torch.tensor([0, *itertools.accumulate(mask.sum(1).tolist())], dtype=torch.int32)
    columns = mask.nonzero()[:, 1].int()
    size = tuple(mask.shape)
    return torch.sparse_csr_tensor(rows, columns, values, size=size, check_invariants=True)


def _adam(weight: Tensor, gradient: Tensor) -> Callable[[], None]:
    """One fused update of PyTorch's Adam, without the bookkeeping of its class."""
    first, second = torch.zeros_like(weight), torch.zeros_like(weight)
    count = torch.tensor(0.0)

    def step() -> None:
        adam(
            [weight],
            [gradient],
            [first],
            [second],
            [],
            [count],
            foreach=False,
            fused=True,
            amsgrad=False,
            maximize=False,
            beta1=0.9,
            beta2=0.999,
            lr=1.2e-3,
            weight_decay=0.0,
            eps=1e-8,
        )

    return step
