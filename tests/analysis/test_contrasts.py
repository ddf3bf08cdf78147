import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lottery.analysis.contrasts import (
    Contrast,
    against_standard,
    all_pairs,
    contrast_table,
    declared,
    scheme_effect,
    verdict,
)
from lottery.errors import ConfigError
from tests.analysis import planted
from tests.analysis.planted import SCHEMES

few = settings(max_examples=25, deadline=None)
small = st.integers(-1000, 1000).map(lambda k: k / 10_000)


def scores(effects, seeds=5, noise=0.0, seed=0):
    """A value per scheme and seed: the scheme's effect, the seed's, and noise."""
    rng = np.random.default_rng(seed)
    blocks = rng.normal(size=seeds)
    return pd.DataFrame(
        {"init": init, "seed": s, "score": effect + blocks[s] + noise * rng.normal()}
        for init, effect in effects.items()
        for s in range(seeds)
    )


def test_declared_contrasts_of_the_four_schemes():
    family, shape = declared(SCHEMES)
    assert family.name == "Xavier − Kaiming"
    assert set(family.plus) == {"xavier_normal", "xavier_uniform"}
    assert set(family.minus) == {"kaiming_normal", "kaiming_uniform"}
    assert shape.name == "normal − uniform"
    assert set(shape.plus) == {"xavier_normal", "kaiming_normal"}


def test_a_scheme_without_a_partner_is_left_out_of_a_contrast():
    """Else Xavier against Kaiming would also be normal against uniform."""
    (family,) = declared(["xavier_normal", "kaiming_normal", "orthogonal", "normal(0.1)"])
    assert (family.plus, family.minus) == (("xavier_normal",), ("kaiming_normal",))
    assert declared(["xavier_normal", "kaiming_uniform"]) == []
    assert declared(["xavier_normal"]) == []


def test_options_have_to_agree():
    inits = ["xavier_normal(gain=2)", "kaiming_normal", "kaiming_normal(gain=2)"]
    (family,) = declared(inits)
    assert (family.plus, family.minus) == (("xavier_normal(gain=2)",), ("kaiming_normal(gain=2)",))


def test_gains_are_compared_by_their_number():
    """As text 10 is less than 2."""
    inits = [f"xavier_normal(gain={gain})" for gain in (2, 10, 0.5)] + ["xavier_normal"]
    (gains,) = declared(inits)
    assert gains.name == "narrower − wider"
    assert (gains.plus, gains.minus) == (
        ("xavier_normal(gain=0.5)",),
        ("xavier_normal(gain=10)",),
    )


def test_each_other_scheme_is_compared_with_all_standard_ones_that_there_are():
    own, lsuv = against_standard(["kaiming_uniform", "mine:half(2)", "xavier_normal", "lsuv"])[::-1]
    assert (own.plus, lsuv.plus) == (("mine:half(2)",), ("lsuv",))
    assert own.minus == lsuv.minus == ("xavier_normal", "kaiming_uniform")
    assert against_standard(["lsuv", "orthogonal"]) == [], "nothing to compare with"
    assert against_standard(SCHEMES) == []


def test_schemes_on_an_axis_of_gains_are_not_compared_one_by_one():
    inits = ["xavier_normal", *(f"xavier_normal(gain={gain})" for gain in (0.5, 2, 4))]
    assert against_standard(inits) == []
    (alone,) = against_standard(["xavier_normal", "xavier_normal(gain=2)"])
    assert alone.plus == ("xavier_normal(gain=2)",), "one gain has no axis, and was left out"
    own = ["xavier_normal", "mine:half(gain=1)", "mine:half(gain=2)"]
    assert [c.plus for c in against_standard(own)] == [(own[1],), (own[2],)], "none is standard"


def test_all_pairs_of_four_are_six():
    names = [pair.name for pair in all_pairs(SCHEMES)]
    assert len(set(names)) == 6
    assert "Kaiming normal − Xavier uniform" in names


@few
@given(st.lists(st.tuples(small, small, small, small), min_size=1, max_size=6))
def test_a_contrast_is_antisymmetric_and_free_of_what_seeds_share(rows):
    frame = pd.DataFrame(
        {"init": init, "seed": seed, "score": value}
        for seed, row in enumerate(rows)
        for init, value in zip(SCHEMES, row, strict=True)
    )
    there = Contrast("there", ("xavier_normal",), ("kaiming_normal",))
    back = Contrast("back", there.minus, there.plus)
    values = there.values(frame, "score")
    assert values.to_numpy() == pytest.approx(-back.values(frame, "score").to_numpy())
    shifted = frame.assign(score=frame["score"] + frame["seed"])
    assert there.values(shifted, "score").to_numpy() == pytest.approx(values.to_numpy())


def test_draws_are_averaged_and_seeds_without_a_scheme_dropped():
    frame = pd.DataFrame(
        [("a", 0, 1.0), ("a", 0, 3.0), ("b", 0, 0.5), ("a", 1, 9.0)],
        columns=["init", "seed", "score"],
    )
    assert Contrast("", ("a",), ("b",)).values(frame, "score").to_dict() == {0: 1.5}


def test_an_effect_that_is_there_is_found_and_one_that_is_not_is_not():
    """Xavier is 0.004 better, normal and uniform are the same to 0.0002."""
    effects = {init: 0.98 + 0.004 * init.startswith("xavier") for init in SCHEMES}
    table = contrast_table(scores(effects, 8, 2e-4), "score", declared(SCHEMES), 0.001)
    found = table.set_index("contrast")
    assert found.loc["Xavier − Kaiming", "verdict"] == "differ"
    assert found.loc["Xavier − Kaiming", "low"] > 0.003
    assert found.loc["normal − uniform", "verdict"] == "equivalent within ±0.1 pp"


def test_two_seeds_show_nothing():
    effects = dict.fromkeys(SCHEMES, 0.98)
    table = contrast_table(scores(effects, 2, 1e-3), "score", declared(SCHEMES), 0.001)
    assert table["verdict"].tolist() == ["undecided", "undecided"]


@few
@given(st.integers(0, 10_000))
def test_holm_counts_every_row_of_the_table(seed):
    frame = pd.concat(
        scores(dict.fromkeys(SCHEMES, 0.98), 4, 1e-3, seed + level).assign(level=level)
        for level in range(3)
    )
    table = contrast_table(frame, "score", declared(SCHEMES), by=["level"])
    assert len(table) == 6
    assert table["holm_p"].min() == pytest.approx(min(1, 6 * table["t_p"].min()))
    assert (table["holm_p"] >= table["t_p"]).all()
    assert table["tost_p"].isna().all()


def test_branches_and_variants_are_not_mixed():
    frame = planted.levels(branches={"ticket": 1, "reinit": 1}, last=1)
    with pytest.raises(ConfigError, match="branch of the table"):
        contrast_table(frame, "test_accuracy", declared(SCHEMES))
    assert len(contrast_table(frame, "test_accuracy", declared(SCHEMES), by=["branch"])) == 4


def test_no_contrast_gives_no_row():
    assert contrast_table(planted.levels(last=1), "test_accuracy", []).empty


def test_a_proven_but_negligible_difference_is_equivalence():
    assert verdict(0.001, 0.001, 0.005) == "equivalent within ±0.5 pp"
    assert verdict(0.001, np.nan, None) == "differ"
    assert verdict(np.nan, np.nan, 0.001) == "undecided"


def test_variance_of_schemes_by_hand():
    """Scheme means 1 and 3 over 2 seeds, no interaction but ±0.5: MS 4 over 1 on (1, 1)."""
    frame = pd.DataFrame(
        [("a", 0, 0.5), ("a", 1, 1.5), ("b", 0, 3.5), ("b", 1, 2.5)],
        columns=["init", "seed", "score"],
    )
    effect = scheme_effect(frame, "score")
    assert (effect.schemes, effect.seeds) == (2, 2)
    assert effect.f == pytest.approx(4.0)
    assert effect.residual == pytest.approx(1.0)
    assert effect.between == pytest.approx(np.sqrt((4 - 1) / 2))
    assert effect.p == pytest.approx(0.29517, abs=1e-4)


def test_variance_of_two_schemes_is_the_paired_t_test():
    """F = t² and the same p, by theory."""
    frame = scores({"a": 0.0, "b": 0.3}, 6, 0.5)
    effect = scheme_effect(frame, "score")
    p = contrast_table(frame, "score", all_pairs(["a", "b"]))["t_p"][0]
    assert effect.p == pytest.approx(p)


def test_variance_between_schemes_is_found_where_it_is():
    none = [
        scheme_effect(scores(dict.fromkeys(SCHEMES, 0.0), 4, 1.0, seed), "score").p
        for seed in range(300)
    ]
    assert 0.02 < np.mean(np.array(none) < 0.05) < 0.08
    some = scheme_effect(scores(dict(zip(SCHEMES, (0, 2, 4, 6), strict=True)), 10, 1.0), "score")
    assert some.p < 1e-4
    assert some.between == pytest.approx(np.std([0, 2, 4, 6], ddof=1), rel=0.3)


def test_a_scheme_that_spreads_more_is_found():
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(
        {"init": init, "seed": s, "score": scale * rng.normal()}
        for init, scale in (("a", 1), ("b", 20))
        for s in range(15)
    )
    assert scheme_effect(frame, "score").spread_p < 0.01


def test_spread_is_measured_about_medians():
    """Brown-Forsythe: one value far out is no spread. |x − median|: 0, 0, 9 against 1, 0, 1."""
    columns = {"a": (0.0, 0.0, 9.0), "b": (-1.0, 0.0, 1.0)}
    frame = pd.DataFrame(
        {"init": init, "seed": s, "score": x}
        for init, xs in columns.items()
        for s, x in enumerate(xs)
    )
    expected = stats.f_oneway([0, 0, 9], [1, 0, 1]).pvalue
    assert scheme_effect(frame, "score").spread_p == pytest.approx(expected)


@pytest.mark.parametrize(
    "columns",
    [
        {"a": (0.1, 0.3), "b": (0.7, 0.8)},
        {"a": (0.1, 0.1, 0.1), "b": (0.3, 0.3, 0.3)},
        {"a": (0.1, 0.1, 0.3, 0.3), "b": (0.7, 0.7, 0.8, 0.8)},
    ],
)
@pytest.mark.filterwarnings("error")
def test_spread_is_not_compared_where_a_division_by_zero_would_be_all_its_evidence(columns):
    """Of two values, or of equal halves, all are as far from their median."""
    frame = pd.DataFrame(
        {"init": init, "seed": s, "score": x}
        for init, xs in columns.items()
        for s, x in enumerate(xs)
    )
    assert np.isnan(scheme_effect(frame, "score").spread_p)


def test_one_scheme_or_one_seed_has_no_variance_between():
    assert scheme_effect(scores({"a": 0.0}), "score") is None
    assert scheme_effect(scores({"a": 0.0, "b": 1.0}, seeds=1), "score") is None
