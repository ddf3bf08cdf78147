"""Accuracy against training steps: every evaluation, and the last one before each prune."""

import pandas as pd
from matplotlib.figure import Figure

from lottery.analysis.figures.axes import (
    band_line,
    error_axis,
    interval_line,
    mark_beyond,
    steps_axis,
    strip,
)
from lottery.analysis.figures.legend import add_legend
from lottery.analysis.figures.style import (
    ERROR_SCALE,
    WIDTH,
    apart_text,
    branch_look,
    interval_text,
    new_figure,
    pooled,
    scheme_looks,
    scheme_name,
    styled,
)
from lottery.analysis.sizes import WEIGHTS
from lottery.analysis.statistics import summary

_EVALUATION = ("branch", "init", "level", "total_step")


@styled
def accuracy_over_steps(curves: pd.DataFrame, left: str = WEIGHTS) -> Figure:
    """Test accuracy at every evaluation: a saw-tooth per level, one panel per scheme.

    left: what the column weights_remaining is called, by `lottery.analysis.sizes.left`.
    """
    curves = curves[curves["branch"].isin(["ticket", "dense"])]
    table = summary(curves, by=_EVALUATION)
    looks = scheme_looks(table["init"])
    pruned = "ticket" in set(table["branch"])
    figure, axes = new_figure(
        len(looks),
        1,
        (WIDTH, 1.4 + max(1.15 * len(looks), 2)),
        f"{curves['study'].iloc[0]}: test accuracy during training",
        interval_text(table["n"]) + ("; vertical lines: prune and rewind" if pruned else ""),
        sharex=True,
        sharey=True,
    )
    panels = list(axes[:, 0])
    for ax, (init, look) in zip(panels, looks.items(), strict=True):
        own = table[table["init"] == init]
        for branch, rows in own.groupby("branch"):
            named = ("_ticket", look._replace(linestyle="-"))
            label, line = named if branch == "ticket" else branch_look("dense")
            band_line(ax, rows["total_step"], rows, line, label)
        strip(ax, scheme_name(init))
    error_axis(panels[0], table)
    ends = _ends(table)
    steps_axis(panels, ends, left)
    for ax in panels:
        for step in ends["total_step"][:-1] if pruned else []:
            ax.axvline(step, color="0.85", linewidth=0.5, zorder=0)
    figure.supylabel(ERROR_SCALE, fontsize=8)
    add_legend(figure, panels)
    return figure


@styled
def accuracy_before_prunes(curves: pd.DataFrame, left: str = WEIGHTS) -> Figure:
    """Test accuracy at the last evaluation of each level, just before the next prune.

    left: what the column weights_remaining is called, by `lottery.analysis.sizes.left`.
    """
    curves = curves[curves["branch"].isin(["ticket", "dense"])]
    last = curves[curves.groupby("level")["step"].transform("max") == curves["step"]]
    table = summary(last, by=_EVALUATION)
    dense = summary(last[last["branch"] == "dense"], by=("total_step",))
    tickets = table[table["branch"] == "ticket"]
    looks = scheme_looks(tickets["init"])
    figure, axes = new_figure(
        1,
        1,
        (WIDTH, 3.6),
        f"{curves['study'].iloc[0]}: test accuracy at the end of each level, before the prune",
        interval_text([*tickets["n"], *dense["n"]]) + apart_text(len(looks) > 1),
    )
    ax, ends = axes[0, 0], _ends(table)
    level_steps = ends["total_step"].diff().min() if len(ends) > 1 else 0
    spread = min(0.4 * level_steps, 0.02 * ends["total_step"].max())
    for k, (init, look) in enumerate(looks.items()):
        rows = tickets[tickets["init"] == init]
        aside = spread * ((k + 0.5) / len(looks) - 0.5)
        interval_line(ax, rows["total_step"] + aside, rows, look, scheme_name(init))
    if len(dense):
        label, look = branch_look("dense")
        many = table.loc[table["branch"] == "dense", "init"].nunique() > 1
        band_line(ax, dense["total_step"], dense, look, pooled(label, many))
    error_axis(ax, table)
    steps_axis([ax], ends, left)
    ax.set_ylabel(ERROR_SCALE)
    mark_beyond(ax)
    add_legend(figure, [ax])
    return figure


def _ends(table: pd.DataFrame) -> pd.DataFrame:
    """Last step of each level and the weights remaining in it, the ticket's where there is one."""
    tickets = table[table["branch"] == "ticket"]
    by_level = (tickets if len(tickets) else table).groupby("level", as_index=False)
    return by_level.agg({"total_step": "max", "weights_remaining": "mean"})
