"""The linear layers and (leaky) ReLUs that a network ends in, written out.

Activations are (features, batch):

    z = W x + b        dW = dz xᵀ        db = Σ dz        dx = Wᵀ dz

W and dW are dense, or CSR matrices of the kept weights. Either way they and b and db are views of
vectors that the caller owns.
"""

import functools
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class HeadLayer:
    """A linear layer of the head, and the ReLU that follows."""

    name: str
    linear: nn.Linear
    negative_slope: float | None
    """0 for a ReLU, more for a leaky one; None if there is none."""


def split_head(model: nn.Module) -> tuple[nn.Sequential, list[HeadLayer]]:
    """What comes before the head, and the layers of the head; none if `model` has no head.

    Only an `nn.Sequential` (of Sequentials) says what follows what. A Flatten right before the head
    belongs to it.
    """
    names = {module: name for name, module in model.named_modules()}
    parts = list(_parts(model)) if type(model) is nn.Sequential else []
    start, head = len(parts), list[HeadLayer]()
    while start > 0:
        slope = _negative_slope(parts[start - 1]) if start > 1 else None
        linear = parts[start - 1 - (slope is not None)]
        if type(linear) is not nn.Linear:
            break
        head.insert(0, HeadLayer(names[linear], linear, slope))
        start -= 1 + (slope is not None)
    if head and start and type(parts[start - 1]) is nn.Flatten:
        start -= 1
    return nn.Sequential(*parts[:start]), head


def _negative_slope(module: nn.Module) -> float | None:
    """What a (leaky) ReLU multiplies negative numbers with; None for other modules.

    With a slope below zero the sign of its input could not be read off its output.
    """
    if type(module) is nn.ReLU:
        return 0.0
    if type(module) is nn.LeakyReLU and module.negative_slope >= 0:
        return module.negative_slope
    return None


def _parts(module: nn.Sequential) -> Iterator[nn.Module]:
    for part in module:
        if type(part) is nn.Sequential:
            yield from _parts(part)
        else:
            yield part


@dataclass(frozen=True)
class Trained:
    """The numbers of a parameter that are trained, their gradients, and what is fixed at zero."""

    values: Tensor
    gradient: Tensor
    factor: Tensor | None = None
    """1 where a whole parameter is kept and 0 where it is pruned; None if nothing is."""


class Layer(ABC):
    """One layer's products."""

    _matrix: Tensor
    """The weight, dense or in CSR."""

    def __init__(
        self, weight: Trained, bias: Trained | None, *, negative_slope: float | None
    ) -> None:
        self.weight, self.bias, self.negative_slope = weight, bias, negative_slope
        self._column = None if bias is None else bias.values.unsqueeze(1)
        self._masked = [
            (trained.gradient, trained.factor)
            for trained in (weight, bias)
            if trained is not None and trained.factor is not None
        ]

    def forward(self, x: Tensor) -> Tensor:
        """(inputs, batch) -> (outputs, batch)."""
        matrix = self._matrix
        z = matrix @ x if self._column is None else torch.addmm(self._column, matrix, x)
        if self.negative_slope is None:
            return z
        return F.leaky_relu_(z, self.negative_slope) if self.negative_slope else z.relu_()

    def backward(self, slope: Tensor, x: Tensor, output: Tensor) -> Tensor:
        """Write the gradients; the slope of the loss before the ReLU, (outputs, batch).

        slope: by `output`, the result of `forward(x)`.
        """
        if self.negative_slope:
            slope = torch.ops.aten.leaky_relu_backward(slope, output, self.negative_slope, True)
        elif self.negative_slope is not None:
            slope = torch.ops.aten.threshold_backward(slope, output, 0)
        self._write_gradient(slope, x)
        if self.bias is not None:
            torch.sum(slope, 1, out=self.bias.gradient)
        for gradient, factor in self._masked:
            gradient.mul_(factor)
        return slope

    @abstractmethod
    def input_slope(self, slope: Tensor) -> Tensor:
        """From the slope before the ReLU that by the input, (inputs, batch)."""

    @abstractmethod
    def _write_gradient(self, slope: Tensor, x: Tensor) -> None: ...


class DenseLayer(Layer):
    """A layer whose pruned weights are zeros among the others; weight: (outputs, inputs)."""

    def __init__(
        self, weight: Trained, bias: Trained | None, *, negative_slope: float | None
    ) -> None:
        super().__init__(weight, bias, negative_slope=negative_slope)
        self._matrix, self._transposed = weight.values, weight.values.t()

    def input_slope(self, slope: Tensor) -> Tensor:  # noqa: D102 (as declared)
        return self._transposed @ slope

    def _write_gradient(self, slope: Tensor, x: Tensor) -> None:
        torch.mm(slope, x.t(), out=self.weight.gradient)


class CsrLayer(Layer):
    """A layer of its kept weights alone; weight: (kept,), in the order of their positions."""

    def __init__(
        self,
        weight: Trained,
        bias: Trained | None,
        *,
        negative_slope: float | None,
        kept: Tensor,
        shape: torch.Size,
    ) -> None:
        """kept: positions in the flattened weight of `shape`, ascending."""
        super().__init__(weight, bias, negative_slope=negative_slope)
        rows, columns = kept // shape[1], kept % shape[1]
        self._matrix = _csr(rows, columns, weight.values, shape)
        self._gradient = _csr(rows, columns, weight.gradient, shape)
        self._order = torch.argsort(columns, stable=True)
        rows, columns = columns[self._order], rows[self._order]
        self._transposed = _csr(rows, columns, weight.values[self._order], shape[::-1])

    def input_slope(self, slope: Tensor) -> Tensor:  # noqa: D102
        torch.index_select(self.weight.values, 0, self._order, out=self._transposed.values())
        return self._transposed @ slope

    def _write_gradient(self, slope: Tensor, x: Tensor) -> None:
        torch.sparse.sampled_addmm(self._gradient, slope, x.t(), beta=0.0, out=self._gradient)


def _csr(rows: Tensor, columns: Tensor, values: Tensor, shape: torch.Size) -> Tensor:
    """A CSR matrix that shares `values`; rows ascend."""
    starts = torch.zeros(shape[0] + 1, dtype=torch.int32)  # the kernels' own type of index
    starts[1:] = torch.bincount(rows, minlength=shape[0]).cumsum(0)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support", UserWarning)
        return torch.sparse_csr_tensor(
            starts, columns.int(), values, size=shape, check_invariants=True
        )


@functools.cache
def has_csr_kernels() -> bool:
    """Whether this build of PyTorch has the kernels, and they compute what they should."""
    weight, x = torch.tensor([[0.0, 2.0], [3.0, 4.0]]), torch.tensor([[1.0, 2.0], [3.0, 5.0]])
    kept = torch.tensor([1, 2, 3])
    trained = Trained(weight.flatten()[kept], torch.zeros(3))
    try:
        layer = CsrLayer(trained, None, negative_slope=None, kept=kept, shape=weight.shape)
        output = layer.forward(x)
        layer.backward(x, x, output)
        computed = output, layer.input_slope(x), trained.gradient
    except RuntimeError:
        return False
    expected = weight @ x, weight.t() @ x, (x @ x.t()).flatten()[kept]
    return all(map(torch.equal, computed, expected))
