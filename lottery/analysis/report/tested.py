"""What few seeds allow to say: their values, and a test only where there is something to test.

A walk down a ladder of levels ends on one of its steps, so that the seeds of a variant may agree to
the last digit. A t test takes that for certainty, and of two seeds it knows next to nothing.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from lottery.analysis.paired import all_equal, difference, geometric_interval, holm
from lottery.analysis.report.document import ABSENT, between, listed, number, p_value, plus_minus
from lottery.analysis.report.sources import Source
from lottery.analysis.statistics import FEWEST

FEW = f"of fewer than {FEWEST} seeds the value of each, or that which they share"
"""How `told` and `ratio` write what has no interval."""


def untested(source: Source) -> str:
    """Why values, one per seed, are not tested for being zero; empty where they can be."""
    if len(source.values) < FEWEST:
        return f"n = {len(source.values)}"
    return "all equal" if all_equal(np.array(_values(source))) else ""


def reasons(sources: Iterable[Source]) -> str:
    """Why none of several sources is tested; empty if one is."""
    found = [untested(source) for source in sources]
    return listed(dict.fromkeys(found)) if all(found) else ""


def corrected(sources: Sequence[Source]) -> list[float]:
    """Holm's p of each source's values being zero; nan, and not counted, where it is not tested."""
    nan = float("nan")
    return [
        float(p)
        for p in holm([nan if untested(s) else difference(_values(s)).t_p for s in sources])
    ]


def told(source: Source, scale: float = 1, digits: int = 2, sign: bool = False) -> str:
    """Mean ± half of the 95 % t-interval; of fewer seeds than FEWEST the value of each, once."""
    if len(source.values) >= FEWEST:
        return plus_minus(source.interval(), scale, digits, sign)
    texts = dict.fromkeys(_each(source, scale, digits, sign))
    return ", ".join(texts) or ABSENT


def ratio(source: Source) -> str:
    """Geometric mean of ratios and the ends of its interval; of few seeds the value of each."""
    if len(source.values) >= FEWEST:
        mean, low, high, _ = geometric_interval(_values(source))
        return f"{number(mean)}× ({between(low, high)})"
    return ", ".join(f"{text}×" for text in dict.fromkeys(_each(source, 1, 2, sign=False)))


def with_test(source: Source, p: float, scale: float = 1, digits: int = 2) -> tuple[str, str]:
    """A difference by its mean or values, and what its test says or why there is none.

    p: Holm's, by `corrected`.
    """
    why = untested(source)
    if why:
        return ", ".join(_each(source, scale, digits, sign=True)), f"({why}: not tested)"
    return plus_minus(source.interval(), scale, digits, sign=True), f"(p {p_value(p)})"


def _each(source: Source, scale: float, digits: int, sign: bool) -> list[str]:
    return [number(scale * value, digits, sign) for value in _values(source)]


def _values(source: Source) -> list[float]:
    return [value for _, value in source.values]
