"""A study's variants side by side: their schemes, and what each variant changes."""

import itertools
from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import SymmetricalLogLocator

from lottery.analysis.figures.axes import (
    apart,
    error_axis,
    interval_line,
    mark_beyond,
    weights_axis,
)
from lottery.analysis.figures.families import Panel, families, family_panels
from lottery.analysis.figures.filters import ways
from lottery.analysis.figures.legend import add_legend
from lottery.analysis.figures.style import (
    ERROR_SCALE,
    GREY,
    WIDTH,
    interval_text,
    line_looks,
    new_figure,
    signed,
    styled,
    variant_name,
)
from lottery.analysis.sizes import left
from lottery.analysis.statistics import summary

LINEAR = 0.5
"""Differences (percentage points) up to which the axis of differences is linear."""


@styled
def accuracy_by_variant(
    levels: pd.DataFrame, variants: Sequence[str], collapses: pd.DataFrame | None = None
) -> Figure:
    """Test accuracy of the tickets against weights remaining, one panel per variant.

    collapses: levels to cross out, as `lottery.analysis.layer_collapses` finds them.
    """
    tickets = levels[levels["branch"] == "ticket"]
    table = summary(tickets, by=("variant", "init", "level"))
    schemes = table.groupby("variant")["init"].nunique()
    groups = families(table["init"])
    panels = []
    for family, variant in itertools.product(groups, variants):
        few = f" ({_schemes(schemes[variant])})" if schemes[variant] < schemes.max() else ""
        title = ": ".join(part for part in (variant_name(variant) + few, family) if part)
        cut = None if collapses is None else collapses[collapses["variant"] == variant]
        panels.append(Panel(title, table[table["variant"] == variant], groups[family], cut))
    study = levels["study"].iloc[0]
    figure, drawn, empty = family_panels(
        panels,
        f"{study}: test accuracy at a level's end, by variant",
        interval_text(table["n"]),
        left(levels),
        heights=(3.3, 1.9),
    )
    error_axis(drawn[0], table)
    for ax in drawn:
        mark_beyond(ax)
    figure.supylabel(ERROR_SCALE, fontsize=8)
    add_legend(figure, drawn, empty)
    return figure


@styled
def variant_differences(levels: pd.DataFrame, variants: Sequence[str]) -> Figure:
    """Test accuracy of each variant minus that of the first, paired by seed and scheme.

    Each seed's differences are averaged over the schemes that both variants have. Variants whose
    names end alike (`lottery.analysis.figures.filters.ways`) have a panel of their own.
    """
    reference, *others = variants
    tickets = levels[levels["branch"] == "ticket"]
    cells = tickets.set_index(["variant", "init", "seed", "level"])
    pairs = cells.loc[reference][["study", "test_accuracy"]]
    pairs = pairs.rename(columns={"test_accuracy": "reference"})
    rows = []
    for variant in others:
        own = cells.loc[variant][["test_accuracy", "weights_remaining"]]
        both = own.join(pairs, how="inner").reset_index()
        both["difference"] = both["test_accuracy"] - both["reference"]
        rows.append(both.assign(variant=variant))
    table = summary(pd.concat(rows), "difference", by=("variant", "level"))
    groups = ways(others)
    figure, axes = new_figure(
        1,
        len(groups),
        (WIDTH, 4.2),
        f"{levels['study'].iloc[0]}: test accuracy minus that of “{variant_name(reference)}”",
        interval_text(table["n"])
        + ", paired by seed and scheme; points are set slightly apart. The axis is linear within "
        f"±{LINEAR:g} and logarithmic beyond",
        sharex=True,
        sharey=True,
    )
    looks = line_looks(name for group in groups.values() for name in group)
    for ax, (way, group) in zip(axes[0], groups.items(), strict=True):
        ax.axhline(0, color=GREY, linewidth=1, zorder=1)
        for k, (name, variant) in enumerate(group.items()):
            points = table[table["variant"] == variant]
            x = apart(100 * points["weights_remaining"], k, len(group))
            interval_line(ax, x, points, looks[name], variant_name(name))
        ax.set_title(variant_name(way), loc="left")
        weights_axis(ax, table["weights_remaining"], left(levels))
    ax = axes[0, 0]
    ax.set_yscale("symlog", linthresh=LINEAR)
    ax.yaxis.set_major_locator(SymmetricalLogLocator(base=10, linthresh=LINEAR, subs=[1, 2, 5]))
    ax.yaxis.set_major_formatter(lambda value, _: signed(value, "+g"))
    ax.set_ylabel("Difference (percentage points, symmetric-log scale)")
    add_legend(figure, axes[0])
    return figure


def _schemes(number: int) -> str:
    return f"{number} scheme{'s' if number > 1 else ''}"
