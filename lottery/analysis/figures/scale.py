"""Robustness against the width of initial weights, and what it may work through."""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, LogLocator, MaxNLocator, NullLocator

from lottery.analysis.explain import Endpoint, robustness
from lottery.analysis.figures.axes import apart, interval_line, percent_label
from lottery.analysis.figures.legend import add_legend
from lottery.analysis.figures.style import (
    GREY,
    WIDTH,
    Look,
    interval_text,
    new_figure,
    scheme_looks,
    scheme_name,
    seeds_text,
    signed,
    styled,
    variant_name,
)
from lottery.analysis.mechanism import AREA, QUANTITIES, cells, mechanism
from lottery.analysis.statistics import mean_interval
from lottery.analysis.widths import FIRST, REST, Width

_TITLES = {
    "init_memory": "Init memory: rank correlation |initial|, |trained|",
    "relative_travel": "Relative travel of weights",
}
_MOST_SCHEMES = 6
"""More schemes than this are told apart by their group of widths, or name without options."""
_XAVIER = {"normal": "xavier_normal", "uniform": "xavier_uniform"}
"""Groups of widths that have the look of the standard scheme in them."""
_FAR = 4
"""Ratio of the largest to the smallest value from which an axis is logarithmic."""


@styled
def robustness_by_width(
    levels: pd.DataFrame, variants: Sequence[str], found: dict[str, Width]
) -> Figure:
    """Area and accuracy at a low density against σ over Xavier's: a line per shape.

    A column of panels per variant. found: as `lottery.analysis.widths` finds them. Schemes that it
    does not have are not drawn.
    """
    points = pd.concat(
        [
            _points(endpoint, found).assign(variant=variant)
            for variant in variants
            for endpoint in _shown(levels[levels["variant"] == variant])
        ]
    )
    names = list(dict.fromkeys(points["endpoint"]))
    figure, axes = new_figure(
        len(names),
        len(variants),
        (WIDTH, 1.5 + 2.2 * len(names)),
        f"{levels['study'].iloc[0]}: robustness against the width of initial weights",
        interval_text(points["n"]) + "; points of a width are set slightly apart",
        sharex=True,
        sharey="row",
    )
    looks = _looks(points["group"])
    for column, variant in enumerate(variants):
        for row, name in enumerate(names):
            ax = axes[row, column]
            own = points[(points["variant"] == variant) & (points["endpoint"] == name)]
            for k, (group, look) in enumerate(looks.items()):
                line = own[own["group"] == group]
                if group in (FIRST, REST):  # at 1 both are the scheme whose layers they change
                    line = pd.concat([line, own[own["init"] == _XAVIER["normal"]]])
                line = line.sort_values("ratio")
                if len(line):
                    interval_line(ax, apart(line["ratio"], k, len(looks)), line, look, group)
            ax.axvline(1, color=GREY, linewidth=0.8, linestyle="--", zorder=1)
            _width_axis(ax, points["ratio"])
            if row == 0 and len(variants) > 1:
                ax.set_title(variant_name(variant), loc="left")
            if column == 0:
                label = "Area (pp)" if name == "area" else f"{name.capitalize()} of weights (%)"
                ax.set_ylabel(label)
            ax.set_xlabel("σ over Xavier's" if row == len(names) - 1 else "")
    add_legend(figure, axes.flat)
    return figure


@styled
def mechanism_scatter(
    levels: pd.DataFrame,
    diagnostics: pd.DataFrame,
    variants: Sequence[str],
    found: dict[str, Width],
) -> Figure:
    """Init memory and relative travel of each ticket against its area: a row per variant.

    Coloured by scheme; by group of widths (`found`), or without options, where there are many.
    """
    points, table = cells(levels, diagnostics), mechanism(levels, diagnostics)
    variants = [variant for variant in variants if variant in set(points["variant"])]
    quantities = [name for name in QUANTITIES if name in set(points["quantity"])]
    inits = sorted(set(points["init"]))
    labels = {init: scheme_name(init) for init in inits}
    if len(inits) > _MOST_SCHEMES:
        labels = {
            init: found[init].group if init in found else scheme_name(init.partition("(")[0])
            for init in inits
        }
    looks = _looks(labels.values())
    figure, axes = new_figure(
        len(variants),
        len(quantities),
        (WIDTH, 1.3 + 2.1 * len(variants)),
        f"{levels['study'].iloc[0]}: does the travel of weights go with robustness?",
        f"A point per ticket, {seeds_text(points.groupby(['variant', 'init'])['seed'].nunique())} "
        "per scheme; means over layers and pruned levels. Constant weights have no order, so no "
        "memory. Spearman's ρ over tickets with a 95 % bootstrap interval over seeds",
        sharey="row",
    )
    for row, variant in enumerate(variants):
        for column, quantity in enumerate(quantities):
            ax = axes[row, column]
            own = points[(points["variant"] == variant) & (points["quantity"] == quantity)]
            for label, look in looks.items():
                some = own[own["init"].map(labels) == label]
                if len(some):
                    ax.plot(
                        some["value"],
                        100 * some["area"],
                        linestyle="none",
                        color=look.color,
                        marker=look.marker,
                        markersize=3,
                        label=label,
                    )
            _quantity_axis(ax, own["value"])
            head = "" if len(variants) == 1 else f"{variant_name(variant)}: "
            ax.set_title(head + _rho(table, variant, quantity), loc="left", fontsize=7.5)
            ax.set_xlabel(_TITLES[quantity] if row == len(variants) - 1 else "")
            if column == 0:
                ax.set_ylabel("Area (pp)")
    add_legend(figure, axes.flat)
    return figure


def _shown(levels: pd.DataFrame) -> list[Endpoint]:
    """The area, and the accuracy at the highest of the low densities."""
    return list(robustness(levels))[:2]


def _points(endpoint: Endpoint, found: dict[str, Width]) -> pd.DataFrame:
    """Mean and interval over seeds of each scheme that has a width."""
    rows = []
    for init, values in endpoint.values.groupby("init"):
        if init in found:
            group, ratio = found[init]
            place = {"endpoint": endpoint.name, "init": init, "group": group, "ratio": ratio}
            rows.append(place | mean_interval(values)._asdict())
    return pd.DataFrame(rows)


def _looks(labels: Iterable[str]) -> dict[str, Look]:
    """A look for each scheme or group of widths."""
    inits = {label: _XAVIER.get(label, label) for label in sorted(set(labels))}
    looks = scheme_looks(inits.values())
    return {label: looks[init] for label, init in inits.items()}


def _rho(table: pd.DataFrame, variant: str, quantity: str) -> str:
    own = table[table["endpoint"].eq(AREA) & table["variant"].eq(variant)]
    own = own[own["quantity"] == quantity]
    if own.empty or np.isnan(own["rho"].iloc[0]):
        return "no correlation"
    row = own.iloc[0]
    bounds = "" if np.isnan(row["low"]) else f" ({signed(row['low'])} to {signed(row['high'])})"
    return f"ρ = {signed(row['rho'])}{bounds}, n = {row['n']}"


def _quantity_axis(ax: Axes, values: pd.Series) -> None:
    """Logarithmic where values differ by much."""
    if len(values) and values.min() > 0 and values.max() > _FAR * values.min():
        ax.set_xscale("log")
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.xaxis.set_major_formatter(lambda value, _: percent_label(value))
        ax.xaxis.set_minor_locator(NullLocator())
    else:
        ax.xaxis.set_major_locator(MaxNLocator(5))


def _width_axis(ax: Axes, ratios: pd.Series) -> None:
    """Powers of two on a logarithmic axis."""
    low, high = np.log2(ratios.min()), np.log2(ratios.max())
    powers = range(int(np.floor(low + 0.01)), int(np.ceil(high - 0.01)) + 1)
    ax.set_xscale("log", base=2)
    ax.xaxis.set_major_locator(FixedLocator([2.0**power for power in powers]))
    texts = [str(2**power) if power >= 0 else f"1/{2**-power}" for power in powers]
    ax.xaxis.set_major_formatter(FixedFormatter(texts))
    ax.xaxis.set_minor_locator(NullLocator())
