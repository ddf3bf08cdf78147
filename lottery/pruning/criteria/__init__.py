"""Criteria: which weights of a layer are worth keeping."""

from lottery.pruning.criteria import deconstructed, gradients, values
from lottery.pruning.criteria.base import CRITERIA, Context, Criterion, Layer

__all__ = ["CRITERIA", "Context", "Criterion", "Layer", "deconstructed", "gradients", "values"]
