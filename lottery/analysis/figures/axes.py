"""Axes and marks that several figures share. Fractions in the tables become per cent here."""

import textwrap
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.container import ErrorbarContainer
from matplotlib.ticker import FixedFormatter, FixedLocator, LogLocator, MaxNLocator, NullLocator
from numpy.typing import ArrayLike

from lottery.analysis.figures.legend import BAND, BEYOND, DOWN, UP
from lottery.analysis.figures.style import GREY, Look
from lottery.analysis.sizes import WEIGHTS

_ACCURACIES = (
    (0, 50, 80, 90, 95, 98, 99, 99.5, 99.8, 99.9),
    (0, 30, 50, 70, 80, 90, 93, 95, 96, 97, 97.5, 98, 98.5, 99, 99.3, 99.5),
)
"""Round accuracies (%) about evenly spread on an error scale: the coarser list if it will do."""
CEILING = 99.99
"""Highest accuracy (%) an error scale shows: no error at all has no logarithm."""


def percent_label(value: float) -> str:
    """Three digits are enough: 6.95, 41.1, 100."""
    return f"{value:.3g}"


def percent_of(left: str) -> str:
    """The label of an axis.

    >>> percent_of("weights remaining")
    'Weights remaining (%)'
    """
    return f"{left.capitalize()} (%)"


def interval_line(
    ax: Axes, x: ArrayLike, rows: pd.DataFrame, look: Look, label: str, scale: float = 100
) -> None:
    """A line with markers through the means, and a bar for each interval there is."""
    mean = scale * rows["mean"].to_numpy()
    ax.plot(x, mean, color=look.color, marker=look.marker, linestyle=look.linestyle, label=label)
    half = scale * (rows["high"] - rows["mean"]).to_numpy()
    several = rows["low"].notna().to_numpy()
    ax.errorbar(
        np.asarray(x)[several],
        mean[several],
        half[several],
        fmt="none",
        ecolor=look.color,
        elinewidth=0.7,
        capsize=1.3,
        alpha=0.8,
    )


def cross_out(ax: Axes, x: ArrayLike, rows: pd.DataFrame, collapses: pd.DataFrame | None) -> None:
    """Crosses on the means of levels at which a ticket lost a layer, or all its paths.

    rows: of one scheme's tickets, as drawn at `x`. collapses: those of the same variant, as
    `lottery.analysis.layer_collapses` finds them.
    """
    if collapses is None:
        return
    own = collapses[(collapses["branch"] == "ticket") & collapses["init"].isin(rows["init"])]
    lost = rows["level"].isin(own["level"]).to_numpy()
    if lost.any():
        ax.plot(
            np.asarray(x)[lost],
            100 * rows["mean"].to_numpy()[lost],
            linestyle="none",
            marker="x",
            markersize=8,
            markeredgewidth=1.3,
            color="black",
            zorder=5,
            label="layer collapse in at least one seed",
        )


def band_line(ax: Axes, x: ArrayLike, rows: pd.DataFrame, look: Look, label: str) -> None:
    """A line through the means of many evaluations, and a band for their intervals."""
    ax.plot(x, 100 * rows["mean"], color=look.color, linestyle=look.linestyle, label=label)
    low, high = 100 * rows["low"], 100 * rows["high"]
    name = BAND if low.notna().any() else None
    ax.fill_between(x, low, high, color=look.color, alpha=0.25, linewidth=0, label=name)


def baseline(ax: Axes, row: pd.Series, label: str, scale: float = 100) -> None:
    """A horizontal line at a mean with a band for its interval."""
    ax.axhline(scale * row["mean"], color=GREY, linestyle="--", linewidth=1, label=label, zorder=1)
    if not np.isnan(row["low"]):
        low, high = scale * row["low"], scale * row["high"]
        ax.axhspan(low, high, color=GREY, alpha=0.18, linewidth=0, label=BAND)


def mark_beyond(ax: Axes) -> None:
    """An arrow on the edge wherever an interval is cut by it. For when the axes are as they stay.

    Intervals that lie outside altogether have none.
    """
    bottom, top = ax.get_ylim()
    for bars in ax.containers:
        if not isinstance(bars, ErrorbarContainer):
            continue
        for lines in bars.lines[2]:
            assert isinstance(lines, LineCollection)
            ends = [(bar[0, 0], *sorted(bar[:, 1])) for bar in lines.get_segments()]
            for edge, marker in ((bottom, DOWN), (top, UP)):
                cut = [x for x, low, high in ends if low < edge < high]
                if cut:
                    ax.plot(
                        cut,
                        [edge] * len(cut),
                        linestyle="none",
                        marker=marker,
                        markersize=7,
                        color=lines.get_colors()[0],
                        clip_on=False,
                        zorder=6,
                        label=BEYOND,
                    )
    ax.set_ylim(bottom, top)


def apart(x: ArrayLike, k: int, of: int) -> np.ndarray:
    """Line k of `of` on a log axis, moved a little sideways so that bars do not hide each other."""
    return np.asarray(x, dtype=float) * np.exp(min(0.02, 0.1 / of) * (k - (of - 1) / 2))


def weights_axis(ax: Axes, remaining: pd.Series, left: str = WEIGHTS) -> None:
    """Weights remaining on a logarithmic axis from 100 % down, in 1-2-5 steps to the lowest.

    left: what they are called, by `lottery.analysis.sizes.left`.
    """
    lowest = 100 * float(remaining.min())
    nice = [digit * 10.0**power for power in range(-4, 3) for digit in (1, 2, 5)]
    ticks = [tick for tick in nice if lowest * 1.4 <= tick <= 100]
    ticks.append(lowest)
    ax.set_xscale("log")
    ax.set_xlim(118, lowest / 1.18)
    ax.xaxis.set_major_locator(FixedLocator(ticks))
    ax.xaxis.set_major_formatter(FixedFormatter([percent_label(tick) for tick in ticks]))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlabel(percent_of(left))


def accuracy_axis(ax: Axes, table: pd.DataFrame) -> None:
    """Accuracy in per cent on a linear axis that shows all means of `table`."""
    ax.set_ylim(*_extent(100 * table["mean"], 100 * table["low"], 100 * table["high"]))
    ax.set_ylabel("Test accuracy (%)")


def error_axis(ax: Axes, table: pd.DataFrame) -> None:
    """Accuracy in per cent, spaced by the logarithm of the error, showing all means of `table`.

    97 and 98.5 % are as far apart as 70 and 85 %: the start of a level, a collapse and a difference
    of a tenth of a per cent between schemes can all be read off one axis.
    """

    def spaced(accuracy: ArrayLike) -> np.ndarray:
        return -np.log10(100 - np.minimum(accuracy, CEILING))

    def accuracy(space: ArrayLike) -> np.ndarray:
        return 100 - 10.0 ** -np.asarray(space, dtype=float)

    low, high = accuracy(_extent(*(spaced(100 * table[name]) for name in ("mean", "low", "high"))))
    ax.set_yscale("function", functions=(spaced, accuracy))
    ax.set_ylim(low, high)
    for choice in (*_ACCURACIES, MaxNLocator(6).tick_values(low, high)):
        ticks = [tick for tick in choice if low <= tick <= high]
        if len(ticks) >= 4:
            break
    labels = [f"{tick:.5g}" for tick in ticks]
    ax.yaxis.set_major_locator(FixedLocator(ticks))
    ax.yaxis.set_major_formatter(FixedFormatter(labels))
    ax.yaxis.set_minor_locator(NullLocator())


def _extent(mean: ArrayLike, low: ArrayLike, high: ArrayLike) -> tuple[float, float]:
    """Limits around all means and all but the few widest intervals, which may leave the axes."""
    bottom, top = float(np.nanmin(mean)), float(np.nanmax(mean))
    half = np.nan_to_num(np.asarray(high) - np.asarray(mean))
    room = max(4 * float(np.median(half)), 0.05 * (top - bottom), 0.002)
    lowest = max(np.nanmin([bottom, *np.asarray(low)]), bottom - room)
    highest = min(np.nanmax([top, *np.asarray(high)]), top + room)
    margin = 0.05 * (highest - lowest) + 0.002
    return lowest - margin, highest + margin


def steps_axis(panels: Sequence[Axes], levels: pd.DataFrame, left: str = WEIGHTS) -> None:
    """Training steps under the last panel; over the first, weights remaining where a level ends.

    levels: one row per level with total_step (its last step) and weights_remaining, called `left`.
    """
    for ax in panels:
        ax.grid(visible=False, axis="x")
        ax.set_xlim(0, 1.03 * levels["total_step"].max())
    panels[-1].xaxis.set_major_locator(MaxNLocator(6, integer=True))
    panels[-1].xaxis.set_major_formatter("{x:,.0f}")
    panels[-1].set_xlabel("Training steps, all levels together")
    shown = levels.iloc[:: -(-len(levels) // 10)]
    top = panels[0].secondary_xaxis("top")
    top.set_xticks(
        shown["total_step"].to_list(),
        [percent_label(100 * value) for value in shown["weights_remaining"]],
    )
    top.set_xlabel(f"{percent_of(left)} in the level that ends here")


def strip(ax: Axes, text: str) -> None:
    """A panel's name on its right side, where no axis is in the way."""
    ax.annotate(
        textwrap.fill(text, 20),
        (1, 0.5),
        (4, 0),
        xycoords="axes fraction",
        textcoords="offset points",
        rotation=270,
        va="center",
    )


def columns_of(panels: int) -> int:
    """Of small panels: at most three in a row, and four two by two."""
    return 2 if panels == 4 else min(3, panels)


def filled(panels: list[Axes], count: int, columns: int) -> list[Axes]:
    """The first panels, the lowest of each column with its labels; the others are taken away."""
    for ax in panels[count:]:
        ax.remove()
    for number, ax in enumerate(panels[:count]):
        ax.tick_params(labelbottom=number + columns >= count)
    return panels[:count]


def log_axis(ax: Axes) -> None:
    """A logarithmic axis upwards, with labels in 1-2-5 steps."""
    ax.set_yscale("log")
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.yaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_minor_locator(NullLocator())
