"""Means over seeds and how sure they are."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

from lottery.errors import ConfigError

FEWEST = 3
"""Values, one per seed, of which figures and reports on whole filters give an interval or a test:
two are told or drawn as they are, as t(1) makes any spread of theirs 13 times as wide."""
_APART = ("study", "variant", "model")
"""Columns whose values are not averaged over."""


class Interval(NamedTuple):
    """A mean with its confidence interval; `low` and `high` are nan where n < 2."""

    mean: float
    low: float
    high: float
    n: int


def mean_interval(values: Iterable[float], confidence: float = 0.95) -> Interval:
    """Student-t interval for the mean of independent values, one per seed.

    mean ± t(n - 1) · s / √n, with s the sample deviation (divisor n - 1). A missing value (nan) is
    not counted. One value says nothing about spread, so its bounds are nan.

    >>> interval = mean_interval([1.0, 2.0, 3.0])
    >>> f"{interval.mean:.1f} from {interval.low:.2f} to {interval.high:.2f}, n = {interval.n}"
    '2.0 from -0.48 to 4.48, n = 3'
    """
    known = np.array([value for value in values if not np.isnan(value)], dtype=float)
    n = len(known)
    if n == 0:
        return Interval(np.nan, np.nan, np.nan, 0)
    mean = float(known.mean())
    deviation = float(known.std(ddof=1)) if n > 1 else np.nan
    half = float(_half_width(deviation, n, confidence))
    return Interval(mean, mean - half, mean + half, n)


def summary(
    frame: pd.DataFrame,
    value: str = "test_accuracy",
    by: Sequence[str] = ("branch", "init", "level"),
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Mean of `value` over seeds and its t-interval for each group of rows, sorted by `by`.

    frame: rows of `levels` or `curves`, of one study, variant and model unless `by` tells them
    apart. Returns columns `by`, weights_remaining, mean, low, high and n, the number of seeds. Rows
    that share a seed, as the draws of a control do, are averaged first: they are not independent.
    """
    apart = [column for column in _APART if column in by]
    for column in _APART:
        if column in by or column not in frame:
            continue
        groups = frame.groupby(apart)[column] if apart else frame[column]
        if np.max(groups.nunique()) > 1:
            names = ", ".join(sorted(frame[column].unique()))
            raise ConfigError(f"{column} of the table", names, f"one, or {column!r} in `by`")
    keys = list(by)
    columns = [value, "weights_remaining"]
    per_seed = frame[[*keys, "seed", *columns]].astype(dict.fromkeys(columns, "float64"))
    per_seed = per_seed.groupby([*keys, "seed"], as_index=False).mean()
    table = (
        per_seed.groupby(keys)
        .agg(
            weights_remaining=("weights_remaining", "mean"),
            mean=(value, "mean"),
            deviation=(value, "std"),
            n=(value, "count"),
        )
        .reset_index()
    )
    half = _half_width(table.pop("deviation"), table["n"], confidence)
    table.insert(table.columns.get_loc("n"), "low", table["mean"] - half)
    table.insert(table.columns.get_loc("n"), "high", table["mean"] + half)
    return table


def censored_quantile(
    values: Sequence[float], censored: Sequence[bool], q: float
) -> tuple[float, bool]:
    """A quantile of positive values, and if it is exact, where some are upper bounds.

    A censored value is truly as high as given or lower. If one decides the quantile, this is the
    highest that it can be, and not exact. Linear interpolation, as numpy's.

    >>> censored_quantile([4.63, 4.85, 6.58], [True, False, False], 0.5)
    (4.85, True)
    >>> censored_quantile([4.63, 4.63, 6.58], [True, True, False], 0.5)
    (4.63, False)
    """
    highest = np.asarray(values, dtype=float)
    lowest = np.where(np.asarray(censored, dtype=bool), 0.0, highest)
    high, low = (float(np.quantile(bounds, q)) for bounds in (highest, lowest))
    return high, low == high


def _half_width(deviation: ArrayLike, n: ArrayLike, confidence: float) -> np.ndarray:
    """t(n - 1) · deviation / √n; nan where n < 2. Works on scalars and on columns."""
    if not 0 < confidence < 1:
        raise ConfigError("confidence", confidence, "a number between 0 and 1")
    count = np.asarray(n, dtype=float)
    freedom = np.where(count > 1, count - 1, np.nan)
    error = np.asarray(deviation, dtype=float) / np.sqrt(freedom + 1)
    return stats.t.ppf((1 + confidence) / 2, freedom) * error
