"""Tables of accuracy over weights remaining: schemes, the unpruned network, and controls."""

import pandas as pd

from lottery.analysis.figures.axes import percent_of
from lottery.analysis.figures.style import branch_look, scheme_name, seeds_text
from lottery.analysis.report.document import listed, table
from lottery.analysis.report.sources import Source, Sources, of_rows, rows_of
from lottery.analysis.report.study import Study
from lottery.analysis.report.tested import FEW, told
from lottery.analysis.statistics import FEWEST

ACCURACY = "test_accuracy"


def accuracy(study: Study, sources: Sources) -> str:
    """Test accuracy of the tickets and of the unpruned network at every level."""
    levels = study.first_variant()
    tickets = levels[levels["branch"] == "ticket"]
    dense = levels[levels["branch"] == "dense"]
    if tickets.empty:
        return "No tickets in the tables."
    inits = [init for init in study.inits if init in set(tickets["init"])]
    rows, counts = [], []
    for level, at_level in tickets.groupby("level"):
        row = [str(level), f"{100 * at_level['weights_remaining'].mean():.3g}"]
        columns = [_source(at_level[at_level["init"] == init], scheme_name(init)) for init in inits]
        if len(inits) > 1:
            columns.append(_source(at_level, "mean of schemes"))
        if len(dense):
            columns.append(_source(dense[dense["level"] == level], branch_look("dense")[0]))
        for source in columns:
            interval = source.interval()
            counts += [interval.n] if interval.n else []
            row.append(sources.link(source, told(source, 100)) if interval.n else "")
        rows.append(row)
    header = ["Level", percent_of(study.left), *map(scheme_name, inits)]
    header += ["All schemes"] if len(inits) > 1 else []
    header += ["Unpruned, same total steps"] if len(dense) else []
    return (
        "Test accuracy (%) at the end of a level, mean ± half of the 95 % t-interval over "
        f"{seeds_text(counts)}{_few(counts)}. Where schemes are pooled, the schemes of a seed are "
        "averaged first. Every number leads to the rows that it comes from.\n\n"
        + table(header, rows, aligned="r" * len(header))
    )


def _few(counts: list[int]) -> str:
    """What takes the interval's place, where there is none."""
    return f", {FEW}" if min(counts, default=FEWEST) < FEWEST else ""


def controls(study: Study, sources: Sources, variant: str | None = None) -> str:
    """Ticket minus control at each level that has both, paired by scheme and seed.

    variant: the study's first by default.
    """
    levels = study.variant(variant or study.variants[0])
    tickets = levels[levels["branch"] == "ticket"]
    others = levels[~levels["branch"].isin(["ticket", "dense"])]
    if others.empty or tickets.empty:
        return ""
    branches = list(dict.fromkeys(others["branch"]))
    rows, counts = [], []
    for level, at_level in others.groupby("level"):
        own = tickets[tickets["level"] == level]
        if own.empty:
            continue
        row = [str(level), f"{100 * own['weights_remaining'].mean():.3g}"]
        for branch in branches:
            source = _ticket_minus(own, at_level[at_level["branch"] == branch], branch, variant)
            interval = source.interval()
            counts += [interval.n] if interval.n else []
            text = told(source, 100, sign=True)
            row.append(sources.link(source, text) if interval.n else "")
        rows.append(row)
    header = ["Level", percent_of(study.left), *(branch_look(branch)[0] for branch in branches)]
    if not counts:
        return ""
    return (
        "Ticket minus control, test accuracy in percentage points at the end of a level, mean ± "
        f"half of the 95 % t-interval over {seeds_text(counts)}{_few(counts)}; above zero the "
        "ticket is better. Draws and schemes of a seed are averaged first.\n\n"
        + table(header, rows, aligned="r" * len(header))
    )


def _ticket_minus(
    tickets: pd.DataFrame, controls: pd.DataFrame, branch: str, variant: str | None
) -> Source:
    """The difference per seed, over the schemes and seeds that have the control."""
    of_tickets, of_controls = (
        pd.MultiIndex.from_frame(rows[["init", "seed"]]) for rows in (tickets, controls)
    )
    paired = tickets[of_tickets.isin(of_controls)]
    controls = controls[of_controls.isin(of_tickets)]
    level = int(controls["level"].iloc[0]) if len(controls) else -1
    whose = f", variant {variant}" if variant else ""
    return of_rows(
        f"Ticket minus control: {branch_look(branch)[0]}, level {level}{whose}",
        ACCURACY,
        f"branch = ticket, less branch = {branch}, at level {level}{whose}",
        (*rows_of(paired, ACCURACY), *rows_of(controls, ACCURACY, minus=True)),
    )


def _source(rows: pd.DataFrame, who: str) -> Source:
    """Test accuracy of the rows of one level and branch."""
    level, branch = ("", "") if rows.empty else (rows["level"].iloc[0], rows["branch"].iloc[0])
    inits = list(dict.fromkeys(rows["init"]))
    return of_rows(
        f"Test accuracy: {who}, level {level}",
        ACCURACY,
        f"branch = {branch}, level = {level}, init = {listed(inits) if inits else ''}",
        rows_of(rows, ACCURACY),
    )
