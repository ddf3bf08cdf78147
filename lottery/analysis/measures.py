"""Figures made from rows of `levels`: per seed, with an interval, and with the rows they came from.

Accuracies become percentage points here, and ratios are averaged on the log scale (their mean is
the geometric one).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from lottery.analysis.paired import geometric_interval
from lottery.analysis.statistics import Interval, mean_interval
from lottery.errors import LotteryError

HALF_A_LEVEL = float(np.sqrt(1 / 0.8))
"""How far, as a ratio, a level's weights remaining may lie from those a claim names: half a pruning
step of 20 %."""
SOURCE = [
    "part",
    "study",
    "variant",
    "init",
    "seed",
    "branch",
    "draw",
    "cell",
    "level",
    "weights_remaining",
    "column",
    "value",
]
"""Columns of a measure's rows: which part of the comparison (a, b), which row of `levels`, and which
value of it."""


class Missing(LotteryError):
    """The tables do not hold what a measure needs; the message says what."""


@dataclass(frozen=True)
class Measure:
    """One figure: a value per seed and the rows of `levels` that they were computed from."""

    values: pd.Series
    """By seed, in `unit`."""
    rows: pd.DataFrame
    """Columns SOURCE: every value used."""
    unit: str
    """pp, % or ×."""

    def interval(self, confidence: float = 0.95) -> Interval:
        """Mean over seeds and its t-interval; of a ratio the geometric mean."""
        if self.unit == "×":
            return geometric_interval(self.values, confidence)
        return mean_interval(self.values, confidence)
