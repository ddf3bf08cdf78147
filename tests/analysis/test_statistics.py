import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lottery.analysis import mean_interval, summary
from lottery.analysis.statistics import censored_quantile
from lottery.errors import ConfigError


def table(*rows, **columns):
    """Rows of (seed, draw, test_accuracy) at one branch, scheme and level."""
    frame = pd.DataFrame(rows, columns=["seed", "draw", "test_accuracy"])
    defaults = {"branch": "ticket", "init": "normal", "level": 3, "weights_remaining": 0.5}
    return frame.assign(**(defaults | columns))


def test_interval_of_three_values_by_hand():
    """s = 1, t(2) at 97.5 % = 4.302653, so 4.302653 / √3 either side; ± s/2 would be 0.5."""
    interval = mean_interval([1.0, 2.0, 3.0])
    assert interval.mean == 2.0
    assert interval.high - interval.mean == pytest.approx(2.484138, abs=1e-6)
    assert interval.mean - interval.low == pytest.approx(2.484138, abs=1e-6)
    assert interval.n == 3


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=12), st.sampled_from([0.5, 0.9, 0.95]))
def test_interval_agrees_with_scipy(values, confidence):
    error = stats.sem(values)
    if error < 1e-9:
        return
    low, high = stats.t.interval(confidence, len(values) - 1, np.mean(values), error)
    interval = mean_interval(values, confidence)
    assert interval.low == pytest.approx(low, rel=1e-9, abs=1e-9)
    assert interval.high == pytest.approx(high, rel=1e-9, abs=1e-9)


def test_the_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    samples = rng.normal(size=(2000, 4))
    covered = [(i := mean_interval(sample)).low < 0 < i.high for sample in samples]
    assert 0.935 < np.mean(covered) < 0.965


def test_one_seed_gives_no_interval():
    interval = mean_interval([0.98])
    assert (interval.mean, interval.n) == (0.98, 1)
    assert math.isnan(interval.low)
    assert math.isnan(interval.high)


def test_equal_values_give_an_interval_of_no_width():
    assert mean_interval([0.5, 0.5]) == (0.5, 0.5, 0.5, 2)


def test_missing_values_are_not_counted():
    assert mean_interval([1.0, math.nan, 2.0, 3.0]) == mean_interval([1.0, 2.0, 3.0])
    assert mean_interval([math.nan]).n == 0


@pytest.mark.parametrize("confidence", [0, 1, 95])
def test_a_confidence_that_is_no_fraction_is_refused(confidence):
    with pytest.raises(ConfigError, match="confidence"):
        mean_interval([1.0, 2.0], confidence)


def test_draws_of_a_seed_are_not_replicates():
    """Three draws of two seeds are two independent values, 0.2 and 0.6, not six."""
    draws = [(0, 0, 0.1), (0, 1, 0.2), (0, 2, 0.3), (1, 0, 0.5), (1, 1, 0.6), (1, 2, 0.7)]
    row = summary(table(*draws, branch="reinit")).iloc[0]
    assert row["n"] == 2
    expected = mean_interval([0.2, 0.6])
    assert (row["mean"], row["low"], row["high"]) == pytest.approx(expected[:3])


def test_seeds_with_unequal_numbers_of_draws_weigh_the_same():
    row = summary(table((0, 0, 0.0), (0, 1, 0.0), (0, 2, 0.0), (1, 0, 1.0))).iloc[0]
    assert row["mean"] == 0.5


def test_summary_has_one_row_per_branch_scheme_and_level():
    frame = pd.concat(
        [
            table((0, 0, 0.9), (1, 0, 0.8), level=level, init=init, branch=branch)
            for level in (0, 1)
            for init in ("a", "b")
            for branch in ("ticket", "dense")
        ]
    )
    result = summary(frame)
    assert list(result) == [
        "branch",
        "init",
        "level",
        "weights_remaining",
        "mean",
        "low",
        "high",
        "n",
    ]
    assert len(result) == 8
    assert set(result["n"]) == {2}


def test_a_failed_seed_shows_in_n():
    frame = pd.concat([table((0, 0, 0.9), (1, 0, 0.8), level=0), table((0, 0, 0.9), level=1)])
    result = summary(frame)
    assert result["n"].tolist() == [2, 1]
    assert np.isnan(result["high"].iloc[1])


def test_pooling_schemes_still_counts_seeds():
    frame = pd.concat([table((0, 0, 0.9), (1, 0, 0.8), init=init) for init in "abcd"])
    assert summary(frame, by=("level",))["n"].tolist() == [2]


def test_nullable_steps_can_be_summarised():
    steps = pd.array([100, 200, None], dtype="Int64")
    frame = table((0, 0, 0.0), (1, 0, 0.0), (2, 0, 0.0)).assign(early_stop_step=steps)
    row = summary(frame, "early_stop_step").iloc[0]
    assert (row["mean"], row["n"]) == (150.0, 2)


def test_two_studies_are_not_averaged_into_one():
    frame = pd.concat([table((0, 0, 0.9), study="a"), table((0, 0, 0.1), study="b")])
    with pytest.raises(ConfigError, match="study of the table"):
        summary(frame)
    assert len(summary(frame, by=("study", "level"))) == 2


@given(
    st.lists(st.tuples(st.floats(0.01, 100), st.booleans(), st.floats(0, 1)), min_size=1),
    st.sampled_from([0.25, 0.5, 0.75]),
)
def test_an_exact_quantile_is_that_of_the_true_values_and_a_bound_is_one(cells, q):
    """Censored values are truly a share of what is given; others are as given."""
    given, censored, _ = (list(column) for column in zip(*cells, strict=True))
    truth = [v * (s if c else 1) for v, c, s in cells]
    value, exact = censored_quantile(given, censored, q)
    true = np.quantile(truth, q)
    assert true <= value + 1e-9
    if exact:
        assert true == pytest.approx(value)
    else:
        least = np.quantile([0.0 if c else v for v, c in zip(given, censored, strict=True)], q)
        assert least < value


@pytest.mark.parametrize(
    ("values", "censored", "expected"),
    [
        ([4.63, 4.852, 6.58], [True, False, False], (4.852, True)),
        ([4.63, 4.63, 6.58], [True, True, False], (4.63, False)),
        ([1.0, 2.0, 3.0, 4.0], [True, False, False, False], (2.5, True)),
        ([1.0, 1.0, 3.0, 4.0], [True, True, False, False], (2.0, False)),
        ([1.0, 1.0], [False, True], (1.0, False)),
    ],
)
def test_a_median_is_exact_unless_a_censored_value_decides_it(values, censored, expected):
    assert censored_quantile(values, censored, 0.5) == expected
