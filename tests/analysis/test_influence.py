"""The interaction model of E, P and I: planted coefficients, and intervals against other code."""

from itertools import product

import numpy as np
import pandas as pd
import pytest

from lottery.analysis import frames
from lottery.analysis.influence import TERMS, coded, design, fit, runs
from lottery.errors import ConfigError
from tests.analysis.filters import write_filter_study

PLANTED = {"1": 90.0, "E": 0.5, "P": 4.0, "I": -2.0, "EP": 0.3, "EI": 0.0, "PI": 1.0, "EPI": -0.2}


def grid(values=(-1.0, 0.0, 1.0), repeats=1):
    rows = [point for point in product(values, repeat=3) for _ in range(repeats)]
    return pd.DataFrame(rows, columns=list("EPI"))


def planted(settings):
    e, p, i = (settings[name] for name in "EPI")
    a = PLANTED
    return (
        a["1"] + a["E"] * e + a["P"] * p + a["I"] * i
        + a["EP"] * e * p + a["EI"] * e * i + a["PI"] * p * i + a["EPI"] * e * p * i
    )  # fmt: skip


def test_planted_coefficients_are_found_exactly_without_noise():
    found = fit(grid(), planted(grid()))
    np.testing.assert_allclose(found.coefficients[list(PLANTED)], list(PLANTED.values()), atol=1e-9)
    assert found.n == 27
    assert found.r2 == pytest.approx(1)
    assert found.adjusted_r2 == pytest.approx(1)


def test_intervals_are_those_of_the_formula_written_out_run_by_run():
    settings = grid()
    noise = np.random.default_rng(1).normal(size=27) * (1.5 + settings["P"].to_numpy())
    found = fit(settings, planted(settings) + noise)
    x = np.array([
        [1, e, p, i, e * p, e * i, p * i, e * p * i] for e, p, i in settings.itertuples(index=False)
    ])  # fmt: skip
    y = (planted(settings) + noise).to_numpy()
    beta = np.linalg.lstsq(x, y, rcond=None)[0]
    bread = np.linalg.inv(x.T @ x)
    meat = np.zeros((8, 8))
    for row, value in zip(x, y, strict=True):  # HC3: each residual as if its run were left out
        others = np.array([not np.array_equal(row, other) for other in x])
        without = np.linalg.lstsq(x[others], y[others], rcond=None)[0]
        meat += np.outer(row, row) * (value - row @ without) ** 2
    half = 2.0930240544082634 * np.sqrt(np.diag(bread @ meat @ bread))  # t(0.975, 19)
    np.testing.assert_allclose(found.coefficients, beta, atol=1e-9)
    np.testing.assert_allclose(found.high - found.coefficients, half, rtol=1e-9)
    np.testing.assert_allclose(found.coefficients - found.low, half, rtol=1e-9)


def test_adjusted_r2_of_a_hand_worked_example():
    """Eight corners and one centre: only the centre is off the plane, by 9 in y."""
    corners = pd.DataFrame([*product((-1.0, 1.0), repeat=3), (0.0, 0.0, 0.0)], columns=list("EPI"))
    found = fit(corners, [*corners["E"][:8], 9.0])
    # Mean of all residuals around the constant 1: corners −1, centre 8; so the rest is 8 + 64 = 72,
    # the total 8 · 1 + 72 = 80, R² = 0.1, adjusted 1 − 0.9 · 8 / 1.
    assert found.coefficients["1"] == pytest.approx(1)
    assert found.r2 == pytest.approx(0.1)
    assert found.adjusted_r2 == pytest.approx(1 - 0.9 * 8)
    assert np.isnan(found.lack_of_fit_p)  # no replicates


def test_a_curved_response_is_a_lack_of_fit_and_a_planar_one_is_not():
    settings = grid(repeats=2)
    noise = 0.1 * np.random.default_rng(2).normal(size=len(settings))
    assert fit(settings, planted(settings) + noise).lack_of_fit_p > 0.05
    curved = planted(settings) + noise + settings["E"] ** 2
    assert fit(settings, curved).lack_of_fit_p < 0.001


def test_runs_that_are_met_exactly_have_no_interval():
    corners = grid((-1.0, 1.0))
    more = pd.concat([corners, corners[:1]], ignore_index=True)
    assert fit(more, [*planted(corners), 0.0]).low.isna().all()


@pytest.mark.parametrize("settings", [grid((-1.0, 1.0)), grid().assign(I=0.0)])
def test_a_model_that_cannot_be_fitted_is_an_error(settings):
    with pytest.raises(ConfigError, match="tell E, P, I and their products apart"):
        fit(settings, planted(settings))


def variants(epochs=(10, 40), thresholds=(0.15, 0.25), intervals=(1, 2), kind="ratio"):
    points = [*product(epochs, thresholds, intervals), (25, 0.2, 1)]
    return {
        f"run{k}": {
            "train": {"duration": f"{e}ep"},
            "prune": {"during": f"shrinkage({kind}={p}, every={i}ep)"},
        }
        for k, (e, p, i) in enumerate(points)
    }


def test_settings_are_read_off_the_configuration_and_coded():
    found = design({"train": {"duration": "5ep"}, "variants": variants()}, set(variants()))
    assert found.loc["run0"].to_list() == [10, 0.15, 1]
    assert found.loc["run7"].to_list() == [40, 0.25, 2]
    np.testing.assert_allclose(coded(found).loc["run8"], [0, 0, -1], atol=1e-12)


def test_lengths_in_steps_are_called_steps():
    """As in the shipped factorial, whose levels end within an epoch."""
    given = variants()
    for settings in given.values():
        settings["train"]["duration"] = settings["train"]["duration"].replace("ep", "it")
        settings["prune"]["during"] = settings["prune"]["during"].replace("ep", "it")
    found = design({"train": {"duration": "5it"}, "variants": given}, set(given))
    assert found.attrs["unit"] == "steps"
    given = variants()
    assert design({"variants": given}, set(given)).attrs["unit"] == "epochs"


def test_what_all_variants_share_may_stand_above_them():
    config = {"train": {"duration": "5ep"}, "prune": {"during": "shrinkage(ratio=0.2)"}}
    assert design(config | {"variants": {"a": {}, "b": {"train": {"lr": 0.1}}}}, {"a", "b"}) is None


@pytest.mark.parametrize(
    "given",
    [
        variants(intervals=(1, 1)),
        {"plain": {"prune": {"criterion": "l1"}}},
        dict(list(variants().items())[:7]),
        {},
    ],
)
def test_what_is_no_design_is_none(given):
    assert design({"train": {"duration": "5ep"}, "variants": given}, set(given)) is None
    assert design({"train": {"duration": "5ep"}, "variants": variants()}, set()) is None


def test_a_study_gives_back_what_was_planted_in_its_tables(tmp_path):
    given = variants()
    settings = coded(design({"train": {"duration": "5ep"}, "variants": given}, set(given)))
    values = planted(settings) / 100
    write_filter_study(
        tmp_path,
        given,
        removed=lambda variant, *_: 0.5 + 0.3 * settings.loc[variant, "P"],
        accuracy=lambda variant, *_: values[variant],
        levels=1,
        seeds=[0],
    )
    table = runs(frames.levels("filters", tmp_path), design(SHARED | {"variants": given}, given))
    found = fit(table, 100 * table["test_accuracy"])
    np.testing.assert_allclose(found.coefficients[list(TERMS)], list(PLANTED.values())[1:])
    reduced = fit(table, table["parameters_removed"])
    np.testing.assert_allclose(reduced.coefficients["P"], 0.3, atol=1e-5)
    np.testing.assert_allclose(reduced.coefficients["E"], 0, atol=1e-5)


SHARED = {"train": {"duration": "5ep"}}
