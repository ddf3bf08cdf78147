"""Figures of scales, methods and the mechanism: what was planted is what is drawn."""

import numpy as np
import pandas as pd
import pytest

from lottery.analysis import figures as f
from lottery.analysis import mean_interval
from lottery.analysis.figures import _of_schemes
from lottery.analysis.figures.methods import reference_scheme
from lottery.analysis.figures.style import save, scheme_looks
from lottery.analysis.mechanism import ALL, cells, mechanism
from lottery.analysis.widths import REST, widths
from tests.analysis.planted import levels

GAINS = {
    "xavier_normal(gain=0.25)": 0.25,
    "xavier_normal(gain=0.5)": 0.5,
    "xavier_normal": 1.0,
    "xavier_normal(gain=2.0)": 2.0,
    "xavier_normal(gain=4.0)": 4.0,
    "xavier_uniform(gain=0.5)": 0.5,
    "xavier_uniform": 1.0,
    "xavier_uniform(gain=2.0)": 2.0,
    "kaiming_normal": 1.128,
    "sign_constant(gain=1, mode=fan_avg)": 1.0,
    "by_layer(first=xavier_normal, rest=xavier_normal(gain=2.0))": 2.0,
}
VARIANTS = ["adam", "sgd"]
LAYERS = ("fc1.weight", "fc2.weight", "fc3.weight")


def area(variant, init, seed):
    """With Adam narrow is robust; with SGD the width says nothing."""
    fall = 0.004 * (np.log2(GAINS[init]) if variant == "adam" else 0) + 0.02
    return -fall + 0.002 * (seed - 1)


def table(variants=VARIANTS, inits=tuple(GAINS)):
    def accuracy(variant, init, seed, level, **_):
        return 0.98 + (area(variant, init, seed) if level else 0)

    return levels(accuracy, variants=variants, inits=inits, seeds=range(3), last=9, kept=0.64)


def recorded(levels):
    """Memory rises with the width under Adam alone, travel falls; `all` would say the opposite."""
    tickets = levels[levels["branch"] == "ticket"]
    rows = []
    for row in tickets.itertuples():
        width = np.log2(GAINS[row.init])
        memory = 0.5 + (0.1 * width if row.variant == "adam" else 0.0) + 0.001 * row.seed
        travel = 2.0 ** -(width if row.variant == "adam" else 0) + 0.001 * row.seed
        for quantity, value in (("init_memory", memory), ("relative_travel", travel)):
            for number, layer in enumerate((*LAYERS, "all")):
                rows.append(
                    {name: getattr(row, name) for name in ("study", "cell", "variant", "init")}
                    | {"seed": row.seed, "branch": "ticket", "draw": 0, "level": row.level}
                    | {"weights_remaining": row.weights_remaining, "layer": layer}
                    | {
                        "quantity": quantity,
                        "value": -value if layer == "all" else value * (1 + 0.1 * (number - 1)),
                    }
                )
    return pd.DataFrame(rows)


def line(ax, label):
    (found,) = [line for line in ax.get_lines() if line.get_label() == label]
    return found


def test_a_line_per_shape_goes_through_the_means_at_their_widths():
    frame = table()
    figure = f.robustness_by_width(frame, VARIANTS, widths(frame))
    adam, sgd = figure.axes[:2]
    assert (adam.get_title(loc="left"), sgd.get_title(loc="left")) == ("adam", "sgd")
    normal = line(adam, "normal")
    np.testing.assert_allclose(normal.get_xdata(), [0.25, 0.5, 1, 2, 4], rtol=0.1)
    np.testing.assert_allclose(normal.get_ydata(), [-1.2, -1.6, -2.0, -2.4, -2.8], atol=1e-9)
    np.testing.assert_allclose(line(sgd, "normal").get_ydata(), [-2.0] * 5, atol=1e-9)
    rest = line(adam, REST)  # at 1 it is the scheme itself
    assert list(rest.get_xdata()) == pytest.approx([1, 2], rel=0.1)
    assert rest.get_ydata()[0] == pytest.approx(-2.0)
    assert list(line(adam, "Kaiming normal").get_xdata()) == pytest.approx([1.128], rel=0.1)
    low = figure.axes[2]
    assert low.get_ylabel() == "Accuracy at 4.4 % of weights (%)"
    np.testing.assert_allclose(
        line(low, "uniform").get_ydata(), 98 - np.array([1.6, 2.0, 2.4]), atol=1e-9
    )


def test_a_cell_of_the_map_is_the_paired_difference_and_stands_out_where_it_is_not_zero():
    frame = table()
    figure = f.scheme_by_method(frame, VARIANTS, "xavier_normal")
    texts = {text.get_position(): text for text in figure.axes[0].texts}
    inits = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert len(inits) == len(GAINS) - 1
    wide = inits.index("Xavier normal (gain=4.0)")
    assert texts[0, wide].get_text() == "−0.80\n± 0.00"
    assert texts[0, wide].get_fontweight() == "bold"
    assert texts[1, wide].get_text() == "0.00\n± 0.00"
    image = figure.axes[0].images[0]
    assert image.get_array()[wide, 0] == pytest.approx(-0.8)
    assert image.get_alpha()[wide, 0] == 1
    assert image.get_alpha()[wide, 1] < 0.5, "what is not distinguished from 0 stands out"


def test_the_map_says_what_its_colours_and_blanks_are():
    frame = table(inits=("xavier_normal", "kaiming_normal", "xavier_normal(gain=4.0)"))
    gone = (frame["variant"] == "sgd") & (frame["init"] == "kaiming_normal")
    figure = f.scheme_by_method(frame[~gone], VARIANTS, "xavier_normal")
    ax, bar = figure.axes
    texts = {text.get_position(): text.get_text() for text in ax.texts}
    assert texts[1, 0] == "not run"
    assert len(texts) == 4
    norm = ax.images[0].norm
    assert norm.vmin == -norm.vmax
    assert norm.vmax == pytest.approx(0.8)
    assert norm(0.2) - norm(0) == pytest.approx(norm(0.4) - norm(0.2)), "not in proportion"
    figure.draw_without_rendering()
    ticks = [tick.get_text() for tick in bar.get_yticklabels()]
    assert {"+0.5", "0", "−0.5"} <= set(ticks)
    heading = " ".join(figure.get_suptitle().split())
    assert "Area: test accuracy less that of the same network unpruned" in heading
    assert "uncorrected" in heading


def test_a_group_of_widths_has_the_colour_of_its_standard_scheme():
    frame = table()
    ax = f.robustness_by_width(frame, VARIANTS, widths(frame)).axes[0]
    standard = scheme_looks(["xavier_normal", "xavier_uniform", "kaiming_normal"])
    for group, init in (
        ("normal", "xavier_normal"),
        ("uniform", "xavier_uniform"),
        ("Kaiming normal", "kaiming_normal"),
    ):
        assert line(ax, group).get_color() == standard[init].color


def test_the_map_shows_how_sure_a_difference_is():
    frame = table(inits=("xavier_normal", "kaiming_normal"))
    other = (frame["init"] == "kaiming_normal") & (frame["level"] > 0)
    frame.loc[frame["level"] > 0, "test_accuracy"] = 0.96
    frame.loc[other, "test_accuracy"] += 0.001 * frame["seed"] - 0.001
    expected = mean_interval([-0.1, 0.0, 0.1])
    text = f.scheme_by_method(frame, VARIANTS, "xavier_normal").axes[0].texts[0]
    assert text.get_text().split("± ")[1] == f"{expected.high:.2f}"
    assert text.get_fontweight() == "normal"


def test_the_mechanism_is_found_with_adam_and_not_with_sgd():
    frame = table()
    every = mechanism(frame, recorded(frame))
    assert set(every["endpoint"]) == {"area", "accuracy"}
    found = every[every["endpoint"] == "area"].set_index(["variant", "quantity"])
    assert found.loc[("adam", "init_memory"), "between"] == pytest.approx(-1, abs=0.02)
    assert found.loc[("adam", "relative_travel"), "between"] == pytest.approx(1, abs=0.02)
    assert found.loc[("adam", "init_memory"), "holm_p"] < 0.05
    assert not found.loc[("sgd", "init_memory"), "holm_p"] < 0.05
    assert found.loc[(ALL, "init_memory"), "schemes"] == 2 * len(GAINS)
    assert set(found["n"]) == {3 * len(GAINS), 6 * len(GAINS)}


def test_what_trains_worse_unpruned_may_go_with_area_and_not_with_accuracy():
    """The area counts in its favour that it has less to lose; plain accuracy does not."""
    frame = table(variants=["adam"])
    start = frame[frame["level"] == 0].set_index(["init", "seed"])["test_accuracy"]
    keys = pd.MultiIndex.from_frame(frame[["init", "seed"]])
    fall = frame["test_accuracy"] - start.reindex(keys).to_numpy()
    frame["test_accuracy"] = np.where(frame["level"] == 0, 0.98 - 2 * fall.mean(), 0.98)
    worse = 0.01 * frame["init"].map({init: k for k, init in enumerate(GAINS)})
    frame["test_accuracy"] -= worse.where(frame["level"] == 0, 0.1 * worse)
    found = mechanism(frame, recorded(frame))
    signs = found.set_index(["quantity", "endpoint"])["between"].apply(np.sign)
    for quantity in ("init_memory", "relative_travel"):
        assert signs[quantity, "area"] == -signs[quantity, "accuracy"] != 0


def test_a_point_is_a_ticket_with_its_means_over_layers_and_levels():
    frame = table(variants=["adam"])
    points = cells(frame, recorded(frame))
    assert len(points) == 2 * 3 * len(GAINS)
    one = points[(points["init"] == "xavier_normal(gain=4.0)") & (points["seed"] == 2)]
    values = dict(zip(one["quantity"], one["value"], strict=True))
    assert values["init_memory"] == pytest.approx(0.702)
    assert set(one["area"].round(9)) == {round(-0.028 + 0.002, 9)}


def test_the_scatter_has_a_row_per_variant_and_says_how_strong():
    frame = table()
    figure = f.mechanism_scatter(frame, recorded(frame), VARIANTS, widths(frame))
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    assert len(titles) == 4
    assert titles[0].startswith("adam: ρ = −0.")
    assert titles[0].endswith(f"n = {3 * len(GAINS)}")
    drawn = sum(len(line.get_xdata()) for line in figure.axes[0].get_lines())
    assert drawn == 3 * len(GAINS)


def test_what_is_drawn_follows_from_what_is_there():
    frame = table()
    every = {"robustness_by_width", "scheme_by_method", "mechanism"}
    assert set(_of_schemes(frame, VARIANTS, recorded(frame))) == every
    assert set(_of_schemes(frame, VARIANTS, None)) == every - {"mechanism"}
    four = levels(last=2)
    assert not _of_schemes(four, ["base"], None)
    assert reference_scheme(four) == "xavier_normal"
    assert not _of_schemes(levels(inits=["lsuv", "orthogonal"], last=2), ["base"], None)
    assert not _of_schemes(levels(last=0), ["base"], None)


def test_a_legend_of_many_schemes_takes_no_room_from_the_panels(recwarn, tmp_path):
    inits = [*GAINS, *(f"xavier_normal(gain={gain})" for gain in range(5, 25))]
    inits.append(f"by_layer(first={inits[-1]}, output={inits[-2]}, rest={inits[-3]})")
    frame = levels(inits=inits, variants=VARIANTS, seeds=[0, 1], last=2)
    figure = f.accuracy_by_variant(frame, VARIANTS)
    save(figure, tmp_path / "many")
    assert not [str(warning.message) for warning in recwarn if "layout" in str(warning.message)]
    assert min(ax.get_position().height * figure.get_figheight() for ax in figure.axes) > 1
    few = f.accuracy_by_variant(table(inits=("xavier_normal", "kaiming_normal")), VARIANTS)
    assert few.get_figheight() == pytest.approx(3.3)
