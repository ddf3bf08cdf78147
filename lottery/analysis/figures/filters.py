"""Studies of whole filters: accuracy against what is removed, and reduction in training."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lottery.analysis.figures.axes import (
    band_line,
    baseline,
    columns_of,
    error_axis,
    filled,
    interval_line,
    log_axis,
    mark_beyond,
)
from lottery.analysis.figures.legend import add_legend
from lottery.analysis.figures.style import (
    BLUE,
    ERROR_SCALE,
    VERMILION,
    WIDTH,
    Look,
    branch_look,
    interval_text,
    line_looks,
    new_figure,
    seeds_text,
    styled,
    variant_name,
)
from lottery.analysis.sizes import sizes
from lottery.analysis.statistics import FEWEST, summary
from lottery.analysis.walks import beyond, together

WAYS = ("hard", "oneshot", "soft", "softhard", "global", "rewind")
"""Last words of variants' names that get a panel of their own: `l2_hard`, `l2_soft`."""
_WORDS = {"parameters_removed": "parameters", "macs_removed": "MACs"}


def ways(variants: Sequence[str]) -> dict[str, dict[str, str]]:
    """Variants by the way of pruning that their names end with: by way, name without it -> variant.

    >>> ways(["l2_hard", "l1_hard", "l2_soft"])
    {'hard': {'l2': 'l2_hard', 'l1': 'l1_hard'}, 'soft': {'l2': 'l2_soft'}}
    >>> ways(["basic"])
    {'': {'basic': 'basic'}}
    """
    found: dict[str, dict[str, str]] = {}
    for variant in variants:
        name, _, way = variant.rpartition("_")
        if not name or way not in WAYS:
            name, way = variant, ""
        found.setdefault(way, {})[name] = variant
    return found


def accuracy_by_parameters(
    levels: pd.DataFrame,
    variants: Sequence[str],
    before: pd.DataFrame | None = None,
    beside: pd.DataFrame | None = None,
) -> Figure:
    """Test accuracy at each level's end against parameters removed, in %, a line per variant.

    before: the same levels before they were trained, drawn with open markers. beside: what the
    unpruned network has after as much training, by `lottery.analysis.detectors.as_trained_on`.
    """
    return _accuracy_by(levels, variants, "parameters_removed", before, beside)


def accuracy_by_macs(
    levels: pd.DataFrame,
    variants: Sequence[str],
    before: pd.DataFrame | None = None,
    beside: pd.DataFrame | None = None,
) -> Figure:
    """The same against multiply-accumulates removed."""
    return _accuracy_by(levels, variants, "macs_removed", before, beside)


@styled
def _accuracy_by(
    levels: pd.DataFrame,
    variants: Sequence[str],
    column: str,
    before: pd.DataFrame | None,
    beside: pd.DataFrame | None,
) -> Figure:
    """Panels side by side of variants whose names end alike, schemes of a seed averaged first.

    A mean ends where the first ticket of its variant does, and thin lines are tickets that go on;
    of fewer seeds than FEWEST all tickets, in place of intervals.
    """
    known = sizes(levels)
    keys = ("variant", "level")
    common, alone = together(known, known), beyond(known)
    start = known[known["level"] == 0].assign(variant="all")
    table, unpruned = summary(common, by=keys), summary(start, by=("level",))
    table["removed"] = 100 * summary(common, column, by=keys)["mean"]
    means = interval_text(table["n"])
    if 1 < table["n"].max() < FEWEST:
        alone, means = known[known["level"] > 0], f"Means over {seeds_text(table['n'])}"
        table, unpruned = (each.assign(low=np.nan, high=np.nan) for each in (table, unpruned))
    untrained = None
    if before is not None and len(before):
        untrained = summary(before, by=keys).merge(table[[*keys, "removed"]], on=list(keys))
    groups = ways(variants)
    looks = line_looks(name for group in groups.values() for name in group)
    columns = columns_of(len(groups))
    lines = -(-len(groups) // columns)
    figure, axes = new_figure(
        lines,
        columns,
        (WIDTH, 1 + 2.8 * lines),
        f"{levels['study'].iloc[0]}: test accuracy against {_WORDS[column]} removed",
        means
        + "; dashed: unpruned. What is removed is gone from the network"
        + ("" if untrained is None else ". Open: as pruned, before retraining (means)")
        + ("" if beside is None or beside.empty else "; dotted: unpruned, trained on as long")
        + ("" if alone.empty else ". Thin: single tickets; means end with the first of them"),
        sharex=True,
        sharey=True,
    )
    shown = [table, alone.rename(columns={"test_accuracy": "mean"})]
    panels = list(axes.flat)
    for ax, (way, group) in zip(panels, groups.items(), strict=False):
        if beside is not None and beside["variant"].isin(group.values()).any():
            shown.append(_trained_on(ax, beside[beside["variant"].isin(group.values())], column))
        for name, variant in group.items():
            points = table[table["variant"] == variant].sort_values("level")
            pruned = points[points["level"] > 0]
            if len(pruned):
                interval_line(ax, pruned["removed"], pruned, looks[name], variant_name(name))
            if untrained is not None and variant in set(untrained["variant"]):
                _open_line(ax, untrained[untrained["variant"] == variant], looks[name])
            for _, ticket in alone[alone["variant"] == variant].groupby("cell"):
                _thin_line(ax, 100 * ticket[column], 100 * ticket["test_accuracy"], looks[name])
        for _, row in unpruned.iterrows():
            baseline(ax, row, "unpruned (level 0)")
        ax.set_title(variant_name(way), loc="left")
    removed = pd.concat([table[table["level"] > 0]["removed"], 100 * alone[column]])
    low, high = float(removed.min()), float(removed.max())
    margin = 0.04 * (high - low) + 1
    axes[0, 0].set_xlim(low - margin, min(high + margin, 102))
    shown += [] if untrained is None else [untrained.drop(columns=["low", "high"])]
    error_axis(axes[0, 0], pd.concat([part for part in shown if len(part)]))
    for ax in axes[:, 0]:
        ax.set_ylabel(ERROR_SCALE)
    panels = filled(panels, len(groups), columns)
    word = _WORDS[column]
    for ax in panels[-columns:]:
        ax.set_xlabel(f"{word[0].upper()}{word[1:]} removed (%)")
    for ax in panels:
        mark_beyond(ax)
    add_legend(figure, panels)
    return figure


def _trained_on(ax: Axes, beside: pd.DataFrame, column: str) -> pd.DataFrame:
    """A dotted line through means of the unpruned network, trained on as long as the tickets."""
    beside = beside.assign(variant="all")  # who share the baseline
    rows = summary(beside, by=("level",))
    rows["removed"] = 100 * summary(beside, column, by=("level",))["mean"]
    rows = rows.sort_values("removed").assign(low=np.nan, high=np.nan)
    label, look = branch_look("dense")
    ax.plot(rows["removed"], 100 * rows["mean"], color=look.color, linestyle=":", label=label)
    return rows


def _thin_line(ax: Axes, x: pd.Series, y: pd.Series, look: Look) -> None:
    """One ticket, beside or beyond the mean of all."""
    ax.plot(x, y, color=look.color, marker=look.marker, markersize=1.5, linewidth=0.5, alpha=0.7)


def _open_line(ax: Axes, rows: pd.DataFrame, look: Look) -> None:
    """A faint line with open markers through means that are not the main thing."""
    ax.plot(
        rows["removed"],
        100 * rows["mean"],
        color=look.color,
        marker=look.marker,
        markerfacecolor="white",
        markersize=3,
        linestyle=":",
        linewidth=0.7,
        alpha=0.7,
    )


def shrinking(curves: pd.DataFrame) -> list[str]:
    """Variants whose tickets lose parameters before a level's last step, in the table's order."""
    tickets = curves[curves["branch"] == "ticket"]
    place = ["variant", "cell", "level"]
    tickets = tickets[tickets["step"] < tickets.groupby(place)["step"].transform("max")]
    within = (
        tickets.groupby(place, sort=False)["weights_remaining"]
        .nunique()
        .groupby("variant", sort=False)
        .max()
    )
    return [str(name) for name in within.index[within > 1]]


@styled
def reduction(curves: pd.DataFrame, variants: Sequence[str]) -> Figure:
    """Loss against training steps, and below it how much of the network is gone by then.

    Variants side by side; where a network is evaluated before and after an action, both are drawn,
    which makes the saw-tooth.
    """
    tickets = curves[(curves["branch"] == "ticket") & curves["variant"].isin(variants)]
    place = ["variant", "level", "total_step"]
    order = tickets.groupby(["cell", *place]).cumcount()
    tickets = tickets.assign(order=order, removed=1 - tickets["weights_remaining"])
    loss, removed = (
        summary(tickets, column, by=(*place, "order")) for column in ("val_loss", "removed")
    )
    columns = columns_of(len(variants))
    bands = -(-len(variants) // columns)
    figure, axes = new_figure(
        2 * bands,
        columns,
        (WIDTH, 1.2 + 2.7 * bands),
        f"{curves['study'].iloc[0]}: validation loss, and parameters removed in training",
        f"{interval_text(loss['n'])}; vertical lines: levels begin",
        sharex=True,
        sharey="row",
    )
    for number, variant in enumerate(variants):
        band, column = divmod(number, columns)
        above, below = axes[2 * band, column], axes[2 * band + 1, column]
        for ax, table, color in ((above, loss, VERMILION), (below, removed, BLUE)):
            rows = table[table["variant"] == variant]
            scaled = rows if ax is below else rows.assign(**rows[["mean", "low", "high"]] / 100)
            band_line(ax, rows["total_step"], scaled, Look(color, "None"), "")
            for step in rows.groupby("level")["total_step"].min().iloc[1:]:
                ax.axvline(step, color="0.8", linewidth=0.6, zorder=0)
        log_axis(above)
        above.set_title(variant_name(variant), loc="left")
        below.set_ylim(-3, 103)
        lowest = number + columns >= len(variants)
        below.tick_params(labelbottom=lowest)
        below.set_xlabel("Training steps" if lowest else "")
        below.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        below.xaxis.set_major_formatter("{x:,.0f}")
        if column == 0:
            above.set_ylabel("Validation loss")
            below.set_ylabel("Removed (%)")
    for ax in axes.flat:
        if not ax.has_data():
            ax.remove()
    return figure
