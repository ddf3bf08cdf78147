import math

import numpy as np
import pandas as pd
import pytest

from lottery.analysis.claims.measures import SOURCE, Missing, Place, compare, complete, mean_of
from lottery.analysis.claims.measures_schemes import (
    against,
    critical_percent,
    critical_ratio,
    network_contrast,
    scheme_contrast,
    spread_change,
    train_minus_test,
    widest_pair,
)
from lottery.analysis.unpaired import Moments
from tests.analysis import planted

ACCURACY, STEP = "test_accuracy", "early_stop_step"
UNPRUNED = Place()


def recomputed(measure):
    """Values per seed from the rows alone, as the formula of a comparison says."""
    log = measure.unit == "×"
    values = np.log(measure.rows["value"]) if log else 100 * measure.rows["value"]
    parts = values.groupby([measure.rows["seed"], measure.rows["part"]]).mean().unstack("part")
    one = parts["a"] - parts["b"] if "b" in parts else parts["a"]
    return np.exp(one) if log else one


def gain(seed=0, level=0, **_):
    return 0.97 + 0.001 * seed + 0.002 * (level > 0)


def test_the_level_nearest_to_a_percentage_is_found():
    """LeNet keeps 0.8^7 = 20.97 % at level 7; 21.1 % is asked for."""
    rows = Place(21.1).rows(planted.levels(), ACCURACY)
    assert set(rows["level"]) == {7}
    assert rows["asked"].to_numpy() == pytest.approx(0.211)


def test_nearness_is_a_ratio_and_not_a_difference():
    """1.9 % lies nearer to 1.44 % than to 2.6 % in points; of 2.6 it is 73 %, of 1.44 132 %."""
    frame = planted.levels(last=2, kept=0.161)  # 100, 16.1 and 2.59 %
    assert set(Place(2.2).rows(frame, ACCURACY)["level"]) == {2}
    with pytest.raises(Missing, match=r"near 7 % of the weights \(the nearest has 16.1 %\)"):
        Place(7.0).rows(frame, ACCURACY)


def test_the_unpruned_network_is_level_0_of_the_ticket():
    frame = planted.levels(branches={"ticket": 1, "dense": 1}, last=2)
    rows = UNPRUNED.rows(frame, ACCURACY)
    assert set(rows["branch"]) == {"ticket"}
    assert set(rows["level"]) == {0}


def test_a_range_holds_all_levels_between_its_ends():
    rows = Place(100.0, down_to=50.0).rows(planted.levels(), ACCURACY)
    assert set(rows["level"]) == {0, 1, 2, 3}
    assert rows["asked"].isna().all()
    with pytest.raises(Missing, match=r"no level from 1 down to 0\.5 %"):
        Place(1.0, down_to=0.5).rows(planted.levels(), ACCURACY)


@pytest.mark.parametrize(
    ("place", "inits", "message"),
    [
        (Place(50, "reinit"), [], "no branch reinit"),
        (Place(50, variant="relu"), [], "no variant relu"),
        (Place(50), ["orthogonal"], "no init orthogonal"),
    ],
)
def test_what_is_missing_is_named(place, inits, message):
    with pytest.raises(Missing, match=message):
        place.rows(planted.levels(), ACCURACY, inits)


def test_a_column_without_values_is_missing():
    frame = planted.levels(last=1).assign(early_stop_step=pd.array([pd.NA] * 40, dtype="Int64"))
    with pytest.raises(Missing, match="no early stop step for ticket"):
        compare(UNPRUNED, Place(80.0), STEP, ratio=True)(frame)


def test_differences_are_points_paired_by_seed():
    measure = compare(Place(21.1), UNPRUNED, ACCURACY)(planted.levels(gain))
    assert measure.values.to_dict() == pytest.approx(dict.fromkeys(range(5), 0.2))
    assert measure.interval().low == pytest.approx(0.2)  # what seeds share does not count
    assert measure.unit == "pp"


def test_ratios_are_geometric_over_schemes_and_seeds():
    """Twice as fast in one scheme and 8 times in the other is 4 times."""
    steps = {"xavier_normal": 2, "kaiming_normal": 8}
    frame = planted.levels(
        step=lambda init, level, **_: 800 / (steps[init] if level else 1), inits=steps, last=1
    )
    measure = compare(UNPRUNED, Place(80.0), STEP, ratio=True)(frame)
    assert measure.values.to_numpy() == pytest.approx(4.0)
    assert measure.interval().mean == pytest.approx(4.0)


def test_schemes_that_only_one_side_has_are_left_out():
    frame = planted.levels(branches={"ticket": 1, "reinit": 2}, last=8)
    frame = frame[(frame["branch"] == "ticket") | (frame["init"] == "xavier_normal")]
    measure = compare(Place(21.1), Place(21.1, "reinit"), ACCURACY)(frame)
    assert set(measure.rows["init"]) == {"xavier_normal"}


def test_a_seed_without_all_schemes_and_levels_does_not_count():
    frame = planted.levels(gain)
    torn = frame[(frame["seed"] != 3) | (frame["init"] != "xavier_normal") | (frame["level"] < 7)]
    measure = compare(Place(21.1), UNPRUNED, ACCURACY)(torn)
    assert measure.values.index.tolist() == [0, 1, 2, 4]
    assert 3 not in set(measure.rows["seed"])
    with pytest.raises(Missing, match="no seed"):
        complete(pd.concat([half(frame, 0), half(frame, 1)]))


def half(frame, seed):
    """Rows of one seed and one level of its own."""
    rows = UNPRUNED.rows(frame, ACCURACY).assign(part="a")
    return rows[rows["seed"] == seed].assign(level=seed)


@pytest.mark.parametrize(
    "measurer",
    [
        compare(Place(21.1), UNPRUNED, ACCURACY),
        compare(Place(21.1, "reinit"), Place(21.1), STEP, ratio=True),
        mean_of(Place(13.5, "reinit"), "train_accuracy"),
        scheme_contrast("Xavier − Kaiming", Place(100.0, down_to=3.4), ACCURACY),
        widest_pair(Place(100.0, down_to=3.4), ACCURACY, 0.1),
        train_minus_test(Place(22.0, down_to=6.8)),
    ],
)
def test_every_figure_can_be_computed_from_its_rows_and_they_from_the_table(measurer):
    frame = planted.levels(gain, branches={"ticket": 1, "reinit": 3}, noise=1e-3)
    measure = measurer(frame)
    assert list(measure.rows) == list(SOURCE)
    assert recomputed(measure).to_numpy() == pytest.approx(measure.values.to_numpy())
    table = frame.set_index(["cell", "level"])
    for row in measure.rows.itertuples():
        assert table.loc[(row.cell, row.level), row.column] == row.value


def test_the_widest_pair_is_the_one_furthest_from_equivalence():
    effects = {"a": 0.0, "b": 0.0005, "c": 0.004, "d": 0.001}
    frame = planted.levels(lambda init, **_: 0.9 + effects[init], inits=effects, noise=1e-5)
    measure = widest_pair(Place(100.0, down_to=3.4), ACCURACY, 0.1)(frame)
    assert "(A − C)" in measure.formula
    assert measure.interval().mean == pytest.approx(-0.4, abs=0.01)
    assert measure.comparisons == 6


def test_a_pair_that_is_proven_to_differ_comes_before_a_noisy_one():
    """Scheme n is all noise; s and t differ by half a point under every seed."""
    rng = np.random.default_rng(0)
    frame = planted.levels(
        lambda init, **_: {"s": 0.9, "t": 0.905, "n": 0.9 + 0.2 * rng.normal()}[init], inits="nst"
    )
    measure = widest_pair(Place(100.0, down_to=3.4), ACCURACY, 0.1)(frame)
    assert "(S − T)" in measure.formula


def test_one_seed_still_has_a_widest_pair():
    frame = planted.levels(lambda init, **_: 0.9 + 0.01 * (init == "b"), inits="abc", seeds=[0])
    measure = widest_pair(Place(100.0, down_to=3.4), ACCURACY, 0.1)(frame)
    assert abs(measure.values[0]) == pytest.approx(1.0)
    assert math.isnan(measure.interval().low)


def test_schemes_that_differ_more_in_one_variant_are_found():
    """Deviation over schemes 0.01·√(5/3) points · 100 in the one, 0 in the other, noise apart."""
    frame = planted.levels(
        lambda variant, init, **_: (
            0.9 + 0.01 * planted.SCHEMES.index(init) * (variant == "own_init")
        ),
        variants=["original", "own_init"],
        noise=1e-4,
    )
    place = Place(99.0, down_to=3.4)
    measure = spread_change("own_init", "original", place, ACCURACY)(frame)
    assert measure.interval().mean == pytest.approx(100 * 0.01 * math.sqrt(5 / 3), rel=0.02)
    with pytest.raises(Missing, match="second scheme"):
        spread_change("own_init", "original", place, ACCURACY)(
            frame[frame["init"] == "xavier_normal"]
        )


def cliff(variant, level, **_):
    """Accuracy falls by 10 points after level 4, in variant late after level 6."""
    return 0.98 - 0.1 * (level > (6 if variant == "late" else 4))


def test_critical_densities_are_compared_as_ratios():
    """Half way down is half a level further: 0.8^6.5 and 0.8^4.5."""
    frame = planted.levels(cliff, variants=["original", "late"], last=10)
    ratio = critical_ratio("late", "original", 0.05)(frame)
    assert ratio.values.to_numpy() == pytest.approx(0.8**2)
    percent = critical_percent("late", 0.05)(frame)
    assert percent.values.to_numpy() == pytest.approx(100 * 0.8**6.5)
    assert ratio.bound == percent.bound == ""


@pytest.mark.parametrize(
    ("reached", "bound"),
    [({"late"}, "≥"), ({"original"}, "≤"), (set(), "?"), ({"late", "original"}, "")],
)
def test_a_cliff_that_one_ticket_does_not_reach_makes_the_ratio_a_bound(reached, bound):
    frame = planted.levels(cliff, variants=["original", "late"], last=10)
    one = (frame["init"] == "xavier_normal") & ~frame["variant"].isin(reached) & (frame["seed"] < 2)
    one &= (frame["variant"] == "late") | (frame["seed"] < 1)
    frame["test_accuracy"] = frame["test_accuracy"].mask(one, 0.98)
    measure = critical_ratio("late", "original", 0.05)(frame)
    assert measure.bound == bound
    assert bool(measure.why) == bool(bound)
    percent = critical_percent("late", 0.05)(frame)
    assert percent.bound == ("" if "late" in reached else "≤")


def test_cliffs_that_neither_variant_reaches_say_nothing():
    """Levels of the late variant end at other weights, so the last ones would give a ratio."""
    frame = planted.levels(cliff, variants=["original", "late"], last=10)
    frame.loc[frame["variant"] == "late", "weights_remaining"] **= 0.9
    with pytest.raises(Missing, match="no level 5 points below unpruned in late or original"):
        critical_ratio("late", "original", 0.05)(frame[frame["level"] <= 4])
    one = (frame["init"] != "xavier_normal") | (frame["level"] == 0)
    reached = frame.assign(test_accuracy=frame["test_accuracy"].where(~one, 0.98))
    unscaled = critical_ratio("late", "original", 0.05)(frame[frame["init"] == "xavier_normal"])
    measure = critical_ratio("late", "original", 0.05)(reached)
    assert measure.values.to_numpy() == pytest.approx(unscaled.values.to_numpy() ** 0.25)


def test_a_published_mean_is_compared_with_its_own_uncertainty():
    frame = planted.levels(gain)
    theirs = Moments(96.9, 0.2, 11)
    measure = against(UNPRUNED, ACCURACY, theirs, list(planted.SCHEMES))(frame)
    interval = measure.interval()
    assert interval.mean == pytest.approx(97.2 - 96.9)
    assert interval.high - interval.mean > 2 * 0.2 / math.sqrt(11)
    with pytest.raises(Missing, match="no init xavier_uniform"):
        against(UNPRUNED, ACCURACY, theirs, list(planted.SCHEMES))(
            frame[frame["init"] != "xavier_uniform"]
        )


def test_networks_are_compared_by_their_gain_over_unpruned():
    """LeNet gains 0.2 points and Conv-6 loses 10; their seeds are not paired."""
    lenet = planted.levels(gain)
    conv = planted.levels(
        lambda level, **_: 0.7 - 0.1 * (level > 0), study="conv", model="conv6", seeds=[7, 8, 9]
    )
    small = conv.assign(study="a", model="conv6(width=0.25)", test_accuracy=0.5)
    lenet["model"] = "lenet_300_100(negative_slope=0.05)"  # no other width
    measure = network_contrast("lenet_300_100", "conv6", 32.8, ACCURACY)(
        pd.concat([lenet, small, conv])
    )
    assert measure.interval().mean == pytest.approx(10.2)
    assert set(measure.rows["study"]) == {"planted", "conv"}  # the full width, if there is one
    with pytest.raises(Missing, match="no study of conv6"):
        network_contrast("lenet_300_100", "conv6", 32.8, ACCURACY)(lenet)
