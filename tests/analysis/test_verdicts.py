import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lottery.analysis.claims.measures import Measure
from lottery.analysis.claims.verdicts import NOT_REPRODUCED, REPRODUCED, UNDECIDED, Region, Size


def measured(*values, unit="pp", **more):
    return Measure(pd.Series(values), pd.DataFrame(), unit, "", **more)


SURE, UNSURE = measured(0.4, 0.5, 0.6), measured(-1.0, 0.5, 2.0)


@pytest.mark.parametrize(
    ("rule", "verdict"),
    [
        (Region(low=0.0), REPRODUCED),
        (Region(high=0.0), NOT_REPRODUCED),
        (Region(low=0.5), UNDECIDED),
        (Region(low=1.0), NOT_REPRODUCED),
        (Region(-1.0, 1.0), REPRODUCED),
        (Region(-0.1, 0.1), NOT_REPRODUCED),
        (Size(0.6), REPRODUCED),
        (Size(3.0), NOT_REPRODUCED),
        (Size(-0.5), NOT_REPRODUCED),
        (Size(0.5, none=0.7), UNDECIDED),
    ],
)
def test_a_sure_figure_is_on_one_side_or_the_other(rule, verdict):
    """Its 95 % interval is 0.25 to 0.75."""
    assert rule.decide(SURE) == verdict


@pytest.mark.parametrize(
    "rule", [Region(low=0.0), Region(high=0.0), Region(-0.1, 0.1), Size(1.0), Size(-0.5)]
)
def test_an_unsure_figure_decides_nothing(rule):
    assert rule.decide(UNSURE) == UNDECIDED


@pytest.mark.parametrize("rule", [Region(low=0.0), Region(-5, 5), Region(low=9.0)])
def test_one_seed_decides_nothing(rule):
    assert rule.decide(measured(0.5)) == UNDECIDED


def test_one_seed_does_not_refute_a_size_either():
    assert Size(3.0).decide(measured(0.5)) == UNDECIDED
    assert Size(3.0).decide(measured()) == UNDECIDED


def test_equivalence_takes_the_90_percent_interval():
    """Mean 0, s = 1, n = 3: the 90 % interval is ±1.69, the 95 % one ±2.48."""
    figure = measured(-1.0, 0.0, 1.0)
    assert Region(-2, 2).decide(figure) == REPRODUCED
    assert Region(-1.5, 1.5).decide(figure) == UNDECIDED
    assert (Region(-2, 2).confidence, Region(low=0.0).confidence) == (0.90, 0.95)


def test_the_most_extreme_of_several_has_to_be_further_out_to_refute():
    figure = measured(0.4, 0.5, 0.6)
    picked = measured(0.4, 0.5, 0.6, comparisons=6)
    assert Region(-0.2, 0.2).decide(figure) == NOT_REPRODUCED
    assert Region(-0.2, 0.2).decide(picked) == UNDECIDED


def test_ratios_are_decided_on_their_own_scale():
    faster = measured(1.5, 1.6, 1.7, unit="×")
    assert Region(low=1.0).decide(faster) == REPRODUCED
    assert Size(1.61, none=1.0).decide(faster) == REPRODUCED
    assert Size(2.5, none=1.0).decide(faster) == NOT_REPRODUCED


@given(st.lists(st.floats(-10, 10), min_size=2, max_size=6), st.floats(-10, 10))
def test_a_claim_and_its_opposite_are_never_both_reproduced(values, bound):
    figure = measured(*values)
    if np.ptp(values) == 0:
        return
    verdicts = {Region(low=bound).decide(figure), Region(high=bound).decide(figure)}
    assert verdicts in ({REPRODUCED, NOT_REPRODUCED}, {UNDECIDED})


def test_false_claims_are_reproduced_no_more_often_than_the_interval_says():
    """No effect at all: 2.5 % on the claimed side, 2.5 % on the other."""
    rng = np.random.default_rng(0)
    verdicts = [Region(low=0.0).decide(measured(*rng.normal(size=5))) for _ in range(2000)]
    assert 0.015 < np.mean([v == REPRODUCED for v in verdicts]) < 0.036
    assert 0.94 < np.mean([v == UNDECIDED for v in verdicts]) < 0.96
    assert not math.isnan(measured(1.0, 2.0).interval().low)


def test_a_bound_decides_only_what_every_value_beyond_it_would():
    low, high = Region(low=0.0), Region(high=1.0)
    for bound, expected in {
        "≤": (UNDECIDED, REPRODUCED),
        "≥": (REPRODUCED, UNDECIDED),
        "?": (UNDECIDED, UNDECIDED),
    }.items():
        figure = measured(0.4, 0.5, 0.6, bound=bound)
        assert (low.decide(figure), high.decide(figure)) == expected
        assert Region(-1.0, 1.0).decide(figure) == UNDECIDED
    assert Region(low=1.0).decide(measured(0.4, 0.5, 0.6, bound="≤")) == NOT_REPRODUCED
    assert Region(low=1.0).decide(measured(0.4, 0.5, 0.6, bound="≥")) == UNDECIDED
    assert Size(3.0).decide(measured(0.4, 0.5, 0.6, bound="≤")) == NOT_REPRODUCED
    assert Size(3.0).decide(measured(0.4, 0.5, 0.6, bound="?")) == UNDECIDED


@given(st.floats(-10, 10), st.sampled_from(["≤", "≥", "?"]))
def test_one_seed_decides_nothing_by_a_bound_either(value, bound):
    figure = measured(value, bound=bound)
    for rule in (Region(low=0.0), Region(high=0.0), Region(-1.0, 1.0), Size(0.5)):
        assert rule.decide(figure) == UNDECIDED
