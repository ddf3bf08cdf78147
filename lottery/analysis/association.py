"""How strongly two quantities go together over a grid of schemes and seeds.

Values are tables of schemes (rows) by seeds (columns), complete. Cells of one scheme, and cells of
one seed, are not independent, so 20 cells of 4 schemes and 5 seeds are not 20 observations; the
tests and intervals here move whole schemes and whole seeds.
"""

import math
from itertools import permutations

import numpy as np
from scipy import stats

RESAMPLES = 2_000
MOST_PERMUTATIONS = 10_000


def spearman(one: np.ndarray, other: np.ndarray) -> float:
    """Spearman's rank correlation over all cells; nan if either is constant or has one cell."""
    return _correlation(stats.rankdata(one), stats.rankdata(other))


def within(one: np.ndarray, other: np.ndarray) -> float:
    """Spearman's correlation of the deviations from each scheme's mean: what seeds have to say."""
    return spearman(_deviations(one), _deviations(other))


def between(one: np.ndarray, other: np.ndarray) -> float:
    """Spearman's correlation of the schemes' means: what schemes have to say.

    nan for fewer than three schemes: two points always lie on a line.
    """
    if len(one) < 3:
        return math.nan
    return spearman(one.mean(axis=1), other.mean(axis=1))


def share_between(values: np.ndarray) -> float:
    """Share of the sum of squares that lies between schemes (eta squared, 0 to 1)."""
    total = float(((values - values.mean()) ** 2).sum())
    if total <= _rounding(values) * values.size:
        return math.nan
    inside = float(((values - values.mean(axis=1, keepdims=True)) ** 2).sum())
    return 1 - inside / total


def bootstrap_interval(
    one: np.ndarray, other: np.ndarray, confidence: float = 0.95
) -> tuple[float, float]:
    """Percentile interval of `spearman` over resampled seeds; nan for fewer than three.

    Speaks of other seeds of these schemes, not of other schemes. From a fixed random seed.
    """
    seeds = one.shape[1]
    if seeds < 3 or math.isnan(spearman(one, other)):
        return math.nan, math.nan
    draws = np.random.default_rng(0).integers(seeds, size=(RESAMPLES, seeds))
    found = [spearman(one[:, draw], other[:, draw]) for draw in draws]
    tail = 100 * (1 - confidence) / 2
    low, high = np.nanpercentile(found, [tail, 100 - tail])
    return float(low), float(high)


def permutation_p(one: np.ndarray, other: np.ndarray) -> float:
    """Two-sided p of `spearman` where schemes and seeds of `one` are shuffled as wholes.

    The share of all shuffles (10,000 random ones if there are more) whose correlation is at least
    as far from zero. Under the null hypothesis schemes and seeds are exchangeable. Where schemes
    alone agree, in the order of all four, it is about 1/12, however many seeds there are.
    """
    left, right = (stats.rankdata(v).reshape(v.shape) for v in (one, other))
    observed = _correlation(left, right)
    if math.isnan(observed):
        return math.nan
    rows, columns = _shuffles(*left.shape)
    centred = right - right.mean()
    scale = np.linalg.norm(left - left.mean()) * np.linalg.norm(centred)
    shuffled = left[rows[:, :, None], columns[:, None, :]]
    found = np.einsum("kij,ij->k", shuffled, centred) / scale
    return float(np.mean(np.abs(found) >= abs(observed) - 1e-12))


def _shuffles(rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Orders of rows and of columns, k × rows and k × columns, the first as they are."""
    if math.factorial(rows) * math.factorial(columns) <= MOST_PERMUTATIONS:
        some, others = (np.array(list(permutations(range(n)))) for n in (rows, columns))
        return np.repeat(some, len(others), axis=0), np.tile(others, (len(some), 1))
    chance = np.random.default_rng(0)
    orders = (np.tile(np.arange(n), (MOST_PERMUTATIONS, 1)) for n in (rows, columns))
    some, others = (chance.permuted(order, axis=1) for order in orders)
    some[0], others[0] = np.arange(rows), np.arange(columns)
    return some, others


def unseen_scheme_r2(one: np.ndarray, other: np.ndarray) -> float:
    """R² of predicting `other` from `one` in schemes that the prediction has not seen.

    A straight line is fitted to all schemes but one and predicts that one, in turn: 1 − Σ(y − ŷ)² /
    Σ(y − ȳ)², with ȳ the mean of the schemes fitted to. 1 is perfect; 0 or less is no better than
    that mean. nan for fewer than three schemes, and where `one` or `other` is constant.
    """
    schemes = len(one)
    if schemes < 3 or math.isnan(spearman(one, other)):
        return math.nan
    errors, baseline = 0.0, 0.0
    for left_out in range(schemes):
        x, y = (np.delete(values, left_out, axis=0).ravel() for values in (one, other))
        spread = float(((x - x.mean()) ** 2).sum())
        slope = float((x - x.mean()) @ (y - y.mean())) / spread if spread else 0.0
        predicted = y.mean() + slope * (one[left_out] - x.mean())
        errors += float(((other[left_out] - predicted) ** 2).sum())
        baseline += float(((other[left_out] - y.mean()) ** 2).sum())
    return 1 - errors / baseline if baseline else math.nan


def _deviations(values: np.ndarray) -> np.ndarray:
    """From row means; what rounding leaves of equal values is no deviation."""
    apart = values - values.mean(axis=1, keepdims=True)
    return np.where(np.abs(apart) <= _rounding(values), 0.0, apart)


def _rounding(values: np.ndarray) -> float:
    return 1e-12 * float(np.abs(values).max(initial=0.0))


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    left, right = one - one.mean(), other - other.mean()
    scale = float(np.linalg.norm(left) * np.linalg.norm(right))
    return float((left * right).sum()) / scale if scale else math.nan
