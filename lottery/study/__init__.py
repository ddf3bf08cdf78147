"""Studies: a grid of cells from one configuration, run, stored, tracked and resumed."""

from lottery.study.config import ClusterConfig, ControlsConfig, StudyConfig
from lottery.study.grid import Cell, cells
from lottery.study.plan import Plan, plan_study
from lottery.study.run import StudyResult, run_study

__all__ = [
    "Cell",
    "ClusterConfig",
    "ControlsConfig",
    "Plan",
    "StudyConfig",
    "StudyResult",
    "cells",
    "plan_study",
    "run_study",
]
