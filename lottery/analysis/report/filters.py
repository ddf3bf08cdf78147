"""Studies of whole filters: how much smaller each variant makes the network, and at what cost."""

from typing import NamedTuple

import pandas as pd

from lottery.analysis import frames
from lottery.analysis.contrasts import SIGNIFICANT
from lottery.analysis.figures.filters import ways
from lottery.analysis.figures.style import seeds_text
from lottery.analysis.report.accuracy import controls
from lottery.analysis.report.document import ABSENT, listed, plus_minus, table
from lottery.analysis.report.published import beside
from lottery.analysis.report.sources import Source, Sources, of_rows, rows_of
from lottery.analysis.report.study import Study
from lottery.analysis.report.tested import corrected, reasons, untested, with_test
from lottery.analysis.sizes import at_last_level, of_filters, sizes
from lottery.words import plural

TITLE = "Filters"
QUESTION = "**Which filters can a network do without, and does it matter how they go?**"
"""Of studies of one scheme."""
CHANCE = "random_filters"
"""Criterion with which others are compared, where the study has it."""
_KEY = ["init", "seed", "level"]


def filters(study: Study, sources: Sources) -> str:
    """Error, reduction and MACs of each variant at its last level, and differences at each.

    Where walks of detectors are stopped, the differences alone: their own section has the sizes at
    a level that is right for each.
    """
    if not of_filters(study.levels):
        return ""
    known = sizes(study.levels).assign(error=lambda rows: 1 - rows["test_accuracy"])
    if not (known["level"] > 0).any():
        return ""
    variants = [name for name in study.variants if name in set(known["variant"])]
    parts = [] if _has_own_sizes(study) else [_last(known, variants, sources)]
    if len(variants) > 1:
        parts.append(_differences(study, known, variants, sources))
    parts += [_tickets(study, name, sources) for name in variants[1:]]
    parts.append(beside(study, known))
    return "\n\n".join(part for part in parts if part)


def _tickets(study: Study, variant: str, sources: Sources) -> str:
    """Tickets of a variant that rewinds against their controls, which the first has elsewhere."""
    if frames.settings(study.config, variant, "rewind").get("mode") != "weights":
        return ""
    text = controls(study, sources, variant)
    return text and f"### Filter tickets: {variant}\n\n{text}"


def _last(known: pd.DataFrame, variants: list[str], sources: Sources) -> str:
    last = at_last_level(known)
    rows = []
    for name in variants:
        own = last[last["variant"] == name]
        start = known[(known["variant"] == name) & (known["level"] == 0)]
        level = int(own["level"].iloc[0])
        row = [name, str(level)]
        for what, rows_at in (("error", start), ("error", own)):
            row.append(_number(name, rows_at, what, sources))
        row += [
            _number(name, own, what, sources) for what in ("parameters_removed", "macs_removed")
        ]
        rows.append([*row, str(own["seed"].nunique())])
    header = ["Variant", "Level", "Unpruned error (%)", "Error (%)", "Parameters removed (%)",
              "MACs removed (%)", "n"]  # fmt: skip
    return (
        "At each variant's last level: test error, and what is gone once pruned filters are "
        "removed from the network, of all its parameters (weights, biases, batch norm) and of its "
        "multiply-accumulates for one image. Mean ± half of the 95 % t-interval over "
        f"{seeds_text(last.groupby('variant')['seed'].nunique())}, schemes of a seed averaged "
        "first.\n\n" + table(header, rows, aligned="l" + "r" * (len(header) - 1))
    )


def _number(name: str, rows: pd.DataFrame, column: str, sources: Sources) -> str:
    level = int(rows["level"].iloc[0])
    source = of_rows(
        f"Filters: {name}, {column.replace('_', ' ')}, level {level}",
        column,
        f"variant = {name}, branch = ticket, level = {level}; error is 1 − `test_accuracy`, what "
        "is removed 1 − `parameters` (or `macs`) over those of level 0",
        rows_of(rows, column),
    )
    return sources.link(source, plus_minus(source.interval(), 100))


def references(study: Study, variants: list[str]) -> dict[str, str]:
    """Each variant's reference: random filters removed the same way; without, the first variant."""
    chance = {
        way: variant
        for way, group in ways(variants).items()
        for variant in group.values()
        if frames.settings(study.config, variant, "prune").get("criterion") == CHANCE
    }
    found = {
        variant: chance.get(way, study.variants[0])
        for way, group in ways(variants).items()
        for variant in group.values()
    }
    return {v: found[v] for v in variants if found[v] != v and found[v] in variants}


class _Test(NamedTuple):
    """Accuracy less that of the reference at a level, and Holm's p over all of a study."""

    source: Source
    p: float


def _tests(known: pd.DataFrame, of: dict[str, str]) -> dict[tuple[str, int], _Test]:
    """By variant and level. of: each variant's reference."""
    found = {
        (name, level): source
        for name, reference in of.items()
        for level in sorted(set(known.loc[known["level"] > 0, "level"]))
        if (source := _less(known[known["level"] == level], name, reference)).values
    }
    p = corrected(list(found.values()))
    return {key: _Test(found[key], q) for key, q in zip(found, p, strict=True)}


def short(study: Study, sources: Sources) -> str:
    """A point for the short answer: which variants differ from their reference, and where."""
    if not of_filters(study.levels) or study.detecting:
        return ""
    known = sizes(study.levels)
    of = references(study, study.variants)
    tests = _tests(known, of)
    if not tests:
        return ""
    shown: dict[bool, list[str]] = {True: [], False: []}
    for (name, level), test in tests.items():
        if test.p < SIGNIFICANT:
            interval = test.source.interval()
            text = sources.link(test.source, plus_minus(interval, 100, sign=True))
            shown[interval.mean > 0].append(f"`{name}` at level {level} ({text} pp)")
    sides = {"above": shown[True], "below": shown[False]}
    told = [f"{side} 0 in {listed(names)}" for side, names in sides.items() if names]
    than = listed(f"`{name}`" for name in dict.fromkeys(of.values()))
    if why := reasons(test.source for test in tests.values()):
        return (
            "**Does it matter which filters go, and how?** Test accuracy at equal level less that "
            f"of a reference (of {than}) is not tested ({why}). [The values](#filters)."
        )
    made = [test.source for test in tests.values() if not untested(test.source)]
    counts = seeds_text([len(source.values) for source in made])
    shown_to = f"shown to lie {'; '.join(told)}. No other difference is shown,"
    if not told:
        shown_to = "no difference is shown,"
    return (
        "**Does it matter which filters go, and how?** Test accuracy at equal level less that of a "
        f"reference (of {than}), {plural(len(made), 'test')} over {counts}, Holm's p below "
        f"{SIGNIFICANT:g}: {shown_to} which does not make them equal. [All of them](#filters)."
    )


def _differences(study: Study, known: pd.DataFrame, variants: list[str], sources: Sources) -> str:
    """Accuracy less that of the reference at equal level, corrected over the table."""
    of = references(study, variants)
    pruned = sorted(set(known.loc[known["level"] > 0, "level"]))
    found = _tests(known, of)
    if not found:
        return ""
    why = reasons(test.source for test in found.values())
    rows = []
    for name, reference in of.items():
        row = [name, reference]
        for level in pruned:
            if (name, level) not in found:
                row.append(ABSENT)
                continue
            source, p = found[name, level]
            text, said = with_test(source, p, 100)
            row.append(sources.link(source, text) + ("" if why else f" {said}"))
        rows.append(row)
    counts = seeds_text([test.source.interval().n for test in found.values()])
    how = f"mean ± half of the 95 % t-interval over {counts}, with Holm's p over the table"
    if why:
        how = f"the value of each seed ({why}: not tested)"
    header = ["Variant", "Less", *(f"Level {level} (pp)" for level in pruned)]
    return (
        "Test accuracy less that of the reference at equal level, paired by scheme and seed: "
        f"percentage points, {how}. The reference is random filters pruned in the same way where "
        "the study has them, else its first variant. How much a level removes may differ"
        f"{_unequal(study)}.\n\n" + table(header, rows, aligned="ll" + "r" * len(pruned))
    )


def _has_own_sizes(study: Study) -> bool:
    return study.detecting and study.ends_early


def _unequal(study: Study) -> str:
    """How else variants differ at equal level."""
    shown = ", which the table above shows"
    text = " where all layers are ranked together" if _has_own_sizes(study) else shown
    anew = [f"`{name}`" for name in study.variants if study.starts_anew(name)]
    if study.detecting and 0 < len(anew) < len(study.variants):
        text += (
            f"; and so may the training behind it: {listed(anew)} start each level from the "
            "unpruned network, the others, which this favours, from the level before"
        )
    return text


def _less(known: pd.DataFrame, name: str, reference: str) -> Source:
    own, base = (
        known[known["variant"] == variant].set_index(_KEY) for variant in (name, reference)
    )
    both = own.index.intersection(base.index)
    own, base = (rows.loc[both].reset_index() for rows in (own, base))
    level = int(known["level"].iloc[0])
    return of_rows(
        f"Filters: {name} less {reference}, level {level}",
        "test_accuracy",
        f"branch = ticket, level = {level}: variant = {name} less variant = {reference}",
        (*rows_of(own, "test_accuracy"), *rows_of(base, "test_accuracy", minus=True)),
    )
