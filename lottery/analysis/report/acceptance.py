"""Whether a custom initialisation works, and whether it does under other pruning methods."""

import math

import pandas as pd

from lottery.analysis.acceptance import (
    MET,
    METHODS,
    SAME_SIGN,
    Acceptance,
    Condition,
    accept,
    held_out,
)
from lottery.analysis.choice import Choice
from lottery.analysis.figures.style import scheme_name, variant_name
from lottery.analysis.report.document import (
    ABSENT,
    anchor,
    between,
    listed,
    nested,
    number,
    p_text,
    plus_minus,
    table,
)
from lottery.analysis.report.sources import Row, Source, Sources, cell_rows, of_rows
from lottery.analysis.report.study import Study

TITLE = "A custom initialisation"
"""Of the section."""

_RULE = (
    "The rule was fixed before any of these studies ran. A scheme works only if, on seeds that "
    "neither the choice nor a fit has seen and against the best standard scheme of that choice, "
    "its area (accuracy less unpruned, mean over pruned levels) is larger on LeNet and on a "
    "convolutional network, with a 95 % t-interval above 0; the difference has this sign in at "
    f"least {SAME_SIGN} of {METHODS} pruning methods; and unpruned accuracy is not lower by more "
    "than 0.1 and 0.3 percentage points. Differences are paired by seed. *Undecided*: the interval "
    "holds 0, or seeds or methods are too few."
)


def acceptance(
    study: Study, others: pd.DataFrame | None, choice: Choice | None, sources: Sources
) -> str:
    """The rule's table, and the effect method by method.

    Empty for a study that has not both schemes of the choice on other seeds than the choice's.
    """
    found = _judged(study, others, choice)
    if choice is None or found is None:
        return ""
    standard = scheme_name(choice.standard)
    rows = [
        [
            condition.name,
            condition.rule,
            _figure(condition, choice, study, sources),
            str(condition.interval.n) if condition.interval.n else ABSENT,
            condition.verdict if condition.verdict == MET else f"**{condition.verdict}**",
        ]
        for condition in found.conditions
    ]
    header = ["Condition", "Rule", "Custom − standard (pp)", "n", "Verdict"]
    first = _networks_sentence(found, choice, study, sources)
    second = _methods_sentence(found, choice, study, sources)
    second += _independence(found)
    parts = [
        f"{_verdict(found, choice)} It was chosen in `{choice.study}` by "
        f"validation accuracy; {standard} is the best standard scheme there.",
        f"**Can an initialisation be built that is more robust than the standard ones?** {first}",
        f"**Does it hold for other pruning methods?** {second}",
        f"{_RULE} {_rests_on(found)}",
        table(header, rows, aligned="llrrl"),
    ]
    if len(found.methods):
        parts.append(_by_method(found, choice, study, sources))
    return "\n\n".join(parts)


def _rests_on(found: Acceptance) -> str:
    """The studies whose tables the verdict needs, which may be more than the report's own."""
    studies = {name for c in found.conditions if len(c.cells) for name in c.cells["study"]}
    named = listed(f"`{name}`" for name in sorted(studies))
    return f"This verdict is read from the tables of {named}: to make it again, run them all."


def short(
    study: Study, others: pd.DataFrame | None, choice: Choice | None, sources: Sources
) -> str:
    """A point for the short answer; empty where the section is."""
    found = _judged(study, others, choice)
    if choice is None or found is None:
        return ""
    head = f"{_verdict(found, choice)} [The rule and its conditions](#{anchor(TITLE)})."
    return nested(f"**Is there a more robust initialisation?** {head}", [
        f"More robust than the standard ones? {_networks_sentence(found, choice, study, sources)}",
        f"Under other pruning methods? {_methods_sentence(found, choice, study, sources)}",
    ])  # fmt: skip


def _judged(study: Study, others: pd.DataFrame | None, choice: Choice | None) -> Acceptance | None:
    if choice is None or held_out(study.levels, choice).empty:
        return None
    return accept(pd.concat([study.levels, others], ignore_index=True), choice)


def _verdict(found: Acceptance, choice: Choice) -> str:
    met = sum(condition.verdict == MET for condition in found.conditions)
    return (
        f"**{scheme_name(choice.chosen)} {found.verdict}**: {met} of {len(found.conditions)} "
        "conditions are met."
    )


def _networks_sentence(found: Acceptance, choice: Choice, study: Study, sources: Sources) -> str:
    where = choice, study, sources
    texts = []
    for condition in found.conditions:
        if not condition.name.startswith("Area on "):
            continue
        name = condition.name.removeprefix("Area on ")
        if condition.interval.n:
            texts.append(
                f"On {name} the area differs by {_difference(condition, *where)} pp "
                f"(n = {condition.interval.n}): {condition.verdict}. "
                f"{_parts_of(name, condition.cells, *where)}"
            )
        else:
            texts.append(f"On {name}: no data yet.")
    return " ".join(texts)


def _methods_sentence(found: Acceptance, choice: Choice, study: Study, sources: Sources) -> str:
    where = choice, study, sources
    if found.methods.empty:
        return "No data yet."
    condition = next(c for c in found.conditions if "methods" in c.name)
    return (
        f"The difference is above 0 in {condition.figure} methods, in the mean of a seed's methods "
        f"{_difference(condition, *where)} pp (n = {condition.interval.n} seeds): "
        f"{condition.verdict}. {_parts_of('pruning methods', condition.cells, *where)}"
    )


def _parts_of(
    name: str, cells: pd.DataFrame, choice: Choice, study: Study, sources: Sources
) -> str:
    """The two accuracies that the area is the difference of."""
    texts = []
    for column in ("mean_accuracy", "unpruned"):
        source = _source(f"{column} on {name}", column, cells, choice, study)
        texts.append(sources.link(source, plus_minus(source.interval(), 100, sign=True)))
    return f"Accuracy over pruned levels differs by {texts[0]} pp, unpruned by {texts[1]} pp."


def _independence(found: Acceptance) -> str:
    """What methods would say together if they were independent, and that they are not."""
    pooled = found.pooled
    if not pooled.interval.n:
        return ""
    mean = plus_minus(pooled.interval, 100, sign=True)
    text = f" Random effects over methods (DerSimonian & Laird 1986) would give {mean} pp"
    text += f", spread between methods τ = {number(100 * pooled.tau)} pp"
    if not math.isnan(pooled.q_p):
        text += f" (Q = {number(pooled.q, 1)}, {p_text(pooled.q_p)})"
    return (
        f"{text}. That takes methods for independent, but they share seeds and unpruned networks: "
        "it is too narrow, and that methods agree says less than it seems."
    )


def _figure(condition: Condition, choice: Choice, study: Study, sources: Sources) -> str:
    """The condition's difference, and what else is compared with the rule."""
    if not condition.interval.n:
        return ABSENT
    difference = _difference(condition, choice, study, sources)
    return "; ".join(part for part in (difference, condition.figure) if part)


def _difference(condition: Condition, choice: Choice, study: Study, sources: Sources) -> str:
    """The condition's difference with its interval, linked to its cells."""
    source = _source(condition.name, condition.column, condition.cells, choice, study)
    return sources.link(source, plus_minus(condition.interval, 100, sign=True))


def _by_method(found: Acceptance, choice: Choice, study: Study, sources: Sources) -> str:
    cells = next(c for c in found.conditions if "methods" in c.name).cells
    rows = []
    for row in found.methods.itertuples():
        own = cells[(cells["study"] == row.study) & (cells["variant"] == row.variant)]
        source = _source(f"Area under {row.variant}", "area", own, choice, study)
        interval = source.interval()
        plain = _source(f"Accuracy under {row.variant}", "mean_accuracy", own, choice, study)
        rows.append([
            variant_name(row.variant),
            f"`{row.study}`",
            sources.link(source, number(100 * row.mean, sign=True)),
            between(interval.low, interval.high, 100),
            sources.link(plain, plus_minus(plain.interval(), 100, sign=True)),
            str(row.n),
        ])  # fmt: skip
    header = ["Method", "Study", "Area, custom − standard (pp)", "95 % t", "Accuracy (pp)", "n"]
    text = (
        "*Accuracy*: the same difference of plain accuracy over pruned levels. A scheme that "
        "trains worse unpruned has less to lose, which the area counts in its favour."
    )
    return f"### Method by method\n\n{text}\n\n{table(header, rows, aligned='llrrrr')}"


def _source(name: str, column: str, cells: pd.DataFrame, choice: Choice, study: Study) -> Source:
    """Cells of both schemes; the table is addressed from the study's folder."""
    rows: list[Row] = []
    for row_of, minus in ((choice.chosen, False), (choice.standard, True)):
        own = cells[cells["init"] == row_of]
        for (first, last), some in own.groupby(["first_level", "last_level"]):
            levels = (0,) if column == "unpruned" else tuple(range(int(first), int(last) + 1))
            rows += cell_rows(some, column, levels, minus)
    names = sorted(set(cells["study"]))
    places = ["levels.csv" if n == study.name else f"../{n}/levels.csv" for n in names]
    return of_rows(
        f"Custom initialisation: {name}",
        column,
        f"branch = ticket, init = {choice.chosen} less init = {choice.standard}, seeds other than "
        f"{', '.join(map(str, choice.seeds))}; per cell by `lottery.analysis.endpoints`",
        rows,
        table=", ".join(places),
    )
