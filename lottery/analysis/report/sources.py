"""Where every number of a report comes from: the rows it was computed from, and a link to them.

A number is computed from its `Source`, never beside it, so what the appendix lists is what the text
says. `Sources` numbers them in the order in which the text uses them.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import pandas as pd

from lottery.analysis.statistics import Interval, mean_interval


@dataclass(frozen=True)
class Row:
    """One value of one cell: a field of a row of `levels.csv`, or computed from several levels."""

    seed: int
    cell: str
    levels: tuple[int, ...]
    value: float
    minus: bool = False
    """Whether it is on the side that is subtracted, or divided by."""


@dataclass(frozen=True)
class Source:
    """The values behind a number, one per seed, and the rows that they came from."""

    what: str
    """What the number is; the part before a colon is its group in the appendix."""
    column: str
    """Column of the table, or what was computed from it per cell."""
    where: str
    """Which rows of the table were taken."""
    rows: tuple[Row, ...]
    values: tuple[tuple[int, float], ...]
    """(seed, value), sorted; seeds are the independent replicates."""
    how: str = ""
    """How the values come from the rows, where a mean would not say it."""
    table: str = "levels.csv"

    def interval(self) -> Interval:
        """Mean over seeds and its 95 % t-interval."""
        return mean_interval(value for _, value in self.values)


def of_rows(
    what: str, column: str, where: str, rows: Iterable[Row], table: str = "levels.csv"
) -> Source:
    """A source whose values are, per seed, the mean of its rows, less the mean of those subtracted.

    Rows without a value are listed but not counted; a seed that lacks a side has no value.
    """
    rows = _sorted(rows)
    sides: dict[int, dict[bool, list[float]]] = {}
    for row in rows:
        if not math.isnan(row.value):
            sides.setdefault(row.seed, {}).setdefault(row.minus, []).append(row.value)
    needed = {row.minus for row in rows}
    values = tuple(
        (seed, sum((-1 if side else 1) * sum(v) / len(v) for side, v in by_side.items()))
        for seed, by_side in sorted(sides.items())
        if set(by_side) == needed
    )
    return Source(what, column, where, rows, values, table=table)


def _sorted(rows: Iterable[Row]) -> tuple[Row, ...]:
    return tuple(sorted(rows, key=lambda row: (row.seed, row.minus, row.cell, row.levels)))


def rows_of(frame: pd.DataFrame, column: str, minus: bool = False) -> tuple[Row, ...]:
    """A row of `levels.csv` each, with the value of one column."""
    columns = frame["seed"], frame["cell"], frame["level"], frame[column].astype("float64")
    return tuple(
        Row(int(seed), str(cell), (int(level),), float(value), minus)
        for seed, cell, level, value in zip(*columns, strict=True)
    )


def cell_rows(
    frame: pd.DataFrame, column: str, levels: tuple[int, ...], minus: bool = False
) -> tuple[Row, ...]:
    """A row per cell, with a value that was computed from several of its levels."""
    columns = frame["seed"], frame["cell"], frame[column].astype("float64")
    return tuple(
        Row(int(seed), str(cell), levels, float(value), minus)
        for seed, cell, value in zip(*columns, strict=True)
    )


def geometric(what: str, column: str, where: str, rows: Iterable[Row]) -> Source:
    """A source of ratios: its values are, per seed, the geometric mean of its rows."""
    rows = _sorted(rows)
    logs: dict[int, list[float]] = {}
    for row in rows:
        logs.setdefault(row.seed, []).append(math.log(row.value))
    values = ((seed, math.exp(sum(v) / len(v))) for seed, v in sorted(logs.items()))
    return Source(what, column, where, rows, tuple(values), "Means are geometric.")


@dataclass
class Sources:
    """Hands out numbers as links, and prints the appendix they lead to."""

    found: dict[Source, str] = field(default_factory=dict)
    """Sources and their marks, in the order of first use."""

    def link(self, source: Source, text: str) -> str:
        """Text that leads to the appendix entry of `source`.

        >>> source = of_rows("accuracy", "test_accuracy", "level = 0", [Row(0, "a", (0,), 0.5)])
        >>> Sources().link(source, "50 %")
        '[50 %](#e1)'
        """
        mark = self.found.setdefault(source, f"e{len(self.found) + 1}")
        return f"[{text}](#{mark})"

    def appendix(self) -> str:
        """All entries, grouped by what they are about; Markdown with an anchor for each.

        Cells are written as c1, c2, ...; what these stand for is listed first.
        """
        names = sorted({row.cell for source in self.found for row in source.rows})
        keys = {name: f"c{number}" for number, name in enumerate(names, start=1)}
        groups = {"Cells": [f"- **{key}** `{name}`" for name, key in keys.items()]}
        for source, mark in self.found.items():
            group = source.what.partition(":")[0]
            groups.setdefault(group, []).append(_entry(mark, source, keys))
        return "\n\n".join(
            f"<details>\n<summary>{title} ({len(entries)})</summary>\n\n"
            + "\n".join(entries)
            + "\n\n</details>"
            for title, entries in groups.items()
        )


def _entry(mark: str, source: Source, keys: dict[str, str]) -> str:
    by_seed: dict[int, dict[tuple[bool, str], list[Row]]] = {}
    for row in source.rows:
        cells = by_seed.setdefault(row.seed, {})
        cells.setdefault((row.minus, row.cell), []).append(row)
    same = len({row.levels for row in source.rows}) == 1
    at = f" All at {_levels(source.rows[0].levels)}." if same else ""
    about = f"{source.what}. `{source.column}` of `{source.table}` where {source.where}.{at}"
    lines = [f'- <a id="{mark}"></a>**{mark}** {about}{" " if source.how else ""}{source.how}']
    values = dict(source.values)
    for seed, cells in sorted(by_seed.items()):
        alone = sum(map(len, cells.values())) == 1
        total = "" if alone or seed not in values else f"{_exact(values[seed])} from "
        texts = [
            f"{'− ' if minus else ''}{_values(rows)} ({keys[cell]}{'' if same else _at(rows)})"
            for (minus, cell), rows in cells.items()
        ]
        lines.append(f"    - seed {seed}: {total}{'; '.join(texts)}")
    return "\n".join(lines)


def _values(rows: list[Row]) -> str:
    return ", ".join(_exact(row.value) for row in rows)


def _at(rows: list[Row]) -> str:
    """Levels of a cell's rows, in their order."""
    return f" {_levels(rows[0].levels if len(rows) == 1 else [row.levels[0] for row in rows])}"


def _exact(value: float) -> str:
    """Enough digits to find the value in the table and to compute with it."""
    return "none" if math.isnan(value) else f"{value:.7g}"


def _levels(levels: Iterable[int]) -> str:
    levels = list(levels)
    if len(levels) == 1:
        return f"level {levels[0]}"
    if len(levels) > 2 and levels == list(range(levels[0], levels[-1] + 1)):
        return f"levels {levels[0]}–{levels[-1]}"
    return "levels " + ", ".join(map(str, levels))
