"""Do schemes differ? Declared contrasts with intervals, corrected tests and equivalence tests."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from lottery.analysis.contrasts import Contrast, all_pairs, contrast_table, declared, scheme_effect
from lottery.analysis.endpoints import endpoints, levels_above, margins
from lottery.analysis.figures.axes import percent_of
from lottery.analysis.figures.style import seeds_text
from lottery.analysis.power import detectable, seeds_needed
from lottery.analysis.report.document import (
    ABSENT,
    between,
    number,
    p_text,
    p_value,
    plus_minus,
    table,
)
from lottery.analysis.report.sources import Row, Source, Sources, cell_rows, of_rows, rows_of
from lottery.analysis.report.study import Study
from lottery.analysis.sizes import left
from lottery.words import plural

DENSE_ENOUGH = 0.05
"""Weights remaining down to which the margin of equivalence was declared."""
POWER = "80 %"
FEW = 10
"""Seeds below which a bootstrap interval is too narrow, and a rank test coarse."""


@dataclass(frozen=True)
class Endpoint:
    """A number per ticket by which schemes are compared."""

    title: str
    short: str
    """The title where there are several in a sentence."""
    column: str
    frame: pd.DataFrame
    """Rows of `endpoints.endpoints`, of tickets."""
    levels: tuple[int, ...]
    margin: float | None
    """Smaller differences are negligible; in the column's unit."""
    scale: float = 100
    unit: str = "pp"

    def table(self, contrasts: Sequence[Contrast]) -> pd.DataFrame:
        """Every contrast with its tests, corrected over the contrasts of this endpoint."""
        return contrast_table(self.frame, self.column, contrasts, self.margin)

    def source(self, contrast: Contrast) -> Source:
        """The cells on both sides of a contrast."""
        return of_rows(
            f"Contrast of {self.title}: {contrast.name}",
            self.column,
            f"variant = {self.frame['variant'].iloc[0]}, branch = ticket, computed per cell over "
            f"its levels: {', '.join(contrast.plus)} less {', '.join(contrast.minus)}",
            contrast_rows(contrast, self.frame, self.column, self.levels),
        )

    def estimate(self, contrast: Contrast, sources: Sources) -> str:
        """The contrast's mean and interval with their unit, linked to its cells."""
        source = self.source(contrast)
        text = f"{plus_minus(source.interval(), self.scale, 3, sign=True)} {self.unit}"
        return sources.link(source, text)


def contrast_rows(
    contrast: Contrast, frame: pd.DataFrame, column: str, levels: tuple[int, ...]
) -> list[Row]:
    """Cells on both sides, of the seeds that have all the schemes of the contrast."""
    frame = frame[frame["seed"].isin(contrast.values(frame, column).index)]
    return [
        row
        for inits, minus in ((contrast.plus, False), (contrast.minus, True))
        for row in cell_rows(frame[frame["init"].isin(inits)], column, levels, minus)
    ]


def compared(levels: pd.DataFrame) -> list[Endpoint]:
    """What schemes are compared by, the primary endpoint first; levels: of one variant."""
    margin = margins(str(levels["model"].iloc[0])).equivalence
    every, above = levels_above(levels, 0), levels_above(levels, DENSE_ENOUGH)
    mean, enough = "mean_accuracy", f"{100 * DENSE_ENOUGH:g} % ({left(levels)})"
    log, down_to = "log2_critical_density", f"accuracy down to {100 * DENSE_ENOUGH:g} %"
    over, less = "accuracy, mean of all pruned levels", "accuracy less unpruned"
    wanted: list[tuple[str, str, str, list[int], float | None, float, str]] = [
        (f"accuracy, mean of pruned levels with at least {enough}", down_to, mean, above,
         margin, 100, "pp"),
        (over, "accuracy of all levels", mean, every, margin, 100, "pp"),
        (f"{less}, mean of all pruned levels", less, "area", every, margin, 100, "pp"),
        ("critical density", "critical density", log, every, None, 1, "doublings"),
    ]  # fmt: skip
    found = []
    for title, short, column, at, bound, scale, unit in wanted:
        if not at or (at is above and above == every):
            continue
        frame = endpoints(levels, at=at)
        frame = frame[frame["branch"] == "ticket"]
        if len(frame):
            found.append(Endpoint(title, short, column, frame, tuple(at), bound, scale, unit))
    return found


def contrasts(study: Study, sources: Sources) -> str:
    """The declared contrasts of each endpoint, the one-way test, and all pairs."""
    parts: list[str] = []
    seeds: list[int] = []
    declarations = declared(study.inits)
    for endpoint in compared(study.first_variant()) if declarations else []:
        rows = []
        for contrast, row in zip(
            declarations, endpoint.table(declarations).itertuples(), strict=True
        ):
            source, scale = endpoint.source(contrast), endpoint.scale
            seeds.append(row.n)
            linked = [
                plus_minus(source.interval(), scale, digits=3, sign=True),
                between(row.bca_low, row.bca_high, scale, 3),
                str(row.n),
                p_value(row.t_p),
                p_value(row.wilcoxon_p),
                p_value(row.holm_p),
                p_value(row.tost_p),
            ]
            linked += _power(row, endpoint)
            cells = [sources.link(source, text) if text != ABSENT else text for text in linked]
            rows.append([contrast.name, *cells, row.verdict])
        bound = (
            f"TOST margin ±{number(endpoint.scale * endpoint.margin, 1)} {endpoint.unit}"
            if endpoint.margin
            else "No margin declared, so equivalence is not tested"
        )
        header = ["Contrast", f"Difference ({endpoint.unit}), 95 % t", "95 % BCa", "n", "p (t)",
                  "p (Wilcoxon)", "p (Holm)", "p (TOST)", "Detectable", "Seeds for margin",
                  "Verdict"]  # fmt: skip
        heading = endpoint.title[0].upper() + endpoint.title[1:]
        body = table(header, rows, aligned="lrrrrrrrrrl") + _one_way(endpoint, sources)
        parts.append(f"### {heading}\n\n{bound}.\n\n{body}")
    if not parts:
        return ""
    return (
        f"{_explained(max(seeds))}\n\n"
        + "\n\n".join(parts)
        + _by_level(study, sources, declarations)
    )


def _explained(n: int) -> str:
    """What the columns are, and what n seeds cannot show."""
    least = 2.0 ** (1 - n)
    narrow = "; with few seeds, as here, it is too narrow" if n < FEW else ""
    wilcoxon = (
        f" With n = {n} the Wilcoxon test cannot go below {least:.4g}." if 1 < n < FEW else ""
    )
    return (
        "Schemes under one seed share data and order of batches, so a contrast has one difference "
        "per seed, and the seeds are the sample. *t*: mean ± half of the 95 % t-interval. *BCa*: "
        f"bootstrap interval, bias-corrected and accelerated{narrow}. *Holm*: p of the t test "
        f"corrected for the number of contrasts of a table.{wilcoxon} *TOST*: two one-sided tests; "
        "below 0.05 the schemes are shown to differ by less than the margin, which a high p of the "
        "other tests does not show. *Detectable*: least difference that this many seeds find with "
        f"a chance of {POWER}; *seeds for margin*: how many it takes for a difference as large as "
        "the margin. Contrasts *differ* at 5 % after Holm; that they are *equivalent* is at 5 % "
        "each."
    )


def _power(row: Any, endpoint: Endpoint) -> list[str]:
    """Detectable difference, and seeds needed to detect the margin."""
    n, deviation = row.n, row.deviation
    if n < 2 or not deviation > 0:
        return [ABSENT, ABSENT]
    least = number(endpoint.scale * detectable(deviation, n), 2)
    return [least, str(seeds_needed(deviation, endpoint.margin)) if endpoint.margin else ABSENT]


def _one_way(endpoint: Endpoint, sources: Sources) -> str:
    """All schemes at once: analysis of variance with seeds as blocks, and every pair's TOST."""
    effect = scheme_effect(endpoint.frame, endpoint.column)
    pairs = all_pairs(endpoint.frame["init"])
    if effect is None or len(pairs) < 2:
        return ""
    every = endpoint.table(pairs)
    widest = pairs[int(every["mean"].abs().idxmax())]
    whole = of_rows(
        f"All schemes at once: {endpoint.title}",
        endpoint.column,
        "branch = ticket, computed per cell over its levels by `lottery.analysis.endpoints`",
        cell_rows(endpoint.frame, endpoint.column, endpoint.levels),
    )
    freedom = f"{effect.schemes - 1}, {(effect.schemes - 1) * (effect.seeds - 1)}"
    f_test = f"F({freedom}) = {number(effect.f)}, {p_text(effect.p)}"
    source = endpoint.source(widest)
    gap = f"{plus_minus(source.interval(), endpoint.scale, 3, sign=True)} {endpoint.unit}"
    spread = ""
    if not math.isnan(effect.spread_p):
        spread = f"; Brown-Forsythe test of equal spread over seeds: {p_text(effect.spread_p)}"
    text = (
        f"\n\nAll {effect.schemes} schemes at once, seeds as blocks: "
        f"{sources.link(whole, f_test)}{spread}. The pair furthest apart, of {len(pairs)}, "
        f"is {widest.name}: {sources.link(source, gap)}"
    )
    if endpoint.margin is None:
        censored = int(endpoint.frame["censored"].sum())
        if censored:
            count = f"{censored} of {plural(len(endpoint.frame), 'ticket')}"
            text += f"; {count} never fall so low, which hides differences"
        return f"{text}."
    alike = int((every["tost_p"] < 0.05).sum())
    return f"{text}; {alike} of the {len(pairs)} pairs are equivalent within the margin."


def _by_level(study: Study, sources: Sources, declarations: list[Contrast]) -> str:
    """Each contrast at each level, Holm's correction over all of them."""
    tickets = study.first_variant().query("branch == 'ticket'")
    results = contrast_table(tickets, "test_accuracy", declarations, by=("level",))
    results = results.set_index(["level", "contrast"])
    rows = []
    for level, at_level in tickets.groupby("level"):
        row = [str(level), f"{100 * at_level['weights_remaining'].mean():.3g}"]
        for contrast in declarations:
            test = results.loc[(level, contrast.name)]
            seeds = at_level[
                at_level["seed"].isin(contrast.values(at_level, "test_accuracy").index)
            ]
            source = of_rows(
                f"Contrast of test accuracy at a level: {contrast.name}, level {level}",
                "test_accuracy",
                f"branch = ticket, level = {level}",
                (
                    *rows_of(seeds[seeds["init"].isin(contrast.plus)], "test_accuracy"),
                    *rows_of(seeds[seeds["init"].isin(contrast.minus)], "test_accuracy", True),
                ),
            )
            texts = plus_minus(source.interval(), 100, sign=True), test["t_p"], test["holm_p"]
            row += [sources.link(source, t if isinstance(t, str) else p_value(t)) for t in texts]
        rows.append(row)
    header = ["Level", percent_of(study.left)]
    for contrast in declarations:
        header += [f"{contrast.name} (pp)", "p (t)", "p (Holm)"]
    seeds_of = seeds_text([int(n) for n in results["n"]])
    return (
        "\n\n### Contrasts level by level\n\nTest accuracy in percentage points, mean ± half of "
        f"the 95 % t-interval over {seeds_of}; Holm's correction over all "
        f"{plural(len(results), 'test')} of the "
        "table.\n\n" + table(header, rows, aligned="r" * len(header))
    )
