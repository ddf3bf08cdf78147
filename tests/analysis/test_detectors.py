"""What pruned detectors save, and how far pruning goes."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lottery.analysis import curves, frames, levels
from lottery.analysis.detectors import before_retraining, furthest, networks, since_unpruned
from tests.analysis.detectors import write_detector_study

VARIANTS = {"l2_hard": {}, "l2_soft": {}}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    write_detector_study(
        folder,
        VARIANTS,
        lambda _v, _s, level: 1 - 0.5**level,
        lambda _v, seed, level: 0.8 + 0.01 * seed - 0.015 * level,
    )
    return folder


def test_savings_are_those_of_the_same_ticket_unpruned(results):
    table = networks(levels("detectors", results), frames.detectors("detectors", results))
    assert len(table) == 2 * 3 * 3
    at_two = table[table["level"] == 2]
    np.testing.assert_allclose(at_two["bytes_removed"], 0.75, atol=1e-5)
    np.testing.assert_allclose(at_two["speed_up"], 1 / 0.625, atol=1e-5)
    np.testing.assert_allclose(at_two["fewer_macs"], 1 / 0.625, atol=1e-5)
    np.testing.assert_allclose(at_two["ap_change"], -0.03, atol=1e-9)
    at_zero = table[table["level"] == 0]
    assert (at_zero[["bytes_removed", "ap_change"]] == 0).all(axis=None)
    assert (at_zero["speed_up"] == 1).all()


def test_times_are_compared_with_those_taken_in_turns_with_them(results):
    """A machine that was twice as slow at level 2 slowed the unpruned network there too."""
    measured = frames.detectors("detectors", results)
    measured.loc[measured["level"] == 2, ["latency_ms", "unpruned_ms"]] *= 2
    table = networks(levels("detectors", results), measured)
    at_two = table[table["level"] == 2]
    np.testing.assert_allclose(at_two["speed_up"], 1 / 0.625, atol=1e-5)
    np.testing.assert_allclose(at_two["latency_removed"], 0.375, atol=1e-5)


def test_levels_that_were_not_measured_yet_are_left_out(results):
    measured = frames.detectors("detectors", results)
    measured = measured[~((measured["variant"] == "l2_soft") & (measured["level"] == 2))]
    table = networks(levels("detectors", results), measured)
    assert table.groupby("variant")["level"].max().to_dict() == {"l2_hard": 2, "l2_soft": 1}


def ticket(validation):
    """A ticket with these validation APs, level by level."""
    return pd.DataFrame(
        {
            "variant": "base",
            "init": "a",
            "seed": 0,
            "branch": "ticket",
            "level": range(len(validation)),
            "val_accuracy": validation,
        }
    )


def test_a_level_after_the_first_fall_does_not_count_however_good(results):
    (row,) = furthest(ticket([0.8, 0.79, 0.7, 0.8])).to_dict("records")
    assert row["level"] == 1
    assert not row["censored"]


def test_a_fall_of_just_the_allowed_is_allowed():
    assert furthest(ticket([0.8, 0.78, 0.77]))["level"].item() == 1


def test_nothing_can_be_removed_where_the_first_level_falls():
    assert furthest(ticket([0.8, 0.5]))["level"].item() == 0


def test_a_ticket_that_never_falls_is_censored_at_its_last_level():
    row = furthest(ticket([0.8, 0.9, 0.79])).iloc[0]
    assert row["level"] == 2
    assert row["censored"]


@given(st.lists(st.integers(0, 100), min_size=1, max_size=8), st.integers(0, 50))
def test_the_furthest_level_is_that_of_a_walk_by_hand(percent, allowed):
    level = 0
    while level + 1 < len(percent) and percent[level + 1] >= percent[0] - allowed:
        level += 1
    row = furthest(ticket([value / 100 for value in percent]), allowed / 100).iloc[0]
    assert row["level"] == level
    assert row["censored"] == (level == len(percent) - 1)


def test_each_ticket_has_its_own_furthest_level(results):
    table = levels("detectors", results)
    table.loc[(table["seed"] == 1) & (table["level"] == 1), "val_accuracy"] = 0.1
    assert furthest(table).set_index(["variant", "seed"])["level"].to_dict() == {
        (variant, seed): 0 if seed == 1 else 1 for variant in VARIANTS for seed in range(3)
    }


def test_training_adds_up_unless_levels_start_from_the_unpruned_network(results):
    table = since_unpruned(levels("detectors", results), ["l2_soft"])
    found = table.groupby(["variant", "level"])["steps_since"].unique().map(list).to_dict()
    assert found == {
        ("l2_hard", 0): [0], ("l2_hard", 1): [100], ("l2_hard", 2): [200],
        ("l2_soft", 0): [0], ("l2_soft", 1): [100], ("l2_soft", 2): [100],
    }  # fmt: skip


def test_what_pruning_alone_does_is_read_at_a_levels_first_step(results):
    table = before_retraining(levels("detectors", results), curves("detectors", results))
    assert set(table["variant"]) == {"l2_hard"}  # soft pruning removes at the level's end
    assert sorted(table["level"].unique()) == [1, 2]
    first = table[(table["level"] == 2) & (table["seed"] == 1)]
    assert first["test_accuracy"].item() == pytest.approx((0.81 - 0.03) / 2)
    assert first["parameters"].notna().all()


def test_an_evaluation_amid_a_level_is_not_before_retraining(results):
    evaluated = curves("detectors", results)
    assert before_retraining(levels("detectors", results), evaluated[evaluated["step"] > 0]).empty
