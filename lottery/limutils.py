"""The functions of the report's LIMutils: networks that become smaller while they are trained.

    for layer in (fc1, fc2):                              # all norms before any removal
        keep[layer] = relative_reduce_layer(layer, 0.2)
    shrink_layer(fc1, keep_indexes_output=keep[fc1], optimizer=optimizer)
    shrink_layer(fc2, keep[fc1], keep[fc2], optimizer=optimizer)
    shrink_layer(fc3, keep[fc2], optimizer=optimizer)     # outputs of the network stay

Names and meaning follow Idiap-RR-03-2018, appendix A; its code is not public. Norms are those of
weights without biases, so a neuron that vanishes takes along what its bias contributed. Under a
relative threshold each survivor is shorter by ratio · maximum too: at ratio 0.8 the largest keeps a
fifth of its norm at every application, so training must follow. For networks that are no plain
chain of layers see `lottery.trace` and `lottery.shrink`.
"""

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.optim import Optimizer

from lottery.errors import ConfigError
from lottery.pruning.cut import Keep, cut, kept, update_sizes
from lottery.pruning.shrinkage import factors, group_norms, relative_threshold, scale

__all__ = [
    "absolute_reduce",
    "relative_reduce",
    "relative_reduce_1D",
    "relative_reduce_2D",
    "relative_reduce_layer",
    "shrink_layer",
    "shrink_tensor",
    "shrink_vector",
]


@torch.no_grad()
def absolute_reduce(weights: Tensor, threshold: float, norm: Tensor) -> Tensor:
    """Shrink each neuron's weights by `threshold`, in place; indices of those left, ascending.

    weights: (neurons, ...), of which `norm`, (neurons,), has the norms. A neuron is left if its
    norm is above the threshold, which may hold for none.
    """
    if not threshold >= 0:
        raise ConfigError("threshold", threshold, "a number of at least 0")
    if norm.shape != weights.shape[:1]:
        raise ConfigError("norm's shape", tuple(norm.shape), f"{(len(weights),)}, one per neuron")
    left = factors(norm.double(), threshold)
    scale(weights, left)
    return left.nonzero().squeeze(1)


def relative_reduce(weights: Tensor, threshold_ratio: float, norm: Tensor) -> Tensor:
    """The same with the threshold threshold_ratio · largest norm: the largest is always left."""
    if not 0 <= threshold_ratio < 1:
        raise ConfigError("threshold_ratio", threshold_ratio, "at least 0 below 1")
    return absolute_reduce(weights, relative_threshold(norm, threshold_ratio), norm)


def relative_reduce_1D(weights: Tensor, threshold_ratio: float) -> Tensor:
    """`relative_reduce` of a linear layer's weights, (out, in), by the norms of its rows."""
    return relative_reduce(weights, threshold_ratio, group_norms(_of(weights, 2)))


def relative_reduce_2D(weights: Tensor, threshold_ratio: float) -> Tensor:
    """`relative_reduce` of a convolution's weights, (out, in, h, w), by its filters' norms."""
    return relative_reduce(weights, threshold_ratio, group_norms(_of(weights, 4)))


def _of(weights: Tensor, dimensions: int) -> Tensor:
    if weights.dim() != dimensions:
        raise ConfigError("weights' shape", tuple(weights.shape), f"{dimensions} dimensions")
    return weights


def relative_reduce_layer(layer: nn.Module, threshold_ratio: float) -> Tensor:
    """`relative_reduce` of a linear layer or two-dimensional convolution, whichever it is."""
    if isinstance(layer, nn.Linear):
        return relative_reduce_1D(layer.weight, threshold_ratio)
    if isinstance(layer, nn.Conv2d):
        return relative_reduce_2D(layer.weight, threshold_ratio)
    raise ConfigError("layer", type(layer).__name__, "Linear or Conv2d")


def shrink_layer(
    layer: nn.Module,
    keep_indexes_input: Tensor | None = None,
    keep_indexes_output: Tensor | None = None,
    unfold_factor: int = 1,
    optimizer: Optimizer | None = None,
) -> nn.Module:
    """Remove all inputs and outputs but these from a layer, in place; the layer.

    layer: linear, a convolution or batch norm. keep_indexes_input: channels of the layer before
        that are left, as its own reduction returned them. keep_indexes_output: neurons or filters
        of this layer that are left; bias and batch norm's vectors are cut by them. Where outputs
        are inputs (batch norm, depthwise convolutions) only one of the two is to be given.
    unfold_factor: inputs that come of each channel of the layer before: H·W of a linear layer
        behind nn.Flatten, r² behind nn.PixelUnshuffle(r).
    optimizer: goes on with the smaller layer; see `lottery.pruning.cut`. A layer that shares its
        weights with another cannot be cut alone.
    """
    inputs, outputs = keep_indexes_input, keep_indexes_output
    for name, keep in _axes(layer, inputs, outputs, unfold_factor).items():
        cut(layer, name, keep, optimizer)
    update_sizes(layer)
    return layer


def _axes(
    layer: nn.Module, inputs: Tensor | None, outputs: Tensor | None, unfold_factor: int
) -> dict[str, Keep]:
    """What to keep of each of a layer's parameters and buffers, of those that are cut."""
    tensors: dict[str, Keep]
    if isinstance(layer, (nn.Linear, _ConvNd)) and not isinstance(layer, _ConvTransposeNd):
        groups, size = getattr(layer, "groups", 1), layer.weight.shape[0]
        if groups == 1:
            weight: Keep = _keep(layer.weight, inputs, outputs, unfold_factor)
        elif groups == layer.in_channels == layer.out_channels:
            weight = _one(inputs, outputs, size, unfold_factor)
        else:
            allowed = "1, or as many as inputs and outputs; else cut the network by lottery.shrink"
            raise ConfigError("layer's groups", groups, allowed)
        tensors = {"weight": weight, "bias": {d: i for d, i in weight.items() if d == 0}}
    elif isinstance(layer, _BatchNorm):
        keep = _one(inputs, outputs, layer.num_features, unfold_factor)
        tensors = dict.fromkeys(("weight", "bias", "running_mean", "running_var"), keep)
    else:
        allowed = "Linear, Conv1d to Conv3d or batch norm; else cut the network by lottery.shrink"
        raise ConfigError("layer", type(layer).__name__, allowed)
    return {n: keep for n, keep in tensors.items() if keep and getattr(layer, n) is not None}


def _one(inputs: Tensor | None, outputs: Tensor | None, size: int, unfold_factor: int) -> Keep:
    """What to keep of `size` channels that are inputs and outputs at once."""
    if inputs is not None and outputs is not None:
        allowed = "None, as the layer's outputs are its inputs"
        raise ConfigError("keep_indexes_output", outputs.tolist(), allowed)
    if inputs is not None:
        return {0: _entries(inputs, size, unfold_factor)}
    return {} if outputs is None else {0: _entries(outputs, size)}


def shrink_tensor(
    tensor: Tensor,
    keep_indexes_input: Tensor | None = None,
    keep_indexes_output: Tensor | None = None,
    unfold_factor: int = 1,
) -> Tensor:
    """A copy of weights, (out, in, ...), with these inputs and outputs alone."""
    return kept(tensor, _keep(tensor, keep_indexes_input, keep_indexes_output, unfold_factor))


def shrink_vector(vector: Tensor, keep_indexes: Tensor, unfold_factor: int = 1) -> Tensor:
    """A copy of a vector with these entries alone, or the unfold_factor entries of each."""
    return kept(vector, {0: _entries(keep_indexes, len(vector), unfold_factor)})


def _keep(
    tensor: Tensor, inputs: Tensor | None, outputs: Tensor | None, unfold_factor: int
) -> dict[int, Tensor]:
    """What to keep of weights (out, in, ...)."""
    keep = {}
    if outputs is not None:
        keep[0] = _entries(outputs, tensor.shape[0])
    if inputs is not None:
        keep[1] = _entries(inputs, tensor.shape[1], unfold_factor)
    return keep


def _entries(channels: Tensor, size: int, unfold_factor: int = 1) -> Tensor:
    """Of `size` entries those of these channels: c·U + u for each channel c and u below U."""
    if unfold_factor < 1 or size % unfold_factor:
        raise ConfigError("unfold_factor", unfold_factor, f"a divisor of {size}")
    last = size // unfold_factor - 1
    ok = channels.dtype == torch.int64 and channels.dim() == 1 and len(channels) > 0
    ok = ok and int(channels[0]) >= 0 and int(channels[-1]) <= last
    if not ok or bool((channels.diff() <= 0).any()):
        # None at all is refused too: a layer cannot be empty.
        allowed = f"one or more int64 indices of 0 to {last}, ascending, each once"
        raise ConfigError("keep_indexes", channels.tolist(), allowed)
    each = torch.arange(unfold_factor, device=channels.device)
    return (channels.unsqueeze(1) * unfold_factor + each).flatten()
