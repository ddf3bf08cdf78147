"""Following what layers put out through a forward pass, in any network.

with Responses(model) as responses:
    model(images)
responses.activity["conv1.weight"]     # of each filter: how strong, and how often zero

Layers are known by their weights, so that functions serve as well as modules do. A layer's output
is followed through batch norm, pooling and dropout to its activation function, as far as nothing
else stands between.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

LAYERS = {"linear", "conv1d", "conv2d", "conv3d"}
ACTIVATIONS = {
    *("relu", "relu6", "leaky_relu", "prelu", "rrelu", "elu", "celu", "selu", "gelu", "silu"),
    *("mish", "tanh", "sigmoid", "hardtanh", "hardswish", "hardsigmoid", "softplus", "softsign"),
    "threshold",
}
PASSING = {"dropout", "feature_dropout", "alpha_dropout"} | {
    f"{kind}_pool{dims}d"
    for kind in ("max", "avg", "adaptive_max", "adaptive_avg")
    for dims in (1, 2, 3)
}


@dataclass(frozen=True)
class Activity:
    """How active each filter of a layer is, over all images and positions; tensors (filters,)."""

    strength: Tensor
    """Mean absolute value."""
    zeros: Tensor
    """Share of values that are zero (0 to 1)."""


class Responses(TorchFunctionMode):
    """What is seen of each layer, by its weight's name, in the forward passes it is around."""

    def __init__(self, model: nn.Module, gates: bool = False) -> None:
        """gates: multiply every layer's output, after its batch norm, by ones to differentiate."""
        super().__init__()
        self._names = {id(parameter): name for name, parameter in model.named_parameters()}
        self._with_gates = gates
        self._followed: dict[int, tuple[Tensor, str]] = {}  # tensors are kept: ids stay theirs
        self.gates: dict[str, list[Tensor]] = {}
        """Ones of each use of a layer, (images, filters)."""
        self.activity: dict[str, Activity] = {}
        """Of the activation function's values, or of the last ones before it that are known."""
        self.scales: dict[str, Tensor] = {}
        """Scales γ of the batch norm that follows, where one does."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Compute as ever, and look at what is computed."""
        kwargs = kwargs or {}
        source = args[0] if args else kwargs.get("input")
        layer = self._followed[id(source)][1] if id(source) in self._followed else None
        result = func(*args, **kwargs)
        name = getattr(func, "__name__", "").rstrip("_")
        if name in LAYERS:
            weight = args[1] if len(args) > 1 else kwargs["weight"]
            if own := self._names.get(id(weight)):
                return self._seen(own, result, name == "linear", is_new=True)
        elif layer is not None and isinstance(result, Tensor):
            if name == "batch_norm":
                weight = kwargs.get("weight") if len(args) < 4 else args[3]
                if weight is not None:
                    self.scales[layer] = weight.detach()
                return self._seen(layer, result, result.dim() == 2)
            if name in ACTIVATIONS:
                self.activity[layer] = _activity(result, result.dim() == 2)
                self._followed.pop(id(result), None)  # which it is where it works in place
            elif name in PASSING:
                self._followed[id(result)] = result, layer
        return result

    def _seen(self, layer: str, output: Tensor, last: bool, is_new: bool = False) -> Tensor:
        """A layer's output to be followed, behind its gate. last: filters are the last dimension.

        is_new: a further use of the layer, not the same one after its batch norm.
        """
        self.activity[layer] = _activity(output, last)
        if self._with_gates:
            size = (len(output), output.shape[-1 if last else 1])
            gate = torch.ones(size, dtype=output.dtype, device=output.device, requires_grad=True)
            between = [1] * (output.dim() - 2)
            output = output * gate.view(len(output), *((*between, -1) if last else (-1, *between)))
            uses = self.gates.setdefault(layer, [])
            self.gates[layer] = [*(uses if is_new else uses[:-1]), gate]
        self._followed[id(output)] = output, layer
        return output


def _activity(values: Tensor, last: bool) -> Activity:
    rows = values.detach().movedim(-1 if last else 1, 0).flatten(1)
    return Activity(rows.abs().mean(1), (rows == 0).to(rows.dtype).mean(1))
