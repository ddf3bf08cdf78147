"""Diagnostics as drawn: what stands in the table, scheme by scheme."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lottery.analysis import figures, frames
from lottery.analysis.figures.diagnostics import PANELS, diagnostics_by_weights, whole_network
from lottery.errors import StoreError
from tests.analysis.synthetic import weights_remaining, write_study

ROOT = Path(__file__).parents[2]
SCHEMES = ("kaiming_normal", "xavier_uniform")
LAYERS = ("fc1.weight", "fc2.weight", "fc3.weight")
BY_LAYER = "activation_variance"
DERIVED = {"effective_share", "overlap_over_chance"}
SOURCES = {"effective_density", "overlap_chance", "overlap_other_seeds"}
ONLY_ALL = ("gradient_flow", "error_barrier_test", "overlap_other_seeds")


def value(quantity: str, init: str, level: int) -> float:
    """Of the mean over seeds."""
    return (1 + len(quantity) % 7 + 3 * SCHEMES.index(init)) / (10 + level)


def diagnostics(seeds=(0, 1, 2), variant="base") -> pd.DataFrame:
    """Every quantity of two schemes at levels 0 to 4; barriers at level 2 and 4, two draws."""
    quantities = {panel.quantity for panel in PANELS} - DERIVED | SOURCES
    rows = []
    for init in SCHEMES:
        for seed in seeds:
            for level in range(5):
                for quantity in sorted(quantities):
                    barrier = "barrier" in quantity
                    if barrier and level not in (2, 4):
                        continue
                    layers = LAYERS if quantity == BY_LAYER else ("all",)
                    if quantity not in (BY_LAYER, *ONLY_ALL):
                        layers = (*LAYERS, "all")
                    for draw in (0, 1) if barrier else (0,):
                        for number, layer in enumerate(layers):
                            offset = 0.01 * (seed - np.mean(seeds))
                            if layer != "all":
                                offset += number - 1 if quantity == BY_LAYER else 50
                            if barrier:
                                offset += draw - 0.5
                            rows.append(
                                {
                                    "study": "made-up",
                                    "cell": f"{init}-s{seed}-{barrier}-{draw}",
                                    "variant": variant,
                                    "init": init,
                                    "seed": seed,
                                    "branch": "retrain" if barrier else "ticket",
                                    "draw": draw,
                                    "level": level,
                                    "weights_remaining": weights_remaining("lenet_300_100", level),
                                    "layer": layer,
                                    "quantity": quantity,
                                    "value": value(quantity, init, level) + offset,
                                }
                            )
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def table():
    return diagnostics()


def panel_of(figure, quantity):
    title = next(panel.title for panel in PANELS if panel.quantity == quantity)
    return next(ax for ax in figure.get_axes() if ax.get_title(loc="left") == title)


def line(ax, label):
    return next(line for line in ax.get_lines() if line.get_label() == label)


def test_there_is_a_panel_for_each_quantity(table):
    figure = diagnostics_by_weights(table)
    assert [ax.get_title(loc="left") for ax in figure.get_axes()] == [p.title for p in PANELS]
    few = diagnostics_by_weights(table[table["quantity"].isin(["sign_flips", "dead_units"])])
    assert len(few.get_axes()) == 2


@pytest.mark.parametrize("panel", [p for p in PANELS if p.quantity not in DERIVED])
def test_lines_are_means_over_seeds_of_the_whole_network(table, panel):
    figure = diagnostics_by_weights(table)
    ax = panel_of(figure, panel.quantity)
    levels = (2, 4) if "barrier" in panel.quantity else range(5)
    for init, label in zip(SCHEMES, ("Kaiming normal", "Xavier uniform"), strict=True):
        drawn = line(ax, label)
        expected = [panel.scale * value(panel.quantity, init, level) for level in levels]
        assert drawn.get_ydata() == pytest.approx(expected)
        x = [100 * weights_remaining("lenet_300_100", level) for level in levels]
        assert drawn.get_xdata() == pytest.approx(x, rel=0.05)


def test_weights_on_a_path_are_a_share_of_the_kept_ones(table):
    share = line(panel_of(diagnostics_by_weights(table), "effective_share"), "Kaiming normal")
    expected = [
        100 * value("effective_density", SCHEMES[0], k) / weights_remaining("lenet_300_100", k)
        for k in range(5)
    ]
    assert share.get_ydata() == pytest.approx(expected)


def test_overlap_with_other_seeds_is_in_units_of_chance(table):
    ax = panel_of(diagnostics_by_weights(table), "overlap_over_chance")
    rows = table[table["layer"].eq("all") & table["init"].eq(SCHEMES[0])]
    both = rows.pivot_table(index=["level", "seed"], columns="quantity", values="value")
    ratio = both["overlap_other_seeds"] / both["overlap_chance"]
    assert line(ax, "Kaiming normal").get_ydata() == pytest.approx(ratio.groupby("level").mean())
    # Pairs of seeds are not independent: no interval.
    assert not any(bars.get_segments() for bars in ax.collections)
    assert any(
        bars.get_segments()
        for bars in panel_of(diagnostics_by_weights(table), "sign_flips").collections
    )


def test_overlap_with_initial_weights_is_drawn_beside_chance_and_others_are_not(table):
    figure = diagnostics_by_weights(table)
    for panel in PANELS:
        labels = [drawn.get_label() for drawn in panel_of(figure, panel.quantity).get_lines()]
        assert ("random masks" in labels) == (panel.quantity == "overlap_magnitude_at_init"), panel
    chance = line(panel_of(figure, "overlap_magnitude_at_init"), "random masks").get_ydata()
    means = [np.mean([100 * value("overlap_chance", i, k) for i in SCHEMES]) for k in range(5)]
    assert chance == pytest.approx(means)


def test_it_says_n_and_what_a_barrier_is(table):
    heading = diagnostics_by_weights(table).get_suptitle()
    assert "Mean and 95 % t-interval over n = 3 seeds" in heading
    assert "barrier between a ticket and its retraining" in heading
    alone = diagnostics(seeds=(0,))
    assert "n = 1 seed, so no interval" in diagnostics_by_weights(alone).get_suptitle()
    without = table[table["branch"] == "ticket"]
    assert "barrier" not in diagnostics_by_weights(without).get_suptitle()


def test_unknown_values_leave_gaps_and_no_line(table):
    unknown = table.assign(
        value=table["value"].where(
            (table["quantity"] != "init_memory") | (table["init"] != SCHEMES[0])
        )
    )
    ax = panel_of(diagnostics_by_weights(unknown), "init_memory")
    labels = [drawn.get_label() for drawn in ax.get_lines()]
    assert "Kaiming normal" not in labels
    assert "Xavier uniform" in labels


def test_values_of_zero_are_drawn_on_a_linear_axis(table):
    zeros = table.assign(value=table["value"].where(table["quantity"] != "gradient_flow", 0.0))
    figure = diagnostics_by_weights(zeros)
    assert panel_of(figure, "gradient_flow").get_yscale() == "linear"
    assert panel_of(figure, "gradient_norm").get_yscale() == "log"


def test_controls_do_not_count(table):
    control = table[table["branch"] == "ticket"].assign(branch="reinit", value=99.0)
    retrain = table[table["branch"] == "ticket"].assign(branch="retrain", value=99.0)
    both = pd.concat([table, control, retrain])
    pd.testing.assert_frame_equal(
        whole_network(both).reset_index(drop=True), whole_network(table).reset_index(drop=True)
    )


def test_the_figure_is_made_where_the_table_is(table, tmp_path):
    folder = write_study(tmp_path, "made-up", evaluations=2)
    names = [path.stem for path in figures.render("made-up", tmp_path, tmp_path / "plots")]
    assert "diagnostics_by_weights" not in names
    table.to_parquet(folder / "diagnostics.parquet")
    written = figures.render("made-up", tmp_path, tmp_path / "plots")
    assert len([path for path in written if path.stem == "diagnostics_by_weights"]) == 2


def test_variants_have_figures_of_their_own(tmp_path):
    folder = write_study(tmp_path, "made-up", evaluations=2)
    levels = pd.read_csv(folder / "levels.csv")
    both = pd.concat([levels.assign(variant=name) for name in ("one", "other")])
    both.to_csv(folder / "levels.csv", index=False)
    tables = [diagnostics(variant=name) for name in ("one", "other")]
    pd.concat(tables).to_parquet(folder / "diagnostics.parquet")
    names = {path.stem for path in figures.render("made-up", tmp_path, tmp_path / "plots")}
    assert {"diagnostics_by_weights_one", "diagnostics_by_weights_other"} <= names
    unknown = tables[1].assign(quantity="cluster_spread").drop_duplicates(["cell", "level"])
    pd.concat([tables[0], unknown]).to_parquet(folder / "diagnostics.parquet")
    names = {path.stem for path in figures.render("made-up", tmp_path, tmp_path / "again")}
    assert "diagnostics_by_weights_one" in names
    assert "diagnostics_by_weights_other" not in names, "there is nothing to draw in it"


def test_a_missing_table_says_how_to_make_it(tmp_path):
    write_study(tmp_path, "made-up", evaluations=2)
    assert not frames.has_diagnostics("made-up", tmp_path)
    with pytest.raises(StoreError, match=r"--diagnostics\.record true"):
        frames.diagnostics("made-up", tmp_path)


def test_the_figure_has_the_same_bytes_in_another_process(table, tmp_path):
    table.to_parquet(tmp_path / "table.parquet")
    code = (
        "import sys, pandas; from pathlib import Path; "
        "from lottery.analysis.figures.style import save; "
        "from lottery.analysis.figures.diagnostics import diagnostics_by_weights as draw; "
        "save(draw(pandas.read_parquet(sys.argv[1])), Path(sys.argv[2]))"
    )
    written = []
    for hash_seed in ("1", "2"):
        stem = tmp_path / f"figure{hash_seed}"
        environment = os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", code, str(tmp_path / "table.parquet"), str(stem)]
        subprocess.run(command, env=environment, check=True)
        written.append(stem.with_suffix(".png").read_bytes())
    assert written[0] == written[1]
