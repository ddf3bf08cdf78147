"""Figures of a study of whole filters: what is on their axes, and which are drawn."""

import re

import numpy as np
import pytest
import yaml

from lottery.analysis import curves, figures, frames, layers, levels, mean_interval
from lottery.analysis.figures.filters import WAYS, shrinking, ways
from lottery.analysis.influence import design
from tests.analysis.filters import (
    FACTORIAL,
    MACS,
    PARAMETERS,
    write_factorial_study,
    write_filter_study,
)
from tests.tiny import ROOT

METHODS = ROOT / "docs" / "methods.md"
VARIANTS = {"l1_hard": {}, "l2_hard": {}, "l1_soft": {}}
ACCURACY = {"l1_hard": 0.97, "l2_hard": 0.98, "l1_soft": 0.96}


def accuracy(variant, seed, level):
    return ACCURACY[variant] + 0.001 * seed - 0.01 * level


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    write_filter_study(folder, VARIANTS, lambda _v, _s, level: 1 - 0.5**level, accuracy)
    write_filter_study(
        folder,
        {"basic": {}, "relative": {}},
        lambda v, seed, _: 0.8 + 0.01 * seed + 0.1 * (v == "basic"),
        lambda *_: 0.98,
        study="lim",
        levels=1,
        shrinking=True,
    )
    return folder


def line(ax, label):
    (found,) = [line for line in ax.get_lines() if line.get_label() == label]
    return found


@pytest.mark.parametrize("draw", [figures.accuracy_by_parameters, figures.accuracy_by_macs])
def test_hard_and_soft_have_panels_side_by_side_with_a_line_per_variant(results, draw):
    figure = draw(levels("filters", results), list(VARIANTS))
    hard, soft = figure.axes
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["hard", "soft"]
    assert line(hard, "l1").get_color() == line(soft, "l1").get_color()
    assert line(hard, "l1").get_color() != line(hard, "l2").get_color()
    expected = [
        100 * mean_interval(accuracy("l2_hard", s, k) for s in range(3)).mean for k in (1, 2)
    ]
    np.testing.assert_allclose(line(hard, "l2").get_ydata(), expected)
    assert "n = 3 seeds" in figure.get_suptitle()


def test_the_axis_is_what_is_removed_of_the_unpruned_network(results):
    table = levels("filters", results)
    by_parameters = figures.accuracy_by_parameters(table, list(VARIANTS)).axes[0]
    by_macs = figures.accuracy_by_macs(table, list(VARIANTS)).axes[0]
    assert by_parameters.get_xlabel() == "Parameters removed (%)"
    assert by_macs.get_xlabel() == "MACs removed (%)"
    np.testing.assert_allclose(
        line(by_parameters, "l1").get_xdata(), [50, 75], atol=100 / PARAMETERS
    )
    np.testing.assert_allclose(line(by_macs, "l1").get_xdata(), [25, 37.5], atol=100 / MACS)


def test_names_without_a_way_share_one_panel():
    assert ways(["basic", "by_input", "hard"]) == {
        "": {"basic": "basic", "by_input": "by_input", "hard": "hard"}
    }


def test_the_guide_names_all_endings_that_get_a_panel():
    (told,) = re.findall(r"whose names end with (.*?) get\s", METHODS.read_text(), re.DOTALL)
    assert set(re.findall(r"`_(\w+)`", told)) == set(WAYS)


def test_widths_are_those_kept_per_layer_and_all_of_them(results):
    figure = figures.layer_widths(layers("filters", results), list(VARIANTS))
    ax = figure.axes[0]
    np.testing.assert_array_equal(line(ax, "all").get_ydata(), [20, 50, 500, 10])
    bars = {bar.get_label(): bar.lines[0].get_ydata() for bar in ax.containers}
    np.testing.assert_array_equal(bars["kept half-way"], [10, 25, 250, 10])
    np.testing.assert_array_equal(bars["kept at the last level"], [5, 12, 125, 10])


def test_variants_that_keep_the_same_widths_share_a_panel_and_others_do_not(results):
    table = layers("filters", results)
    figure = figures.layer_widths(table, list(VARIANTS))
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["l1 hard and 2 alike"]
    wider = (table["variant"] == "l2_hard") & (table["level"] == 1)
    table.loc[wider, "kept_outputs"] += 1
    figure = figures.layer_widths(table, list(VARIANTS))
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    assert titles == ["l1 hard and 1 alike", "l2 hard"]


def test_the_reduction_steps_up_where_the_loss_jumps(results):
    table = curves("lim", results)
    figure = figures.reduction(table, shrinking(table))
    losses, removed = figure.axes[:2], figure.axes[2:]
    assert [ax.get_title(loc="left") for ax in losses] == ["basic", "relative"]
    shown = removed[0].get_lines()[0]
    np.testing.assert_allclose(
        shown.get_ydata()[-6:], [0, 0, 45.5, 45.5, 91, 91]
    )  # nothing of an action is averaged away
    np.testing.assert_array_equal(shown.get_xdata()[-6:], [100, 140, 140, 180, 180, 200])
    np.testing.assert_allclose(
        losses[0].get_lines()[0].get_ydata()[-6:], [0.9, 0.3, 0.6, 0.2, 0.5, 0.1]
    )


def test_only_variants_that_lose_parameters_in_training_are_reductions(results):
    assert shrinking(curves("filters", results)) == []
    assert shrinking(curves("lim", results)) == ["basic", "relative"]


def test_the_figures_of_a_study_of_filters(results, tmp_path):
    stems = {path.stem for path in figures.render("filters", results, tmp_path)}
    own = {"accuracy_by_parameters", "accuracy_by_macs", "layer_widths"}
    assert stems == own | {"variant_differences"}
    stems = {path.stem for path in figures.render("lim", results, tmp_path)}
    assert stems == own | {"variant_differences", "reduction"}


def test_where_walks_are_stopped_differences_end_with_the_first_ticket(tmp_path, monkeypatch):
    folder = write_filter_study(
        tmp_path,
        VARIANTS,
        lambda *where: 1 - 0.5 ** where[2],
        accuracy,
        lengths={("l2_hard", 0): 1},
    )
    path = folder / "study.yaml"
    config = yaml.safe_load(path.read_text())
    drawn = {}
    monkeypatch.setattr(
        figures, "save", lambda figure, stem: drawn.update({stem.name: figure}) or []
    )
    for stop, points in ((None, 3), (0.005, 2)):
        path.write_text(
            yaml.safe_dump(config | {"prune": config["prune"] | {"stop": stop}}, sort_keys=False)
        )
        figures.render("filters", tmp_path, tmp_path)
        hard, soft = drawn["variant_differences"].axes
        assert len(line(hard, "l2").get_xdata()) == points
        assert len(line(soft, "l1").get_xdata()) == 3


def test_what_is_left_is_parameters_and_not_weights(results):
    table = levels("filters", results)
    ax = figures.variant_differences(table, frames.variants("filters", results)).axes[0]
    assert ax.get_xlabel() == "Parameters left (%)"
    single = table[table["variant"] == "l2_hard"]
    figure = figures.accuracy_by_weights(single)
    assert figure.axes[0].get_xlabel() == "Parameters left (%)"
    assert "weights" not in figure.get_suptitle()


def test_differences_of_variants_whose_names_end_alike_share_a_panel(results):
    figure = figures.variant_differences(levels("filters", results), list(VARIANTS))
    shown = {
        ax.get_title(loc="left"): {
            line.get_label() for line in ax.get_lines() if not line.get_label().startswith("_")
        }
        for ax in figure.axes
    }
    assert shown == {"hard": {"l2"}, "soft": {"l1"}}  # each minus l1_hard


def test_a_factorial_study_has_its_coefficients_alone(tmp_path):
    write_factorial_study(tmp_path, lambda *_: 0.98)
    assert {p.stem for p in figures.render("filters", tmp_path, tmp_path)} == {"influence"}
    settings = design(frames.configuration("filters", tmp_path), FACTORIAL)
    right = figures.influence(levels("filters", tmp_path), settings).axes[1]
    (points,) = right.containers
    np.testing.assert_allclose(
        points.lines[0].get_xdata(orig=False), [0, 10, 0, 0, 0, 0, 0], atol=1e-3
    )
    assert "Reduction" in right.get_title(loc="left")
