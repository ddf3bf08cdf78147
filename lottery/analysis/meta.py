"""Several studies' estimates of one effect put together: random-effects meta-analysis."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from lottery.analysis.statistics import Interval
from lottery.errors import ConfigError


@dataclass(frozen=True)
class Pooled:
    """The mean of the distribution that the effects of single studies come from."""

    interval: Interval
    """Mean, its 95 % interval (normal), and the number of effects."""
    tau: float
    """Standard deviation of true effects between studies."""
    q: float
    """Cochran's Q: weighted squares about the fixed-effect mean."""
    q_p: float
    """Of Q under χ²(k − 1): whether effects differ by more than their errors; nan where k < 2."""


def random_effects(
    effects: Sequence[float], errors: Sequence[float], confidence: float = 0.95
) -> Pooled:
    """Random-effects mean of effects with known standard errors (DerSimonian & Laird 1986).

    With w = 1/s², Q = Σ w (y − ȳ_w)² and τ² = max(0, (Q − (k − 1)) / (Σw − Σw²/Σw)), effects are
    weighed by 1/(s² + τ²), and the mean's error is the root of the inverse of their sum. It takes
    effects for independent, and the errors for known.

    >>> found = random_effects([1.0, 3.0], [1.0, 1.0])
    >>> round(found.interval.mean, 3), round(found.tau, 3), found.q
    (2.0, 1.0, 2.0)
    """
    y, s = np.asarray(effects, dtype=float), np.asarray(errors, dtype=float)
    if y.shape != s.shape or not (s > 0).all():
        raise ConfigError("standard errors", list(errors), "one above 0 for each effect")
    if not len(y):
        return Pooled(Interval(np.nan, np.nan, np.nan, 0), np.nan, np.nan, np.nan)
    weights = 1 / s**2
    fixed = float(weights @ y / weights.sum())
    q = float(weights @ (y - fixed) ** 2)
    freedom = len(y) - 1
    excess = float(weights.sum() - (weights**2).sum() / weights.sum())
    tau2 = max(0.0, (q - freedom) / excess) if freedom else 0.0
    weights = 1 / (s**2 + tau2)
    mean = float(weights @ y / weights.sum())
    half = float(stats.norm.ppf((1 + confidence) / 2) / np.sqrt(weights.sum()))
    q_p = float(stats.chi2.sf(q, freedom)) if freedom else np.nan
    return Pooled(Interval(mean, mean - half, mean + half, len(y)), float(np.sqrt(tau2)), q, q_p)
