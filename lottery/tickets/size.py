"""How large a network is once its pruned filters are removed."""

import copy
from dataclasses import dataclass

from torch import Tensor, nn

from lottery.costs import cost
from lottery.pruning.channels import ChannelGraph
from lottery.pruning.masks import Masks
from lottery.pruning.shrink import shrink
from lottery.pruning.units import removed_units


@dataclass(frozen=True)
class Size:
    """Of a network, for one image."""

    parameters: int
    macs: int
    """Multiply-accumulates of convolution and linear layers."""


def size_of(model: nn.Module, graph: ChannelGraph, masks: Masks, example: Tensor) -> Size:
    """The size that removing what masks prune leaves. example: one image as a batch."""
    found = cost(smaller(model, graph, masks), example)
    return Size(found.parameters, found.macs)


def smaller(model: nn.Module, graph: ChannelGraph, masks: Masks) -> nn.Module:
    """A copy without the filters that masks prune, in eval mode."""
    return shrink(copy.deepcopy(model), removed_units(graph, masks), graph).eval()
