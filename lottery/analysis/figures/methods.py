"""Schemes by pruning methods: what a scheme gains over a standard one, method by method."""

import textwrap
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from lottery.analysis.choice import STANDARD
from lottery.analysis.endpoints import endpoints
from lottery.analysis.figures.style import (
    GREY,
    WIDTH,
    new_figure,
    scheme_name,
    seeds_text,
    signed,
    styled,
    variant_name,
)
from lottery.analysis.paired import paired
from lottery.analysis.statistics import Interval, mean_interval

LEAST, MOST = 0.1, 10.0
"""Difference (percentage points) at which colours end: the largest in the figure, within these."""
DARK = 0.65
"""Share of the way to the last colour from which text is white."""
PALE = 0.15
"""Opacity of the colour where a difference is not distinguished from 0."""
MANY = 6
"""More methods than this have their names written aslant."""


def reference_scheme(levels: pd.DataFrame) -> str | None:
    """The standard scheme that others are compared with: the first in the study, if any."""
    present = set(levels.loc[levels["branch"] == "ticket", "init"])
    return next((init for init in STANDARD if init in present), None)


def area_differences(
    levels: pd.DataFrame, variants: Sequence[str], reference: str
) -> dict[tuple[str, str], Interval]:
    """Area of (scheme, variant) less that of the reference scheme, paired by seed."""
    frame = endpoints(levels)
    frame = frame[frame["branch"] == "ticket"]
    found = {}
    for variant in variants:
        own = frame[frame["variant"] == variant].set_index("seed")
        base = own.loc[own["init"] == reference, "area"]
        for init in sorted(set(own["init"]) - {reference}):
            interval = mean_interval(paired(own.loc[own["init"] == init, "area"], base))
            if interval.n:
                found[init, variant] = interval
    return found


@styled
def scheme_by_method(levels: pd.DataFrame, variants: Sequence[str], reference: str) -> Figure:
    """Heat map of `area_differences`, with the interval in each cell; pale where it holds 0."""
    found = area_differences(levels, variants, reference)
    inits = sorted({init for init, _ in found})
    table = np.full((len(inits), len(variants)), np.nan)
    sure = np.zeros(table.shape, dtype=bool)
    for (init, variant), interval in found.items():
        place = inits.index(init), variants.index(variant)
        table[place] = 100 * interval.mean
        sure[place] = interval.low > 0 or interval.high < 0
    largest = float(np.nanmax(np.abs(table)))
    end = min(max(largest, LEAST), MOST)
    figure, axes = new_figure(
        1,
        1,
        (WIDTH, 1.8 + 0.36 * len(inits)),
        f"{levels['study'].iloc[0]}: area less that of {scheme_name(reference)} (pp)",
        "Area: test accuracy less that of the same network unpruned, mean over pruned levels. Mean "
        f"± half of the 95 % t-interval over {seeds_text([i.n for i in found.values()])}, paired "
        "by seed. Bold in full colour: the interval, uncorrected for multiple comparisons, "
        "excludes 0; pale: it does not",
    )
    ax = axes[0, 0]
    image = ax.imshow(
        table,
        cmap=colormaps["RdBu"].with_extremes(bad="0.95"),
        norm=Normalize(-end, end),
        alpha=np.where(sure | np.isnan(table), 1, PALE),
        aspect="auto",
    )
    for (row, column), value in np.ndenumerate(table):
        own = found.get((inits[row], variants[column]))
        color = "white" if sure[row, column] and abs(value) > DARK * end else "black"
        ax.text(
            column,
            row,
            "not run" if own is None else _cell(own),
            ha="center",
            va="center",
            fontsize=6,
            fontweight="bold" if sure[row, column] else "normal",
            color=GREY if own is None else color,
        )
    ax.grid(visible=False)
    many = len(variants) > MANY
    ax.set_xticks(
        range(len(variants)),
        [variant_name(variant) for variant in variants],
        rotation=40 if many else 0,
        ha="right" if many else "center",
    )
    names = [textwrap.fill(scheme_name(init), 36) for init in inits]
    ax.set_yticks(range(len(inits)), names, fontsize=6)
    bar = figure.colorbar(
        image,
        ax=ax,
        extend="both" if largest > end else "neither",
        pad=0.01,
        aspect=max(20, 4 * len(inits)),  # as thin beside many schemes as beside few
    )
    bar.locator = MaxNLocator(6, steps=[1, 2, 5, 10])
    bar.formatter = FuncFormatter(lambda value, _: signed(value, "+g"))
    bar.set_label("pp (blue: more robust)", fontsize=7)
    bar.ax.tick_params(labelsize=6)
    return figure


def _cell(interval: Interval) -> str:
    half = "" if np.isnan(interval.low) else f"\n± {100 * (interval.high - interval.mean):.2f}"
    return signed(100 * interval.mean) + half
