"""How every figure looks, what it says about n, and how it is written.

Colours are seaborn's colour-blind palette (after Okabe and Ito) with two of Paul Tol's, and no line
is told apart by colour alone. A standard scheme has one look in every figure of every study. Files
hold no dates, so the same tables give the same bytes.
"""

import re
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath
from typing import Any, NamedTuple

import matplotlib.style
import numpy as np
import seaborn
from matplotlib.figure import Figure

from lottery.errors import StoreError
from lottery.files import whole

_PALETTE = seaborn.color_palette("colorblind").as_hex()
BLUE, ORANGE, GREEN, VERMILION, PURPLE, BROWN, *_, SKY = _PALETTE
BLACK, GREY, WINE, OLIVE = "#000000", "#707070", "#882255", "#999933"
WIDTH = 7.0
"""Inches: the text width of a two-column paper."""
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
_SCHEMES = {
    "Kaiming normal": Look(BLUE, "o"),
    "Kaiming uniform": Look(VERMILION, "s"),
    "Xavier normal": Look(GREEN, "^"),
    "Xavier uniform": Look(PURPLE, "D"),
    "PyTorch default": Look(ORANGE, "v"),
}
"""Schemes whose look never changes."""
_PROPER = {"torch default": "PyTorch default", "lsuv": "LSUV"}
_OTHERS = (SKY, BLACK, BROWN, WINE, OLIVE)
"""Colours of the other schemes: none that a standard scheme has."""
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
    """A look for each scheme, by its spec or its name.

    The standard ones have theirs whatever else is drawn; any 40 others differ in colour or marker.

    >>> [look.marker for look in scheme_looks(["xavier_normal", "Kaiming normal", "lsuv"]).values()]
    ['o', 'P', '^']
    """
    inits = sorted(set(inits), key=lambda init: (scheme_name(init), init))
    others = [init for init in inits if scheme_name(init) not in _SCHEMES]
    looks = dict(zip(others, _looks(_OTHERS, len(others), len(_SCHEMES)), strict=True))
    return {init: looks.get(init) or _SCHEMES[scheme_name(init)] for init in inits}


def line_looks(names: Iterable[str]) -> dict[str, Look]:
    """A look for each line that is no scheme, in this order; any 56 differ in colour or marker."""
    names = list(dict.fromkeys(names))
    return dict(zip(names, _looks(_COLORS, len(names)), strict=True))


def _looks(colors: Sequence[str], number: int, first: int = 0) -> list[Look]:
    """So many looks of these colours; first: the marker to begin with."""
    return [
        Look(
            colors[k % len(colors)],
            _MARKERS[(first + k) % len(_MARKERS)],
            _LINESTYLES[k // len(colors) % len(_LINESTYLES)],
        )
        for k in range(number)
    ]


def branch_look(branch: str) -> tuple[str, Look]:
    """The words and the look of a branch of the study."""
    return _BRANCHES.get(branch, (branch.replace("_", " "), Look(ORANGE, "<", "-.")))


def scheme_name(init: str) -> str:
    """A scheme's spec as a reader would write it; a reference to code is left alone.

    Of files the name is enough, and of options that are on or off that they are.

    >>> scheme_name("xavier_normal"), scheme_name("kaiming_normal(mode=fan_out)")
    ('Xavier normal', 'Kaiming normal (mode=fan_out)')
    >>> scheme_name("ticket_informed('schemes/lenet.json', scale=False)")
    'Ticket informed (lenet, no scale)'
    """
    if ":" in init:
        return init
    name, bracket, options = init.partition("(")
    words = name.strip().replace("_", " ")
    words = _PROPER.get(words, words[:1].upper() + words[1:])
    options = re.sub(r"(\w+)=False", r"no \1", without_folders(options))
    return f"{words} ({options}" if bracket else words


def file_name(init: str) -> str:
    """A scheme's spec with nothing in it that a shell or a file system could mind.

    >>> file_name("ticket_informed('schemes/lenet.json', scale=False)")
    'ticket_informed_lenet_scale=False'
    """
    return re.sub(r"[^\w.=-]+", "_", without_folders(init)).strip("_.")


def without_folders(spec: str) -> str:
    """A spec with the names of files alone, without quotes.

    >>> without_folders("ticket_informed('schemes/lenet.json', scale=False)")
    'ticket_informed(lenet, scale=False)'
    """
    return re.sub(r"'([^']*)'", lambda text: PurePath(text[1]).stem, spec)


def variant_name(variant: str) -> str:
    """A variant's name with spaces.

    >>> variant_name("own_init")
    'own init'
    """
    return variant.replace("_", " ")


def signed(value: float, form: str = "+.2f") -> str:
    """A number with a true minus, and without a sign where it rounds to 0.

    >>> signed(-0.5), signed(-0.001), signed(0.1, "+g")
    ('−0.50', '0.00', '+0.1')
    """
    text = format(value, form)
    return text.replace("-", "−") if float(text) else text.lstrip("+-")


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
