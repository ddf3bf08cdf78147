"""Xavier or Kaiming, or narrower or wider? Shape or scale? The first layer or the rest?

Effects on robustness of what schemes on an axis of widths differ in, paired by seed.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd

from lottery.analysis.widths import FEWEST, FIRST, REST, Width

SCALE = "Narrower or wider?"
NAME = "Xavier or Kaiming?"
SHAPE = "Shape, at the same σ"
WHERE = "First layer or the rest?"
MODERATE = 2.0
"""Times Xavier's width."""
ROUNDED = 1e-3
"""By which share a width may be off its formula."""
_NORMAL = "normal"


class Effect(NamedTuple):
    """A difference of an endpoint, one value per seed, and the schemes it comes from."""

    question: str
    name: str
    values: pd.Series
    """By seed."""
    plus: tuple[str, ...]
    minus: tuple[str, ...]
    how: str = ""
    """How values come from those of the schemes, where it is not the difference of their means."""


def effects(wide: pd.DataFrame, found: dict[str, Width]) -> list[Effect]:
    """All effects that the schemes of a variant allow.

    wide: endpoint by seed (rows) and scheme (columns). found: as `widths` finds them. Differences:

    - per doubling of σ: slope of the endpoint over log₂ of the width, by least squares over the
      schemes of a shape; where some are wider than MODERATE times Xavier's, also without these, as
      one that hardly trains may make the slope;
    - Kaiming − Xavier of the same shape, the part that its width alone would make (the endpoint of
      the shape's schemes, linear in log σ between them, at Kaiming's width, less Xavier's), and the
      rest;
    - another shape − normal, mean over the widths that both have;
    - another width in the first layer alone, in all others, and in all, less Xavier's.

    A network that diverged takes its seed from the effects that need its scheme, and no others; a
    scheme of which all did is left out.
    """
    wide = wide[[init for init in wide if init in found]].dropna(axis=1, how="all")
    groups: dict[str, dict[float, str]] = {}
    for init in wide:
        group, ratio = found[init]
        groups.setdefault(group, {}).setdefault(round(ratio, 3), init)
    listed = [
        *_slopes(wide, groups),
        *_kaiming(wide, groups, found),
        *_shapes(wide, groups),
        *_layers(wide, groups),
    ]
    known = [effect._replace(values=effect.values.dropna()) for effect in listed]
    return [effect for effect in known if len(effect.values)]


def _slopes(wide: pd.DataFrame, groups: dict[str, dict[float, str]]) -> Iterator[Effect]:
    for group, by_ratio in groups.items():
        if len(by_ratio) < FEWEST or group in (FIRST, REST):
            continue
        every = sorted(by_ratio)
        moderate = [ratio for ratio in every if ratio <= MODERATE * (1 + ROUNDED)]
        for ratios, words in ((every, ""), (moderate, f", up to {MODERATE:g} times Xavier's")):
            if words and (ratios == every or len(ratios) < FEWEST):
                continue
            inits = [by_ratio[ratio] for ratio in ratios]
            x = np.log2(ratios) - np.log2(ratios).mean()
            slopes = wide[inits] @ x / (x @ x)
            how = "Slope over log₂ of the width, by least squares."
            name = f"{group}, per doubling of σ{words}"
            yield Effect(SCALE, name, slopes, tuple(inits), (), how)


def _kaiming(
    wide: pd.DataFrame, groups: dict[str, dict[float, str]], found: dict[str, Width]
) -> Iterator[Effect]:
    for shape in (_NORMAL, "uniform"):
        init = next(iter(groups.get(f"Kaiming {shape}", {}).values()), None)
        xavier = groups.get(shape, {})
        if init is None or 1.0 not in xavier:
            continue
        whole = wide[init] - wide[xavier[1.0]]
        yield Effect(NAME, f"Kaiming − Xavier, {shape}", whole, (init,), (xavier[1.0],))
        ratios = sorted(xavier)
        if not ratios[0] <= found[init].ratio <= ratios[-1]:
            continue
        between = wide[[xavier[ratio] for ratio in ratios]]
        at = pd.Series(
            [np.interp(np.log(found[init].ratio), np.log(ratios), row) for row in between.values],
            index=wide.index,
        )
        sides = tuple(between), (xavier[1.0],)
        how = f"At {found[init].ratio:.3g} times Xavier's σ, linear in log σ between schemes."
        by_width = at - wide[xavier[1.0]]
        yield Effect(NAME, f"what its width makes, {shape}", by_width, *sides, how)
        yield Effect(NAME, f"the rest, {shape}", wide[init] - at, (init,), sides[0], how)


def _shapes(wide: pd.DataFrame, groups: dict[str, dict[float, str]]) -> Iterator[Effect]:
    normal = groups.get(_NORMAL, {})
    for group, by_ratio in groups.items():
        common = sorted(set(by_ratio) & set(normal))
        if common and group not in (_NORMAL, FIRST, REST):
            one, other = ([of[ratio] for ratio in common] for of in (by_ratio, normal))
            values = wide[one].mean(axis=1, skipna=False) - wide[other].mean(axis=1, skipna=False)
            yield Effect(SHAPE, f"{group} − normal", values, tuple(one), tuple(other))


def _layers(wide: pd.DataFrame, groups: dict[str, dict[float, str]]) -> Iterator[Effect]:
    normal = groups.get(_NORMAL, {})
    if 1.0 not in normal:
        return
    ratios = sorted({*groups.get(FIRST, {}), *groups.get(REST, {})})
    for ratio in ratios:
        for group, words in ((FIRST, FIRST), (REST, REST), (_NORMAL, "all layers")):
            if ratio in groups.get(group, {}):
                init = groups[group][ratio]
                values = wide[init] - wide[normal[1.0]]
                name = f"{words}, {ratio:.3g} times as wide"
                yield Effect(WHERE, name, values, (init,), (normal[1.0],))
