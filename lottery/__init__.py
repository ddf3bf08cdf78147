"""Lottery tickets: how initialisation changes a network's robustness to pruning.

import lottery

data = lottery.split(lottery.load("mnist"), seed=0)
model = lottery.build("lenet_300_100")
for ticket in lottery.find_tickets(model, data, init="kaiming_uniform", seed=0, levels=5):
    print(ticket)
"""

from lottery.costs import Cost, cost, latency
from lottery.data.images import Dataset, Examples, Splits, load, split
from lottery.diagnostics import DiagnosticsConfig
from lottery.init import initialise
from lottery.models import build
from lottery.pruning.channels import ChannelGraph, trace
from lottery.pruning.masks import Masks, prunable
from lottery.pruning.network import Network
from lottery.pruning.schedule import PruneConfig, keep_counts
from lottery.pruning.shrink import shrink, unit_masks
from lottery.pruning.units import prune_units
from lottery.pruning.weights import prune
from lottery.tickets import Level, RewindConfig, find_dense, find_tickets, run_control
from lottery.training.config import TrainConfig

__all__ = [
    "ChannelGraph",
    "Cost",
    "Dataset",
    "DiagnosticsConfig",
    "Examples",
    "Level",
    "Masks",
    "Network",
    "PruneConfig",
    "RewindConfig",
    "Splits",
    "TrainConfig",
    "build",
    "cost",
    "find_dense",
    "find_tickets",
    "initialise",
    "keep_counts",
    "latency",
    "load",
    "prunable",
    "prune",
    "prune_units",
    "run_control",
    "shrink",
    "split",
    "trace",
    "unit_masks",
]
