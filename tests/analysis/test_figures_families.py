"""Many schemes: every one can be told from the others in the panel of its family."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lottery.analysis import figures as f
from lottery.analysis import frames
from lottery.analysis.choice import STANDARD
from lottery.analysis.figures.families import FEW, GREY_LINES, families
from lottery.analysis.figures.style import file_name
from lottery.analysis.statistics import summary
from tests.analysis.synthetic import write_study

GAINS = [f"xavier_normal(gain={gain})" for gain in range(2, 7)]
MANY = [*STANDARD, *GAINS, "lsuv", "orthogonal"]


@pytest.fixture
def results(tmp_path):
    """Accuracies of schemes differ by known steps, so that lines have a height each."""
    folder = write_study(tmp_path, "many", inits=MANY, seeds=[0, 1], levels=2, evaluations=1)
    table = pd.read_csv(folder / "levels.csv")
    table["test_accuracy"] -= 0.001 * table["init"].map(MANY.index)
    table.to_csv(folder / "levels.csv", index=False)
    return tmp_path


@given(st.lists(st.sampled_from([*MANY, "normal(0.1)", "normal(0.2)", "mine:scheme"])))
def test_no_scheme_is_left_out_and_few_are_not_taken_apart(inits):
    found = families(inits)
    assert {init for members in found.values() for init in members} == set(inits)
    assert (list(found) == [""]) == (len(set(inits)) <= FEW)
    assert all(members == sorted(set(members)) for members in found.values())


def test_schemes_are_with_those_that_differ_in_options_alone():
    assert families(MANY) == {
        "Standard schemes": sorted(STANDARD),
        "Xavier normal": ["xavier_normal", *GAINS],
        "Others": ["lsuv", "orthogonal"],
    }


def test_each_family_has_a_panel_and_all_other_means_are_grey_there(results):
    levels = frames.levels("many", results)
    figure = f.accuracy_by_weights(levels)
    means = {init: 100 * rows["mean"].to_numpy() for init, rows in summary(levels).groupby("init")}
    assert GREY_LINES in figure.get_suptitle().replace("\n", " ")
    panels = [ax for ax in figure.axes if ax.get_lines()]
    for ax, (name, members) in zip(panels, families(MANY).items(), strict=True):
        assert ax.get_legend().get_title().get_text() == name
        lines = [line for line in ax.get_lines() if line.get_linestyle() != "None"]
        grey = [line.get_ydata() for line in lines if line.get_color() == "0.85"]
        behind = [means[init] for init in sorted(set(MANY) - set(members))]
        np.testing.assert_allclose(grey, behind)
        front = [line.get_ydata() for line in lines if line.get_marker() not in ("", "None")]
        np.testing.assert_allclose(
            sorted(map(list, front)), sorted(list(means[init]) for init in members)
        )
        assert len(ax.get_legend().get_texts()) == len(members)


def test_variants_with_many_schemes_have_a_panel_for_each_family(results):
    levels = frames.levels("many", results)
    both = pd.concat([levels.assign(variant=name) for name in ("one", "two")])
    figure = f.accuracy_by_variant(both, ["one", "two"])
    titles = [ax.get_legend().get_title().get_text() for ax in figure.axes]
    assert titles == [
        f"{variant}: {family}" for family in families(MANY) for variant in ("one", "two")
    ]


def test_a_study_of_many_schemes_draws_what_can_be_read(results):
    written = {path.stem for path in f.render("many", results, results / "plots")}
    assert "accuracy_before_prunes" not in written, "accuracy_by_weights shows the same numbers"
    assert {f"weight_distributions_{file_name(init)}" for init in MANY} <= written


def test_different_specs_have_different_files():
    specs = [*MANY, "t('a/x.json')", "t('a/x.json', scale=False)", "normal(0.1)", "normal(0.01)"]
    assert len({file_name(spec) for spec in specs}) == len(specs)
