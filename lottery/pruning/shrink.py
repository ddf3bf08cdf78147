"""Units as masks, and their physical removal: the network and its optimiser become smaller.

graph = lottery.trace(model, images[:1])
remove = torch.zeros(graph.units, dtype=torch.bool)
remove[graph.homes["conv1.weight"][:3]] = True
small = lottery.shrink(model, remove, graph, optimizer)   # trains on with the same optimiser
"""

import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.instancenorm import _InstanceNorm
from torch.optim import Optimizer

from lottery.errors import ConfigError, UsageError
from lottery.pruning.channels import ChannelGraph
from lottery.pruning.masks import Masks


def unit_masks(graph: ChannelGraph, model: nn.Module, remove: Tensor) -> Masks:
    """What removing the units takes away, as masks of every parameter of the network.

    remove: bool, shape (units,). False are the rows of the layers that write the units, their
    entries of biases and batch norm, and the columns of the layers that read them; so the fraction
    of weights remaining is that of the smaller network's parameters. Masked, the network computes
    what the smaller one does.
    """
    kept = _kept(graph, model, remove)
    masks = {}
    for name, parameter in model.named_parameters():
        mask = torch.ones(parameter.shape, dtype=torch.bool, device=parameter.device)
        for dim, indices in kept.get(name, {}).items():
            alive = torch.zeros(parameter.shape[dim], dtype=torch.bool, device=parameter.device)
            alive[indices.to(parameter.device)] = True
            mask &= alive.view([-1 if d == dim else 1 for d in range(parameter.dim())])
        masks[name] = mask
    return Masks(masks)


def shrink(
    model: nn.Module, remove: Tensor, graph: ChannelGraph, optimizer: Optimizer | None = None
) -> nn.Module:
    """A copy of the network without these units: smaller tensors, the same outputs.

    remove: bool, shape (units,). optimizer: of the network; from now on it is the smaller one's,
    with the same groups and the state (momentum, Adam's moments) of what is left. The network
    itself stays whole. Raises UsageError for units that are fixed or all of a layer's.
    """
    kept = _kept(graph, model, remove)
    small = copy.deepcopy(model)
    new = {name: nn.Parameter() for name in ()}  # by name, shared parameters once
    replaced: dict[int, nn.Parameter] = {}  # by the id of the copy's whole parameter
    for name, parameter in small.named_parameters():
        smaller = parameter
        if name in kept:
            smaller = nn.Parameter(cut(parameter.detach(), kept[name]), parameter.requires_grad)
            if parameter.grad is not None:
                smaller.grad = cut(parameter.grad, kept[name])
        new[name] = replaced[id(parameter)] = smaller
    buffers = {
        id(buffer): cut(buffer, kept[name])
        for name, buffer in small.named_buffers()
        if name in kept
    }
    for module in small.modules():
        for name, parameter in module.named_parameters(recurse=False, remove_duplicate=False):
            setattr(module, name, replaced[id(parameter)])
        for name, buffer in module.named_buffers(recurse=False, remove_duplicate=False):
            setattr(module, name, buffers.get(id(buffer), buffer))
        _rename_widths(module)
    if optimizer is not None:
        whole = {id(parameter): name for name, parameter in model.named_parameters()}
        _move(optimizer, {key: (new[name], kept.get(name, {})) for key, name in whole.items()})
    return small
