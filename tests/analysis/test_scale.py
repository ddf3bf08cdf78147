"""Planted effects of scale, name, shape and place are told apart."""

import numpy as np
import pandas as pd
import pytest

from lottery.analysis.scale import NAME, SCALE, SHAPE, WHERE, effects
from lottery.analysis.widths import FIRST, REST, Width

FOUND = {
    "xavier_normal(gain=0.5)": Width("normal", 0.5),
    "xavier_normal": Width("normal", 1.0),
    "xavier_normal(gain=2.0)": Width("normal", 2.0),
    "kaiming_normal": Width("Kaiming normal", 1.2),
    "sign_constant": Width("sign constant", 2.0),
    "first": Width(FIRST, 2.0),
    "rest": Width(REST, 2.0),
}
SLOPE, NAMED, SIGNS = -0.003, 0.002, 0.005


def endpoint(**beside):
    """A slope, something of Kaiming's own, and only the first layer's width counts."""
    seeds = pd.Index([4, 5, 6], name="seed")
    areas = {init: SLOPE * np.log2(width.ratio) for init, width in FOUND.items()}
    areas["kaiming_normal"] += NAMED
    areas["sign_constant"] += SIGNS
    areas["rest"] = 0.0
    noise = np.array([0.1, 0.0, -0.1])  # of seeds, which pairing takes away
    return pd.DataFrame({i: a + noise for i, a in (areas | beside).items()}, index=seeds)


def by_name(wide, found=FOUND):
    return {(effect.question, effect.name): effect for effect in effects(wide, found)}


def test_every_effect_is_what_was_planted():
    width = SLOPE * np.log2(1.2)
    expected = {
        (SCALE, "normal, per doubling of σ"): SLOPE,
        (NAME, "Kaiming − Xavier, normal"): width + NAMED,
        (NAME, "what its width makes, normal"): width,
        (NAME, "the rest, normal"): NAMED,
        (SHAPE, "sign constant − normal"): SIGNS,
        (WHERE, "first layer alone, 2 times as wide"): SLOPE,
        (WHERE, "all layers but the first, 2 times as wide"): 0,
        (WHERE, "all layers, 2 times as wide"): SLOPE,
    }
    found = by_name(endpoint())
    assert set(found) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name].values, value, atol=1e-12)
        assert list(found[name].values.index) == [4, 5, 6]


def test_a_network_that_diverged_costs_only_the_effects_that_need_it():
    wide = endpoint()
    wide.loc[5, "sign_constant"] = np.nan
    wide.loc[6, "xavier_normal(gain=2.0)"] = np.nan
    counts = {name: len(effect.values) for name, effect in by_name(wide).items()}
    assert counts[SHAPE, "sign constant − normal"] == 1
    assert counts[SCALE, "normal, per doubling of σ"] == 2
    assert counts[WHERE, "all layers, 2 times as wide"] == 2
    assert counts[NAME, "Kaiming − Xavier, normal"] == 3
    assert counts[WHERE, "first layer alone, 2 times as wide"] == 3


def test_a_scheme_that_always_diverged_is_left_out():
    wide = endpoint()
    wide["sign_constant"] = np.nan
    assert set(by_name(wide)) == set(by_name(wide.drop(columns="sign_constant")))
    assert len(by_name(wide)) == 7
    assert effects(wide * np.nan, FOUND) == []


def test_schemes_without_a_width_are_left_out():
    with_other = endpoint(lsuv=np.nan)
    assert set(by_name(with_other)) == set(by_name(endpoint()))


@pytest.mark.parametrize(
    ("without", "gone"),
    [
        ("xavier_normal(gain=0.5)", {(SCALE, "normal, per doubling of σ")}),
        ("sign_constant", {(SHAPE, "sign constant − normal")}),
    ],
)
def test_what_a_study_lacks_it_does_not_answer(without, gone):
    assert set(by_name(endpoint())) - set(by_name(endpoint().drop(columns=without))) == gone


def test_nothing_is_read_off_beyond_the_widths_that_were_tried():
    narrow = endpoint().drop(columns="xavier_normal(gain=2.0)")
    names = {name for question, name in by_name(narrow) if question == NAME}
    assert names == {"Kaiming − Xavier, normal"}
