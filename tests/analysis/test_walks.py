"""Which levels all tickets of a variant have, and which walks are at their end."""

import pandas as pd

from lottery.analysis.walks import beyond, finished, last_levels, may_end_early, together

STOP = {"levels": 3, "prune": {"stop": 0.02}}


def walk(seed, validation, variant="base", branch="ticket"):
    return pd.DataFrame(
        {
            "variant": variant,
            "init": "a",
            "seed": seed,
            "branch": branch,
            "cell": f"{variant}-{seed}-{branch}",
            "level": range(len(validation)),
            "val_accuracy": validation,
        }
    )


FELL, LONG = [0.8, 0.7], [0.8, 0.79, 0.78, 0.6]


def levels_of(table):
    return table.groupby("cell")["level"].max().to_dict()


def test_levels_that_all_tickets_have_end_with_the_first_of_their_variant():
    table = pd.concat([walk(0, FELL), walk(1, LONG), walk(0, LONG, "other")])
    assert levels_of(together(table, table)) == {
        "base-0-ticket": 1, "base-1-ticket": 1, "other-0-ticket": 3,
    }  # fmt: skip


def test_controls_end_with_the_tickets_and_without_a_ticket_all_stays():
    controls = pd.concat([walk(0, LONG, branch="dense"), walk(0, LONG, "other", "dense")])
    table = pd.concat([walk(0, FELL), controls])
    assert levels_of(together(table, table)) == {
        "base-0-ticket": 1, "base-0-dense": 1, "other-0-dense": 3,
    }  # fmt: skip


def test_tickets_go_on_alone_from_where_the_first_ended():
    table = pd.concat([walk(0, FELL), walk(1, LONG), walk(0, LONG, "other")])
    alone = beyond(table)
    assert alone["cell"].tolist() == ["base-1-ticket"] * 3
    assert alone["level"].tolist() == [1, 2, 3]
    assert beyond(walk(0, LONG)).empty


def test_a_walk_is_at_its_end_where_it_was_stopped_or_at_the_last_level():
    """Seed 2 was interrupted: it has neither fallen, nor is it at level 3."""
    table = pd.concat([walk(0, FELL), walk(1, LONG), walk(2, [0.8, 0.79])])
    assert set(finished(table, STOP)["seed"]) == {0, 1}
    assert set(finished(table, {"levels": 3})["seed"]) == {1}
    assert len(finished(table, STOP)) == 6


def test_a_variant_may_have_a_bound_of_its_own():
    table = pd.concat([walk(0, [0.8, 0.77]), walk(0, [0.8, 0.77], "patient")])
    config = STOP | {"variants": {"base": {}, "patient": {"prune": {"stop": 0.05}}}}
    assert set(finished(table, config)["variant"]) == {"base"}


def test_only_a_bound_ends_walks_early():
    assert may_end_early(STOP)
    assert not may_end_early({"prune": {"stop": None}})
    assert not may_end_early({})
    assert may_end_early({"variants": {"a": {}, "b": {"prune": {"stop": 0.1}}}})


def test_last_levels_are_those_of_tickets():
    table = pd.concat([walk(0, FELL), walk(0, LONG, branch="dense")])
    assert last_levels(table).to_dict() == {("base", "a", 0): 1}
