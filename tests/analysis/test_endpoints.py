import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lottery.analysis.endpoints import (
    critical_density,
    endpoints,
    levels_above,
    margins,
    outcomes,
    speed_ups,
    with_unpruned,
)
from lottery.errors import ConfigError
from tests.analysis import planted

ONE = {"inits": ["xavier_normal"], "seeds": [0]}
few = settings(max_examples=25, deadline=None)
curves = st.lists(st.integers(0, 10_000).map(lambda k: k / 10_000), min_size=2, max_size=12)


def walk(*accuracies, **columns):
    """One ticket whose level l has the l-th of these accuracies and half of the weights before."""
    frame = planted.levels(
        lambda level, **_: accuracies[level], last=len(accuracies) - 1, kept=0.5, **ONE
    )
    return frame.assign(**columns)


def test_area_is_the_mean_gain_of_the_pruned_levels_by_hand():
    """Level 0 is what is compared with, not a level of the curve: (0.02 + 0 − 0.05) / 3."""
    (row,) = endpoints(walk(0.90, 0.92, 0.90, 0.85)).itertuples()
    assert row.area == pytest.approx(-0.01)
    assert row.mean_accuracy == pytest.approx(0.89)
    assert (row.unpruned, row.first_level, row.last_level, row.pruned_levels) == (0.90, 1, 3, 3)


@few
@given(st.floats(0, 1), st.integers(1, 6))
def test_area_of_a_constant_curve_is_zero(value, last):
    (row,) = endpoints(walk(*[value] * (last + 1))).itertuples()
    assert row.area == pytest.approx(0)


@few
@given(curves, st.floats(-0.5, 0.5))
def test_area_does_not_depend_on_the_accuracy_it_starts_from(accuracies, shift):
    area = endpoints(walk(*accuracies))["area"][0]
    assert endpoints(walk(*(a + shift for a in accuracies)))["area"][0] == pytest.approx(area)


def test_critical_density_is_interpolated_on_the_logarithm_by_hand():
    """0.97 lies half way from 0.98 (at 1/4) to 0.96 (at 1/8): 2^-2.5 of the weights."""
    density, censored = critical_density([1, 0.5, 0.25, 0.125], [0.975, 0.99, 0.98, 0.96], 0.005)
    assert density == pytest.approx(2**-2.5)
    assert not censored


def test_critical_density_is_the_first_crossing_and_ignores_a_later_recovery():
    density, _ = critical_density([1, 0.5, 0.25, 0.125], [0.98, 0.96, 0.99, 0.99], 0.01)
    assert density == pytest.approx(2**-0.5)


def test_critical_density_that_is_never_crossed_is_censored_at_the_lowest_level():
    assert critical_density([1, 0.5, 0.25], [0.98, 0.99, 0.97], 0.01) == (0.25, True)


def test_accuracy_at_the_bound_counts_as_reached():
    """0.5097 − 0.01 is 0.4997 on paper and a bit more in floats."""
    assert 0.5097 - 0.01 > 0.4997
    assert critical_density([1, 0.5], [0.5097, 0.4997], 0.01) == (0.5, True)


@given(curves, st.floats(0, 0.3), st.floats(0, 0.3))
def test_a_larger_drop_never_raises_the_critical_density(accuracies, drop, more):
    densities = 0.8 ** np.arange(len(accuracies))
    small, small_censored = critical_density(densities, accuracies, drop)
    large, large_censored = critical_density(densities, accuracies, drop + more)
    assert large <= small * (1 + 1e-9)
    assert large_censored or not small_censored
    assert densities[-1] * (1 - 1e-9) <= large <= 1


def test_a_negative_drop_is_refused():
    with pytest.raises(ConfigError, match="drop"):
        critical_density([1, 0.5], [0.9, 0.9], -0.01)


def test_drop_is_half_a_point_for_lenet_and_a_point_for_others():
    accuracies = 0.98, 0.973, 0.973
    assert not endpoints(walk(*accuracies))["censored"][0]
    assert endpoints(walk(*accuracies, model="conv6(width=0.25)"))["censored"][0]
    assert margins("lenet_300_100(negative_slope=0.05)") == (0.001, 0.005)


def test_collapse_is_below_half_of_the_unpruned_accuracy():
    """0.49 of 0.98 is half, not below it."""
    row = endpoints(walk(0.98, 0.97, 0.49, 0.48, 0.1)).iloc[0]
    assert row["collapse_density"] == 0.125
    assert math.isnan(endpoints(walk(0.98, 0.97, 0.49))["collapse_density"][0])


def test_controls_are_compared_with_the_unpruned_network_of_their_own_seed_and_scheme():
    frame = planted.levels(
        lambda init, seed, branch, level, **_: (
            0.9 + 0.01 * seed + 0.02 * (init > "x") - (0.03 if branch == "reinit" else 0)
        ),
        inits=["kaiming_normal", "xavier_normal"],
        seeds=[0, 1],
        branches={"ticket": 1, "reinit": 2},
        last=2,
    )
    table = endpoints(frame)
    assert len(table) == 4 + 8
    assert table.loc[table["branch"] == "reinit", "area"].to_numpy() == pytest.approx(-0.03)
    assert table.loc[table["branch"] == "ticket", "area"].to_numpy() == pytest.approx(0.0)


def test_variants_have_unpruned_networks_of_their_own():
    frame = planted.levels(
        lambda variant, level, **_: (0.9 if variant == "a" else 0.8) - 0.01 * (level > 0),
        variants=["a", "b"],
        last=2,
        **ONE,
    )
    assert endpoints(frame)["area"].to_numpy() == pytest.approx(-0.01)
    assert with_unpruned(frame).groupby("variant")["unpruned"].unique().tolist() == [[0.9], [0.8]]


def test_a_cell_that_stopped_early_is_not_compared_with_whole_ones():
    """Its area would be over other levels: where accuracy falls at the end, it would be better."""
    frame = planted.levels(seeds=[0, 1], inits=["xavier_normal"], last=3)
    frame = frame[(frame["seed"] == 0) | (frame["level"] < 2)]
    assert endpoints(frame)["seed"].tolist() == [0]
    assert endpoints(frame, at=[1])["seed"].tolist() == [0, 1]


def test_levels_can_be_chosen():
    row = endpoints(walk(0.90, 0.92, 0.95, 0.85), at=[0, 1, 3]).iloc[0]
    assert row["area"] == pytest.approx((0.02 - 0.05) / 2)
    assert (row["pruned_levels"], row["last_level"]) == (2, 3)


def test_the_network_that_is_never_pruned_has_no_critical_density():
    frame = planted.levels(branches={"ticket": 1, "dense": 1}, last=2, **ONE)
    dense = endpoints(frame).set_index("branch").loc["dense"]
    assert math.isnan(dense["critical_density"])
    assert not dense["censored"]
    assert dense["area"] == 0


def test_an_accuracy_that_was_not_measured_leaves_no_endpoint():
    frame = walk(0.9, 0.9).assign(val_accuracy=math.nan)
    assert endpoints(frame, "val_accuracy").empty
    assert "area" in endpoints(frame, "val_accuracy")


def test_levels_above_a_density_are_pruned_ones():
    assert levels_above(walk(0.9, 0.9, 0.9, 0.9), 0.25) == [1, 2]


def test_outcomes_of_two_humps_by_hand():
    """Of 0.9, 0.9, 0.8, 0.1 and 0.1 the mean, 0.56, is no network's; 2 of 5 collapsed."""
    last = dict(enumerate([0.9, 0.8, 0.1, 0.9, 0.1]))
    frame = planted.levels(
        lambda seed, level, **_: last[seed] if level == 2 else 0.9, inits=["a"], last=2
    )
    row = outcomes(frame).set_index("level").loc[2]
    assert (row["median"], row["q25"], row["q75"]) == pytest.approx((0.8, 0.1, 0.9))
    assert (row["collapsed"], row["n"]) == (0.4, 5)
    assert row["weights_remaining"] == pytest.approx(0.64)


def test_outcomes_count_seeds_and_not_draws():
    frame = planted.levels(branches={"ticket": 1, "reinit": 3}, inits=["a"], last=1)
    assert outcomes(frame).set_index("branch").loc["reinit", "n"] == 5


def test_speed_up_is_a_paired_ratio():
    """Seed 0 goes from 400 to 100 steps, seed 1 from 100 to 50: 4 and 2."""
    stops = {(0, 0): 400, (0, 1): 100, (1, 0): 100, (1, 1): 50}
    frame = planted.levels(
        step=lambda seed, level, **_: stops[seed, level], inits=["a"], seeds=[0, 1], last=1
    )
    assert speed_ups(frame)["speed_up"].tolist() == [1.0, 4.0, 1.0, 2.0]


def test_speed_up_needs_both_steps():
    frame = planted.levels(inits=["a"], seeds=[0, 1], last=1)
    frame.loc[(frame["seed"] == 1) & (frame["level"] == 0), "early_stop_step"] = pd.NA
    assert set(speed_ups(frame)["seed"]) == {0}
    frame.loc[frame["seed"] == 0, "early_stop_step"] = 0
    assert speed_ups(frame).empty
