"""Association over schemes and seeds: against scipy, by hand, and on planted data."""

import math
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from lottery.analysis import association as a

SMALL = arrays(float, (3, 4), elements=st.integers(-3, 3).map(float))


def noise(seed, schemes=4, seeds=5):
    return np.random.default_rng(seed).normal(size=(schemes, seeds))


@given(SMALL, SMALL)
def test_spearman_is_scipys(one, other):
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        assert math.isnan(a.spearman(one, other))
    else:
        expected = stats.spearmanr(one.ravel(), other.ravel()).statistic
        assert a.spearman(one, other) == pytest.approx(expected, abs=1e-12)


def test_between_and_within_are_told_apart():
    # Scheme means rise together, deviations within them run against each other.
    steps = np.array([-1.0, 0.0, 1.0])
    one = 10 * np.arange(4)[:, None] + steps
    other = 10 * np.arange(4)[:, None] - steps
    assert a.between(one, other) == pytest.approx(1.0)
    assert a.within(one, other) == pytest.approx(-1.0)
    assert a.spearman(one, other) > 0.8


def test_two_schemes_correlate_with_nothing():
    """Their two means do perfectly, whatever they are."""
    assert math.isnan(a.between(noise(0, 2, 5), noise(1, 2, 5)))
    assert not math.isnan(a.between(noise(0, 3, 5), noise(1, 3, 5)))


def test_what_rounding_leaves_of_constant_schemes_is_no_deviation():
    one = np.repeat([[0.1], [0.2 + 0.1], [0.7]], 3, axis=1)
    assert math.isnan(a.within(one, noise(0, 3, 3)))


@pytest.mark.parametrize(
    "values, share",
    [([[1, 1], [3, 3]], 1.0), ([[1, 3], [3, 1]], 0.0), ([[0, 2], [2, 4]], 0.5)],
)
def test_share_between_is_eta_squared(values, share):
    assert a.share_between(np.array(values, dtype=float)) == pytest.approx(share)


def test_share_between_of_nothing_is_unknown():
    assert math.isnan(a.share_between(np.full((2, 3), 0.1)))


def test_permutation_p_counts_every_shuffle_of_schemes_and_of_seeds():
    one, other = noise(1, 3, 3), noise(2, 3, 3) + noise(1, 3, 3)
    observed = abs(stats.spearmanr(one.ravel(), other.ravel()).statistic)
    found = [
        abs(stats.spearmanr(one[list(rows)][:, list(columns)].ravel(), other.ravel()).statistic)
        for rows in permutations(range(3))
        for columns in permutations(range(3))
    ]
    assert a.permutation_p(one, other) == np.mean(np.array(found) >= observed - 1e-12)


def test_an_effect_of_schemes_alone_is_not_taken_for_as_many_cells():
    """Four schemes whose order happens to agree: naively p < 1e-5, but 1 in 12 orders does so."""
    means = np.arange(4.0)[:, None]
    one = means + 0.01 * noise(3)
    other = means + 0.01 * noise(4)
    assert stats.spearmanr(one.ravel(), other.ravel()).pvalue < 1e-5
    assert a.permutation_p(one, other) > 0.03


def test_an_effect_in_every_cell_is_found():
    one = noise(5)
    assert a.permutation_p(one, one + 0.1 * noise(6)) < 0.001


def test_without_an_effect_p_is_even():
    found = [a.permutation_p(noise(2 * k, 3, 4), noise(2 * k + 1, 3, 4)) for k in range(200)]
    assert 0.01 <= np.mean(np.array(found) <= 0.05) <= 0.1


def test_shared_seeds_and_schemes_do_not_make_effects():
    """Each table has strong effects of schemes and of seeds, and they have nothing in common."""

    def table(k):
        chance = np.random.default_rng(k)
        return chance.normal(size=(3, 1)) + chance.normal(size=(1, 4)) + 0.1 * noise(k, 3, 4)

    pairs = [(table(2 * k), table(2 * k + 1)) for k in range(200)]
    ours = np.mean([a.permutation_p(*pair) <= 0.05 for pair in pairs])
    naive = np.mean([stats.spearmanr(x.ravel(), y.ravel()).pvalue <= 0.05 for x, y in pairs])
    assert ours <= 0.1 < naive


def test_many_shuffles_are_sampled():
    one = noise(7, 5, 6)
    p = a.permutation_p(one, one)
    assert 0 < p <= 2 / a.MOST_PERMUTATIONS
    assert p == a.permutation_p(one, one)


def test_bootstrap_resamples_seeds():
    one = noise(8)
    low, high = a.bootstrap_interval(one, one + noise(9))
    rho = a.spearman(one, one + noise(9))
    assert low < rho < high
    # All seeds are alike, so that other seeds would say the same.
    alike = np.repeat(noise(10, 4, 1), 5, axis=1)
    against = np.repeat(noise(11, 4, 1), 5, axis=1)
    assert a.bootstrap_interval(alike, against) == pytest.approx((a.spearman(alike, against),) * 2)


def test_two_seeds_are_too_few_for_an_interval():
    assert all(map(math.isnan, a.bootstrap_interval(noise(0, 4, 2), noise(1, 4, 2))))


def test_r2_in_an_unseen_scheme_by_hand():
    # Fitted to schemes 2 and 3, y = x + 1 predicts scheme 1 as 2 where it is 0; and so on round.
    one = np.array([[1.0], [2.0], [3.0]])
    other = np.array([[0.0], [3.0], [4.0]])
    # left out 1: slope 1, ŷ = 2, mean 3.5; 2: slope 2, ŷ = 2, mean 2; 3: slope 3, ŷ = 6, mean 1.5.
    expected = 1 - (2**2 + 1**2 + 2**2) / (3.5**2 + 1**2 + 2.5**2)
    assert a.unseen_scheme_r2(one, other) == pytest.approx(expected)


def test_r2_is_one_on_a_line_and_not_above_zero_for_chance():
    one = noise(12)
    assert a.unseen_scheme_r2(one, 3 - 2 * one) == pytest.approx(1.0)
    assert np.mean([a.unseen_scheme_r2(noise(k), noise(k + 50)) for k in range(20, 40)]) < 0


@pytest.mark.parametrize("function", [a.spearman, a.between, a.within, a.permutation_p])
def test_constant_quantities_correlate_with_nothing(function):
    assert math.isnan(function(np.ones((3, 4)), noise(0, 3, 4)))
    assert math.isnan(a.unseen_scheme_r2(np.ones((3, 4)), noise(0, 3, 4)))
