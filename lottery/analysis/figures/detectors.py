"""Studies of detectors: precision against recall, and boxes drawn on pictures."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.patches import Rectangle

from lottery.analysis.columns import TRUTH
from lottery.analysis.detectors import ALLOWED, furthest
from lottery.analysis.figures.filters import ways
from lottery.analysis.figures.legend import add_legend
from lottery.analysis.figures.style import (
    BLACK,
    WIDTH,
    Look,
    line_looks,
    new_figure,
    seeds_text,
    styled,
    variant_name,
)
from lottery.analysis.sizes import sizes
from lottery.detection.drawing import SURE
from lottery.detection.precision import RECALLS

_COLUMNS = 4
_FEW = 8
"""Boxes in a picture up to which each is named."""
_MOST = "of a variant that removes most in its way of pruning"
_FURTHEST = f"each ticket at its furthest level within {100 * ALLOWED:g} points of accuracy"


@styled
def precision_recall(curves: pd.DataFrame, study: str, variants: Sequence[str]) -> Figure:
    """Precision against recall in %, a panel per class: unpruned, and each variant pruned.

    curves: table of `lottery.analysis.frames.precision_recall`, of each ticket's level 0 and its
    furthest within the allowed loss, which may be level 0 too. Means over seeds and schemes at
    equal recall; a recall that a network does not reach counts as precision 0.
    """
    names = list(dict.fromkeys(curves["class"]))
    columns = min(_COLUMNS, len(names))
    rows = -(-len(names) // columns)
    own = curves[curves["variant"].isin(variants)]
    pruned = bool((own["level"] > 0).any())
    seeds = seeds_text(own.groupby("variant")["seed"].nunique())
    figure, axes = new_figure(
        rows,
        columns,
        (WIDTH, 1.6 + 1.6 * rows),
        f"{study}: precision against recall on test pictures, IoU ≥ 0.5",
        f"Means over {seeds} at equal recall" + (f"; {_FURTHEST}" if pruned else ""),
        sharex=True,
        sharey=True,
    )
    looks = line_looks(variants if pruned else ())
    panels = list(axes.flat)
    for number, (ax, name) in enumerate(zip(panels, names, strict=False)):
        of_class = own[own["class"] == name]
        _curve(ax, of_class[of_class["level"] == 0], Look(BLACK, "None", "--"), "unpruned")
        for variant, look in looks.items():
            variants_own = of_class[of_class["variant"] == variant]
            last = variants_own.groupby("cell")["level"].transform("max")
            pruned = variants_own[variants_own["level"] == last]
            _curve(ax, pruned, look, variant_name(variant))
        ax.set_title(name, loc="left")
        lowest = number + columns >= len(names)
        ax.tick_params(labelbottom=lowest)
        ax.set_xlabel("Recall (%)" if lowest else "")
    for ax in panels[len(names) :]:
        ax.remove()
    axes[0, 0].set_xlim(-2, 102)
    axes[0, 0].set_ylim(-2, 102)
    figure.supylabel("Precision (%)", fontsize=8)
    add_legend(figure, panels[: len(names)])
    return figure


def _curve(ax: Axes, rows: pd.DataFrame, look: Look, label: str) -> None:
    if rows.empty:
        return
    table = rows.assign(recall=rows["recall"].round(2)).pivot_table(
        index="recall", columns=["cell", "level"], values="precision"
    )
    mean = table.reindex(RECALLS).fillna(0).mean(axis=1)
    ax.plot(
        100 * mean.index,
        100 * mean,
        color=look.color,
        marker=look.marker,
        markevery=20,
        linestyle=look.linestyle,
        label=label,
    )


def shown(levels: pd.DataFrame, variants: Sequence[str]) -> list[str]:
    """Of each way of pruning the variant that removes most at the allowed loss, on average."""
    removed = furthest(sizes(levels)).groupby("variant")["parameters_removed"].mean()
    groups = [[v for v in group.values() if v in removed] for group in ways(variants).values()]
    return [str(removed[group].idxmax()) for group in groups if group]


@styled
def detections(
    found: pd.DataFrame, levels: pd.DataFrame, pictures: Mapping[int, Path], variants: Sequence[str]
) -> Figure:
    """Boxes on the same pictures: those that are there, found unpruned, found by each variant.

    found: table of `lottery.analysis.frames.detections`. Each variant is drawn at the level that
    `furthest` chooses. pictures: files by number.
    """
    numbers = [number for number in pictures if number in set(found["picture"])]
    boxes = found[(found["variant"] == TRUTH) | (found["score"] >= SURE)]
    bands = [("ground truth", boxes[boxes["variant"] == TRUTH])]
    first = found[found["variant"].isin(variants) & (found["level"] == 0)]
    networks = [("unpruned", *_ticket(first), 0)] if len(first) else []
    known = sizes(levels)
    chosen = furthest(known).set_index(["variant", "cell"])["level"]
    pruned = bool((levels["level"] > 0).any())
    for variant in variants if pruned else ():
        ticket = _ticket(found[found["variant"] == variant])
        networks.append((variant_name(variant), *ticket, int(chosen[ticket])))
    bands += [
        (_band(name, _of(known, variant, cell, level)), _of(boxes, variant, cell, level))
        for name, variant, cell, level in networks
    ]
    figure, axes = new_figure(
        len(bands),
        len(numbers),
        (WIDTH, 0.9 + 1.75 * len(bands)),
        f"{levels['study'].iloc[0]}: objects in test pictures"
        + (", before and after pruning" if pruned else ""),
        f"Detections that score {SURE} or more, by one seed"
        + (f"; {_FURTHEST}, {_MOST}" if pruned else ""),
    )
    classes = sorted(set(found["class"]))
    looks = line_looks(classes)
    images = {number: imread(pictures[number]) for number in numbers}
    for line, (title, band) in zip(axes, bands, strict=True):
        line[0].set_ylabel(title, fontsize=7)
        for ax, number in zip(line, numbers, strict=True):
            ax.imshow(
                images[number],
                cmap="gray",
                extent=(0, 1, 1, 0),
                aspect=_aspect(images[number]),
                interpolation="none",  # a PDF has the pictures as they are, and not enlarged
            )
            ax.grid(visible=False)
            ax.set_xticks([])
            ax.set_yticks([])
            _draw(ax, band[band["picture"] == number], looks)
    handles = [_box((0, 0), (1, 1), look, name) for name, look in looks.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(10, len(handles)))
    return figure


def _aspect(image: np.ndarray) -> float:
    """Of axes that go from 0 to 1 both ways, so that pixels are square."""
    return image.shape[0] / image.shape[1]


def _ticket(found: pd.DataFrame) -> tuple[str, str]:
    """Variant and cell of the first row: tables of several machines may have more than one cell."""
    return str(found["variant"].iloc[0]), str(found["cell"].iloc[0])


def _of(table: pd.DataFrame, variant: str, cell: str, level: int) -> pd.DataFrame:
    own = (table["variant"] == variant) & (table["cell"] == cell)
    return table[own & (table["level"] == level)]


def _band(name: str, rows: pd.DataFrame) -> str:
    """What is said beside a row of pictures: whose boxes, and how much of the network is left.

    rows: of `lottery.analysis.sizes.sizes`, of one network, or none.
    """
    if rows.empty:
        return name
    row = rows.iloc[0]
    size = ""
    if row["level"] > 0:
        removed = 100 * row[["parameters_removed", "macs_removed"]]
        size = "\nparameters −{:.0f} %, MACs −{:.0f} %".format(*removed)
    return f"{name}{size}\naccuracy {100 * row['test_accuracy']:.1f} %"


def _box(
    corner: tuple[float, float], size: tuple[float, float], look: Look, label: str = ""
) -> Rectangle:
    color, _, linestyle = look
    return Rectangle(
        corner, *size, fill=False, edgecolor=color, linestyle=linestyle, linewidth=1, label=label
    )


def _draw(ax: Axes, boxes: pd.DataFrame, looks: Mapping[str, Look]) -> None:
    """Rectangles with class and score; where there are many, with the score alone."""
    for row in boxes.sort_values("score").to_dict("records"):
        look = looks[row["class"]]
        corner, size = (row["x0"], row["y0"]), (row["x1"] - row["x0"], row["y1"] - row["y0"])
        ax.add_patch(_box(corner, size, look))
        score = "" if np.isnan(row["score"]) else f"{row['score']:.2f}".removeprefix("0")
        text = f"{row['class']} {score}".strip() if len(boxes) <= _FEW else score
        if text:
            ax.text(
                min(max(row["x0"], 0), 0.8),
                max(row["y0"], 0.0),
                text,
                fontsize=5,
                color="white",
                va="bottom" if row["y0"] > 0.06 else "top",
                bbox={"facecolor": look.color, "edgecolor": "none", "pad": 0.5, "alpha": 0.85},
            )
    ax.set_xlim(0, 1)
    ax.set_ylim(1, 0)
