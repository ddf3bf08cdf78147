"""Units: the channels of a network that can only be removed together."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from lottery.errors import UsageError
from lottery.pruning.channels.labels import NONE, Labels, channels_of, varying

Axis = tuple[str, int]
"""A dimension of a parameter or buffer, by its name in the state."""


@dataclass(frozen=True)
class ChannelGraph:
    """The units of a network, numbered in the order in which its layers write them.

    A unit is a set of channels that stand and fall together: a filter or neuron with its entries
    of the batch norm, or those of several layers that write to one residual sum.
    """

    axes: Mapping[Axis, Tensor]
    """Unit of each index along a dimension of a parameter or buffer, int64; -1: of none."""
    written: Mapping[str, Tensor]
    """Unit of each filter, by weight name: every convolution and linear layer in order of use."""
    fixed: Tensor
    """Units that are never removed, bool, shape (units,): the network's outputs, for one."""
    reasons: Mapping[int, str]
    """Why they are not, by unit."""

    def __repr__(self) -> str:
        counts = [f"{len(units)} of {_layer(name)}" for name, units in self.homes.items()]
        free = ", ".join(count for count in counts if not count.startswith("0 "))
        kept = "; ".join(
            f"{', '.join(self.writers(torch.tensor(units)))} ({reason})"
            for reason, units in self._by_reason.items()
        )
        return f"ChannelGraph(filters that can go: {free or 'none'}; kept: {kept or 'none'})"

    @property
    def _by_reason(self) -> dict[str, list[int]]:
        """Units that are never removed."""
        found: dict[str, list[int]] = {}
        for unit, reason in self.reasons.items():
            found.setdefault(reason, []).append(unit)
        return found

    @property
    def units(self) -> int:
        """How many units there are."""
        return len(self.fixed)

    @cached_property
    def homes(self) -> dict[str, Tensor]:
        """Units that can be removed, each under the first layer that writes it, by weight name."""
        taken = self.fixed.clone()
        homes = {}
        for name, units in self.written.items():
            own = units[units != NONE].unique()
            homes[name] = own[~taken[own]]
            taken[own] = True
        return homes

    def writers(self, units: Tensor) -> list[str]:
        """Layers that write any of these units."""
        return [
            _layer(n)
            for n, written in self.written.items()
            if bool(torch.isin(written, units).any())
        ]


def resolve(
    labels: Labels,
    axes: Mapping[Axis, Tensor],
    written: Mapping[str, Tensor],
    scattered: Mapping[str, Tensor],
) -> ChannelGraph:
    """The graph of labels that were tied. Labels that no layer writes become units of none.

    scattered: labels of every element of parameters outside layers. Raises UsageError where labels
    that cannot be removed are not fixed.
    """
    component = torch.cat([labels.components(), torch.tensor([NONE])])  # [-1] is the label -1's
    units = torch.full((labels.count + 1,), NONE)  # by component
    count = 0
    for own in written.values():
        for number in component[own[own != NONE]].tolist():
            if units[number] == NONE:
                units[number], count = count, count + 1

    def unit(of: Tensor) -> Tensor:
        return units[component[of]]

    reasons: dict[int, str] = {}
    for fixed, reason in labels.fixed:
        reasons = dict.fromkeys(_numbers(unit(fixed)), reason) | reasons
    found_axes = {axis: unit(of) for axis, of in axes.items()}
    for name, of in scattered.items():
        dims = varying(unit(of))
        if len(dims) == 1:
            found_axes[name, dims[0]] = channels_of(unit(of))
        else:
            labels.refuse(of, f"{name} meets them along several dimensions")
    graph = ChannelGraph(
        axes=found_axes,
        written={name: unit(of) for name, of in written.items()},
        fixed=torch.zeros(count, dtype=torch.bool).index_fill_(
            0, torch.tensor(list(reasons), dtype=torch.int64), True
        ),
        reasons=reasons,
    )
    _check(graph, [(unit(refused), problem) for refused, problem in labels.refused])
    return graph


def _check(graph: ChannelGraph, refused: Iterable[tuple[Tensor, str]]) -> None:
    """Raise UsageError for units that cannot be removed and are not fixed: all of them at once."""
    found, known = [], graph.fixed.clone()
    for units, problem in refused:
        own = torch.tensor(_numbers(units), dtype=torch.int64)
        new = own[~known[own]]
        if len(new):
            layers = ", ".join(graph.writers(new))
            found.append(f"filters of {layers} cannot be removed: {problem}")
        known[new] = True
    if found:
        every = graph.writers((known & ~graph.fixed).nonzero())
        ways = f"or keep all of them: fixed={every} of trace, prune.fixed of a study"
        raise UsageError("; ".join([*found, ways]))


def _numbers(units: Tensor) -> Iterable[int]:
    return units[units != NONE].unique().tolist()


def _layer(weight: str) -> str:
    return weight.rpartition(".")[0] or weight
