"""Levels without a layer or a path are found, and figures and reports say so."""

import pandas as pd
import pytest
import yaml

from lottery.analysis import figures as f
from lottery.analysis import frames, layer_collapses
from lottery.analysis.report import compose
from lottery.analysis.report.study import load
from lottery.pruning.schedule import PruneConfig
from lottery.study import StudyConfig
from tests.analysis.synthetic import write_study

INIT, SEED = "kaiming_normal", 1


@pytest.fixture
def folder(tmp_path):
    """One ticket of six, of kaiming_normal, loses its output layer at levels 3 and 4."""
    folder = write_study(tmp_path, "cut", draws={"ticket": 1, "shuffle_layer": 1})
    table = pd.read_parquet(folder / "layers.parquet")
    cell = (table["init"] == INIT) & (table["seed"] == SEED) & (table["branch"] == "ticket")
    table.loc[cell & (table["layer"] == "fc3.weight") & (table["level"] > 2), "remaining"] = 0
    table.to_parquet(folder / "layers.parquet")
    config = StudyConfig(name="cut", inits=[INIT, "xavier_uniform"], levels=4)
    (folder / "study.yaml").write_text(yaml.safe_dump(config.to_dict()))
    return folder


def diagnostics_of(folder, without: list[tuple[str, int]]) -> pd.DataFrame:
    """Effective densities of all levels, 0 at (branch, level) of the seed that collapses."""
    levels = frames.levels(folder)
    rows = levels[["study", "cell", "variant", "init", "seed", "branch", "draw", "level"]].copy()
    rows["weights_remaining"], rows["quantity"], rows["value"] = 0.1, "effective_density", 0.05
    for branch, level in without:
        place = (rows["branch"] == branch) & (rows["level"] == level)
        rows.loc[place & (rows["seed"] == SEED) & (rows["init"] == INIT), "value"] = 0.0
    every = rows.assign(layer="all")
    # A layer of which no weight is on a path is no news, nor is another quantity at 0.
    return pd.concat(
        [
            every,
            rows.assign(layer="fc1.weight", value=0.0),
            every.assign(quantity="dead_units", value=0.0),
        ]
    )


def test_levels_that_lost_a_layer_are_found(folder):
    found = layer_collapses(frames.layers(folder))
    assert found["level"].tolist() == [3, 4]
    assert found[["init", "seed", "branch"]].to_numpy().tolist() == [[INIT, SEED, "ticket"]] * 2
    assert found["layers"].tolist() == ["fc3.weight"] * 2
    rest = 300 * 784 * 0.8**3 + 30_000 * 0.8**3
    assert found["weights_remaining"][0] == pytest.approx(rest / 266_200, rel=1e-4)


def test_levels_without_a_path_are_found_where_it_is_recorded(folder):
    diagnostics = diagnostics_of(folder, [("ticket", 2), ("ticket", 3), ("shuffle_layer", 4)])
    found = layer_collapses(frames.layers(folder), diagnostics)
    assert list(zip(found["branch"], found["level"], found["layers"], strict=True)) == [
        ("shuffle_layer", 4, ""),
        ("ticket", 2, ""),
        ("ticket", 3, "fc3.weight"),
        ("ticket", 4, "fc3.weight"),
    ]


def test_biases_that_are_all_pruned_are_no_collapse(folder):
    table = frames.layers(folder)
    biases = table.assign(layer=table["layer"].str.replace("weight", "bias"), remaining=0)
    found = layer_collapses(pd.concat([table, biases]))
    pd.testing.assert_frame_equal(found, layer_collapses(table))


def test_a_study_in_which_nothing_collapsed_has_no_rows(tmp_path):
    folder = write_study(tmp_path)
    found = layer_collapses(frames.layers(folder), diagnostics_of(folder, []))
    assert found.empty
    assert {"cell", "level", "layers", "weights_remaining"} <= set(found.columns)
    assert "## Layer collapse" not in compose(load(folder), [])


def crosses(figure) -> list[float]:
    label = "layer collapse in at least one seed"
    return [
        x
        for ax in figure.axes
        for line in ax.get_lines()
        if line.get_label() == label
        for x in line.get_xdata()
    ]


def test_figures_cross_out_what_collapsed(folder):
    levels, found = frames.levels(folder), layer_collapses(frames.layers(folder))
    figure = f.accuracy_by_weights(levels, found)
    panels = len(figure.axes)
    assert len(crosses(figure)) == 2 * panels, "two levels of one scheme"
    one = f.accuracy_by_variant(levels, ["base"], found)
    assert len(crosses(one)) == 2
    assert not crosses(f.accuracy_by_variant(levels, ["base"], found.assign(variant="other")))
    assert not crosses(f.accuracy_by_weights(levels, found.assign(branch="shuffle_layer")))
    assert not crosses(f.accuracy_by_weights(levels))
    note = f.density_by_layer(frames.layers(folder))._suptitle.get_text()
    assert "a layer without weights is off the scale" in " ".join(note.split())


def test_figures_of_a_whole_study_cross_it_out_too(folder, tmp_path, monkeypatch):
    given = []
    monkeypatch.setattr(
        f, "accuracy_by_weights", lambda levels, cut: given.append(cut) or f.Figure()
    )
    f.render(folder, plots=tmp_path / "plots")
    assert given[0]["level"].tolist() == [3, 4]


def test_the_report_says_which_cells_collapsed_where_and_of_what(folder):
    text = compose(load(folder), [])
    section = text.partition("\n## Layer collapse\n")[2].partition("\n## ")[0]
    assert "| base | ticket: own initial weights | Kaiming normal | [1 of 3](#e" in section
    assert "| `fc3.weight` |" in section
    assert "is not known, as no diagnostics were recorded" in section
    diagnostics = diagnostics_of(folder, [("ticket", 2), ("ticket", 3)])
    diagnostics.to_parquet(folder / "diagnostics.parquet")
    assert "| `fc3.weight`, no path |" in compose(load(folder), [])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {},
            "within each layer: 20 % in linear layers and 10 % in the output layer of the weights",
        ),
        ({"iterative": False}, "all at once in the trained network of level 0"),
        ({"at": "initial", "criterion": "random", "allocation": "erk"}, "are erk: 20 %"),
        (
            {"at": "initial", "criterion": "synflow", "scope": "global", "iterations": 100},
            "by synflow, over all layers together, in 100 rankings per level: 20 % in linear "
            "layers and 10 % in the output layer of the weights that remain, but all at once in "
            "the untrained network",
        ),
    ],
)
def test_the_protocol_says_how_was_pruned(settings, words, folder):
    config = StudyConfig(name="cut", prune=PruneConfig(**settings))
    (folder / "study.yaml").write_text(yaml.safe_dump(config.to_dict()))
    (row,) = [
        line for line in compose(load(folder), []).splitlines() if "Pruning between levels" in line
    ]
    assert words in row
