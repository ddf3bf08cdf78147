"""Tables of a study, their statistics and their figures; reads what is on disk and nothing else.

>>> from lottery.analysis import levels, summary
>>> summary(levels("lenet"))  # doctest: +SKIP
"""

from lottery.analysis.collapse import layer_collapses
from lottery.analysis.frames import curves, diagnostics, layers, levels
from lottery.analysis.statistics import Interval, mean_interval, summary

__all__ = [
    "Interval",
    "curves",
    "diagnostics",
    "layer_collapses",
    "layers",
    "levels",
    "mean_interval",
    "summary",
]
