import os
import subprocess
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from lottery.analysis import curves, layers, levels, mean_interval, summary
from lottery.analysis import figures as f
from lottery.analysis.choice import STANDARD
from lottery.analysis.figures.legend import BAND, BEYOND
from lottery.analysis.figures.style import (
    interval_text,
    line_looks,
    save,
    scheme_looks,
    scheme_name,
    signed,
)
from tests.analysis.synthetic import write_study

ROOT = Path(__file__).parents[2]
SCHEMES = ("kaiming_normal", "xavier_uniform")
END = "last step of the level: {} of {} stops are there"
ALL_TICKET_FIGURES = {
    "accuracy_over_steps",
    "accuracy_before_prunes",
    "accuracy_by_weights",
    "early_stop_by_weights",
    "density_by_layer",
    "first_layer_masks",
    "weight_distributions_kaiming_normal",
    "weight_distributions_xavier_uniform",
}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """One study with tickets, the dense network and three draws of a control."""
    folder = tmp_path_factory.mktemp("results")
    write_study(folder, "full", draws={"ticket": 1, "dense": 1, "reinit": 3}, evaluations=3)
    return folder


def heading(figure):
    return figure.get_suptitle()


def line(ax, label):
    found = [line for line in ax.get_lines() if line.get_label() == label]
    assert len(found) == 1, f"{label} in {[line.get_label() for line in ax.get_lines()]}"
    return found[0]


def accuracy_figures(study, results):
    evaluations, table = curves(study, results), levels(study, results)
    return {
        "over_steps": f.accuracy_over_steps(evaluations),
        "before_prunes": f.accuracy_before_prunes(evaluations),
        "by_weights": f.accuracy_by_weights(table),
        "early_stop": f.early_stop_by_weights(table, evaluations),
    }


def test_every_figure_is_written_as_png_and_pdf(results, tmp_path):
    written = f.render("full", results, tmp_path)
    expected = ALL_TICKET_FIGURES | {"controls_by_weights"}
    names = {f"{name}.{kind}" for name in expected for kind in ("png", "pdf")}
    assert {path.name for path in written} == names
    assert {path.parent for path in written} == {tmp_path / "full"}
    for path in written:
        start = path.read_bytes()[:5]
        assert start == (b"%PDF-" if path.suffix == ".pdf" else b"\x89PNG\r")


def test_files_are_sharp_enough_and_embed_truetype_fonts(results, tmp_path):
    figure = f.accuracy_by_weights(levels("full", results))
    png, pdf = save(figure, tmp_path / "figure.with.dots")
    assert (png.name, pdf.name) == ("figure.with.dots.png", "figure.with.dots.pdf")
    pixels = matplotlib.image.imread(png).shape[1]
    assert pixels / figure.get_figwidth() >= 150
    content = pdf.read_bytes()
    assert b"/CIDFontType2" in content
    assert b"/Type3" not in content


def test_rendering_again_in_another_process_gives_the_same_bytes(tmp_path):
    write_study(tmp_path, "small", inits=["xavier_normal"], seeds=(0, 1), levels=1, evaluations=2)
    written = f.render("small", tmp_path, tmp_path / "here")
    command = [sys.executable, "experiments/make_figures.py", "small"]
    command += ["--results-dir", tmp_path, "--plots-dir", tmp_path / "there"]
    environment = os.environ | {"PYTHONHASHSEED": "77", "PYTHONPATH": str(ROOT)}
    subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL)
    for path in written:
        again = tmp_path / "there" / "small" / path.name
        assert path.read_bytes() == again.read_bytes(), path.name


def test_a_readers_own_matplotlib_settings_neither_matter_nor_change(results, tmp_path):
    tables = levels("full", results), curves("full", results)
    plain = save(f.early_stop_by_weights(*tables), tmp_path / "plain")[0].read_bytes()
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "savefig.dpi": 40}):
        odd = save(f.early_stop_by_weights(*tables), tmp_path / "odd")[0].read_bytes()
        assert matplotlib.rcParams["font.size"] == 30
    assert plain == odd


def test_every_figure_says_n(results):
    table = layers("full", results)
    figures = accuracy_figures("full", results) | {
        "controls": f.controls_by_weights(levels("full", results)),
        "density": f.density_by_layer(table),
        "weights": f.weight_distributions(table, SCHEMES[0]),
        "masks": f.first_layer_masks(table),
    }
    for name, figure in figures.items():
        assert "n = 3 seeds" in heading(figure), name
    for name in ("over_steps", "before_prunes", "by_weights", "early_stop", "controls"):
        assert "95 % t-interval" in heading(figures[name]), name


@pytest.mark.parametrize(
    ("n", "text"),
    [
        ([5, 5], "Mean and 95 % t-interval over n = 5 seeds"),
        ([3, 5], "Mean and 95 % t-interval over n = 3–5 seeds"),
        ([1, 2], "Mean and 95 % t-interval over n = 1–2 seeds (no interval where n = 1)"),
        ([1, 1], "n = 1 seed, so no interval"),
    ],
)
def test_words_for_n(n, text):
    assert interval_text(n) == text


def test_points_and_bars_stand_at_the_means_and_intervals(results):
    table = levels("full", results)
    ax = f.accuracy_by_weights(table).axes[0]
    tickets = table[(table["branch"] == "ticket") & (table["init"] == SCHEMES[0])]
    drawn = line(ax, "Kaiming normal").get_ydata()
    expected = [mean_interval(rows) for _, rows in tickets.groupby("level")["test_accuracy"]]
    np.testing.assert_allclose(drawn, [100 * interval.mean for interval in expected])
    bars = ax.containers[0].lines[2][0].get_segments()
    np.testing.assert_allclose(
        [bar[:, 1] for bar in bars], [[100 * i.low, 100 * i.high] for i in expected]
    )


def test_the_unpruned_baseline_is_level_0_averaged_over_schemes_per_seed(results):
    table = levels("full", results)
    ax = f.accuracy_by_weights(table).axes[0]
    start = table[(table["branch"] == "ticket") & (table["level"] == 0)]
    expected = mean_interval(start.groupby("seed")["test_accuracy"].mean())
    height = line(ax, "unpruned (level 0), mean of schemes").get_ydata()
    np.testing.assert_allclose(height, 100 * expected.mean)
    (band,) = (patch for patch in ax.patches if patch.get_label() == BAND)
    band = band.get_extents().transformed(ax.transData.inverted())
    np.testing.assert_allclose([band.y0, band.y1], [100 * expected.low, 100 * expected.high])


def test_the_dense_network_stands_at_the_tickets_densities(results):
    """It keeps all weights, but it is compared at the same number of steps, level by level."""
    table = levels("full", results)
    ax = f.accuracy_by_weights(table).axes[0]
    dense = line(ax, "unpruned, same total steps, mean of schemes")
    tickets = summary(table[table["branch"] == "ticket"], by=("level",))
    np.testing.assert_allclose(dense.get_xdata(), 100 * tickets["weights_remaining"])
    expected = summary(table[table["branch"] == "dense"], by=("level",))["mean"]
    np.testing.assert_allclose(dense.get_ydata(), 100 * expected)


def test_weights_remaining_fall_from_left_to_right_on_a_log_axis(results):
    table = levels("full", results)
    stops = f.early_stop_by_weights(table, curves("full", results))
    for figure in (f.accuracy_by_weights(table), stops):
        ax = figure.axes[0]
        assert ax.get_xscale() == "log"
        left, right = ax.get_xlim()
        assert left > 100 > right
        assert ax.get_xlabel() == "Weights remaining (%)"


def test_accuracy_before_prunes_shows_only_the_last_evaluation_of_each_level(results):
    evaluations = curves("full", results)
    ax = f.accuracy_before_prunes(evaluations).axes[0]
    last = evaluations[(evaluations["step"] == 1000) & (evaluations["branch"] == "ticket")]
    expected = 100 * last[last["init"] == SCHEMES[0]].groupby("level")["test_accuracy"].mean()
    np.testing.assert_allclose(line(ax, "Kaiming normal").get_ydata(), expected)


def test_training_curves_fall_at_each_prune_and_rise_again(results):
    """The end of a level and the start of the next share a total step: order must hold there."""
    figure = f.accuracy_over_steps(curves("full", results))
    ticket = line(figure.axes[0], "_ticket")
    assert (np.diff(ticket.get_xdata()) >= 0).all()
    falls = np.diff(ticket.get_ydata()) < -20
    assert falls.sum() == 4


def test_a_collapse_gets_a_second_panel_around_the_baseline(tmp_path):
    write_study(tmp_path, "deep", levels=20, evaluations=1)
    table = levels("deep", tmp_path)
    full, zoom = f.accuracy_by_weights(table).axes
    start = 100 * table.loc[table["level"] == 0, "test_accuracy"].mean()
    assert full.get_ylim()[0] < 100 * table["test_accuracy"].min() + 0.5
    assert start - 2 < zoom.get_ylim()[0] < start < zoom.get_ylim()[1]
    shallow = levels("deep", tmp_path).query("level < 10")
    assert len(f.accuracy_by_weights(shallow).axes) == 1


def test_controls_have_a_panel_per_scheme_and_dashed_lines(results):
    table = levels("full", results)
    figure = f.controls_by_weights(table)
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["Kaiming normal", "Xavier uniform"]
    for ax, init in zip(figure.axes, SCHEMES, strict=True):
        reinit = line(ax, "random reinitialisation")
        assert reinit.get_linestyle() == "--"
        own = table[(table["branch"] == "reinit") & (table["init"] == init)]
        np.testing.assert_allclose(reinit.get_ydata(), 100 * summary(own)["mean"])
        start = table[(table["branch"] == "ticket") & (table["level"] == 0)]
        expected = 100 * start.loc[start["init"] == init, "test_accuracy"].mean()
        np.testing.assert_allclose(line(ax, "unpruned (level 0)").get_ydata(), expected)


def test_one_seed_has_no_bars_and_says_so(tmp_path):
    write_study(tmp_path, "one", inits=["xavier_normal"], seeds=[7], levels=3, evaluations=2)
    for name, figure in accuracy_figures("one", tmp_path).items():
        assert "n = 1 seed" in heading(figure), name
        assert "interval over" not in heading(figure), name
        assert not any(ax.patches for ax in figure.axes), f"{name}: a band from one value"
        for ax in figure.axes:
            for container in ax.containers:
                assert container.lines[2][0].get_segments() == [], f"{name}: a bar from one value"
        save(figure, tmp_path / name)


def test_failed_cells_show_as_a_range_of_n(tmp_path):
    missing = [("kaiming_normal", 0), ("kaiming_normal", 1), ("xavier_uniform", 2)]
    write_study(tmp_path, "gaps", missing=missing, draws={"ticket": 1, "reinit": 2})
    for name, figure in accuracy_figures("gaps", tmp_path).items():
        assert "n = 1–3 seeds (no interval where n = 1)" in heading(figure), name
    assert "n = 1–3 seeds" in heading(f.controls_by_weights(levels("gaps", tmp_path)))
    assert "n = 1–3 seeds" in heading(f.first_layer_masks(layers("gaps", tmp_path)))


def test_a_level_that_only_began_adds_no_point(tmp_path):
    write_study(tmp_path, "begun", levels=3)
    evaluations = curves("begun", tmp_path)
    begun = (evaluations["level"] == 3) & (evaluations["seed"] == 2) & (evaluations["step"] > 400)
    ax = f.accuracy_before_prunes(evaluations[~begun]).axes[0]
    assert len(line(ax, "Kaiming normal").get_xdata()) == 4


@pytest.mark.parametrize("branch", ["dense", "reinit"])
def test_a_study_without_tickets_is_drawn_as_far_as_it_goes(tmp_path, branch):
    write_study(tmp_path, "part", levels=2, evaluations=2, draws={branch: 1})
    names = {path.stem for path in f.render("part", tmp_path, tmp_path / "plots")}
    expected = {
        "dense": {"accuracy_over_steps", "accuracy_before_prunes"},
        "reinit": {"controls_by_weights"},
    }
    assert names == expected[branch]


def test_a_study_of_one_level_is_drawn(tmp_path):
    write_study(tmp_path, "flat", inits=["xavier_normal"], levels=0, evaluations=1)
    assert f.render("flat", tmp_path, tmp_path / "plots")


def test_perfect_accuracy_has_a_place_on_the_error_scale(tmp_path):
    write_study(tmp_path, "perfect", levels=2)
    evaluations = curves("perfect", tmp_path).assign(test_accuracy=1.0)
    save(f.accuracy_over_steps(evaluations), tmp_path / "perfect")
    top = f.accuracy_over_steps(evaluations).axes[0].get_ylim()[1]
    assert np.isfinite(top)


def test_a_convolutional_network_has_no_mask_images(tmp_path):
    write_study(tmp_path, "conv", "conv6", inits=["orthogonal"], seeds=[0], levels=1, evaluations=1)
    names = {path.stem for path in f.render("conv", tmp_path, tmp_path / "plots")}
    assert "first_layer_masks" not in names
    assert {"density_by_layer", "weight_distributions_orthogonal"} <= names


def test_layers_pruned_at_the_same_rate_share_a_line(results):
    ax = f.density_by_layer(layers("full", results)).axes[0]
    assert [line.get_label() for line in ax.get_lines()] == ["fc1, fc2", "fc3"]
    np.testing.assert_allclose(line(ax, "fc3").get_ydata()[:3], [100, 90, 81])


def test_densities_that_depend_on_the_scheme_get_a_panel_each(results):
    table = layers("full", results)
    other = (table["init"] == SCHEMES[1]) & (table["level"] > 0) & (table["layer"] == "fc2.weight")
    table.loc[other, "remaining"] //= 2
    figure = f.density_by_layer(table)
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["Kaiming normal", "Xavier uniform"]
    assert "same in every scheme" not in heading(figure)
    heights = [line(ax, "fc2").get_ydata()[1] for ax in figure.axes]
    assert heights == pytest.approx([80, 40])


def test_weight_histograms_have_area_one_whatever_their_spans(results):
    table = layers("full", results)
    table.loc[table["seed"] == 1, "span"] *= 2
    figure = f.weight_distributions(table, SCHEMES[0])
    assert len(figure.axes) == 3 * 4
    for ax in figure.axes:
        for patch in ax.patches:
            values, edges, _ = patch.get_data()
            assert (values * np.diff(edges)).sum() == pytest.approx(1)
            assert values.max() < ax.get_ylim()[1]
        assert 0 < ax.get_yticks()[1] < ax.get_ylim()[1]
    assert "share of the kept weights per unit of weight value" in " ".join(heading(figure).split())


def test_histograms_of_a_wider_span_are_drawn_wider(tmp_path):
    """A spike counted in the outermost bin must be drawn at its own span, not at the widest one."""
    write_study(tmp_path, "spans", inits=["xavier_normal"], seeds=(0, 1), levels=0)
    table = layers("spans", tmp_path).query("layer == 'fc1.weight'")
    spike = [0] * 63 + [640]
    table = table.assign(initial_histogram=[spike, spike], span=[1.0, 4.0])
    values, edges, _ = f.weight_distributions(table, "xavier_normal").axes[0].patches[0].get_data()
    mass = values * np.diff(edges)
    assert mass[edges[1:] <= 1.0].sum() == pytest.approx(0.5)
    assert mass[-1] == pytest.approx(0.5)


def test_mask_images_are_the_mean_density_of_each_pixel(results):
    table = layers("full", results)
    figure = f.first_layer_masks(table)
    tickets = table[(table["branch"] == "ticket") & table["kept_inputs"].notna()]
    chosen = tickets[(tickets["init"] == SCHEMES[1]) & (tickets["level"] == 4)]
    expected = np.mean([100 * np.asarray(kept) / 300 for kept in chosen["kept_inputs"]], axis=0)
    images = [ax.images[0] for ax in figure.axes if ax.images]
    assert len(images) == 2 * 5
    np.testing.assert_allclose(images[9].get_array(), expected.reshape(28, 28))
    assert len({image.norm for image in images}) == 1, "the panels do not share a colour scale"


@pytest.mark.parametrize("looks_of", [scheme_looks, line_looks])
def test_many_lines_differ_without_their_colours(looks_of):
    looks = looks_of([f"normal({k})" for k in range(20)]).values()
    assert len({(look.marker, look.linestyle) for look in looks}) == 20
    assert len({(to_hex(look.color), look.marker) for look in looks}) == 20


def test_a_standard_scheme_looks_the_same_whatever_is_drawn_with_it():
    standard = [*STANDARD, "torch_default"]
    others = [f"normal({k})" for k in range(20)]
    every = scheme_looks([*standard, *others])
    for init in standard:
        assert scheme_looks([init])[init] == every[init]
        assert scheme_looks([scheme_name(init)])[scheme_name(init)] == every[init]
    colors = {to_hex(every[init].color) for init in standard}
    assert len(colors) == len(standard)
    assert not colors & {to_hex(every[init].color) for init in others}


def test_numbers_have_a_true_minus_and_no_signed_zero():
    assert [signed(x) for x in (0.004, -0.004, 0.5, -0.5)] == ["0.00", "0.00", "+0.50", "−0.50"]
    assert signed(-0.1, "+g") == "−0.1"


def bars(ax):
    return [segment for one in ax.containers for segment in one.lines[2][0].get_segments()]


def legend(figure):
    (found,) = figure.legends
    return [text.get_text() for text in found.get_texts()]


@pytest.mark.parametrize("early", [1.0, 0.9])
def test_early_stops_are_shown_with_the_end_that_cuts_them_off(tmp_path, early):
    """Also of levels that begin at another step than 0."""
    write_study(tmp_path, "late", levels=3)
    table, evaluations = levels("late", tmp_path), curves("late", tmp_path)
    table["early_stop_step"] = 1100
    evaluations["step"] += 100
    table.loc[table["seed"] == 0, "early_stop_step"] = int(early * 1000)
    ax = f.early_stop_by_weights(table, evaluations).axes[0]
    np.testing.assert_allclose(line(ax, END.format(16, 24)).get_ydata(), 1100)
    bottom, top = ax.get_ylim()
    assert all(bottom < y < top for bar in bars(ax) for y in bar[:, 1])
    ends = np.concatenate([bar[:, 1] for bar in bars(ax)])
    assert ends.max() - ends.min() > 0.8 * (top - bottom), "the plot is empty"
    none = f.early_stop_by_weights(table.assign(early_stop_step=1000), evaluations)
    line(none.axes[0], END.format(0, 24))


def test_bands_are_named_in_the_legend(results, tmp_path):
    table, evaluations = levels("full", results), curves("full", results)
    figures = (
        f.accuracy_by_weights(table),
        f.controls_by_weights(table),
        f.early_stop_by_weights(table, evaluations),
        f.accuracy_over_steps(evaluations),
        f.accuracy_before_prunes(evaluations),
    )
    for figure in figures:
        assert legend(figure).count(BAND) == 1
    one = table[table["seed"] == 0]
    assert BAND not in legend(f.accuracy_by_weights(one))


def test_an_interval_that_leaves_the_axis_has_an_arrow_there(results):
    table = levels("full", results)
    assert BEYOND not in legend(f.accuracy_by_weights(table))
    wide = table["init"].eq(SCHEMES[0]) & table["level"].eq(2) & table["branch"].eq("ticket")
    table.loc[wide, "test_accuracy"] = [0.2, 0.9, 1.0]
    figure = f.controls_by_weights(table)
    ax = figure.axes[0]
    bottom, top = ax.get_ylim()
    arrows = [mark for mark in ax.get_lines() if mark.get_label() == BEYOND]
    cut = [bar for bar in bars(ax) if bar[:, 1].min() < top < bar[:, 1].max()]
    assert len(cut) == 1
    assert {mark.get_ydata()[0] for mark in arrows} <= {bottom, top}
    (upper,) = (mark for mark in arrows if mark.get_ydata()[0] == top)
    np.testing.assert_allclose(upper.get_xdata(), [cut[0][0, 0]])
    assert BEYOND in legend(figure)


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ("xavier_normal", "Xavier normal"),
        ("torch_default", "PyTorch default"),
        ("normal(0.1)", "Normal (0.1)"),
        ("my_module:my_scheme(a=1)", "my_module:my_scheme(a=1)"),
    ],
)
def test_names_of_schemes(spec, name):
    assert scheme_name(spec) == name


def test_any_scheme_spec_makes_a_file_name(tmp_path):
    specs = ["normal(0.1)", "pkg.mod:init(path='../x', n=2)"]
    write_study(tmp_path, "specs", inits=specs, seeds=[0], levels=1, evaluations=1)
    folder = tmp_path / "plots" / "specs"
    written = f.render("specs", tmp_path, tmp_path / "plots")
    assert {path.parent for path in written} == {folder}
    assert sum(path.stem.startswith("weight_distributions") for path in written) == 4


def test_row_order_of_the_tables_does_not_matter(results):
    table = levels("full", results)
    shuffled = table.sample(frac=1, random_state=1)
    a, b = (f.accuracy_by_weights(rows).axes[0].get_lines() for rows in (table, shuffled))
    for one, other in zip(a, b, strict=True):
        np.testing.assert_allclose(one.get_xydata(), other.get_xydata())


def test_tables_are_left_as_they_were(results):
    table = layers("full", results)
    before = table.copy(deep=True)
    f.density_by_layer(table)
    f.first_layer_masks(table)
    pd.testing.assert_frame_equal(table, before)


@pytest.mark.parametrize("last", [1, 2, 19])
def test_points_set_apart_stay_within_the_axes(tmp_path, last):
    inits = ("kaiming_normal", "kaiming_uniform", "xavier_normal", "xavier_uniform")
    write_study(tmp_path, inits=inits, levels=last)
    ax = f.accuracy_before_prunes(curves("lenet", tmp_path)).axes[0]
    left, right = ax.get_xlim()
    points = np.concatenate([line.get_xdata() for line in ax.lines])
    assert left < points.min() < points.max() < right
