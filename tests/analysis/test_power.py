import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lottery.analysis.power import detectable, seeds_needed, t_test_power
from lottery.errors import ConfigError


@pytest.mark.parametrize(("effect", "n"), [(0.2, 199), (0.5, 34), (0.8, 15)])
def test_seeds_needed_are_the_tabled_ones(effect, n):
    """Paired t test, 5 % two-sided, power 80 %: Cohen's small, medium, large effect (G*Power)."""
    assert seeds_needed(1.0, effect) == n


def test_a_spread_of_6_points_hides_a_difference_of_2():
    """METHODS: Xavier − Kaiming at 2.8 % of the weights in the logs of 2020 (normal theory: 83)."""
    assert 83 <= seeds_needed(6.27, 1.93) <= 86


def test_power_is_how_often_the_test_finds_the_difference():
    rng = np.random.default_rng(0)
    samples = rng.normal(1.0, 1.0, size=(4000, 6))
    found = stats.ttest_1samp(samples, 0, axis=1).pvalue < 0.05
    assert t_test_power(1.0, 1.0, 6) == pytest.approx(found.mean(), abs=0.025)


@settings(max_examples=25, deadline=None)
@given(st.floats(1e-4, 10), st.integers(3, 40))
def test_what_n_seeds_detect_needs_n_seeds(deviation, n):
    least = detectable(deviation, n)
    assert t_test_power(deviation, least, n) == pytest.approx(0.8)
    assert seeds_needed(deviation, least * 1.0001) == n


def test_sign_of_the_difference_does_not_matter():
    assert seeds_needed(1.0, -0.5) == 34


def test_power_of_an_overwhelming_effect_is_one():
    assert t_test_power(1e-3, 1.0, 5) == pytest.approx(1.0)
    assert seeds_needed(1e-3, 1.0) == 2


def test_one_seed_detects_nothing():
    assert t_test_power(1.0, 5.0, 1) == 0.0
    assert math.isnan(detectable(1.0, 1))


@pytest.mark.parametrize(
    "arguments", [(0.0, 1.0), (-1.0, 1.0), (1.0, 0.0), (1.0, 1.0, 1.0), (1.0, 1.0, 0.8, 0.0)]
)
def test_what_cannot_be_computed_is_refused(arguments):
    with pytest.raises(ConfigError):
        seeds_needed(*arguments)


def test_a_difference_that_no_study_could_see_is_refused():
    with pytest.raises(ConfigError, match="difference"):
        seeds_needed(1.0, 1e-6)
