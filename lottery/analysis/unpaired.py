"""Comparison with independent values, such as published ones whose mean, spread and n are known."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from scipy import stats

from lottery.analysis.statistics import Interval


class Moments(NamedTuple):
    """What a t test needs to know of a sample."""

    mean: float
    deviation: float
    """Divisor n − 1; nan where n < 2."""
    n: int

    @classmethod
    def of(cls, values: Iterable[float]) -> "Moments":
        """Of values, missing ones (nan) not counted."""
        known = np.array([value for value in values if not np.isnan(value)], dtype=float)
        if not len(known):
            return cls(np.nan, np.nan, 0)
        deviation = float(known.std(ddof=1)) if len(known) > 1 else np.nan
        return cls(float(known.mean()), deviation, len(known))


def welch_interval(ours: Moments, theirs: Moments, confidence: float = 0.95) -> Interval:
    """Difference of two independent means, ours − theirs, with Welch's t-interval (1947).

    se² = s₁²/n₁ + s₂²/n₂ with se⁴ / (s₁⁴/n₁²(n₁ − 1) + s₂⁴/n₂²(n₂ − 1)) degrees of freedom
    (Satterthwaite). n is ours; the bounds are nan where either n < 2.

    >>> i = welch_interval(Moments(3.0, 1.0, 4), Moments(1.0, 1.0, 4))
    >>> f"{i.mean:.0f} from {i.low:.2f} to {i.high:.2f}"
    '2 from 0.27 to 3.73'
    """
    mean = ours.mean - theirs.mean
    if min(ours.n, theirs.n) < 2:
        return Interval(mean, np.nan, np.nan, ours.n)
    parts = np.array([s.deviation**2 / s.n for s in (ours, theirs)])
    error = parts.sum()
    if error == 0:
        return Interval(mean, mean, mean, ours.n)
    freedom = error**2 / (parts**2 / np.array([ours.n - 1, theirs.n - 1])).sum()
    half = float(stats.t.ppf((1 + confidence) / 2, freedom) * np.sqrt(error))
    return Interval(mean, mean - half, mean + half, ours.n)
