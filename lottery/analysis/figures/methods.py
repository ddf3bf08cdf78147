"""Schemes by pruning methods: what a scheme gains over a standard one, method by method."""

import textwrap
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.colors import SymLogNorm
from matplotlib.figure import Figure

from lottery.analysis.choice import STANDARD
from lottery.analysis.endpoints import endpoints
from lottery.analysis.figures.style import (
    WIDTH,
    new_figure,
    scheme_name,
    seeds_text,
    styled,
    variant_name,
)
from lottery.analysis.paired import paired
from lottery.analysis.statistics import Interval, mean_interval

LINEAR = 0.1
"""Differences (percentage points) up to which the scale of colours is linear."""
PALE = 10.0
"""Difference at which colours end."""
DARK = 0.65
"""Share of the way to the last colour from which text is white."""
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
    """Heat map of `area_differences`, with the interval in each cell; bold where it excludes 0."""
    found = area_differences(levels, variants, reference)
    inits = sorted({init for init, _ in found})
    table = np.full((len(inits), len(variants)), np.nan)
    for (init, variant), interval in found.items():
        table[inits.index(init), variants.index(variant)] = 100 * interval.mean
    colours = SymLogNorm(LINEAR, vmin=-PALE, vmax=PALE, clip=True)
    figure, axes = new_figure(
        1,
        1,
        (WIDTH, 1.5 + 0.36 * len(inits)),
        f"{levels['study'].iloc[0]}: area less that of {scheme_name(reference)} (pp)",
        f"Mean ± half of the 95 % t-interval over {seeds_text([i.n for i in found.values()])}, "
        "paired by seed; bold where the interval excludes 0. Blue is more robust, red less",
    )
    ax = axes[0, 0]
    ax.imshow(table, cmap="RdBu", norm=colours, aspect="auto")
    for (init, variant), interval in found.items():
        shade = abs(2 * float(colours(100 * interval.mean)) - 1)
        ax.text(
            variants.index(variant),
            inits.index(init),
            _cell(interval),
            ha="center",
            va="center",
            fontsize=6,
            fontweight="bold" if interval.low > 0 or interval.high < 0 else "normal",
            color="white" if shade > DARK else "black",
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
    return figure


def _cell(interval: Interval) -> str:
    mean = f"{100 * interval.mean:+.2f}".replace("-", "−")
    half = "" if np.isnan(interval.low) else f"\n± {100 * (interval.high - interval.mean):.2f}"
    return mean + half
