"""Units of a network in the hands of procedures: their slices of tensors, alone and in clusters."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from lottery.pruning.channels import ChannelGraph


def filter_parameters(
    model: nn.Module, graph: ChannelGraph
) -> Iterator[tuple[str, int, nn.Parameter, Tensor]]:
    """Name, the dimension that tells filters apart, values and unit of each index along it.

    Of all that belongs to filters: weights and biases of the layers that write units, scales and
    shifts of batch norm, and what the network's own code multiplies with channels or adds to them.
    """
    parameters = dict(model.named_parameters())
    for (name, dim), units in graph.axes.items():
        if name in parameters and not is_read(graph, name, dim):
            yield name, dim, parameters[name], units


def is_read(graph: ChannelGraph, name: str, dim: int) -> bool:
    """Whether a layer reads units along this dimension, as its inputs."""
    return dim == 1 and name in graph.written


@torch.no_grad()
def silence(model: nn.Module, graph: ChannelGraph, units: Tensor) -> None:
    """Set filters to zero, with their biases and entries of batch norm: they then output zero.

    units: bool, shape (units,). Weights that read their output stay, for the day they come back.
    """
    for _, dim, values, of in filter_parameters(model, graph):
        gone = units[of] & (of >= 0)
        values.movedim(dim, 0)[gone.to(values.device)] = 0.0


def groups(units: Tensor, clusters: Tensor) -> Tensor:
    """Indices along an axis that are alike when the units of a cluster are: int64, like `units`.

    units: unit of each index, of which some may have several (U inputs of a layer behind a
    flatten): the u-th of one unit is grouped with the u-th of the others. clusters: number of each
    unit's cluster, shape (units,). An index of no unit is alone.

    >>> groups(torch.tensor([0, 0, 1, 1, -1]), torch.tensor([0, 0])).tolist()
    [1, 2, 1, 2, 0]
    """
    order = units.argsort(stable=True)
    ordered = units[order]
    turn = torch.empty_like(units)
    turn[order] = torch.arange(len(units)) - torch.searchsorted(ordered, ordered)
    cluster = torch.where(units >= 0, clusters[units.clamp(min=0)], -1)
    return torch.stack([cluster, turn]).unique(dim=1, return_inverse=True)[1]


def mean_within(values: Tensor, group: Tensor) -> Tensor:
    """Each row replaced by the mean of its group's rows; group: int64, shape (rows,)."""
    flat = values.flatten(1) if values.dim() > 1 else values[:, None]
    sums = torch.zeros_like(flat).index_add_(0, group, flat)
    sizes = torch.bincount(group, minlength=len(group)).clamp(min=1)
    return (sums / sizes[:, None])[group].view_as(values)
