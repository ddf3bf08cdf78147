"""Coefficients of the model that `lottery.analysis.influence` fits to a factorial study."""

import pandas as pd
from matplotlib.figure import Figure

from lottery.analysis.figures.style import BLUE, GREY, WIDTH, new_figure, signed, styled
from lottery.analysis.influence import FACTORS, TARGETS, TERMS, fit, runs


@styled
def influence(levels: pd.DataFrame, settings: pd.DataFrame) -> Figure:
    """What E, P, I and their products do to accuracy and reduction, with HC3 intervals.

    settings: E, P and I of each variant, as `lottery.analysis.influence.design` finds them.
    """
    table = runs(levels, settings)
    ranges = (f"{name} {settings[name].min():g} to {settings[name].max():g}" for name in FACTORS)
    unit = settings.attrs["unit"]
    figure, axes = new_figure(
        1,
        2,
        (WIDTH, 3.2),
        f"{levels['study'].iloc[0]}: influence of level length E, threshold P and interval I",
        f"Coded to [−1, 1]: {', '.join(ranges)} (E, I in {unit}). 95 % HC3 intervals, "
        f"n\u00a0=\u00a0{len(table)}\u00a0runs",
        sharey=True,
    )
    places = range(len(TERMS))
    for ax, (column, name) in zip(axes[0], TARGETS.items(), strict=True):
        found = fit(table, 100 * table[column].astype(float))
        mean, low, high = (
            part[list(TERMS)] for part in (found.coefficients, found.low, found.high)
        )
        ax.axvline(0, color=GREY, linewidth=1, zorder=1)
        ax.errorbar(mean, places, xerr=(mean - low, high - mean), fmt="o", color=BLUE, capsize=2)
        ax.set_title(
            f"{name.capitalize()}: adjusted R² = {found.adjusted_r2:.2f}, "
            f"constant {signed(found.coefficients['1'], '.2f')} %",
            loc="left",
        )
        ax.set_xlabel("Coefficient (percentage points)")
    axes[0, 0].set_yticks(places, TERMS)
    axes[0, 0].invert_yaxis()
    return figure
