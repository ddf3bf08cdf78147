"""Pieces of Markdown, and how a number is written for a reader."""

import math
import re
from collections.abc import Iterable, Sequence

from lottery.analysis.statistics import Interval

ABSENT = "–"
BAR = "\\|"
"""A bar that does not end a table's cell."""


def table(header: Sequence[str], rows: Iterable[Sequence[str]], aligned: str = "") -> str:
    """A pipe table; `aligned` has a letter per column, l or r (by default all are set left).

    >>> print(table(["a", "b"], [["x", "1"]], aligned="lr"))
    | a | b |
    |---|---:|
    | x | 1 |
    """
    letters = aligned or "l" * len(header)
    rules = ["---:" if letter == "r" else "---" for letter in letters]
    lines = [f"| {' | '.join(header)} |", f"|{'|'.join(rules)}|"]
    lines += [f"| {' | '.join(cell.replace('|', BAR) for cell in row)} |" for row in rows]
    return "\n".join(lines)


def anchor(heading: str) -> str:
    """The fragment that leads to a heading, as GitHub makes it.

    >>> anchor("How to make it again")
    'how-to-make-it-again'
    """
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def number(value: float, digits: int = 2, sign: bool = False) -> str:
    """A number with a true minus sign.

    >>> number(-0.5), number(0.123, sign=True), number(-0.001), number(float("nan"))
    ('−0.50', '+0.12', '0.00', '–')
    """
    if math.isnan(value):
        return ABSENT
    rounded = round(value, digits) + 0.0
    text = f"{rounded:{'+' if sign and rounded else ''},.{digits}f}"
    return text.replace("-", "−")


def plus_minus(interval: Interval, scale: float = 1, digits: int = 2, sign: bool = False) -> str:
    """Mean and half width of a symmetric interval, the mean alone where n < 2.

    >>> plus_minus(Interval(0.5, 0.4, 0.6, 3), scale=100)
    '50.00 ± 10.00'
    """
    mean = number(scale * interval.mean, digits, sign)
    if math.isnan(interval.low):
        return mean
    return f"{mean} ± {number(scale * (interval.high - interval.mean), digits)}"


def between(low: float, high: float, scale: float = 1, digits: int = 2) -> str:
    """An interval by its ends.

    >>> between(-0.01, 0.02, scale=100), between(float("nan"), 1)
    ('−1.00 to 2.00', '–')
    """
    if math.isnan(low):
        return ABSENT
    return f"{number(scale * low, digits)} to {number(scale * high, digits)}"


def p_value(p: float) -> str:
    """Two or three digits, and never 0.

    >>> p_value(0.0312), p_value(0.5), p_value(0.0002), p_value(float("nan"))
    ('0.031', '0.50', '< 0.001', '–')
    """
    if math.isnan(p):
        return ABSENT
    return "< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.0995 else f"{p:.2f}"


def p_text(p: float) -> str:
    """A p-value in a sentence.

    >>> p_text(0.5), p_text(0.0002)
    ('p = 0.50', 'p < 0.001')
    """
    text = p_value(p)
    return f"p {text}" if text.startswith("<") else f"p = {text}"


def listed(items: Iterable[str]) -> str:
    """Words in a row.

    >>> listed(["a", "b", "c"]), listed(["a"]), listed([])
    ('a, b and c', 'a', '')
    """
    *most, last = list(items) or [""]
    return f"{', '.join(most)} and {last}" if most else last


def points(size: float) -> str:
    """Percentage points in words.

    >>> points(0.5), points(1.0)
    ('0.5 points', '1 point')
    """
    return f"{size:g} point{'' if size == 1 else 's'}"


def nested(head: str, points: Iterable[str]) -> str:
    """A point of a list with points below it; goes to any depth.

    >>> print(nested("a:", ["b", nested("c:", ["d"])]))
    a:
        - b
        - c:
            - d
    """
    below = (point.replace("\n", "\n    ") for point in points)
    return "".join([head, *(f"\n    - {point}" for point in below)])


def duration(seconds: float) -> str:
    """A length of time in two of its units.

    >>> duration(5527.4), duration(90), duration(12)
    ('1 h 32 min', '2 min', '12 s')
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
