import itertools
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lottery.analysis.paired import (
    difference,
    equivalence,
    geometric_interval,
    holm,
    paired,
)
from lottery.errors import ConfigError

values = st.lists(st.integers(-2000, 2000).map(lambda k: k / 10_000), min_size=2, max_size=8)
few = settings(max_examples=25, deadline=None)
p_values = st.lists(st.floats(0, 1), min_size=1, max_size=8)


def signed_rank_p(sample):
    """Share of all signs of the ranks whose sum is as far from its mean as the sample's."""
    sample = np.round([value for value in sample if value], 12)
    ranks = stats.rankdata(np.abs(sample))
    sums = np.array(
        [np.dot(signs, ranks) for signs in itertools.product((0, 1), repeat=len(ranks))]
    )
    distance = np.abs(sums - ranks.sum() / 2)
    return np.mean(distance >= abs(ranks[sample > 0].sum() - ranks.sum() / 2) - 1e-9)


def bca(sample):
    """Efron & Tibshirani 1993, ch. 14.3, from all n**n resamples instead of random ones."""
    sample = np.asarray(sample)
    n, mean = len(sample), sample.mean()
    means = np.sort([np.mean(some) for some in itertools.product(sample, repeat=n)])
    below = (np.sum(means < mean - 1e-12) + np.sum(means < mean + 1e-12)) / 2 / len(means)
    z0 = stats.norm.ppf(below)
    left_out = np.array([np.delete(sample, k).mean() for k in range(n)])
    d = left_out.mean() - left_out
    a = (d**3).sum() / (6 * (d**2).sum() ** 1.5)
    z = z0 + np.array([-1.959964, 1.959964])
    return np.quantile(means, stats.norm.cdf(z0 + z / (1 - a * z)))


def test_five_differences_by_hand():
    """s² = 10 / 4, t = 3 / (s / √5) = 4.243 on 4 degrees of freedom, ranks all positive: 2 / 32."""
    d = difference([1.0, 2.0, 3.0, 4.0, 5.0])
    assert (d.n, d.mean) == (5, 3.0)
    assert d.deviation == pytest.approx(math.sqrt(2.5))
    assert (d.low, d.high) == pytest.approx((3 - 1.963243, 3 + 1.963243), abs=1e-6)
    assert d.t_p == pytest.approx(0.0132356, abs=1e-6)
    assert d.wilcoxon_p == 0.0625
    assert d.interval == (d.mean, d.low, d.high, 5)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e3])
def test_no_five_seeds_are_significant_by_wilcoxon(scale):
    assert difference(scale * np.array([1.0, 1.1, 0.9, 1.2, 1.05])).wilcoxon_p >= 0.0625


@few
@given(values)
def test_wilcoxon_counts_all_signs_with_ties_and_zeros(sample):
    p = difference(sample).wilcoxon_p
    assert p == pytest.approx(signed_rank_p(sample) if any(sample) else 1.0)


def test_ties_that_differ_by_rounding_are_ties():
    """Five differences of ±5 and 30 ten-thousandths; as floats no two are equal, and p is 0.25."""
    pairs = [(9824, 9829), (9877, 9882), (9805, 9800), (9826, 9821), (9924, 9894)]
    accuracies = [(a / 10_000, b / 10_000) for a, b in pairs]
    counts = [float(a - b) for a, b in pairs]
    p = difference([a - b for a, b in accuracies]).wilcoxon_p
    assert p == difference(counts).wilcoxon_p == 0.75


@pytest.mark.parametrize("sample", [[0.1, 0.5, 0.2, 0.9, 0.4], [0.0, 0.13, 0.21, 0.34, 0.55, 1.89]])
def test_bootstrap_agrees_with_all_resamples(sample):
    """The second is skewed: its plain percentiles are 0.14 and 1.09, not 0.18 and 1.35."""
    d = difference(sample)
    assert (d.bca_low, d.bca_high) == pytest.approx(bca(sample), abs=0.05 * np.std(sample))


def test_bootstrap_repeats():
    assert difference([0.1, 0.5, 0.2, 0.9]) == difference([0.1, 0.5, 0.2, 0.9])


def test_two_values_have_no_bootstrap_interval_and_one_no_interval_at_all():
    assert math.isnan(difference([0.1, 0.2]).bca_low)
    one = difference([0.1])
    assert (one.n, one.mean) == (1, 0.1)
    assert all(map(math.isnan, (one.low, one.high, one.t_p, one.wilcoxon_p, one.deviation)))
    assert difference([]).n == 0


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("value", "p"), [(0.0, 1.0), (0.5, 0.0), (0.1 + 0.2, 0.0)])
def test_equal_differences_give_limits_and_no_warning(value, p):
    d = difference([value] * 4)
    assert (d.t_p, d.deviation) == (p, 0.0)
    assert math.isnan(d.bca_low)
    assert (d.low, d.high) == pytest.approx((value, value))


def test_missing_values_are_not_counted():
    assert difference([1.0, math.nan, 2.0, 4.0]) == difference([1.0, 2.0, 4.0])


@few
@given(values)
def test_turning_a_comparison_round_turns_its_sign(sample):
    there, back = difference(sample), difference([-value for value in sample])
    assert there.mean == pytest.approx(-back.mean)
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low))
    assert (there.t_p, there.wilcoxon_p) == pytest.approx((back.t_p, back.wilcoxon_p))


def test_seeds_are_paired_by_their_number_and_not_by_their_place():
    first = pd.Series({2: 0.9, 0: 0.5, 1: 0.7, 9: 0.1})
    second = pd.Series({0: 0.4, 1: 0.5, 2: 0.6, 7: 0.2})
    assert paired(first, second).round(12).to_dict() == {0: 0.1, 1: 0.2, 2: 0.3}


def test_holm_by_hand():
    """Sorted 0.005, 0.01, 0.03, 0.04 become 4·0.005, 3·0.01, 2·0.03 and max(0.06, 0.04)."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holm_does_not_count_tests_that_were_not_made():
    corrected = holm([0.01, math.nan, 0.04])
    assert corrected[[0, 2]] == pytest.approx([0.02, 0.04])
    assert math.isnan(corrected[1])


@given(p_values)
def test_holm_keeps_the_order_and_only_raises(p):
    corrected = holm(p)
    assert (corrected >= np.array(p)).all()
    assert (corrected <= 1).all()
    assert (np.diff(corrected[np.argsort(p, kind="stable")]) >= 0).all()
    assert corrected.min() == pytest.approx(min(1, len(p) * min(p)))


def test_equivalence_by_hand():
    """Mean 0, s = 1, n = 4, margin 2: t = 2 / 0.5 = 4, 3 degrees of freedom, one-sided 0.0140."""
    x = math.sqrt(3) / 2
    test = equivalence([-x, -x, x, x], margin=2)
    assert test.p == pytest.approx(0.0140042, abs=1e-6)
    assert test.shown


@few
@given(values, st.floats(1e-4, 0.3))
def test_equivalence_is_the_90_percent_interval_inside_the_margin(sample, margin):
    d = difference(sample)
    if d.deviation == 0:
        return
    half = stats.t.ppf(0.95, d.n - 1) * d.deviation / math.sqrt(d.n)
    inside = max(abs(d.mean - half), abs(d.mean + half))
    if abs(inside - margin) > 1e-9:
        assert equivalence(sample, margin).shown == (inside < margin)


def test_equivalence_is_not_the_absence_of_a_difference():
    """Two noisy seeds show neither a difference nor equality; five quiet ones show equality."""
    noisy = [0.002, -0.002]
    assert difference(noisy).t_p > 0.9
    assert not equivalence(noisy, 0.001).shown
    assert equivalence([0.0002, -0.0001, 0.0001, -0.0002, 0.0], 0.001).shown


def test_equivalence_of_equal_values_and_of_one():
    assert equivalence([0.0, 0.0], 0.1).p == 0.0
    assert equivalence([0.2, 0.2], 0.1).p == 1.0
    assert math.isnan(equivalence([0.0], 0.1).p)
    assert not equivalence([0.0], 0.1).shown


@pytest.mark.parametrize("margin", [0, -1, math.nan])
def test_a_margin_that_is_none_is_refused(margin):
    with pytest.raises(ConfigError, match="margin"):
        equivalence([0.0, 1.0], margin)


def test_ratios_are_averaged_as_logarithms():
    """Twice as fast and half as fast is as fast; the arithmetic mean would be 1.25."""
    interval = geometric_interval([0.5, 2.0])
    assert interval.mean == pytest.approx(1.0)
    half = 12.7062 * math.log(2)  # t(1) · s / √2 with s = √2·ln 2
    assert interval.high == pytest.approx(math.exp(half), rel=1e-4)
    assert interval.low == pytest.approx(math.exp(-half), rel=1e-4)


def test_a_ratio_of_nothing_is_refused():
    with pytest.raises(ConfigError, match="ratio"):
        geometric_interval([0.0, 1.0])


def test_what_rounding_leaves_of_no_difference_has_no_rank():
    assert difference([0.0, 1e-17, -1e-17, 2e-17, 0.0]).wilcoxon_p == 1.0
