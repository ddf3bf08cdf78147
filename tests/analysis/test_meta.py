"""Random effects against a hand-worked example, and what has to hold for all inputs."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lottery.analysis.meta import random_effects
from lottery.errors import ConfigError


def test_the_worked_example():
    """w = 4, 1, 4: ȳ = (4·1 + 1·2 + 4·4) / 9 = 22/9; Q = 4·169/81 + 16/81 + 4·196/81 = 1476/81.

    Σw − Σw²/Σw = 9 − 33/9 = 16/3, so τ² = (1476/81 − 2) / (16/3) = 1314·3 / (81·16) = 3.0417. New
    weights are 1/(0.25 + τ²) = 0.30380 twice and 1/(1 + τ²) = 0.24742.
    """
    found = random_effects([1.0, 2.0, 4.0], [0.5, 1.0, 0.5])
    assert found.q == pytest.approx(1476 / 81)
    assert found.tau**2 == pytest.approx(1314 * 3 / (81 * 16))
    outer, middle = 1 / (0.25 + found.tau**2), 1 / (1 + found.tau**2)
    total = 2 * outer + middle
    assert (outer, middle) == pytest.approx((0.30380, 0.24742), abs=1e-5)
    assert found.interval.mean == pytest.approx((5 * outer + 2 * middle) / total)
    assert found.interval.high - found.interval.mean == pytest.approx(1.959964 / math.sqrt(total))
    assert found.q_p == pytest.approx(math.exp(-found.q / 2))  # of χ² with two degrees of freedom
    assert found.interval.n == 3


def test_effects_that_agree_are_pooled_as_fixed():
    found = random_effects([1.0, 1.1, 0.9], [1.0, 2.0, 0.5])
    weights = np.array([1, 0.25, 4])
    assert found.tau == 0
    assert found.interval.mean == pytest.approx(weights @ [1.0, 1.1, 0.9] / weights.sum())


def test_one_effect_stands_for_itself_and_none_for_nothing():
    one = random_effects([0.3], [0.1])
    assert one.interval.mean == pytest.approx(0.3)
    assert one.interval.high == pytest.approx(0.3 + 1.959964 * 0.1)
    assert (one.tau, math.isnan(one.q_p)) == (0, True)
    assert random_effects([], []).interval.n == 0


@pytest.mark.parametrize("errors", [[1.0, 0.0], [1.0, math.nan], [1.0]])
def test_an_effect_without_an_error_cannot_be_weighed(errors):
    with pytest.raises(ConfigError, match="one above 0 for each effect"):
        random_effects([1.0, 2.0], errors)


@given(
    st.lists(
        st.tuples(st.floats(-10, 10), st.floats(0.1, 10)),
        min_size=2,
        max_size=8,
    ),
    st.floats(-5, 5),
)
def test_it_moves_with_the_effects_and_never_claims_more_than_fixed_effects(pairs, shift):
    effects, errors = map(list, zip(*pairs, strict=True))
    found = random_effects(effects, errors)
    moved = random_effects([effect + shift for effect in effects], errors)
    assert moved.interval.mean == pytest.approx(found.interval.mean + shift, abs=1e-6)
    assert min(effects) - 1e-9 <= found.interval.mean <= max(effects) + 1e-9
    half = found.interval.high - found.interval.mean
    assert half >= 1.959963 / math.sqrt(sum(error**-2 for error in errors)) * (1 - 1e-9)
