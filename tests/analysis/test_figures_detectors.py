"""Figures of a study of detectors: what is drawn, and where."""

import shutil

import numpy as np
import pandas as pd
import pytest

from lottery.analysis import curves, figures, frames, levels
from lottery.analysis.detectors import as_trained_on, before_retraining
from lottery.analysis.figures.detectors import shown
from lottery.detection.drawing import SURE
from tests.analysis.detectors import add_baseline, write_detector_study

VARIANTS = {
    "l2_hard": {},
    "random_hard": {"prune": {"criterion": "random_filters"}},
    "l2_softhard": {},
    "l2_rewind": {"rewind": {"mode": "weights", "to": "0it"}},
}
FALL = {"l2_hard": 0.005, "random_hard": 0.015, "l2_softhard": 0.01, "l2_rewind": 0.01}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    write_detector_study(
        folder,
        VARIANTS,
        lambda _v, _s, level: 1 - 0.5**level,
        lambda variant, _, level: 0.8 - FALL[variant] * level,
    )
    return folder


def lines(ax):
    return {line.get_label(): line for line in ax.get_lines()}


@pytest.fixture(scope="module")
def uneven(tmp_path_factory):
    """Three walks that end at levels 2, 4 and 3, all but that of seed 1 as they fell there."""
    folder = tmp_path_factory.mktemp("uneven")
    last = {0: 2, 1: 4, 2: 3}
    write_detector_study(
        folder,
        {"l2_hard": {}},
        lambda _v, _s, level: 1 - 0.8**level,
        lambda _, seed, level: 0.8 + 0.01 * seed - 0.03 * (level == last[seed] and seed != 1),
        levels=4,
        lengths={("l2_hard", seed): level for seed, level in last.items()},
    )
    return folder


def test_a_mean_ends_where_its_first_ticket_does_and_the_others_go_on_alone(uneven):
    table = levels("detectors", uneven)
    figure = figures.accuracy_by_parameters(table, ["l2_hard"])
    (mean,) = [line for line in figure.axes[0].get_lines() if line.get_label() == "l2"]
    np.testing.assert_allclose(mean.get_ydata(), [81, 80])
    np.testing.assert_allclose(mean.get_xdata(), [20, 36], atol=1e-3)
    thin = [line for line in figure.axes[0].get_lines() if line.get_linewidth() == 0.5]
    found = sorted((len(line.get_xdata()), line.get_ydata()[-1]) for line in thin)
    assert found == [(2, pytest.approx(79)), (3, pytest.approx(81))]
    assert "single tickets" in figure.get_suptitle()
    assert figure.axes[0].get_xlim()[1] > 100 * (1 - 0.8**4)


def test_the_unpruned_network_is_drawn_as_it_is_after_as_much_training(uneven, tmp_path):
    """It gains half a point a level, which lies above every ticket."""
    shutil.copytree(uneven / "detectors", tmp_path / "detectors")
    add_baseline(tmp_path / "detectors", "l2_hard", 0.005)
    table = levels("detectors", tmp_path)
    for draw in (figures.accuracy_by_parameters, figures.accuracy_by_macs):
        figure = draw(table, ["l2_hard"], None, as_trained_on(table, []))
        (line,) = [
            line for line in figure.axes[0].get_lines() if "same total" in str(line.get_label())
        ]
        # levels 1 and 2 of three seeds, 3 of two, 4 of one
        np.testing.assert_allclose(line.get_ydata(), [81.5, 82, 83, 83])
        assert figure.axes[0].get_ylim()[1] > 83
        assert "trained on as long" in figure.get_suptitle()


def test_variants_of_a_panel_share_the_line_of_the_unpruned_network(results, tmp_path):
    shutil.copytree(results / "detectors", tmp_path / "detectors")
    add_baseline(tmp_path / "detectors", "l2_hard", 0.005)
    table = levels("detectors", tmp_path)
    figure = figures.accuracy_by_parameters(
        table, ["l2_hard", "random_hard"], None, as_trained_on(table, [])
    )
    (line,) = [line for line in figure.axes[0].get_lines() if "same total" in str(line.get_label())]
    np.testing.assert_allclose(line.get_ydata(), [80.5, 81])


def test_two_seeds_are_drawn_one_by_one_and_have_no_interval(uneven):
    table = levels("detectors", uneven)
    figure = figures.accuracy_by_macs(table[table["seed"] < 2], ["l2_hard"])
    ax = figure.axes[0]
    thin = [line for line in ax.get_lines() if line.get_linewidth() == 0.5]
    assert sorted(len(line.get_xdata()) for line in thin) == [2, 4]
    assert ax.containers
    assert not np.isfinite([bar.lines[2][0].get_segments() for bar in ax.containers]).any()
    assert "Means over n = 2 seeds" in figure.get_suptitle()
    assert "interval" not in figure.get_suptitle()


def test_widths_are_those_of_each_tickets_furthest_level_within_the_allowed_loss(
    uneven, tmp_path, monkeypatch
):
    """Level 1 of seed 0, 4 of seed 1, 2 of seed 2, not those that fell."""
    drawn = {}
    monkeypatch.setattr(
        figures, "save", lambda figure, stem: drawn.update({stem.name: figure}) or []
    )
    figures.render("detectors", uneven, tmp_path)
    bars = {bar.get_label(): bar for bar in drawn["layer_widths"].axes[0].containers}
    assert set(bars) == {"kept half-way", "kept within 2 points of accuracy"}
    kept = [round(500 * 0.8**level) for level in (1, 4, 2)]
    assert bars["kept within 2 points of accuracy"].lines[0].get_ydata()[2] == np.mean(kept)
    middle = [round(500 * 0.8**level) for level in (0, 2, 1)]
    assert bars["kept half-way"].lines[0].get_ydata()[2] == np.mean(middle)


def test_boxes_of_one_cell_are_drawn_where_tables_of_two_machines_were_merged(results):
    found = frames.detections("detectors", results)
    other = found[found["variant"] == "l2_hard"]
    cell = "l2_hard-s1-ticket"
    merged = pd.concat([found, other.assign(cell=cell, seed=1)])
    drawn = [
        figures.detections(
            boxes, levels("detectors", results), frames.pictures("detectors", results), ["l2_hard"]
        )
        for boxes in (found, merged)
    ]
    counts = [[len(ax.patches) for ax in figure.axes] for figure in drawn]
    assert counts[0] == counts[1]
    assert counts[0][0] == 3


def test_figures_of_detectors_that_were_not_measured_yet_say_mean_ap(uneven, tmp_path, monkeypatch):
    folder = tmp_path / "detectors"
    shutil.copytree(uneven / "detectors", folder)
    for name in ("detectors.csv", "precision_recall.parquet", "detections.parquet"):
        (folder / name).unlink()
    drawn = {}
    monkeypatch.setattr(
        figures, "save", lambda figure, stem: drawn.update({stem.name: figure}) or []
    )
    figures.render("detectors", tmp_path, tmp_path)
    assert {"accuracy_by_parameters", "layer_widths"} <= set(drawn)
    assert drawn["accuracy_by_macs"].axes[0].get_ylabel().startswith("Test mean AP")


def test_open_markers_are_what_pruning_alone_left(results):
    table = levels("detectors", results)
    before = before_retraining(table, curves("detectors", results))
    figure = figures.accuracy_by_parameters(table, ["l2_hard"], before)
    drawn = figure.axes[0].get_lines()
    (after,) = [line for line in drawn if line.get_label() == "l2"]
    (open_,) = [line for line in drawn if line.get_markerfacecolor() == "white"]
    np.testing.assert_allclose(after.get_ydata(), [79.5, 79])
    np.testing.assert_allclose(open_.get_ydata(), [39.75, 39.5])
    np.testing.assert_allclose(open_.get_xdata(), after.get_xdata())
    bottom, top = figure.axes[0].get_ylim()
    assert bottom < 39.5 < 79.5 < top
    assert "before retraining" in figure.get_suptitle().replace("\n", " ")


def test_recall_that_is_not_reached_has_precision_0(results):
    table = frames.precision_recall("detectors", results)
    figure = figures.precision_recall(table, "detectors", ["l2_hard", "random_hard"])
    first = figure.axes[0]
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["0", "1", "2"]
    drawn = lines(first)
    assert list(drawn) == ["unpruned", "l2 hard", "random hard"]
    pruned = drawn["random hard"].get_ydata()  # level 1: AP 0.785 less 0.1
    np.testing.assert_allclose(pruned[[0, 50, 68, 69, 100]], [100, 75, 66, 0, 0])
    np.testing.assert_allclose(drawn["unpruned"].get_ydata()[[70, 71]], [65, 0])


def test_a_ticket_that_cannot_be_pruned_at_the_allowed_loss_counts_as_it_is_unpruned(results):
    table = frames.precision_recall("detectors", results)
    table = table[(table["level"] == 0) | (table["seed"] > 0)]
    figure = figures.precision_recall(table, "detectors", ["random_hard"])
    drawn = lines(figure.axes[0])
    np.testing.assert_allclose(drawn["random hard"].get_ydata()[[68, 69]], [66, 65.5 / 3])


def test_the_variants_whose_boxes_are_drawn_are_the_best_of_each_way(results):
    table = levels("detectors", results)
    assert shown(table, list(VARIANTS)) == ["l2_hard", "l2_softhard", "l2_rewind"]
    table.loc[(table["variant"] == "l2_hard") & (table["level"] > 0), "val_accuracy"] = 0.1
    table.loc[(table["variant"] == "random_hard"), "val_accuracy"] = 0.8
    assert shown(table, list(VARIANTS))[0] == "random_hard"


def test_boxes_are_drawn_on_the_same_pictures_before_and_after(results):
    figure = figures.detections(
        frames.detections("detectors", results),
        levels("detectors", results),
        frames.pictures("detectors", results),
        ["l2_hard"],
    )
    truth, unpruned, pruned = np.reshape(figure.axes, (3, 4))
    assert truth[0].get_ylabel() == "ground truth"
    assert unpruned[0].get_ylabel() == "unpruned\naccuracy 80.0 %"
    assert pruned[0].get_ylabel() == "l2 hard\nparameters −75 %, MACs −38 %\naccuracy 79.0 %"
    for band, score in ((truth, ""), (unpruned, " .90"), (pruned, " .50")):
        for ax in band:  # the box of score 0.01 is not drawn
            assert [text.get_text() for text in ax.texts] == [f"{k}{score}" for k in "012"]
            assert [patch.get_xy() for patch in ax.patches] == [(0.3 * k,) * 2 for k in range(3)]
            assert ax.get_ylim() == (1, 0)


def test_what_is_sure_enough_to_be_kept_is_drawn(results):
    found = frames.detections("detectors", results)
    found.loc[found["score"] == 0.01, "score"] = SURE
    pictures = frames.pictures("detectors", results)
    figure = figures.detections(found, levels("detectors", results), pictures, ["l2_hard"])
    assert [len(ax.patches) for ax in figure.axes] == [3] * 4 + [4] * 8


def test_boxes_are_those_of_the_furthest_level_within_the_allowed_loss(results):
    """Level 2 of random filters has fallen by 3 points, level 1 by 1.5."""
    figure = figures.detections(
        frames.detections("detectors", results),
        levels("detectors", results),
        frames.pictures("detectors", results),
        ["random_hard"],
    )
    *_, pruned = np.reshape(figure.axes, (3, 4))
    assert pruned[0].get_ylabel() == "random hard\nparameters −50 %, MACs −25 %\naccuracy 78.5 %"
    assert len(pruned[0].patches) == 3
    said = figure.get_suptitle().replace("\n", " ")
    assert "each ticket at its furthest level within 2 points of accuracy" in said


def test_the_figures_of_a_study_of_detectors_say_mean_ap(results, tmp_path, monkeypatch):
    drawn = {}
    monkeypatch.setattr(
        figures, "save", lambda figure, stem: drawn.update({stem.name: figure}) or []
    )
    figures.render("detectors", results, tmp_path)
    assert set(drawn) == {
        *("accuracy_by_parameters", "accuracy_by_macs", "layer_widths"),
        *("precision_recall_hard", "precision_recall_softhard", "precision_recall_rewind"),
        "detections",
    }
    figure = drawn["accuracy_by_parameters"]
    assert figure.axes[0].get_ylabel().startswith("Test mean AP")
    assert "accuracy" not in figure.get_suptitle()
    *_, rewind = figure.axes
    assert not [line for line in rewind.get_lines() if line.get_markerfacecolor() == "white"]


def test_of_unpruned_detectors_nothing_is_drawn_against_what_is_left(tmp_path):
    write_detector_study(tmp_path, {"l2_hard": {}}, lambda *_: 0.0, lambda *_: 0.8, levels=0)
    names = {path.stem for path in figures.render("detectors", tmp_path, tmp_path / "plots")}
    assert names == {"detections", "precision_recall_hard"}
    own = levels("detectors", tmp_path), frames.pictures("detectors", tmp_path)
    figure = figures.detections(frames.detections("detectors", tmp_path), *own, ["l2_hard"])
    assert len(figure.axes) == 2 * 4, "what is there, and what is found unpruned"
    curves = frames.precision_recall("detectors", tmp_path)
    lines = figures.precision_recall(curves, "detectors", ["l2_hard"]).axes[0].get_lines()
    assert [line.get_label() for line in lines] == ["unpruned"]
