"""Criteria: which weights of a layer, or which of its filters, are worth keeping."""

from lottery.pruning.criteria import deconstructed, filters, gradients, signals, values
from lottery.pruning.criteria.base import CRITERIA, Context, Criterion, Layer

__all__ = [
    "CRITERIA",
    "Context",
    "Criterion",
    "Layer",
    "deconstructed",
    "filters",
    "gradients",
    "signals",
    "values",
]
