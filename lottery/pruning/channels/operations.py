"""How labels travel through operations without filters of their own."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.fx import Node
from torch.utils import _pytree as pytree

from lottery.pruning.channels.calls import Call
from lottery.pruning.channels.labels import (
    NONE,
    Labels,
    channels_of,
    compact,
    none,
    spread,
    varying,
)

Rule = Callable[[Labels, Call], Tensor]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


ELEMENTWISE = _words("""
    relu relu6 leakyrelu prelu rrelu elu selu celu gelu silu mish sigmoid logsigmoid tanh hardtanh
    hardswish hardsigmoid hardshrink softshrink tanhshrink softplus softsign threshold identity
    dropout dropout1d dropout2d dropout3d alphadropout featurealphadropout
    add iadd radd sub isub rsub mul imul rmul div truediv itruediv pow maximum minimum
    abs neg exp square sqrt rsqrt clamp clip
    contiguous clone detach to float double half bfloat16 type typeas
""")
MOVES = _words("""
    flatten permute transpose swapaxes movedim moveaxis squeeze unsqueeze pixelunshuffle getitem
""")
POOLS = _words("""
    avgpool1d avgpool2d avgpool3d maxpool1d maxpool2d maxpool3d lppool1d lppool2d lppool3d
    adaptiveavgpool1d adaptiveavgpool2d adaptiveavgpool3d
    adaptivemaxpool1d adaptivemaxpool2d adaptivemaxpool3d
    interpolate upsample upsamplingnearest2d upsamplingbilinear2d
    pad zeropad1d zeropad2d zeropad3d constantpad1d constantpad2d constantpad3d
    reflectionpad1d reflectionpad2d reflectionpad3d replicationpad1d replicationpad2d
    replicationpad3d circularpad1d circularpad2d circularpad3d
""")
REDUCTIONS = _words("mean sum amax amin std var logsumexp")
NORMALISERS = _words("softmax logsoftmax softmin normalize")


def opaque(labels: Labels, call: Call) -> Tensor:
    """An operation that is not understood: what goes in cannot be removed."""
    for tensor in call.labels:
        labels.refuse(tensor, f"what {call} does with them is not known")
    return none(getattr(call.out, "shape", ()))


def elementwise(labels: Labels, call: Call) -> Tensor:
    """Tensors of one shape, or broadcast to it: those at the same place go together.

    A gate of one channel that is broadcast over many is fixed and says nothing of theirs.
    """
    shape = call.out.shape
    tensors = [t.view([1] * (len(shape) - t.dim()) + list(t.shape)) for t in call.labels]
    dims = {dim for tensor in tensors for dim in varying(tensor)}
    if len(dims) > 1:
        return opaque(labels, call)
    found: Tensor | None = None
    for tensor in tensors:
        if any(tensor.shape[dim] == 1 < shape[dim] for dim in dims) or tensor.numel() == 1:
            labels.fix(tensor, f"it is broadcast over other channels in {call}")
        elif found is None:
            found = tensor.expand(shape)
        else:
            labels.tie(found, tensor)
            found = torch.maximum(compact(found), compact(tensor)).expand(shape)
    return none(shape) if found is None else found


def move(labels: Labels, call: Call) -> Tensor:
    """Elements change places and channels stay whole: labels move along."""
    if call.name == "getitem" and isinstance(call.args[0], Tensor):
        return index(labels, call)
    return call.function(*call.args, **call.kwargs)


def index(labels: Labels, call: Call) -> Tensor:
    """`x[...]`: of positions it may take any; all channels, in their order and however many."""
    source, where = call.args
    if any(isinstance(leaf, Tensor) for leaf in pytree.tree_leaves(where)):
        return opaque(labels, call)
    moved = source[where]
    for dim in varying(source):
        try:
            fewer = source.narrow(dim, 0, source.shape[dim] - 1)[where]
            whole = torch.equal(channels_of(moved), channels_of(source))
            whole &= torch.equal(channels_of(fewer), channels_of(source)[:-1])
        except IndexError:  # it asks for a channel that may be gone
            whole = False
        if not whole:
            labels.refuse(source, f"{call} selects channels by their number")
            return none(call.out.shape)
    return moved


def reshape(labels: Labels, call: Call) -> Tensor:
    """`view` and `reshape`: channels need a dimension whose size is not a fixed number."""
    shaped = call.input.reshape(call.out.shape)
    sizes = _sizes(call)
    dims = varying(shaped)
    free = [d for d in dims if isinstance(sizes[d], Node) or sizes[d] == -1]
    if dims and not free:
        labels.refuse(
            shaped, f"{call} gives them a fixed number of values (write x.flatten(1) instead)"
        )
        return none(call.out.shape)
    return spread(labels.settle(shaped, free[0]), free[0], shaped.shape) if dims else shaped


def _sizes(call: Call) -> Sequence[object]:
    """Sizes as the network's code gives them: a number, or the node that computes it."""
    sizes = list(call.node.args[1:]) or [
        call.node.kwargs.get("shape", call.node.kwargs.get("size"))
    ]
    if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)):
        return list(sizes[0])
    if len(sizes) == 1 and isinstance(sizes[0], Node):  # a size computed as a whole
        return [sizes[0]] * call.out.dim()
    return sizes


def pixel_shuffle(labels: Labels, call: Call) -> Tensor:
    """Every r × r channels become one: they go together."""
    moved = call.function(*call.args, **call.kwargs)
    return spread(labels.settle(moved, moved.dim() - 3), moved.dim() - 3, moved.shape)


def concatenate(labels: Labels, call: Call) -> Tensor:
    """Channels one after another; along another dimension, those at the same place go together."""
    joined = call.function(*call.args, **call.kwargs)
    dim = call.argument(1, "dim", call.kwargs.get("axis", 0)) % joined.dim()
    across = [d for d in varying(joined) if d != dim]
    if len(across) > 1:
        return opaque(labels, call)
    if across:
        return spread(labels.settle(joined, across[0]), across[0], joined.shape)
    return joined


def index_add(labels: Labels, call: Call) -> Tensor:
    """A change of some channels, by their numbers: these go with the change, and x keeps all."""
    value, dim = call.input, call.argument(1, "dim")
    numbers = call.argument(2, "index")
    change = call.argument(3, "tensor", call.kwargs.get("source"))
    dim %= value.dim()
    if not isinstance(numbers, Tensor) or varying(change) not in ([], [dim]):
        return opaque(labels, call)
    labels.fix(value, f"{call} counts on their number")
    labels.tie(numbers, labels.settle(change, dim))
    return value


def pool(labels: Labels, call: Call) -> Tensor:
    """Pooling, resizing and padding: channels stay, or gain channels of padding around them."""
    value, shape = call.input, call.out.shape
    dims = varying(value)
    channels = channels_of(value)
    dim = dims[0] if dims else 0
    if dims and call.name == "pad":
        pad = call.argument(1, "pad")
        position = 2 * (value.dim() - 1 - dim)
        if pad[position : position + 2]:
            channels = torch.nn.functional.pad(channels, pad[position : position + 2], value=NONE)
    if dims and (len(channels) != shape[dim] or (call.name != "pad" and dim >= 2)):
        return opaque(labels, call)
    return spread(channels, dim, shape) if dims else channels.view([1] * len(shape)).expand(shape)


def reduction(labels: Labels, call: Call) -> Tensor:
    """Means and sums over positions. Over channels, those that are removed would count."""
    value = call.input
    dims = call.argument(1, "dim", call.kwargs.get("axis"))
    dims = list(range(value.dim())) if dims is None else [dims] if isinstance(dims, int) else dims
    over = {dim % value.dim() for dim in dims}
    if over & set(varying(value)) or (value.shape and over >= set(range(1, value.dim()))):
        return opaque(labels, call)
    kept = value.amin(dim=sorted(over), keepdim=True)
    return kept.reshape(call.out.shape)


def normaliser(labels: Labels, call: Call) -> Tensor:
    """Softmax and the like: over channels, those that are removed would count."""
    dim = call.argument(1, "dim", 1)
    if dim is None or dim % call.input.dim() in varying(call.input):
        labels.refuse(call.input, f"{call} normalises over them")
    return call.input


def rule_for(name: str) -> Rule:
    """The rule for an operation of this name."""
    if name in ELEMENTWISE:
        return elementwise
    if name in MOVES:
        return move
    if name in POOLS:
        return pool
    if name in REDUCTIONS:
        return reduction
    if name in NORMALISERS:
        return normaliser
    special = {
        "view": reshape,
        "reshape": reshape,
        "pixelshuffle": pixel_shuffle,
        "cat": concatenate,
        "concat": concatenate,
        "indexadd": index_add,
    }
    return special.get(name, opaque)
