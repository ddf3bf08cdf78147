"""Why: which of the recorded diagnostics explains robustness, how strongly, or that none does."""

from dataclasses import dataclass

import pandas as pd

from lottery.analysis.explain import Endpoint, conclusion, explain, robustness, strongest
from lottery.analysis.figures.diagnostics import TITLES, whole_network
from lottery.analysis.report.document import ABSENT, between, nested, number, p_value, table
from lottery.analysis.report.sources import Row, Source, Sources, of_rows
from lottery.analysis.report.study import Study

EXPLAINED = (
    "Each diagnostic of the tickets, recorded at every level, against three measures of "
    "robustness: accuracy less unpruned (area) against its mean over pruned levels, and accuracy "
    "at a low density against its value there. *ρ*: Spearman's rank correlation over cells "
    "(scheme × seed) with a 95 % bootstrap interval over seeds. *Between* and *within*: the same "
    "among the means of the schemes, and among the deviations from them. *R²*: of predicting the "
    "robustness of a scheme that was left out; below zero it is worse than a guess at the mean. "
    "*p*: permutation test that shuffles schemes and seeds as wholes, so that of four schemes the "
    "order of schemes alone gives no less than 1/12; *Holm*: corrected for all "
    "tests of the table. A diagnostic **explains** if it is significant after correction and "
    "predicts an unseen scheme, **goes along** if it is significant alone. Correlation is all "
    "that this shows: nothing was intervened on."
)


@dataclass(frozen=True)
class Explanation:
    """What `explain` found in the first variant of a study, and the tables it was given."""

    levels: pd.DataFrame
    diagnostics: pd.DataFrame
    results: pd.DataFrame


def explanation(study: Study) -> Explanation | None:
    """What explains robustness in the first variant; None if nothing was recorded."""
    levels = study.first_variant()
    if study.diagnostics is None or "ticket" not in set(levels["branch"]):
        return None
    diagnostics = study.diagnostics[study.diagnostics["variant"] == study.variants[0]]
    if diagnostics.empty:  # another variant's procedure has recorded something
        return None
    results = explain(levels, diagnostics)
    return Explanation(levels, diagnostics, results) if len(results) else None


def short(found: Explanation | None) -> str:
    """A point for the short answer."""
    if found is None:
        return (
            "**Why?** This study recorded no diagnostics, so it cannot say "
            "(`--diagnostics.record true` records them)."
        )
    head = f"**Why?** {conclusion(found.results)} [All of them](#why)."
    explained = strongest(found.results)
    return nested(head, (nested(f"{name}:", texts) for name, texts in explained.items()))


def why(found: Explanation | None, sources: Sources) -> str:
    """Every diagnostic against every measure of robustness."""
    if found is None:
        return ""
    values = whole_network(found.diagnostics)
    measures = {endpoint.name: endpoint for endpoint in robustness(found.levels)}
    rows = []
    for row in found.results.itertuples():
        measure = measures[row.endpoint]
        title = TITLES.get(row.quantity, row.quantity.replace("_", " "))
        recorded = values[values["quantity"] == row.quantity]
        source = _diagnostic(recorded[recorded["level"].isin(measure.levels)], title, measure.name)
        numbers = (
            f"{number(row.rho, sign=True)} ({between(row.low, row.high)})",
            number(row.between, sign=True),
            number(row.within, sign=True),
            number(row.r2),
            p_value(row.p),
            p_value(row.holm_p),
        )
        rows.append([
            title,
            sources.link(_robustness(found.levels, measure), measure.name),
            row.over,
            *(text if text == ABSENT else sources.link(source, text) for text in numbers),
            f"{row.verdict} (n = {row.n})",
        ])  # fmt: skip
    header = ["Diagnostic", "Against", "Over", "ρ", "Between", "Within", "R²", "p", "p (Holm)"]
    results = table([*header, "Verdict"], rows, aligned="lllrrrrrrl")
    return f"**{conclusion(found.results)}**\n\n{EXPLAINED}\n\n{results}"


def _diagnostic(recorded: pd.DataFrame, title: str, against: str) -> Source:
    """A diagnostic's value in each cell, its mean over the levels in question."""
    rows = [
        Row(int(own["seed"].iloc[0]), str(cell), tuple(own["level"]), float(own["value"].mean()))
        for cell, own in recorded.sort_values("level").groupby("cell")
    ]
    quantity = str(recorded["quantity"].iloc[0])
    return of_rows(
        f"Diagnostic: {title}, against {against}",
        "value",
        f"quantity = {quantity}, layer = all (or the mean over layers)",
        rows,
        table="diagnostics.parquet",
    )


def _robustness(levels: pd.DataFrame, measure: Endpoint) -> Source:
    """What is to be explained, in each ticket."""
    tickets = levels[levels["branch"] == "ticket"]
    cells = tickets.drop_duplicates("cell").set_index(["init", "seed"])["cell"]
    rows = [
        Row(int(seed), str(cells[init, seed]), tuple(measure.levels), float(value))
        for (init, seed), value in measure.values.items()
    ]
    single = len(measure.levels) == 1
    column = "test_accuracy" if single else "area"
    return of_rows(f"Robustness explained: {measure.name}", column, "branch = ticket", rows)
