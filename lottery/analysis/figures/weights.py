"""Accuracy and speed against weights remaining: tickets, unpruned baseline and controls."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lottery.analysis.figures.axes import (
    accuracy_axis,
    apart,
    band_line,
    baseline,
    error_axis,
    interval_line,
    mark_beyond,
    percent_of,
    weights_axis,
)
from lottery.analysis.figures.families import Panel, families, family_panels, scheme_lines
from lottery.analysis.figures.legend import add_legend
from lottery.analysis.figures.style import (
    BLACK,
    ERROR_SCALE,
    WIDTH,
    apart_text,
    branch_look,
    interval_text,
    new_figure,
    pooled,
    scheme_name,
    styled,
)
from lottery.analysis.sizes import left
from lottery.analysis.statistics import summary

_UNPRUNED = "unpruned (level 0)"


@styled
def accuracy_by_weights(levels: pd.DataFrame, collapses: pd.DataFrame | None = None) -> Figure:
    """Test accuracy at the end of each level against weights remaining, with the unpruned baseline.

    A second panel enlarges the region around the baseline when a collapse hides it in the first.
    collapses: levels to cross out, as `lottery.analysis.layer_collapses` finds them.
    """
    table = summary(levels[levels["branch"] == "ticket"])
    dense = _dense_at_densities(levels)
    title = f"{levels['study'].iloc[0]}: test accuracy at a level's end against {left(levels)}"
    note = interval_text([*table["n"], *dense["n"]]) + apart_text(table["init"].nunique() > 1)
    groups, zoom = families(table["init"]), _zoom(table)
    if len(groups) > 1:
        panels = [Panel(name, table, family, collapses) for name, family in groups.items()]
        figure, drawn, empty = family_panels(panels, title, note, left(levels))
        error_axis(drawn[0], table)
        figure.supylabel(ERROR_SCALE, fontsize=8)
    else:
        size = (WIDTH, 3.8 if zoom is None else 3.5)
        figure, axes = new_figure(1, 1 if zoom is None else 2, size, title, note)
        drawn, empty = list(axes[0]), None
        for ax in drawn:
            scheme_lines(ax, table, groups[""], collapses=collapses)
            weights_axis(ax, table["weights_remaining"], left(levels))
            accuracy_axis(ax, table)
        if zoom is not None:
            drawn[0].set_title("Full range", loc="left")
            drawn[1].set_title("Around the unpruned baseline", loc="left")
            drawn[1].set_ylim(*zoom)
    for ax in drawn:
        _unpruned_lines(ax, levels, dense)
        mark_beyond(ax)
    add_legend(figure, drawn, empty)
    return figure


@styled
def controls_by_weights(levels: pd.DataFrame) -> Figure:
    """The ticket against its controls at the same weights remaining, one panel per scheme."""
    inits = sorted(set(levels.loc[~levels["branch"].isin(["ticket", "dense"]), "init"]))
    levels = levels[levels["init"].isin(inits)]
    table = summary(levels[levels["branch"] != "dense"])
    columns = min(2, len(inits))
    rows = -(-len(inits) // columns)
    figure, axes = new_figure(
        rows,
        columns,
        (WIDTH, 1.4 + 2.1 * rows),
        f"{levels['study'].iloc[0]}: tickets and controls at the same {left(levels)}",
        f"{interval_text(table['n'])}; draws of a seed are averaged first",
        sharex=True,
        sharey=True,
    )
    panels = list(axes.flat)
    for ax, init in zip(panels, inits, strict=False):
        branches = list(table[table["init"] == init].groupby("branch"))
        for k, (branch, points) in enumerate(branches):
            label, look = branch_look(str(branch))
            x = apart(100 * points["weights_remaining"], k, len(branches))
            interval_line(ax, x, points, look, label)
        own = levels[levels["init"] == init]
        _unpruned_lines(ax, own, _dense_at_densities(own))
        weights_axis(ax, table["weights_remaining"], left(levels))
        ax.set_title(scheme_name(init), loc="left")
    error_axis(panels[0], table)
    for k, ax in enumerate(panels):
        lowest = k + columns >= len(inits)
        ax.tick_params(labelbottom=lowest)
        ax.set_xlabel(percent_of(left(levels)) if lowest else "")
        if k >= len(inits):
            ax.remove()
        else:
            mark_beyond(ax)
    figure.supylabel(ERROR_SCALE, fontsize=8)
    add_legend(figure, panels[: len(inits)])
    return figure


@styled
def early_stop_by_weights(levels: pd.DataFrame, curves: pd.DataFrame) -> Figure:
    """The step of least validation loss in each level: how fast a ticket learns.

    curves: where levels end. A loss that is least there may have gone on falling, so that such a
    step is a lower bound; the figure says how many are.
    """
    levels = levels[(levels["branch"] == "ticket") & levels["early_stop_step"].notna()]
    place = ["cell", "level"]
    last = curves.groupby(place)["step"].max().rename("last_step")
    levels = levels.join(last, on=place)
    at_end = int((levels["early_stop_step"] >= levels["last_step"]).sum())
    ends = levels.groupby("level")[["weights_remaining", "last_step"]].mean()
    table = summary(levels, "early_stop_step")
    many = table["init"].nunique() > 1
    figure, panels, empty = family_panels(
        [Panel(name, table, family) for name, family in families(table["init"]).items()],
        f"{levels['study'].iloc[0]}: step of least validation loss within each level",
        interval_text(table["n"])
        + apart_text(many)
        + "; no stop later than a level's last step can be seen",
        left(levels),
        scale=1,
    )
    first = summary(levels[levels["level"] == 0], "early_stop_step", by=("level",))
    shown = pd.concat([table[["mean", "low", "high"]].stack(), ends["last_step"]])
    margin = 0.05 * float(shown.max() - shown.min()) + 1
    for ax in panels:
        ax.plot(
            100 * ends["weights_remaining"],
            ends["last_step"],
            color=BLACK,
            linestyle="-.",
            linewidth=0.9,
            zorder=1,
            label=f"last step of the level: {at_end} of {len(levels)} stops are there",
        )
        if len(first):
            baseline(ax, first.iloc[0], pooled(_UNPRUNED, many), scale=1)
        ax.set_ylim(max(shown.min() - margin, 0), shown.max() + margin)
        mark_beyond(ax)
    panels[0].yaxis.set_major_formatter("{x:,.0f}")
    figure.supylabel("Early-stop step (training steps)", fontsize=8)
    add_legend(figure, panels, empty)
    return figure


def _unpruned_lines(ax: Axes, levels: pd.DataFrame, dense: pd.DataFrame) -> None:
    """Level 0 as a horizontal line, and the network that is trained on without being pruned.

    Both are means over all schemes in `levels`: a seed's schemes are averaged first, n is seeds.
    """
    many = levels["init"].nunique() > 1
    start = levels[(levels["branch"] == "ticket") & (levels["level"] == 0)]
    for _, row in summary(start, by=("level",)).iterrows():
        baseline(ax, row, pooled(_UNPRUNED, many))
    if len(dense):
        label, look = branch_look("dense")
        band_line(ax, 100 * dense["weights_remaining"], dense, look, pooled(label, many))


def _dense_at_densities(levels: pd.DataFrame) -> pd.DataFrame:
    """The unpruned network after as many steps as each level's ticket, at that ticket's density."""
    dense = summary(levels[levels["branch"] == "dense"], by=("level",))
    pruned = levels[levels["branch"] != "dense"].groupby("level")["weights_remaining"].mean()
    dense["weights_remaining"] = dense["level"].map(pruned)
    return dense.dropna(subset="weights_remaining")


def _zoom(table: pd.DataFrame) -> tuple[float, float] | None:
    """Limits (%) around the baseline, if all points need a so much wider range that it is lost."""
    reference = 100 * float(table.loc[table["level"] == 0, "mean"].mean())
    top, bottom = 100 * float(table["mean"].max()), 100 * float(table["mean"].min())
    rise = max(top - reference, 0.2 * (100 - reference))
    low, high = reference - 1.2 * rise, top + 0.4 * rise
    return (low, high) if top - bottom > 2 * (high - low) else None
