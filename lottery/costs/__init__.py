"""What a network costs: parameters, multiply-accumulates, bytes, memory and time."""

from lottery.costs.count import Cost, cost
from lottery.costs.latency import Latency, latency
from lottery.costs.layers import LayerCost

__all__ = ["Cost", "Latency", "LayerCost", "cost", "latency"]
