"""A study's variants side by side: their schemes, and what each variant changes."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import SymmetricalLogLocator

from lottery.analysis.figures.axes import (
    apart,
    cross_out,
    error_axis,
    interval_line,
    mark_beyond,
    percent_of,
    weights_axis,
)
from lottery.analysis.figures.legend import add_legend
from lottery.analysis.figures.style import (
    ERROR_SCALE,
    GREY,
    WIDTH,
    interval_text,
    line_looks,
    new_figure,
    scheme_looks,
    scheme_name,
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
    columns = min(2, len(variants))
    rows = -(-len(variants) // columns)
    figure, axes = new_figure(
        rows,
        columns,
        (WIDTH, 1.4 + 1.9 * rows),
        f"{levels['study'].iloc[0]}: test accuracy at a level's end, by variant",
        interval_text(table["n"]),
        sharex=True,
        sharey=True,
    )
    looks = scheme_looks(table["init"])
    schemes = table.groupby("variant")["init"].nunique()
    panels = list(axes.flat)
    for number, (ax, variant) in enumerate(zip(panels, variants, strict=False)):
        own = table[table["variant"] == variant]
        cut = None if collapses is None else collapses[collapses["variant"] == variant]
        for k, (init, look) in enumerate(looks.items()):
            points = own[own["init"] == init]
            if len(points):
                x = apart(100 * points["weights_remaining"], k, len(looks))
                interval_line(ax, x, points, look, scheme_name(init))
                cross_out(ax, x, points, cut)
        weights_axis(ax, table["weights_remaining"], left(levels))
        few = f" ({_schemes(schemes[variant])})" if schemes[variant] < len(looks) else ""
        ax.set_title(variant_name(variant) + few, loc="left")
        lowest = number + columns >= len(variants)
        ax.tick_params(labelbottom=lowest)
        ax.set_xlabel(percent_of(left(levels)) if lowest else "")
    error_axis(panels[0], table)
    for ax in panels[: len(variants)]:
        mark_beyond(ax)
    figure.supylabel(ERROR_SCALE, fontsize=8)
    add_legend(figure, panels[: len(variants)], panels[-1] if len(panels) > len(variants) else None)
    return figure


@styled
def variant_differences(levels: pd.DataFrame, variants: Sequence[str]) -> Figure:
    """Test accuracy of each variant minus that of the first, paired by seed and scheme.

    Each seed's differences are averaged over the schemes that both variants have.
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
    figure, axes = new_figure(
        1,
        1,
        (WIDTH, 4.2),
        f"{levels['study'].iloc[0]}: test accuracy minus that of “{variant_name(reference)}”",
        interval_text(table["n"])
        + ", paired by seed and scheme; points are set slightly apart. The axis is linear within "
        f"±{LINEAR:g} and logarithmic beyond",
    )
    ax = axes[0, 0]
    ax.axhline(0, color=GREY, linewidth=1, zorder=1)
    looks = line_looks(others)
    for k, (variant, look) in enumerate(looks.items()):
        points = table[table["variant"] == variant]
        x = apart(100 * points["weights_remaining"], k, len(looks))
        interval_line(ax, x, points, look, variant_name(variant))
    weights_axis(ax, table["weights_remaining"], left(levels))
    ax.set_yscale("symlog", linthresh=LINEAR)
    ax.yaxis.set_major_locator(SymmetricalLogLocator(base=10, linthresh=LINEAR, subs=[1, 2, 5]))
    ax.yaxis.set_major_formatter(lambda value, _: signed(value, "+g"))
    ax.set_ylabel("Difference (percentage points, symmetric-log scale)")
    add_legend(figure, [ax])
    return figure


def _schemes(number: int) -> str:
    return f"{number} scheme{'s' if number > 1 else ''}"
