"""Widths of layers before and after whole filters are removed."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lottery.analysis.endpoints import PAIR
from lottery.analysis.figures.axes import columns_of, filled, log_axis
from lottery.analysis.figures.legend import add_legend
from lottery.analysis.figures.style import (
    BLACK,
    BLUE,
    VERMILION,
    WIDTH,
    Look,
    new_figure,
    seeds_text,
    styled,
    variant_name,
)
from lottery.analysis.sizes import only_weights
from lottery.analysis.walks import last_levels

_LEVELS = (Look(BLUE, "s", "--"), Look(VERMILION, "o", "-"))


@styled
def layer_widths(
    layers: pd.DataFrame,
    variants: Sequence[str],
    ends: pd.Series | None = None,
    end: str = "at the last level",
) -> Figure:
    """Filters and neurons of each layer, all and those kept: a panel per variant.

    Of each ticket a middle level and the last are drawn; means over seeds and schemes. ends: other
    levels to be drawn as the last, by variant, scheme and seed, called `end`. Variants that keep
    the same share a panel, as those of one rate for every layer do.
    """
    tickets = only_weights(layers[layers["branch"] == "ticket"])
    names = list(dict.fromkeys(tickets["layer"]))
    ends = last_levels(tickets) if ends is None else ends
    last = tickets[PAIR].merge(ends.rename("last").reset_index(), how="left")["last"].to_numpy()
    looks = {f"kept {end}": (_LEVELS[1], last)}
    if ends.max() > 1:
        looks = {"kept half-way": (_LEVELS[0], last // 2)} | looks
    drawn = pd.concat(
        [tickets[tickets["level"] == at].assign(label=label) for label, (_, at) in looks.items()]
    )
    per_seed = drawn.groupby(["variant", "layer", "label", "seed"], as_index=False)
    widths = per_seed[["outputs", "kept_outputs"]].mean()
    alike = _alike(widths, variants)
    columns = columns_of(len(alike))
    rows = -(-len(alike) // columns)
    seeds = seeds_text(widths.groupby("variant")["seed"].nunique())
    figure, axes = new_figure(
        rows,
        columns,
        (WIDTH, 1.6 + 1.5 * rows),
        f"{tickets['study'].iloc[0]}: widths of the layers before and after",
        f"Mean over {seeds}; bars from the least to the most of them",
        sharex=True,
        sharey=True,
    )
    panels = list(axes.flat)
    for ax, group in zip(panels, alike, strict=False):
        own = widths[widths["variant"] == group[0]]
        whole = own.groupby("layer")["outputs"].mean().reindex(names)
        ax.plot(range(len(names)), whole, color=BLACK, linestyle=":", marker="_", label="all")
        for label, (look, _) in looks.items():
            _widths(ax, own[own["label"] == label], names, look, label)
        log_axis(ax)
        ax.set_title(_names(group), loc="left")
        every = -(-len(names) // 12)
        shown = [(k, name.removesuffix(".weight")) for k, name in enumerate(names)][::every]
        ax.set_xticks([k for k, _ in shown], [name for _, name in shown], rotation=40, ha="right")
    figure.supylabel("Filters or neurons", fontsize=8)
    add_legend(figure, filled(panels, len(alike), columns))
    return figure


def _alike(widths: pd.DataFrame, variants: Sequence[str]) -> list[list[str]]:
    """Variants in groups of those that keep as many of each layer and seed, where it is drawn."""
    groups: dict[tuple[object, ...], list[str]] = {}
    for variant in variants:
        own = widths[widths["variant"] == variant].drop(columns="variant")
        groups.setdefault(tuple(own.itertuples(index=False, name=None)), []).append(variant)
    return list(groups.values())


def _names(variants: Sequence[str]) -> str:
    """The name of a panel for variants that look alike."""
    if len(variants) == 1:
        return variant_name(variants[0])
    return f"{variant_name(variants[0])} and {len(variants) - 1} alike"


def _widths(ax: Axes, rows: pd.DataFrame, names: list[str], look: Look, label: str) -> None:
    """One line over the layers, and from the least to the most of the seeds."""
    kept = rows.groupby("layer")["kept_outputs"].agg(["mean", "min", "max"]).reindex(names)
    color, marker, linestyle = look
    spread = kept["mean"] - kept["min"], kept["max"] - kept["mean"]
    ax.errorbar(
        range(len(names)),
        kept["mean"],
        spread,
        color=color,
        marker=marker,
        linestyle=linestyle,
        elinewidth=0.7,
        capsize=1.5,
        label=label,
    )
