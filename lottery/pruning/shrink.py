"""Units as masks, and their physical removal: the network and its optimiser become smaller.

graph = lottery.trace(model, images[:1])
remove = torch.zeros(graph.units, dtype=torch.bool)
remove[graph.homes["conv1.weight"][:3]] = True
lottery.shrink(model, remove, graph, optimizer)   # training goes on with both
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lottery.errors import ConfigError, UsageError
from lottery.pruning.channels import ChannelGraph
from lottery.pruning.cut import Keep, cut, update_sizes
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
        mask = torch.ones_like(parameter, dtype=torch.bool)
        for dim, index in kept.get(name, {}).items():
            gone = torch.ones(parameter.shape[dim], dtype=torch.bool)
            gone[index] = False
            mask.movedim(dim, 0)[gone.to(mask.device)] = False
        masks[name] = mask
    return Masks(masks)


def shrink(
    model: nn.Module, remove: Tensor, graph: ChannelGraph, optimizer: Optimizer | None = None
) -> nn.Module:
    """Cut these units out of the network, in place, and return it: it computes what it would
    with them masked, with less.

    remove: bool, shape (units,). graph: the network's own; of the smaller one, trace it again.
    optimizer: trains the smaller network from here on, in the same groups and with the state
    (momentum, Adam's moments) of what is left. Raises ConfigError, and cuts nothing, where a unit
    is fixed, a layer would be left without filters, or the optimizer trains another network.
    """
    kept = _kept(graph, model, remove)
    if optimizer is not None:
        _check_optimizer(optimizer, model)
    for name, keep in kept.items():
        cut(model, name, keep, optimizer)
    for module in model.modules():
        update_sizes(module)
    return model


def _kept(graph: ChannelGraph, model: nn.Module, remove: Tensor) -> Mapping[str, Keep]:
    """Indices that stay, by parameter or buffer and dimension, where some go."""
    remove = remove.cpu()
    _check(graph, model, remove)
    gone = torch.cat([remove, torch.tensor([False])])  # [-1]: of no unit
    kept: dict[str, dict[int, Tensor]] = {}
    for (name, dim), units in graph.axes.items():
        if bool(gone[units].any()):
            kept.setdefault(name, {})[dim] = (~gone[units]).nonzero().flatten()
    return kept


def _check_optimizer(optimizer: Optimizer, model: nn.Module) -> None:
    """Of a network's copy it would train nothing, without a word."""
    own = {id(parameter) for parameter in model.parameters()}
    trained = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    if not any(id(parameter) in own for parameter in trained):
        raise ConfigError(
            "optimizer",
            "one that trains no parameter of this network",
            "the one made for it (a copy of a network needs its own)",
        )


def _check(graph: ChannelGraph, model: nn.Module, remove: Tensor) -> None:
    if remove.shape != (graph.units,) or remove.dtype != torch.bool:
        shape = f"{remove.dtype} of shape {tuple(remove.shape)}"
        raise ConfigError("remove", shape, f"a bool tensor of shape ({graph.units},)")
    state = dict(model.named_parameters()) | dict(model.named_buffers())
    for (name, dim), units in graph.axes.items():
        if name not in state or state[name].shape[dim] != len(units):
            raise UsageError(f"{name} is not as when the network was traced: trace it again")
    if bool((bad := remove & graph.fixed).any()):
        unit = int(bad.nonzero()[0])
        layers = ", ".join(graph.writers(torch.tensor([unit])))
        raise ConfigError(
            "remove",
            f"unit {unit} of {layers}",
            f"units that are not fixed (this one is: {graph.reasons[unit]}), see graph.homes",
        )
    for name, units in graph.written.items():
        if bool((units >= 0).all()) and bool(remove[units].all()):
            layer = name.removesuffix(".weight")
            raise ConfigError(
                "remove", f"all {len(units)} filters of {layer}", "to keep at least one of a layer"
            )
