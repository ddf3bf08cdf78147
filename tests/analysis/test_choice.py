"""Which scheme is chosen, and that nothing but validation accuracy has a say."""

import numpy as np
import pytest

from lottery.analysis.choice import STANDARD, Choice, choose, dense_loss, ranking
from lottery.errors import ConfigError, StoreError
from tests.analysis.planted import levels

INITS = (*STANDARD, "normal(0.05)", "normal(0.1)", "sign_constant")
LOSS = dict(zip(INITS, (0.02, 0.03, 0.025, 0.04, 0.01, 0.03, 0.0), strict=True))
DENSE = dict.fromkeys(INITS, 0.98) | {"sign_constant": 0.97}


def accuracy(init, seed, level, density, **_):
    return DENSE[init] + 0.0005 * seed - (LOSS[init] if level else 0)


def table(**options):
    return levels(accuracy, inits=INITS, seeds=range(3), last=4, **options)


def test_schemes_are_ranked_by_their_fall_below_unpruned():
    found = ranking(table()).set_index("scheme")
    assert list(found.index[:3]) == ["sign_constant", "normal(0.05)", "xavier_normal"]
    for init in INITS:
        assert found.loc[init, "area"] == pytest.approx(-LOSS[init])
        assert found.loc[init, "unpruned"] == pytest.approx(DENSE[init] + 0.0005)
    assert set(found["n"]) == {3}
    assert list(found.index[found["custom"]]) == ["sign_constant", "normal(0.05)", "normal(0.1)"]


def test_a_scheme_that_trains_worse_does_not_win_by_having_less_to_lose():
    found = choose(table(), "planted")
    assert found.chosen == "normal(0.05)"
    assert found.standard == "xavier_normal"
    kept = {row["scheme"] for row in found.candidates if row["keeps_up"]}
    assert kept == set(INITS) - {"sign_constant"}


def test_test_accuracy_plays_no_part():
    honest = table()
    spoilt = honest.copy()
    for column in ("test_accuracy", "test_accuracy_at_early_stop"):
        spoilt[column] = np.random.default_rng(0).uniform(size=len(spoilt))
    assert choose(spoilt, "planted") == choose(honest, "planted")
    assert "test" not in choose(honest, "planted").to_yaml()


def test_controls_and_seeds_without_all_schemes_have_no_say():
    full = table(branches={"ticket": 1, "reinit": 2})
    short = full[~((full["seed"] == 2) & (full["init"] == "normal(0.1)"))]
    found = choose(short, "planted")
    assert {row["n"] for row in found.candidates} == {2}


def test_a_margin_that_is_reached_exactly_is_kept(monkeypatch):
    monkeypatch.setitem(DENSE, "sign_constant", 0.98 - dense_loss("lenet_300_100"))
    assert choose(table(), "planted").chosen == "sign_constant"
    assert (dense_loss("lenet_300_100"), dense_loss("conv2(width=0.25)")) == (0.001, 0.003)


def test_nothing_is_chosen_where_nothing_can_be():
    with pytest.raises(ConfigError, match="a study with a custom scheme that keeps up"):
        choose(levels(last=2), "planted")
    with pytest.raises(ConfigError, match="at least one of them of xavier_normal"):
        choose(levels(inits=["normal(0.05)"], last=2), "planted")
    with pytest.raises(ConfigError, match="variant of the table"):
        choose(levels(variants=("adam", "sgd"), last=2), "planted")


def test_a_choice_is_read_as_it_was_written(tmp_path):
    found = choose(table(), "planted", ["b", "a", "b"])
    assert found.commits == ["a", "b"]
    (tmp_path / "chosen.yaml").write_text(found.to_yaml())
    assert Choice.read(tmp_path / "chosen.yaml") == found
    (tmp_path / "chosen.yaml").write_text("chosen: normal(0.05)")
    with pytest.raises(StoreError, match=r"chosen\.yaml is no file of"):
        Choice.read(tmp_path / "chosen.yaml")
