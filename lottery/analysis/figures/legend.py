"""One legend for all panels of a figure."""

import textwrap
from collections.abc import Iterable

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from lottery.analysis.figures.style import GREY

LONGEST, ROOM, LINE = 60, 5, 0.16
"""Letters in a line of a legend; lines that figures have room for; inches of a line more."""
ROWS, ROW = 9, 40
"""Lines of a legend, and letters in one, for which a panel's place is large enough."""
BAND, BEYOND = "band: 95 % t-interval", "interval goes on beyond the axis"
"""What marks of any colour are called; in a legend they are grey."""
UP, DOWN = "$\\uparrow$", "$\\downarrow$"
"""The marks of intervals that go on."""


def add_legend(figure: Figure, axes: Iterable[Axes], place: Axes | None = None) -> None:
    """One legend below all axes, each label once, in as many columns as fit the width.

    Where it has more lines than a figure of few schemes leaves room for, the figure grows. place:
    empty axes that take the legend if it is short enough; otherwise they are removed.
    """
    handles = _handles(axes)
    if place is not None:
        if 0 < len(handles) <= ROWS and _longest_line("\n".join(handles)) <= ROW:
            place.set_axis_off()
            place.legend(list(handles.values()), list(handles), loc="center")
            return
        place.remove()
    if handles:
        labels = [
            label if _longest_line(label) <= LONGEST else textwrap.fill(label, LONGEST)
            for label in handles
        ]
        columns = _columns_that_fit([_longest_line(label) for label in labels], figure)
        figure.legend(list(handles.values()), labels, loc="outside lower center", ncols=columns)
        parts = np.array_split([label.count("\n") + 1 for label in labels], columns)
        lines = max(int(part.sum()) for part in parts)
        figure.set_figheight(figure.get_figheight() + LINE * max(0, lines - ROOM))


def _handles(axes: Iterable[Axes]) -> dict[str, Artist]:
    """What stands in the legend by its label, marks of any colour last."""
    handles: dict[str, Artist] = {}
    for ax in axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    common: dict[str, Artist] = {
        BAND: Patch(facecolor=GREY, alpha=0.25, linewidth=0),
        BEYOND: Line2D([], [], color=GREY, marker=UP, markersize=7, linestyle="none"),
    }
    last = {label: mark for label, mark in common.items() if handles.pop(label, None) is not None}
    return handles | last


def _longest_line(label: str) -> int:
    return max(len(line) for line in label.splitlines())


def _columns_that_fit(lengths: list[int], figure: Figure) -> int:
    """Legend columns, each as wide as its longest label, at about 16 letters an inch."""
    for columns in range(len(lengths), 1, -1):
        parts = np.array_split(lengths, columns)
        if sum(max(part) + 9 for part in parts) <= 16 * figure.get_figwidth():
            return columns
    return 1
