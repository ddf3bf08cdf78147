import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lottery.analysis.unpaired import Moments, welch_interval

samples = st.lists(st.integers(-1000, 1000).map(float), min_size=2, max_size=8)


@given(samples, samples)
def test_welch_agrees_with_scipy(ours, theirs):
    if min(np.ptp(ours), np.ptp(theirs)) == 0:
        return
    expected = stats.ttest_ind(ours, theirs, equal_var=False).confidence_interval(0.95)
    interval = welch_interval(Moments.of(ours), Moments.of(theirs))
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high))
    assert interval.n == len(ours)


def test_welch_from_published_moments_by_hand():
    """se² = 0.04 / 5 + 0.09 / 10 = 0.017, freedom 0.017² / (0.008²/4 + 0.009²/9) = 11.56."""
    interval = welch_interval(Moments(98.0, 0.2, 5), Moments(97.5, 0.3, 10))
    half = stats.t.ppf(0.975, 11.56) * math.sqrt(0.017)
    assert interval.mean == 0.5
    assert interval.high - 0.5 == pytest.approx(half, rel=1e-3)


def test_one_value_on_either_side_gives_no_interval():
    several = Moments(1.0, 0.1, 3)
    for interval in (
        welch_interval(Moments.of([2.0]), several),
        welch_interval(several, Moments.of([2.0])),
    ):
        assert abs(interval.mean) == 1.0
        assert math.isnan(interval.low)


def test_equal_values_on_both_sides_give_an_interval_of_no_width():
    assert welch_interval(Moments(2.0, 0.0, 3), Moments(1.0, 0.0, 3)) == (1.0, 1.0, 1.0, 3)


def test_moments_leave_missing_values_out():
    assert Moments.of([1.0, math.nan, 3.0]) == (2.0, pytest.approx(math.sqrt(2)), 2)
    assert Moments.of([]).n == 0
