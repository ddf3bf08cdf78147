"""What becomes of a claim: the rule that decides it, and the verdict with the rows it came from.

The rule is one for all claims. A claim says where a mean lies: above a bound, below one, between
two (`Region`), or at a published size (`Size`). It is *reproduced* when our interval lies wholly
where the claim puts the mean, *not reproduced* when it lies wholly elsewhere, and *undecided*
otherwise. Where values are censored, the interval reaches as far as they may. Where the tables lack
what it takes, the claim is *not tested*.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, TypeAlias

import numpy as np

from lottery.analysis.claims.measures import Measure, Measurer
from lottery.analysis.statistics import Interval

REPRODUCED, NOT_REPRODUCED = "reproduced", "not reproduced"
SCALE = "at another scale"
"""How the note begins that names reduced models."""
UNDECIDED, NOT_TESTED = "undecided", "not tested"

Scope: TypeAlias = Literal["protocol", "original", "replication", "variants"]
"""Which variants of a study a claim is put to: `protocol`, the one called base; `original`, that
and those called original and corrected; `replication`, original alone; `variants`, original and the
others together."""


@dataclass(frozen=True)
class Region:
    """The claim that a mean lies above `low` and below `high`.

    With one bound the 95 % t-interval decides. With two it is a claim of equivalence: reproduced
    when the 90 % interval lies between them, which is two one-sided t tests at 5 % (TOST), and not
    reproduced when the 95 % interval lies outside (wider, after Bonferroni, if the measure is the
    most extreme of several).
    """

    low: float = -np.inf
    high: float = np.inf

    @property
    def confidence(self) -> float:
        """Of the interval that has to lie inside."""
        return 0.90 if np.isfinite(self.low) and np.isfinite(self.high) else 0.95

    def decide(self, measure: Measure) -> str:
        """The verdict on a measure in the unit of the bounds."""
        inner = measure.possible(self.confidence)
        outer = measure.possible(1 - 0.05 / measure.comparisons)
        above = self.low < inner.low or self.low == -np.inf
        if above and (inner.high < self.high or self.high == np.inf):
            return REPRODUCED
        if outer.high <= self.low or outer.low >= self.high:
            return NOT_REPRODUCED
        return UNDECIDED


@dataclass(frozen=True)
class Size:
    """The claim that a mean is `published`, in a unit in which `none` is no effect.

    Reproduced when the 95 % t-interval holds the published figure and lies on its side of no
    effect; not reproduced when it does not hold the figure; undecided when it holds both. The
    figure is taken as exact: how uncertain it was is seldom published.
    """

    published: float
    none: float = 0.0
    confidence: ClassVar[float] = 0.95

    def decide(self, measure: Measure) -> str:
        """The verdict on a measure in the unit of the figure."""
        interval = measure.possible(self.confidence)
        if self.published < interval.low or self.published > interval.high:
            return NOT_REPRODUCED
        apart = interval.low > self.none or interval.high < self.none
        return REPRODUCED if apart else UNDECIDED


@dataclass(frozen=True)
class Claim:
    """A published statement, and how it is put to our tables."""

    id: str
    """Short and stable, for references: "lth-faster-21"."""
    source: str
    """Paper and figure or section."""
    statement: str
    published: str
    """The published figure, as text."""
    network: str
    """The network it is about, without options: "lenet_300_100"."""
    how: str
    """One sentence: which of our numbers are compared."""
    rule: Region | Size
    """In the unit of the measure."""
    measure: Measurer
    scope: Scope = "protocol"
    variant: str = ""
    """The one variant that it is put to, where a study has it, in place of those of `scope`."""
    steps: Mapping[str, int] = field(default_factory=dict)
    """Training steps per level in the publication, by network."""
    others: bool = False
    """Whether it compares networks, and so needs tables of other studies too."""


@dataclass(frozen=True)
class Verdict:
    """A claim, our figure for it, and what was decided."""

    claim: Claim
    study: str
    variant: str
    model: str
    verdict: str
    """reproduced, not reproduced, undecided, or not tested."""
    note: str = ""
    """What is missing, or in what the study differs from the publication."""
    reduced: tuple[str, ...] = ()
    """Models of reduced width that the figure comes from: it is of another scale."""
    measure: Measure | None = field(default=None, compare=False)
    """Our figure, its values per seed and their rows; None where not tested."""

    @property
    def interval(self) -> Interval:
        """Our mean and the t-interval that decides, in `unit`; nan where not tested.

        Of 95 % (`claim.rule.confidence`), and of 90 % for a claim of equivalence.
        """
        if self.measure is None:
            return Interval(np.nan, np.nan, np.nan, 0)
        return self.measure.interval(self.claim.rule.confidence)

    @property
    def unit(self) -> str:
        """pp (percentage points), % or × (a ratio)."""
        return self.measure.unit if self.measure else ""
