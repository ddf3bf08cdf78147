"""Cutting a network's tensors smaller while it is being trained: what physical removal is made of.

A cut parameter is a new one. Giving the old one smaller data would leave it with the old shape for
autograd as long as any loss computed before is alive, and the next backward pass would fail.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.optim import Optimizer

from lottery.errors import UsageError

Keep = Mapping[int, Tensor]
"""By dimension, the indices to keep: int64, in the order in which they shall be."""


@torch.no_grad()
def cut(model: nn.Module, name: str, keep: Keep, optimizer: Optimizer | None = None) -> None:
    """Make a parameter or buffer smaller, in place, wherever in `model` it is used.

    name: as in the model's state, "conv1.weight". A parameter's gradient is cut along, and the
    optimiser trains the new parameter in the old one's place: in the same group, with whatever it
    remembers for each weight (momentum, moments) cut along too, and its count of steps as it was.
    Hooks on the parameter are lost. Layers are told of their sizes by `update_sizes`.
    """
    prefix, _, attribute = name.rpartition(".")
    old = getattr(model.get_submodule(prefix), attribute)
    new = kept(old, keep)
    if isinstance(old, nn.Parameter):
        new = nn.Parameter(new, old.requires_grad)
        new.grad = None if old.grad is None else kept(old.grad, keep)
        if optimizer is not None:
            _hand_over(optimizer, old, new, keep)
    for module in model.modules():
        own: dict[str, Any] = module._buffers | module._parameters
        for key in [key for key, value in own.items() if value is old]:
            setattr(module, key, new)


def kept(tensor: Tensor, keep: Keep) -> Tensor:
    """A copy of the tensor with these indices alone."""
    for dim, index in keep.items():
        tensor = tensor.index_select(dim, index.to(tensor.device))
    return tensor.clone() if not keep else tensor


def _hand_over(optimizer: Optimizer, old: nn.Parameter, new: nn.Parameter, keep: Keep) -> None:
    for group in optimizer.param_groups:
        group["params"] = [new if parameter is old else parameter for parameter in group["params"]]
    if old in optimizer.state:
        optimizer.state[new] = {
            item: kept(value, keep)
            if isinstance(value, Tensor) and value.shape == old.shape
            else value
            for item, value in optimizer.state.pop(old).items()
        }


@torch.no_grad()
def replace_tensors(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Give a network all its parameters and buffers anew, in place, and in whatever shapes.

    state: of a network like `model` that was made smaller by `lottery.shrink`. UsageError where
    names or numbers of dimensions differ.
    """
    own = model.state_dict()
    wrong = own.keys() ^ state.keys() or {n for n, t in own.items() if t.dim() != state[n].dim()}
    if wrong:
        raise UsageError(f"not a network like {type(model).__name__}: {', '.join(sorted(wrong))}")
    for name, tensor in state.items():
        prefix, _, attribute = name.rpartition(".")
        owner = model.get_submodule(prefix)
        parameter = attribute in owner._parameters
        setattr(owner, attribute, nn.Parameter(tensor) if parameter else tensor)
    for module in model.modules():
        update_sizes(module)


def update_sizes(module: nn.Module) -> None:
    """Have a layer's numbers of channels or features say what its cut tensors have.

    Of linear layers, convolutions, and batch or instance norm; others are left as they are. The
    groups of a depthwise convolution are as many as its channels.
    """
    if isinstance(module, nn.Linear):
        module.out_features, module.in_features = module.weight.shape
    elif isinstance(module, _ConvNd):
        first, second = module.weight.shape[:2]
        transposed = isinstance(module, _ConvTransposeNd)
        if module.groups == module.in_channels > 1:  # depthwise
            of_each = module.out_channels // module.groups
            module.groups = first if transposed else first // of_each
        if transposed:
            module.in_channels, module.out_channels = first, second * module.groups
        else:
            module.in_channels, module.out_channels = second * module.groups, first
    elif isinstance(module, _NormBase):
        vector = module.running_mean if module.weight is None else module.weight
        module.num_features = module.num_features if vector is None else len(vector)
