"""Schemes on an axis of widths: the standard deviation they give weights, over Xavier's.

By formula, as the bins of the tables' histograms are too wide for the narrow schemes.
"""

import math
from typing import NamedTuple

import pandas as pd

from lottery.errors import LotteryError
from lottery.init import stds
from lottery.init.stds import FORMULAS
from lottery.models import build
from lottery.registry import parse_spec

FEWEST = 3
"""Widths of one group that make an axis."""
FIRST, REST, MIXED = "first layer alone", "all layers but the first", "layers differ"
_SAME = 1e-3
"""Ratios that differ by less than this share are one width."""


class Width(NamedTuple):
    """Where a scheme lies."""

    group: str
    """Shape of its distribution (normal, sign constant, ...), FIRST, REST, ...: schemes of a group
    differ in width alone. Kaiming's are groups of their own."""
    ratio: float
    """σ over Xavier's, geometric mean over layers; for FIRST and REST over those layers."""


def widths(levels: pd.DataFrame) -> dict[str, Width]:
    """The place of each scheme of a study's table to which formulas give one.

    levels: of one model. Schemes that look at data or are of one's own are left out, and all of
    them where the network cannot be built here.
    """
    try:
        network = build(str(levels["model"].iloc[0]))
    except LotteryError:
        return {}
    xavier = stds(network, "xavier_normal")
    found = {}
    for init in sorted(set(levels["init"])):
        shapes = _shapes(init)
        if shapes:
            own = stds(network, init)
            found[init] = _width(shapes, [own[name] / xavier[name] for name in xavier])
    return found


def is_axis(found: dict[str, Width]) -> bool:
    """Whether there are enough widths of one group for a line."""
    groups: dict[str, set[float]] = {}
    for group, ratio in found.values():
        groups.setdefault(group, set()).add(round(ratio, 3))
    return any(len(ratios) >= FEWEST for ratios in groups.values())


def _shapes(init: str) -> list[str]:
    """What a scheme's layers draw from; empty where no formula says how wide that is."""
    name, args, options = parse_spec(init, "init")
    if name == "by_layer":
        parts = [_shapes(str(part)) for part in (*args, *options.values()) if part is not None]
        return sorted({shape for part in parts for shape in part}) if all(parts) else []
    if name not in FORMULAS:
        return []
    shape = name.removeprefix("xavier_").replace("_", " ")
    return [shape[:1].upper() + shape[1:] if name.startswith("kaiming") else shape]


def _width(shapes: list[str], ratios: list[float]) -> Width:
    first, rest = ratios[0], ratios[1:]
    if len(shapes) > 1 or not rest:
        return Width(MIXED if len(shapes) > 1 else shapes[0], _mean(ratios))
    if shapes[0].startswith("Kaiming") or _alike(ratios):
        return Width(shapes[0], _mean(ratios))
    if _alike([*rest, 1.0]):
        return Width(FIRST, first)
    if _alike([first, 1.0]) and _alike(rest):
        return Width(REST, _mean(rest))
    return Width(shapes[0], _mean(ratios))


def _alike(ratios: list[float]) -> bool:
    return max(ratios) <= min(ratios) * (1 + _SAME)


def _mean(ratios: list[float]) -> float:
    return math.exp(sum(map(math.log, ratios)) / len(ratios))
