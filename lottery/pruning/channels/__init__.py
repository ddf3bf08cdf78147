"""Which channels of a network stand and fall together, found by following it on an example."""

from lottery.pruning.channels.graph import ChannelGraph
from lottery.pruning.channels.tracing import trace

__all__ = ["ChannelGraph", "trace"]
