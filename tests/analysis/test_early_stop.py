import pandas as pd
import pytest

from lottery.analysis.early_stop import censored
from tests.analysis import planted


def test_an_early_stop_at_the_last_step_is_censored():
    frame = planted.levels(
        step=lambda level, **_: 50_000 if level > 15 else 49_999, last=19, inits=["a"]
    )
    assert frame["level"][censored(frame)].unique().tolist() == [16, 17, 18, 19]


def test_levels_that_start_late_end_where_all_do():
    """Rewound to step 10,000, later levels have 40,000 steps and end at step 50,000."""
    frame = planted.levels(step=lambda level, **_: 50_000 if level == 2 else 45_000, last=3)
    frame.loc[frame["level"] > 0, "steps"] = 40_000
    assert frame["level"][censored(frame)].unique().tolist() == [2]


def test_each_variant_ends_at_its_own_step_and_none_is_not_the_end():
    frame = planted.levels(step=lambda **_: 1_000, variants=["short", "long"], last=1)
    frame.loc[frame["variant"] == "short", "steps"] = 1_000
    frame.loc[frame["level"] == 1, "early_stop_step"] = pd.NA
    assert set(frame["variant"][censored(frame)]) == {"short"}
    assert set(frame["level"][censored(frame)]) == {0}


def test_rows_are_held_against_the_whole_table():
    frame = planted.levels(step=lambda level, **_: 10_000 * (level + 1), last=4)
    few = frame[frame["level"] < 3].assign(steps=1)
    assert not censored(frame, few).any()
    assert censored(frame, frame.tail(1)).tolist() == pytest.approx([True])
