"""A ticket's layers: how dense each is, how its weights are distributed, which pixels it sees."""

import itertools
import math
import textwrap

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from lottery.analysis.figures.axes import percent_label, weights_axis
from lottery.analysis.figures.legend import add_legend
from lottery.analysis.figures.style import (
    GREY,
    VERMILION,
    WIDTH,
    new_figure,
    scheme_name,
    seeds_text,
    styled,
)

MOST_LAYERS = 9
"""Rows that one page of weight distributions holds."""
_MARKERS = "os^DvPX*<>hdp"


@styled
def density_by_layer(layers: pd.DataFrame) -> Figure:
    """Weights remaining in each layer against all; one panel per scheme if they differ."""
    tickets = layers[layers["branch"] == "ticket"]
    cells = tickets.groupby(["init", "seed", "level"])[["weights", "remaining"]].sum()
    overall = (cells["remaining"] / cells["weights"]).rename("overall")
    tickets = tickets.join(overall, on=["init", "seed", "level"])
    tickets = tickets.assign(density=tickets["remaining"] / tickets["weights"])
    same = tickets.groupby(["layer", "level"])["remaining"].nunique().max() == 1
    inits = sorted(set(tickets["init"]))
    panels = [tickets] if same else [tickets[tickets["init"] == init] for init in inits]
    columns = min(2, len(panels))
    seeds = seeds_text(tickets.groupby(["init", "level"])["seed"].nunique())
    empty = (
        "; a layer without weights is off the scale" if (tickets["remaining"] == 0).any() else ""
    )
    figure, axes = new_figure(
        -(-len(panels) // columns),
        columns,
        (WIDTH, 1.2 + 2.4 * -(-len(panels) // columns)),
        f"{tickets['study'].iloc[0]}: weights remaining in each layer of the ticket",
        (f"The same in every scheme and seed, {seeds}" if same else f"Mean over {seeds}") + empty,
        sharex=True,
        sharey=True,
    )
    density = tickets.pivot_table(index="level", columns="layer", values="density", sort=False)
    groups = _alike(density)
    colors = colormaps["viridis"](np.linspace(0, 0.8, len(groups)))
    for k, (ax, rows) in enumerate(zip(axes.flat, panels, strict=False)):
        for group, color, marker in zip(groups, colors, itertools.cycle(_MARKERS), strict=False):
            mean = rows[rows["layer"] == group[0]].groupby("level")[["overall", "density"]].mean()
            label = textwrap.fill(", ".join(map(_short, group)), 60)
            x, y = 100 * mean["overall"], 100 * mean["density"]
            ax.plot(x, y, color=color, marker=marker, label=label)
        weights_axis(ax, tickets["overall"])
        ax.set_yscale("log")
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter(lambda value, _: percent_label(value))
        ax.yaxis.set_minor_locator(NullLocator())
        ax.set_title("" if same else scheme_name(inits[k]), loc="left")
        ax.set_ylabel("Weights remaining in layer (%)")
        ax.label_outer()
    for ax in axes.flat[len(panels) :]:
        ax.remove()
    add_legend(figure, axes.flat[: len(panels)])
    return figure


@styled
def weight_distributions(layers: pd.DataFrame, init: str) -> Figure:
    """Initial and trained values of the kept weights, by layer (down) and level (across)."""
    tickets = layers[(layers["branch"] == "ticket") & (layers["init"] == init)]
    names = _spread(list(dict.fromkeys(tickets["layer"])), MOST_LAYERS)
    levels = _spread(sorted(set(tickets["level"])), 4)
    chosen = tickets[tickets["level"].isin(levels)]
    total = tickets["layer"].nunique()
    some = "" if len(names) == total else f"; {len(names)} of {total} layers"
    seeds = seeds_text(chosen.groupby("level")["seed"].nunique())
    figure, axes = new_figure(
        len(names),
        len(levels),
        (WIDTH, 1.35 + 1.15 * len(names)),
        f"{tickets['study'].iloc[0]}, {scheme_name(init)}: values of the kept weights",
        f"Pooled over {seeds}{some}. Density: share of the kept weights per unit of weight value, "
        "so that a histogram has area 1; each has a scale of its own",
        sharex="row",
    )
    for row, layer in enumerate(names):
        reach = 1e-9
        for column, level in enumerate(levels):
            ax = axes[row, column]
            rows = chosen[(chosen["layer"] == layer) & (chosen["level"] == level)]
            edges = np.linspace(-1, 1, 65) * chosen.loc[chosen["layer"] == layer, "span"].max()
            before, after = (
                _pooled_density(rows, f"{when}_histogram", edges) for when in ("initial", "final")
            )
            ax.stairs(before, edges, fill=True, color=GREY, alpha=0.45, label="initial value")
            ax.stairs(after, edges, color=VERMILION, linewidth=1, label="trained value")
            peak = max(before.max(), after.max(), 1e-9)
            ax.set_ylim(0, 1.05 * peak)
            ax.set_yticks([0, float(f"{0.8 * peak:.1g}")])
            ax.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
            ax.tick_params(axis="y", labelsize=6, pad=1)
            ax.grid(visible=False)
            kept = percent_label(100 * rows["remaining"].sum() / rows["weights"].sum())
            ax.set_title(
                f"level {level}: {kept} % kept" if row == 0 else f"{kept} % kept", pad=2, fontsize=7
            )
            reach = max(reach, float(np.abs(edges[:-1][before + after > 0]).max(initial=0)))
        tick = float(f"{0.7 * reach:.1g}")
        axes[row, 0].set_xlim(-1.1 * reach, 1.1 * reach)
        axes[row, 0].set_xticks([-tick, 0, tick])
        axes[row, 0].set_ylabel(f"{_short(layer)}\ndensity")
    for ax in axes[-1]:
        ax.set_xlabel("Weight value")
    add_legend(figure, axes[0])
    return figure


@styled
def first_layer_masks(layers: pd.DataFrame) -> Figure:
    """Kept weights of each input pixel, by scheme (down) and level (across), one colour scale."""
    tickets = layers[(layers["branch"] == "ticket") & layers["kept_inputs"].map(_is_image)]
    inits, levels = sorted(set(tickets["init"])), _spread(sorted(set(tickets["level"])), 6)
    chosen = tickets[tickets["level"].isin(levels)]
    images = {
        key: np.mean(
            [100 * np.asarray(row.kept_inputs) / row.outputs for row in rows.itertuples()], axis=0
        )
        for key, rows in chosen.groupby(["init", "level"])
    }
    positive = np.concatenate([image[image > 0] for image in images.values()])
    norm = LogNorm(vmin=min(float(positive.min()), 99.0), vmax=100)
    colors = colormaps["cividis"].with_extremes(under="black", bad="black")
    seeds = seeds_text(chosen.groupby(["init", "level"])["seed"].nunique())
    figure, axes = new_figure(
        len(inits),
        len(levels),
        (WIDTH, 0.75 + 0.98 * len(inits)),
        f"{tickets['study'].iloc[0]}: first-layer weights kept at each input pixel",
        f"Mean over {seeds}; black: none kept",
    )
    for row, init in enumerate(inits):
        for column, level in enumerate(levels):
            ax = axes[row, column]
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
            if (init, level) not in images:
                ax.remove()
                continue
            image = images[init, level]
            side = math.isqrt(len(image))
            shown = ax.imshow(
                image.reshape(side, side), cmap=colors, norm=norm, interpolation="nearest"
            )
            if row == 0:
                ax.set_title(f"level {level}\n{percent_label(image.mean())} % kept", fontsize=7)
        axes[row, 0].set_ylabel(textwrap.fill(scheme_name(init), 18), fontsize=7)
    bar = figure.colorbar(
        shown, ax=axes, shrink=0.95, aspect=12 * len(inits), label="Weights kept (%)"
    )
    bar.ax.yaxis.set_major_formatter(lambda value, _: percent_label(value))
    return figure


def has_masks(layers: pd.DataFrame) -> bool:
    """Whether a ticket's first layer sees an image of one channel, pixel by pixel."""
    tickets = layers.loc[layers["branch"] == "ticket", "kept_inputs"]
    return bool(tickets.map(_is_image).any())


def _is_image(kept: object) -> bool:
    """Whether there is one count per pixel of a square image."""
    return kept is not None and math.isqrt(len(kept)) ** 2 == len(kept)  # type: ignore[arg-type]


def _short(layer: str) -> str:
    return layer.removesuffix(".weight")


def _alike(density: pd.DataFrame) -> list[list[str]]:
    """Layers whose densities agree within 2 % at every level: one line stands for all of them.

    density: (levels, layers). Counts are whole numbers, so equal rates give nearly equal densities.
    """
    groups: list[list[str]] = []
    for layer in density:
        for group in groups:
            if np.allclose(density[layer], density[group[0]], rtol=0.02, equal_nan=True):
                group.append(layer)
                break
        else:
            groups.append([layer])
    return groups


def _spread(items: list, most: int) -> list:
    """At most `most` items, evenly spread, with the first and the last."""
    places = np.linspace(0, len(items) - 1, min(most, len(items))).round().astype(int)
    return [items[place] for place in places]


def _pooled_density(rows: pd.DataFrame, column: str, edges: np.ndarray) -> np.ndarray:
    """All rows' histograms as one density over `edges`, whatever span each was counted with."""
    mass = np.zeros(len(edges) - 1)
    for span, counts in zip(rows["span"], rows[column], strict=True):
        own = np.linspace(-span, span, len(counts) + 1)
        mass += np.diff(np.interp(edges, own, np.concatenate([[0], np.cumsum(counts)])))
    total = mass.sum()
    return mass / (total * np.diff(edges)) if total > 0 else mass
