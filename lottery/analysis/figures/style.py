"""How every figure looks, what it says about n, and how it is written.

Colours are seaborn's colour-blind palette (after Okabe and Ito), and no line is told apart by
colour alone. Files hold no dates, so the same tables give the same bytes.
"""

import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.style
import numpy as np
import seaborn
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lottery.errors import StoreError
from lottery.files import whole

BLUE, ORANGE, GREEN, VERMILION, PURPLE, *_, SKY = seaborn.color_palette("colorblind").as_hex()
BLACK, GREY = "#000000", "#707070"
WIDTH = 7.0
"""Inches: the text width of a two-column paper."""
LONGEST, ROOM, LINE = 60, 5, 0.16
"""Letters in a line of a legend; lines that figures have room for; inches of a line more."""
ERROR_SCALE = "Test accuracy (%, log-error scale)"

_RC = {
    **seaborn.axes_style("whitegrid"),
    **seaborn.plotting_context("paper"),
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "figure.titlesize": 8.5,
    "legend.fontsize": 7.5,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "0.9",
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.1,
    "lines.markersize": 3.5,
    "legend.frameon": False,
    "savefig.dpi": 200,
    "pdf.fonttype": 42,
}
styled = matplotlib.style.context(_RC, after_reset=True)
"""Decorator: draw (or write) in this style, whatever the reader's own matplotlib settings are."""


class Look(NamedTuple):
    """How one line is drawn."""

    color: str
    marker: str
    linestyle: str | tuple[int, tuple[float, ...]] = "-"


_COLORS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK)
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_LINESTYLES = ("-", "--", "-.", ":")
_BRANCHES = {
    "ticket": ("ticket: own initial weights", Look(BLACK, "o")),
    "dense": ("unpruned, same total steps", Look(GREY, "None", (0, (1, 1.2)))),
    "reinit": ("random reinitialisation", Look(VERMILION, "s", "--")),
    "shuffle_layer": ("mask shuffled within layers", Look(BLUE, "^", "--")),
    "shuffle_global": ("mask shuffled across layers", Look(SKY, "v", "--")),
    "random": ("random pruning", Look(GREEN, "D", "--")),
    "magnitude_at_init": ("magnitude pruning at initialisation", Look(PURPLE, "P", "--")),
    "one_shot": ("one-shot pruning after training", Look(ORANGE, "X", "--")),
    "retrain": ("ticket, another order of batches", Look(GREY, "*", "--")),
}


def scheme_looks(inits: Iterable[str]) -> dict[str, Look]:
    """A look for each scheme; any 56 of them differ in colour or marker.

    >>> [look.marker for look in scheme_looks(["xavier_normal", "kaiming_normal"]).values()]
    ['o', 's']
    """
    return {
        init: Look(
            _COLORS[k % len(_COLORS)],
            _MARKERS[k % len(_MARKERS)],
            _LINESTYLES[k // len(_COLORS) % len(_LINESTYLES)],
        )
        for k, init in enumerate(sorted(set(inits)))
    }


def branch_look(branch: str) -> tuple[str, Look]:
    """The words and the look of a branch of the study."""
    return _BRANCHES.get(branch, (branch.replace("_", " "), Look(ORANGE, "<", "-.")))


def scheme_name(init: str) -> str:
    """A scheme's spec as a reader would write it; a reference to code is left alone.

    >>> scheme_name("xavier_normal"), scheme_name("kaiming_normal(mode=fan_out)")
    ('Xavier normal', 'Kaiming normal (mode=fan_out)')
    """
    if ":" in init:
        return init
    name, bracket, options = init.partition("(")
    words = name.strip().replace("_", " ")
    words = "PyTorch default" if words == "torch default" else words[:1].upper() + words[1:]
    return f"{words} ({options}" if bracket else words


def variant_name(variant: str) -> str:
    """A variant's name with spaces.

    >>> variant_name("own_init")
    'own init'
    """
    return variant.replace("_", " ")


def pooled(label: str, many: bool) -> str:
    """The label of a line that stands for all schemes, if there are several."""
    return f"{label}, mean of schemes" if many else label


def seeds_text(n: Iterable[int]) -> str:
    """How many seeds stand behind a figure's points.

    >>> seeds_text([5, 5]), seeds_text([3, 5]), seeds_text([1])
    ('n = 5 seeds', 'n = 3–5 seeds', 'n = 1 seed')
    """
    low, high = min(n := list(n)), max(n)
    return f"n = {low if low == high else f'{low}–{high}'} seed{'s' if high > 1 else ''}"


def interval_text(n: Iterable[int]) -> str:
    """What the lines and bars of a figure are.

    >>> interval_text([5]), interval_text([1])
    ('Mean and 95 % t-interval over n = 5 seeds', 'n = 1 seed, so no interval')
    """
    n = list(n)
    if max(n) == 1:
        return f"{seeds_text(n)}, so no interval"
    alone = " (no interval where n = 1)" if min(n) == 1 else ""
    return f"Mean and 95 % t-interval over {seeds_text(n)}{alone}"


def apart_text(many: bool) -> str:
    """A word on points that `axes.apart` moves, where there are several lines."""
    return "; points of a level are set slightly apart" if many else ""


def new_figure(
    rows: int, columns: int, size: tuple[float, float], title: str, note: str, **options: Any
) -> tuple[Figure, np.ndarray]:
    """An empty figure, its heading and its (rows, columns) axes; size in inches."""
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, **options)
    wrapped = [line for part in (title, note) for line in textwrap.wrap(part, int(15 * size[0]))]
    figure.suptitle("\n".join(wrapped))
    return figure, axes


def add_legend(figure: Figure, axes: Iterable[Axes]) -> None:
    """One legend below all axes, each label once, in as many columns as fit the width.

    Where it has more lines than a figure of few schemes leaves room for, the figure grows.
    """
    handles: dict[str, Any] = {}
    for ax in axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    if handles:
        labels = [
            label if _longest_line(label) <= LONGEST else textwrap.fill(label, LONGEST)
            for label in handles
        ]
        columns = _columns_that_fit([_longest_line(label) for label in labels], figure)
        figure.legend(list(handles.values()), labels, loc="outside lower center", ncols=columns)
        parts = np.array_split([label.count("\n") + 1 for label in labels], columns)
        lines = max(int(part.sum()) for part in parts)
        figure.set_figheight(figure.get_figheight() + LINE * max(0, lines - ROOM))


def _longest_line(label: str) -> int:
    return max(len(line) for line in label.splitlines())


def _columns_that_fit(lengths: list[int], figure: Figure) -> int:
    """Legend columns, each as wide as its longest label, at about 16 letters an inch."""
    for columns in range(len(lengths), 1, -1):
        parts = np.array_split(lengths, columns)
        if sum(max(part) + 9 for part in parts) <= 16 * figure.get_figwidth():
            return columns
    return 1


@styled
def save(figure: Figure, stem: Path) -> list[Path]:
    """Write `stem`.png and `stem`.pdf (fonts embedded as TrueType); returns both paths."""
    undated: Sequence[tuple[str, dict[str, None]]] = (
        (".png", {"Software": None}),
        (".pdf", {"CreationDate": None}),
    )
    written = []
    for suffix, metadata in undated:
        path = stem.with_name(stem.name + suffix)
        try:
            with whole(path) as place:
                figure.savefig(place, format=suffix[1:], metadata=metadata)
        except OSError as error:
            raise StoreError(f"{path} cannot be written ({error})") from error
        written.append(path)
    return written
