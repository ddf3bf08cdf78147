"""How layers with parameters read the labels of what goes in, and write those of what comes out."""

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.modules.instancenorm import _InstanceNorm

from lottery.errors import UsageError
from lottery.pruning.channels.calls import Call
from lottery.pruning.channels.graph import Axis
from lottery.pruning.channels.labels import Labels, none, spread, varying
from lottery.pruning.channels.operations import opaque

PER_CHANNEL = (_BatchNorm, _InstanceNorm, nn.PReLU)
"""Layers with an entry for each channel, which pass channels through."""
ACROSS = (nn.GroupNorm, nn.LayerNorm)
"""Layers that normalise over channels."""


class Layers:
    """What the layers met so far read and write, by names of the state."""

    def __init__(self, model: nn.Module, labels: Labels, fixed: frozenset[str]) -> None:
        """fixed: names of layers that keep all their filters."""
        self._labels = labels
        self._fixed = fixed
        self.axes: dict[Axis, Tensor] = {}
        self.written: dict[str, Tensor] = {}
        self.scattered: dict[str, Tensor] = {}
        """Labels of every element, by name, of parameters that no layer owns."""
        self._names: dict[int, str] = {}
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
            self._names.setdefault(id(tensor), name)  # what layers share has one name

    def filters(self, call: Call, layer: nn.Linear | _ConvNd) -> Tensor:
        """A convolution or linear layer: reads its columns, writes its rows."""
        dim = call.input.dim() - (layer.weight.dim() - 1)
        read = self._channels(call, dim)
        weight = self._name(layer, "weight")
        groups = getattr(layer, "groups", 1)
        if groups == len(read) > 1:  # depthwise: each filter belongs to the channel it reads
            units = read.repeat_interleave(len(layer.weight) // groups)
        else:
            known = self.written.get(weight)
            units = self._labels.new((len(layer.weight),)) if known is None else known
            if groups == 1:
                self._assign(weight, 1, read)
            else:
                reason = f"{call} is a grouped convolution"
                self._labels.fix(read, reason)
                self._labels.fix(units, reason)
        self._assign(weight, 0, units)
        if layer.bias is not None:
            self._assign(self._name(layer, "bias"), 0, units)
        if str(call.node.target) in self._fixed:
            self._labels.fix(units, f"{call.node.target} is listed as fixed")
        self.written[weight] = self.axes[weight, 0]
        return spread(units, dim, call.out.shape)

    def per_channel(self, call: Call, layer: nn.Module) -> Tensor:
        """Batch norm and the like: parameters and buffers with an entry for each channel."""
        channels = self._channels(call, min(1, call.input.dim() - 1))
        for name, tensor in [*layer.named_parameters(), *layer.named_buffers()]:
            if tensor.shape == channels.shape and len(channels) > 1:
                self._assign(self._name(layer, name), 0, channels)
        return call.input

    def across(self, call: Call) -> Tensor:
        """Group and layer norm: removed channels would count."""
        self._labels.refuse(call.input, f"{call} normalises over them")
        return call.input

    def parameter(self, tensor: Tensor) -> Tensor:
        """A parameter or buffer that the network's own code uses: it is cut with what it meets."""
        name = self._names.get(id(tensor))
        if name is None or tensor.numel() < 2:
            return none(tensor.shape)
        if name not in self.scattered:
            self.scattered[name] = self._labels.new(tensor.shape)
        return self.scattered[name]

    def _channels(self, call: Call, dim: int) -> Tensor:
        """Labels along `dim` of what a layer reads."""
        value = call.input
        if value.shape[dim] > 1 and varying(value) not in ([], [dim]):
            self._labels.refuse(value, f"{call} reads along another dimension than theirs")
            return none((value.shape[dim],))
        return self._labels.settle(value, dim)

    def _assign(self, name: str, dim: int, units: Tensor) -> None:
        known = self.axes.setdefault((name, dim), units)
        if known is not units:  # used before, or shared with a layer that was
            self._labels.tie(known, units)

    def _name(self, layer: nn.Module, name: str) -> str:
        return self._names[id(getattr(layer, name))]


def check_parameters(model: nn.Module) -> None:
    """Raise UsageError where a layer's tensors are not parameters of its own, which can be cut."""
    for path, layer in model.named_modules():
        if isinstance(layer, (nn.Linear, _ConvNd, *PER_CHANNEL)):
            for name in ("weight", "bias"):
                if name in layer.__dict__ or name in getattr(layer, "parametrizations", ()):
                    raise UsageError(
                        f"{name} of {path} is computed (by a parametrization or "
                        "torch.nn.utils.prune): make it permanent before removing filters"
                    )


def through(layers: Layers, labels: Labels, call: Call, layer: nn.Module) -> Tensor | None:
    """Labels behind a layer with parameters; None if it has none of its own rules."""
    if isinstance(layer, _ConvTransposeNd):
        return opaque(labels, call)
    if isinstance(layer, (nn.Linear, _ConvNd)):
        return layers.filters(call, layer)
    if isinstance(layer, PER_CHANNEL):
        return layers.per_channel(call, layer)
    if isinstance(layer, ACROSS):
        return layers.across(call)
    return None
