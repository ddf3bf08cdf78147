"""Declared comparisons between initialisation schemes, paired by seed.

Which comparisons are made follows from the schemes of a study alone, never from its results, and
Holm's correction counts all that were made.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from lottery.analysis.choice import STANDARD
from lottery.analysis.figures.style import scheme_name
from lottery.analysis.paired import difference, equivalence, holm
from lottery.errors import ConfigError
from lottery.registry import parse_spec

FAMILIES = ("xavier", "kaiming")
SHAPES = ("normal", "uniform")
SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Contrast:
    """The mean of some schemes minus the mean of others, under the same seed."""

    name: str
    plus: tuple[str, ...]
    minus: tuple[str, ...]

    def values(self, frame: pd.DataFrame, value: str) -> pd.Series:
        """One difference per seed that has all the schemes, indexed by seed.

        frame: rows with init, seed and `value`; rows of one scheme and seed (draws) are averaged.
        """
        wide = _by_scheme(frame, value).reindex(columns=[*self.plus, *self.minus]).dropna()
        return wide[list(self.plus)].mean(axis=1) - wide[list(self.minus)].mean(axis=1)


def declared(inits: Iterable[str]) -> list[Contrast]:
    """The comparisons that a study's schemes allow.

    *Xavier − Kaiming* and *normal − uniform*, each over the schemes that have a partner of the
    same options (and shape, or family), and *narrower − wider* for schemes that differ in `gain`
    alone (the smallest gain against the largest). A scheme without `gain` has none to compare.

    >>> for c in declared(["xavier_normal", "kaiming_normal", "kaiming_uniform"]):
    ...     print(c.name, c.plus, c.minus)
    Xavier − Kaiming ('xavier_normal',) ('kaiming_normal',)
    normal − uniform ('kaiming_normal',) ('kaiming_uniform',)
    """
    schemes = {init: _Scheme.parse(init) for init in sorted(set(inits))}
    parts = (
        ("Xavier − Kaiming", _partners(schemes, "family", FAMILIES)),
        ("normal − uniform", _partners(schemes, "shape", SHAPES)),
        ("narrower − wider", _gains(schemes)),
    )
    return [
        Contrast(name, *(tuple(side) for side in zip(*pairs, strict=True)))
        for name, pairs in parts
        if pairs
    ]


def against_standard(inits: Iterable[str]) -> list[Contrast]:
    """Every other scheme minus the mean of the standard schemes that there are.

    Standard schemes of several gains are left out: they are on an axis, which *narrower − wider* is
    about. Empty without a standard scheme.

    >>> for c in against_standard(["xavier_normal", "kaiming_normal", "orthogonal"]):
    ...     print(c.name, c.plus, c.minus)
    Orthogonal − standard ('orthogonal',) ('xavier_normal', 'kaiming_normal')
    """
    schemes = sorted(set(inits))
    standard = tuple(init for init in STANDARD if init in schemes)
    if not standard:
        return []
    widened = [init for init in schemes if init.partition("(")[0] in STANDARD]
    on_axis = {init for group in _by_gain(widened) for init in group}
    others = [init for init in schemes if init not in standard and init not in on_axis]
    return [Contrast(f"{scheme_name(init)} − standard", (init,), standard) for init in others]


def all_pairs(inits: Iterable[str]) -> list[Contrast]:
    """Every scheme minus every later one."""
    return [
        Contrast(f"{scheme_name(a)} − {scheme_name(b)}", (a,), (b,))
        for a, b in combinations(sorted(set(inits)), 2)
    ]


def contrast_table(
    frame: pd.DataFrame,
    value: str,
    contrasts: Sequence[Contrast],
    margin: float | None = None,
    by: Sequence[str] = (),
) -> pd.DataFrame:
    """Each contrast of `value`, for each group of rows in `by` (such as level), with its verdict.

    frame: rows with init, seed and `value`, of one branch and variant unless `by` tells them apart.
    margin: differences below it are negligible, in the unit of `value`; without one, equivalence is
    not tested. holm_p is corrected over all rows of the table, which are the declared family.

    Columns `by`, contrast, n, mean, deviation, low, high (t-interval), bca_low, bca_high, t_p,
    wilcoxon_p, holm_p (of t_p), margin, tost_p, verdict.
    """
    for column in {"study", "variant", "branch"} - set(by):
        if column in frame and frame[column].nunique() > 1:
            names = ", ".join(sorted(frame[column].unique()))
            raise ConfigError(f"{column} of the table", names, f"one, or {column!r} in `by`")
    groups: Any = frame.groupby(list(by)) if by else [((), frame)]
    rows = []
    for key, group in groups:
        for contrast in contrasts:
            values = contrast.values(group, value)
            tost = np.nan if margin is None else equivalence(values, margin).p
            row = {"contrast": contrast.name, **vars(difference(values)), "tost_p": tost}
            rows.append(dict(zip(by, key, strict=True)) | row)
    table = pd.DataFrame(rows)
    if table.empty:
        return table
    table["holm_p"] = holm(table["t_p"])
    table["margin"] = np.nan if margin is None else margin
    table["verdict"] = [
        verdict(p, tost, margin) for p, tost in zip(table["holm_p"], table["tost_p"], strict=True)
    ]
    order = ["wilcoxon_p", "holm_p", "margin", "tost_p", "verdict"]
    return table[[column for column in table if column not in order] + order]


def verdict(p: float, tost_p: float, margin: float | None) -> str:
    """What a contrast shows at 5 %: a margin in accuracy is written in percentage points.

    Equivalence comes first: a difference that is not zero and yet shown to be below the margin is
    negligible by declaration.

    >>> verdict(0.5, 0.01, 0.001), verdict(0.01, 0.5, 0.001), verdict(0.5, 0.5, 0.001)
    ('equivalent within ±0.1 pp', 'differ', 'undecided')
    """
    if margin is not None and tost_p < SIGNIFICANT:
        return f"equivalent within ±{100 * margin:g} pp"
    return "differ" if p < SIGNIFICANT else "undecided"


@dataclass(frozen=True)
class SchemeEffect:
    """How much of the spread of `value` the schemes make, seeds being blocks."""

    schemes: int
    seeds: int
    f: float
    """Mean square between schemes over the residual one, F(schemes − 1, (schemes − 1)(seeds − 1))
    if no scheme differs."""
    p: float
    between: float
    """Standard deviation between schemes, the noise of the means removed: √(max(0, MS_schemes −
    MS_residual) / seeds)."""
    residual: float
    """Standard deviation of one value about the effects of its scheme and seed."""
    spread_p: float
    """Brown-Forsythe test that all schemes spread equally over seeds (Levene's about medians); nan
    for fewer than 3 seeds, and where in each scheme all values are as far from its median."""


def scheme_effect(frame: pd.DataFrame, value: str) -> SchemeEffect | None:
    """Analysis of variance of scheme within seed; None with less than 2 schemes or 2 seeds.

    frame: rows with init, seed and `value`; seeds that lack a scheme are left out.
    """
    wide = _by_scheme(frame, value).dropna()
    seeds, schemes = wide.shape
    if seeds < 2 or schemes < 2:
        return None
    x = wide.to_numpy()
    grand = x.mean()
    effects, blocks = x.mean(axis=0) - grand, x.mean(axis=1) - grand
    rest = x - grand - effects - blocks[:, None]
    freedom = (schemes - 1) * (seeds - 1)
    between = seeds * float(effects @ effects) / (schemes - 1)
    residual = float((rest**2).sum()) / freedom
    f = between / residual if residual > 0 else np.nan
    apart = np.abs(x - np.median(x, axis=0))
    # Without spread within schemes any difference between them would pass for one without doubt.
    told = seeds > 2 and float(np.ptp(apart, axis=0).max()) > 1e-12 * float(np.abs(x).max())
    spread_p = float(stats.levene(*x.T, center="median").pvalue) if told else np.nan
    return SchemeEffect(
        schemes,
        seeds,
        f,
        float(stats.f.sf(f, schemes - 1, freedom)),
        float(np.sqrt(max(0.0, between - residual) / seeds)),
        float(np.sqrt(residual)),
        spread_p,
    )


@dataclass(frozen=True)
class _Scheme:
    family: str
    shape: str
    gain: float | None
    rest: str
    """Options other than the gain, as text."""

    @classmethod
    def parse(cls, init: str) -> "_Scheme":
        name, args, options = parse_spec(init, "init")
        family, _, shape = name.partition("_")
        gain = options.pop("gain", None)
        return cls(family, shape, gain, repr((args, sorted(options.items()))))


def _partners(
    schemes: dict[str, _Scheme], factor: str, levels: tuple[str, str]
) -> list[tuple[str, str]]:
    """Pairs of Xavier and Kaiming schemes that differ in `factor` alone: (first, second level)."""
    pairs = []
    for init, scheme in schemes.items():
        if scheme.family not in FAMILIES or getattr(scheme, factor) != levels[0]:
            continue
        partner = vars(scheme) | {factor: levels[1]}
        pairs += [(init, other) for other, its in schemes.items() if vars(its) == partner]
    return pairs


def _gains(inits: Iterable[str]) -> list[tuple[str, str]]:
    """Pairs (smallest gain, largest) of schemes that differ in a stated gain alone."""
    return [(group[0], group[-1]) for group in _by_gain(inits)]


def _by_gain(inits: Iterable[str]) -> list[list[str]]:
    """Schemes that differ in a stated gain alone, two or more, smallest gain first."""
    groups: dict[tuple[str, str, str], list[tuple[float, str]]] = {}
    for init in inits:
        scheme = _Scheme.parse(init)
        if scheme.gain is not None:
            key = scheme.family, scheme.shape, scheme.rest
            groups.setdefault(key, []).append((float(scheme.gain), init))
    return [[init for _, init in sorted(group)] for group in groups.values() if len(group) > 1]


def _by_scheme(frame: pd.DataFrame, value: str) -> pd.DataFrame:
    """Mean `value` by seed (rows) and scheme (columns)."""
    return frame.astype({value: "float64"}).groupby(["seed", "init"])[value].mean().unstack("init")
