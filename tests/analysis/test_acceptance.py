"""Planted studies that meet the rule, or break it in one place."""

import dataclasses

import pandas as pd
import pytest

from lottery.analysis.acceptance import accept, held_out
from lottery.analysis.choice import Choice
from tests.analysis.planted import levels

CUSTOM, STANDARD = "normal(0.05)", "xavier_normal"
CHOICE = Choice(CUSTOM, STANDARD, "screen", [], [0, 1, 2], [])
NAMES = [
    "Area on LeNet",
    "Unpruned accuracy on LeNet",
    "Area over pruning methods",
    "Area on a convolutional network",
    "Unpruned accuracy on a convolutional network",
]
METHODS = [f"m{number}" for number in range(7)]


def study(name, gain=0.01, dense=0.0, model="lenet_300_100", seeds=range(10, 18), **options):
    """Area of the custom scheme above the standard one's by `gain` (of a variant), and a jitter."""

    def accuracy(variant, init, seed, level, **_):
        own = init == CUSTOM
        rise = gain[variant] if isinstance(gain, dict) else gain
        return 0.9 + dense * own + own * (level > 0) * (rise + 0.0005 * (seed % 5 - 2))

    return levels(
        accuracy, study=name, model=model, inits=[CUSTOM, STANDARD], seeds=seeds, last=3, **options
    )


def studies(lenet=None, conv=None, methods=None, drop=()):
    parts = {
        "confirm": study("confirm", **(lenet or {})),
        "conv": study("conv", model="conv2(width=0.25)", **(conv or {})),
        "methods": study(
            "methods",
            **({"gain": dict.fromkeys(METHODS, 0.01)} | (methods or {})),
            variants=METHODS,
        ),
    }
    return pd.concat([table for name, table in parts.items() if name not in drop])


def verdicts(**changes):
    found = accept(studies(**changes), CHOICE)
    assert [condition.name for condition in found.conditions] == NAMES
    return [condition.verdict for condition in found.conditions], found.verdict


def signs(positive):
    return {"gain": {name: 0.01 if k < positive else -0.01 for k, name in enumerate(METHODS)}}


def test_all_conditions_are_needed():
    assert verdicts() == (["met"] * 5, "works")


@pytest.mark.parametrize(
    ("changes", "place", "verdict", "whole"),
    [
        ({"lenet": {"gain": -0.01}}, 0, "not met", "does not work"),
        ({"lenet": {"gain": 0.0001}}, 0, "undecided", "is not shown to work"),
        ({"conv": {"gain": -0.01}}, 3, "not met", "does not work"),
        ({"lenet": {"dense": -0.0011, "gain": 0.02}}, 1, "not met", "does not work"),
        ({"conv": {"dense": -0.0031, "gain": 0.02}}, 4, "not met", "does not work"),
        ({"methods": signs(4)}, 2, "not met", "does not work"),
        ({"drop": ["conv"]}, 3, "no data", "is not shown to work"),
        ({"drop": ["methods"]}, 2, "no data", "is not shown to work"),
        ({"lenet": {"seeds": range(10, 17)}}, 0, "undecided", "is not shown to work"),
    ],
)
def test_one_broken_condition_is_enough(changes, place, verdict, whole):
    found, overall = verdicts(**changes)
    assert (found[place], overall) == (verdict, whole)


def test_what_the_rule_allows_is_allowed():
    assert verdicts(lenet={"dense": -0.001}, conv={"dense": -0.003})[1] == "works"
    assert verdicts(methods=signs(5))[1] == "works"


def test_fewer_than_seven_methods_decide_nothing():
    few = studies()
    few = few[few["variant"] != "m0"]
    assert accept(few, CHOICE).conditions[2].verdict == "undecided"


def test_seeds_of_the_choice_and_other_schemes_count_for_nothing():
    seen = study("confirm", gain=-0.5, seeds=range(3))
    beside = levels(lambda **_: 0.1, study="conv", seeds=range(10, 18), last=3, inits=["lsuv"])
    alone = levels(study="screen", inits=[CUSTOM], seeds=range(10, 18), last=3)
    more = pd.concat([studies(), seen, beside, alone])
    assert accept(more, CHOICE).conditions == accept(studies(), CHOICE).conditions
    assert set(held_out(more, CHOICE)["study"]) == {"confirm", "conv", "methods"}


def test_a_study_that_is_not_named_does_not_judge():
    choice = dataclasses.replace(CHOICE, judges=["confirm", "conv", "methods"])
    toy = study("toy", gain=-0.5, seeds=range(30, 50))
    assert (
        accept(pd.concat([studies(), toy]), choice).conditions
        == accept(studies(), CHOICE).conditions
    )
    assert accept(pd.concat([studies(), toy]), CHOICE).verdict != "works", (
        "all judge, if none is named"
    )


FITTED = "ticket_informed('{}.json', sign=False)"
FITTED_CHOICE = Choice(FITTED.format("lenet"), STANDARD, "screen", [], [0, 1, 2], [])


def fitted(**files):
    """Studies whose custom scheme was fitted to the tickets of each network."""
    files = {
        "lenet_300_100": FITTED.format("lenet"),
        "conv2(width=0.25)": FITTED.format("c"),
    } | files
    table = studies()
    own = table["model"].map(files)
    return table.assign(init=table["init"].mask(table["init"] == CUSTOM, own))


def test_a_fitted_scheme_is_judged_on_each_network_by_its_own_file():
    found = accept(fitted(), FITTED_CHOICE)
    assert (found.verdict, found.conditions[3].interval.n) == ("works", 8)


def test_a_fitted_scheme_of_other_options_or_of_several_files_is_not_the_chosen_one():
    other = fitted(**{"conv2(width=0.25)": "ticket_informed('c.json')"})
    assert accept(other, FITTED_CHOICE).conditions[3].verdict == "no data"
    table = fitted()
    again = table[table["init"] == FITTED.format("c")].assign(init=FITTED.format("d"))
    both = pd.concat([table, again.assign(study="conv-again")])
    assert accept(both, FITTED_CHOICE).conditions[3].verdict == "no data"


def test_another_file_on_the_network_of_the_choice_counts_for_nothing():
    table = fitted()
    again = table[table["study"] == "confirm"]
    again = again.assign(
        study="later", init=again["init"].replace(FITTED.format("lenet"), FITTED.format("better"))
    )
    more = pd.concat([table, again])
    assert set(held_out(more, FITTED_CHOICE)["study"]) == {"confirm", "conv", "methods"}


def test_figures_are_paired_differences_and_their_pooled_mean():
    found = accept(studies(methods=signs(6)), CHOICE)
    area = found.conditions[0].interval
    # Seeds 10 to 17 have jitters −2 −1 0 1 2 −2 −1 0, −3/8 in the mean.
    assert area.mean == pytest.approx(0.01 - 0.0005 * 3 / 8)
    assert (area.n, found.conditions[2].figure) == (8, "6 of 7")
    over_seeds = found.conditions[2].interval
    assert over_seeds.mean == pytest.approx((6 * 0.01 - 0.01) / 7 - 0.0005 * 3 / 8)
    # The jitters are the same under every method, as unpruned networks are: more methods do not
    # make the mean surer.
    assert over_seeds.n == 8
    assert over_seeds.high - over_seeds.low == pytest.approx(area.high - area.low)
    assert found.pooled.interval.n == 7
    assert list(found.methods["variant"]) == METHODS
    assert found.pooled.tau > 0.005


def test_a_method_without_spread_has_a_sign_but_no_weight():
    table = studies()
    cut = (table["variant"] == "m0") & (table["level"] > 0)
    table.loc[cut, "test_accuracy"] = 0.1
    found = accept(table, CHOICE)
    assert found.conditions[2].figure == "6 of 7"
    assert found.pooled.interval.n == 6
