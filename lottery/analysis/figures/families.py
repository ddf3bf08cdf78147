"""Many schemes in panels: a panel per family, with the lines of all others grey behind it."""

import textwrap
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lottery.analysis.choice import STANDARD
from lottery.analysis.figures.axes import (
    apart,
    cross_out,
    interval_line,
    percent_of,
    weights_axis,
)
from lottery.analysis.figures.style import WIDTH, new_figure, scheme_looks, scheme_name

FEW = 8
"""Schemes whose lines can be told apart in one panel."""
OTHERS = "Others"
HALF = 30
"""Letters that fit half the width of a panel."""
LINE = 0.13
"""Height of a line of a panel's legend, in inches."""
LINES = 5
"""Lines of a panel's legend that the height of its row allows for."""
GREY_LINES = "; grey: means of the other panels' schemes"


def families(inits: Iterable[str]) -> dict[str, list[str]]:
    """Schemes by what they are but for their options; all in one nameless family if they are few.

    The standard schemes come first, and are in the families of their names too, where these have
    other members. Those alone in theirs are together at the end.

    >>> many = ["lsuv", "xavier_normal", *(f"xavier_normal(gain={n})" for n in range(2, 9))]
    >>> [(name, len(members)) for name, members in families(many).items()]
    [('Standard schemes', 1), ('Xavier normal', 8), ('Others', 1)]
    """
    inits = sorted(set(inits))
    if len(inits) <= FEW:
        return {"": inits}
    by_name: dict[str, list[str]] = {}
    for init in inits:
        by_name.setdefault(scheme_name(init.partition("(")[0]), []).append(init)
    standard = [init for init in inits if init in STANDARD]
    found = {"Standard schemes": standard} if standard else {}
    found |= {name: members for name, members in by_name.items() if len(members) > 1}
    alone = [members[0] for members in by_name.values() if len(members) == 1]
    others = [init for init in alone if init not in standard]
    return found | ({OTHERS: others} if others else {})


class Panel(NamedTuple):
    """Schemes that are drawn in one panel."""

    title: str
    table: pd.DataFrame
    """Means of all schemes: columns init, weights_remaining and those of `summary`."""
    family: Sequence[str]
    collapses: pd.DataFrame | None = None
    """Levels to cross out."""


def family_panels(
    panels: Sequence[Panel],
    title: str,
    note: str,
    left: str,
    scale: float = 100,
    heights: tuple[float, float] = (3.6, 2.3),
) -> tuple[Figure, list[Axes], Axes | None]:
    """A figure of panels that share their axes; these; and the empty place after them, if any.

    Panels of several families have legends of their own. left: what the column weights_remaining is
    called. heights: of a single panel with what surrounds it, and of a row of several, in inches;
    rows whose legends are long are higher.
    """
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    families_differ = len({tuple(panel.family) for panel in panels}) > 1
    alone, row = heights
    if families_differ:
        lines = max(_legend_lines(panel.family) for panel in panels)
        row += LINE * max(0, lines - LINES)
    figure, axes = new_figure(
        rows,
        columns,
        (WIDTH, alone if len(panels) == 1 else 1.4 + row * rows),
        title,
        note + (GREY_LINES if families_differ else ""),
        sharex=True,
        sharey=True,
    )
    whole = pd.concat([panel.table for panel in panels])
    drawn = list(axes.flat)
    for number, (ax, panel) in enumerate(zip(drawn, panels, strict=False)):
        scheme_lines(ax, panel.table, panel.family, scale, panel.collapses)
        weights_axis(ax, whole["weights_remaining"], left)
        lowest = number + columns >= len(panels)
        ax.tick_params(labelbottom=lowest)
        ax.set_xlabel(percent_of(left) if lowest else "")
        if families_differ:
            _own_legend(ax, panel.title)
        else:
            ax.set_title(panel.title, loc="left")
    return figure, drawn[: len(panels)], drawn[-1] if len(drawn) > len(panels) else None


def _own_legend(ax: Axes, title: str) -> None:
    """A legend above the panel; what is in it will not be in the figure's."""
    handles, names = ax.get_legend_handles_labels()
    labels = ["\n".join(_wrapped(name)) for name in names]
    ax.legend(
        handles,
        labels,
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=_legend_columns(names),
        fontsize=6,
        title=title,
        title_fontsize=8,
        alignment="left",
        borderaxespad=0.2,
    )
    for handle in handles:
        handle.set_label("")


def _legend_columns(names: Sequence[str]) -> int:
    return 2 if max(map(len, names), default=0) <= HALF else 1


def _wrapped(name: str) -> list[str]:
    return textwrap.wrap(name, 2 * HALF)


def _legend_lines(family: Sequence[str]) -> int:
    """Lines of a panel's legend, with its title."""
    names = [scheme_name(init) for init in family]
    lines = sum(len(_wrapped(name)) for name in names)
    return 1 + -(-lines // _legend_columns(names))


def scheme_lines(
    ax: Axes,
    table: pd.DataFrame,
    family: Sequence[str],
    scale: float = 100,
    collapses: pd.DataFrame | None = None,
) -> None:
    """Means of a family's schemes against weights remaining, with intervals.

    table: of all schemes, with columns init, weights_remaining and those of `summary`. The means of
    schemes that are not of the family are grey. collapses: levels to cross out.
    """
    looks = scheme_looks(family)
    for _, rows in table[~table["init"].isin(family)].groupby("init"):
        x, y = 100 * rows["weights_remaining"], scale * rows["mean"]
        ax.plot(x, y, color="0.85", marker="", linewidth=0.7, zorder=0.5)
    for k, (init, look) in enumerate(looks.items()):
        rows = table[table["init"] == init]
        if len(rows):
            x = apart(100 * rows["weights_remaining"], k, len(looks))
            interval_line(ax, x, rows, look, scheme_name(init), scale)
            cross_out(ax, x, rows, collapses)
