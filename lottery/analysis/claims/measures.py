"""Figures made from rows of `levels`: per seed, with an interval, and with the rows they came from.

Every value of a seed is made of the rows of part *a*, and in a comparison of those of part *b*, as
the measure's formula says. A seed counts only if it has every scheme and level that others have.
Accuracies become percentage points here; ratios have geometric means.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np
import pandas as pd

from lottery.analysis.early_stop import STEP, censored
from lottery.analysis.paired import geometric_interval
from lottery.analysis.statistics import Interval, mean_interval
from lottery.analysis.unpaired import Moments, welch_interval
from lottery.errors import LotteryError

NEAR = 1.25
"""How far, as a ratio, a level's weights remaining may lie from those that are asked for: a pruning
step of 20 %."""
SOURCE = (
    *("part", "study", "model", "variant", "init", "seed", "branch", "draw", "cell"),
    *("level", "weights_remaining", "asked", "steps", "column", "value"),
)
"""Columns of a measure's rows: the part, which row of `levels` it is, and which value of that.
asked: the share of weights that the level is nearest to; nan where none is asked for."""
MEAN = "mean of a"
DIFFERENCE = "mean of a − mean of b"
RATIO = "geometric mean of a / geometric mean of b"
UNSEEN = 0.5
"""Share of censored early stops, on either side, from which on a ratio of them is not known."""

Bound: TypeAlias = Literal["", "≤", "≥", "?"]
"""What censored values make of a figure: it is exact, at most, at least, or not known at all."""


class Missing(LotteryError):
    """The tables do not hold what a measure needs; the message says what."""


@dataclass(frozen=True)
class Measure:
    """One figure: a value per seed and the rows of `levels` that they were computed from."""

    values: pd.Series
    """By seed, in `unit`."""
    rows: pd.DataFrame
    """Columns SOURCE: every value used, as it is in the table (accuracies are fractions)."""
    unit: str
    """pp, % or ×."""
    formula: str
    """How a seed's value is made of its rows."""
    reference: Moments | None = None
    """Independent values that the mean is compared with, in `unit`: the figure is the difference of
    the means, its interval Welch's."""
    comparisons: int = 1
    """Out of how many measures this one was picked as the most extreme."""
    bound: Bound = ""
    """What is known of the figure where values are censored: ≤, the true one is this or less."""
    why: str = ""
    """Which values are censored, where there is a bound."""

    def interval(self, confidence: float = 0.95) -> Interval:
        """Mean over seeds and its t-interval; of a ratio the geometric mean; n is our seeds."""
        if self.reference is not None:
            return welch_interval(Moments.of(self.values), self.reference, confidence)
        if self.unit == "×":
            return geometric_interval(self.values, confidence)
        return mean_interval(self.values, confidence)

    def possible(self, confidence: float = 0.95) -> Interval:
        """The interval, reaching as far as censored values may."""
        interval = self.interval(confidence)
        low = -np.inf if self.bound in ("≤", "?") else interval.low
        high = np.inf if self.bound in ("≥", "?") else interval.high
        return interval._replace(low=low, high=high)


Measurer: TypeAlias = Callable[[pd.DataFrame], Measure]
"""From rows of `levels` to a measure; raises Missing."""


@dataclass(frozen=True)
class Place:
    """Rows of one branch, at the level nearest to `percent` of the weights or in a range."""

    percent: float = 100.0
    branch: str = "ticket"
    down_to: float | None = None
    """With it, all levels from `percent` down to this per cent."""
    variant: str | None = None
    """Only rows of this variant."""

    def rows(self, levels: pd.DataFrame, column: str, inits: Sequence[str] = ()) -> pd.DataFrame:
        """Columns SOURCE without part; of these schemes, or of all. Raises Missing."""
        chosen = levels
        for name, wanted in (
            ("variant", [self.variant] if self.variant else []),
            ("branch", [self.branch]),
            ("init", list(inits)),
        ):
            if wanted:
                chosen = chosen[chosen[name].isin(wanted)]
            if chosen.empty:
                raise Missing(f"no {name} {', '.join(wanted)}")
        chosen = chosen[self._at_level(chosen)]
        asked = self.percent / 100 if self.down_to is None else np.nan
        value = chosen[column].astype("float64")
        chosen = chosen.assign(asked=asked, column=column, value=value)
        chosen = chosen.dropna(subset="value")
        if chosen.empty:
            raise Missing(f"no {column.replace('_', ' ')} for {self.branch}")
        return chosen[list(SOURCE[1:])]

    def _at_level(self, rows: pd.DataFrame) -> pd.Series:
        percent = 100 * rows["weights_remaining"]
        if self.down_to is not None:
            inside = (percent <= self.percent) & (percent >= self.down_to)
            if not inside.any():
                raise Missing(f"no level from {self.percent:g} down to {self.down_to:g} %")
            return inside
        if self.percent == 100 and self.branch == "ticket":
            return rows["level"] == 0
        by_level = percent.groupby(rows["level"]).mean()
        distance = np.abs(np.log(by_level / self.percent))
        if distance.min() > np.log(NEAR):
            nearest = by_level[distance.idxmin()]
            raise Missing(
                f"no level of {self.branch} near {self.percent:g} % of the weights "
                f"(the nearest has {nearest:.3g} %)"
            )
        return rows["level"] == distance.idxmin()


def mean_of(place: Place, column: str, inits: Sequence[str] = ()) -> Measurer:
    """The mean of a column at a place, in per cent (accuracies)."""

    def measure(levels: pd.DataFrame) -> Measure:
        rows = complete(place.rows(levels, column, inits).assign(part="a"))
        return Measure(100 * rows.groupby("seed")["value"].mean(), rows, "%", MEAN)

    return measure


def compare(
    a: Place, b: Place, column: str, inits: Sequence[str] = (), ratio: bool = False
) -> Measurer:
    """a − b in percentage points, or a / b, paired by seed, over the schemes that both have."""

    def measure(levels: pd.DataFrame) -> Measure:
        parts = {"a": a.rows(levels, column, inits), "b": b.rows(levels, column, inits)}
        common = set(parts["a"]["init"]) & set(parts["b"]["init"])
        rows = pd.concat(
            rows[rows["init"].isin(common)].assign(part=part) for part, rows in parts.items()
        )
        found = between(complete(rows), ratio)
        return _with_unseen(found, levels) if ratio and column == STEP else found

    return measure


def _with_unseen(measure: Measure, levels: pd.DataFrame) -> Measure:
    """A ratio of early stops, marked as not known if too many of them are censored."""
    steps = measure.rows.assign(**{STEP: measure.rows["value"]})
    by_part = censored(levels, steps).groupby(steps["part"])
    if (by_part.mean() < UNSEEN).all():
        return measure
    first, second = (f"{by_part.sum()[part]} of {by_part.size()[part]}" for part in "ab")
    why = f"not known, as the loss is least at the level's end in {first} over {second}"
    return replace(measure, bound="?", why=why)


def between(rows: pd.DataFrame, ratio: bool = False) -> Measure:
    """Part a against part b under each seed: the difference in points, or the ratio."""
    values = np.log(rows["value"]) if ratio else 100 * rows["value"]
    wide = values.groupby([rows["seed"], rows["part"]]).mean().unstack("part")
    per_seed = wide["a"] - wide["b"]
    if ratio:
        return Measure(np.exp(per_seed), rows, "×", RATIO)
    return Measure(per_seed, rows, "pp", DIFFERENCE)


def complete(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows (columns SOURCE) of the seeds that have all that any seed has; raises Missing."""
    what = list(zip(rows["part"], rows["variant"], rows["init"], rows["level"], strict=True))
    counts = pd.Series(what, index=rows.index, dtype=object).groupby(rows["seed"]).nunique()
    seeds = counts.index[counts == len(set(what))]
    if not len(seeds):
        raise Missing("no seed with every scheme and level")
    kept = rows[rows["seed"].isin(seeds)]
    return kept[list(SOURCE)].sort_values(["seed", "part", "init", "level", "draw"], kind="stable")
