"""Procedures: what changes a network while it trains, found under the name in `prune.during`."""

from lottery.training.procedures.base import NONE, PROCEDURES, During, Procedure, Scene, resolve
from lottery.training.procedures.centripetal import Centripetal
from lottery.training.procedures.shrinkage import Shrinkage
from lottery.training.procedures.slimming import Slimming
from lottery.training.procedures.soft import Soft

__all__ = [
    "NONE",
    "PROCEDURES",
    "Centripetal",
    "During",
    "Procedure",
    "Scene",
    "Shrinkage",
    "Slimming",
    "Soft",
    "resolve",
]
