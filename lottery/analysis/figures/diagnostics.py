"""What diagnostics recorded at each level, scheme by scheme."""

from typing import NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from lottery.analysis.figures.axes import (
    apart,
    interval_line,
    percent_label,
    percent_of,
    weights_axis,
)
from lottery.analysis.figures.families import families
from lottery.analysis.figures.legend import add_legend
from lottery.analysis.figures.style import (
    GREY,
    WIDTH,
    interval_text,
    line_looks,
    new_figure,
    scheme_looks,
    scheme_name,
    seeds_text,
    styled,
)
from lottery.analysis.sizes import WEIGHTS
from lottery.analysis.statistics import summary


class Panel(NamedTuple):
    """How one quantity is drawn."""

    quantity: str
    title: str
    scale: float = 1.0
    """100 draws a fraction in per cent, or in percentage points."""
    log: bool = False


PANELS = (
    Panel("gradient_norm", "Gradient norm at start", log=True),
    Panel("gradient_flow", "Gradient flow at start", log=True),
    Panel("activation_variance", "Pre-activation variance at start", log=True),
    Panel("start_dead_units", "Dead units before training (%)", 100),
    Panel("dead_units", "Dead units after training (%)", 100),
    Panel("effective_share", "Kept weights on a path (%)", 100),
    Panel("sign_flips", "Sign flips of kept weights (%)", 100),
    Panel("relative_travel", "Relative travel of weights"),
    Panel("init_memory", "Rank correlation |initial|, |trained|"),
    Panel("overlap_magnitude_at_init", "Overlap, largest initial weights (%)", 100),
    Panel("overlap_over_chance", "Overlap with other seeds / chance"),
    Panel("error_barrier_test", "Error barrier, test (pp)", 100),
)
TITLES = {panel.quantity: panel.title for panel in PANELS} | {
    "error_barrier_train": "Error barrier, training (pp)",
    "loss_barrier_train": "Loss barrier, training",
    "loss_barrier_test": "Loss barrier, test",
}
"""What quantities are called, drawn or not."""
PAIRED = "overlap_over_chance"
"""Of pairs of seeds, so that the values of seeds are not independent."""
COLUMNS = 3
DECADES = 300
"""Ratio of the values on a logarithmic axis that has room for ticks at 1, 2 and 5."""


def panels_of(diagnostics: pd.DataFrame) -> list[Panel]:
    """Panels for which there is anything to draw: a procedure may record other quantities alone."""
    quantities = set(whole_network(diagnostics)["quantity"])
    return [panel for panel in PANELS if panel.quantity in quantities]


@styled
def diagnostics_by_weights(diagnostics: pd.DataFrame, left: str = WEIGHTS) -> Figure:
    """Each quantity of the whole network against weights remaining, one panel per quantity.

    diagnostics: of one study and variant. Of tickets, but for the barrier between a ticket and its
    retraining on other batches. An activation variance is the mean over layers. Many schemes are
    told apart by their families alone, and have no intervals. left: what the column
    weights_remaining is called, by `lottery.analysis.sizes.left`.
    """
    table, panels = whole_network(diagnostics), panels_of(diagnostics)
    rows = -(-len(panels) // COLUMNS)
    summaries = {
        panel.quantity: summary(
            table[table["quantity"] == panel.quantity], "value", by=("init", "level")
        )
        for panel in panels
    }
    shown = pd.concat(summaries.values())
    groups = families(table["init"])
    inits = {init: name for name, members in groups.items() for init in members}
    if len(groups) > 1:
        by_name = line_looks(groups)
        looks = {init: (by_name[name]._replace(marker=""), name) for init, name in inits.items()}
        note = f"Means of each scheme over {seeds_text(shown['n'][shown['n'] > 0])}, by family"
    else:
        looks = {init: (look, scheme_name(init)) for init, look in scheme_looks(inits).items()}
        note = interval_text(shown["n"][shown["n"] > 0]) + _legend_note(panels)
    figure, axes = new_figure(
        rows,
        COLUMNS,
        (WIDTH, 1.1 + 1.65 * rows),
        f"{diagnostics['study'].iloc[0]}: diagnostics of tickets against {left}",
        note,
    )
    remaining = table["weights_remaining"]
    for number, (ax, panel) in enumerate(zip(axes.flat, panels, strict=False)):
        points = summaries[panel.quantity]
        for k, (init, (look, label)) in enumerate(looks.items()):
            own = points[(points["init"] == init) & points["mean"].notna()]
            if panel.quantity == PAIRED or len(groups) > 1:
                own = own.assign(low=float("nan"), high=float("nan"))  # no interval
            if len(own):
                x = 100 * own["weights_remaining"]
                x = x if len(groups) > 1 else apart(x, k, len(looks))
                interval_line(ax, x, own, look, label, panel.scale)
        if panel.quantity == "overlap_magnitude_at_init":
            _chance_line(ax, table)
        elif panel.quantity == PAIRED:
            ax.axhline(1, color=GREY, linestyle="--", linewidth=1, zorder=1)
        _value_axis(ax, points, panel)
        weights_axis(ax, remaining, left)
        ax.set_title(panel.title, loc="left", fontsize=7)
        ax.tick_params(labelsize=6)
        below = number + COLUMNS < len(panels)
        ax.set_xlabel("" if below else percent_of(left), fontsize=7)
    for ax in axes.flat[len(panels) :]:
        ax.remove()
    add_legend(figure, axes.flat[: len(panels)])
    return figure


def whole_network(diagnostics: pd.DataFrame) -> pd.DataFrame:
    """One row per cell, level and quantity: the whole network's, or the mean over layers.

    Of tickets, and barriers of their retraining. Two are added: effective_share, effective density
    over weights remaining, and overlap_over_chance, the overlap with other seeds over
    overlap_chance. In the order of PANELS, any others after.
    """
    barrier = diagnostics["quantity"].str.contains("_barrier_")
    wanted = diagnostics["branch"].eq("ticket") | (diagnostics["branch"].eq("retrain") & barrier)
    rows = diagnostics[wanted]
    whole = rows[rows["layer"] == "all"]
    key = [column for column in rows if column not in ("layer", "value")]
    by_layer = rows[~rows["quantity"].isin(set(whole["quantity"]))]
    means = by_layer.groupby(key, as_index=False)["value"].mean()
    by_name = dict(list(whole.groupby("quantity")))
    none = whole.iloc[:0]
    share = by_name.get("effective_density", none).assign(quantity="effective_share")
    share["value"] /= share["weights_remaining"]
    cell = ["cell", "level"]
    chance = by_name.get("overlap_chance", none).set_index(cell)["value"].rename("chance")
    overlap = by_name.get("overlap_other_seeds", none).join(chance, on=cell)
    overlap = overlap.assign(
        quantity="overlap_over_chance", value=overlap["value"] / overlap["chance"]
    )
    parts = [part[[*key, "value"]] for part in (whole, means, share, overlap) if len(part)]
    table = pd.concat(parts, ignore_index=True)
    order = {panel.quantity: number for number, panel in enumerate(PANELS)}
    return table.sort_values(
        "quantity", key=lambda names: names.map(order).fillna(len(order)), kind="stable"
    )


def _chance_line(ax: Axes, table: pd.DataFrame) -> None:
    """What random masks would overlap by."""
    chance = table[table["quantity"] == "overlap_chance"]
    mean = chance.groupby("level")[["weights_remaining", "value"]].mean()
    x, y = 100 * mean["weights_remaining"], 100 * mean["value"]
    ax.plot(x, y, color=GREY, linestyle="--", linewidth=1, label="random masks")


def _value_axis(ax: Axes, points: pd.DataFrame, panel: Panel) -> None:
    """Logarithmic where asked for and possible."""
    if panel.log and (points["mean"] > 0).all():
        ax.set_yscale("log")
        few = points["mean"].max() < DECADES * points["mean"].min()
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if few else (1,), numticks=8))
        ax.yaxis.set_major_formatter(_short)
        ax.yaxis.set_minor_locator(NullLocator())
    else:
        ax.yaxis.set_major_locator(MaxNLocator(4))


def _short(value: float, position: float) -> str:
    return percent_label(value)


def _legend_note(panels: list[Panel]) -> str:
    names = {panel.quantity for panel in panels}
    note = (
        "; none for overlaps with other seeds, as two seeds share each" if PAIRED in names else ""
    )
    if "error_barrier_test" in names:
        note += "; barrier between a ticket and its retraining"
    return note
