"""Published claims put to the tables: what was said, what we find, and the verdict."""

from collections import Counter
from collections.abc import Iterable, Sequence

from lottery.analysis.measures import Measure
from lottery.analysis.report_document import between, listed, number, plural, table
from lottery.analysis.report_sources import Row, Source, Sources
from lottery.analysis.verdicts import NOT_REPRODUCED, NOT_TESTED, REPRODUCED, UNDECIDED, Verdict

RULE = (
    "One rule decides every claim. A claim says where a mean lies: above a bound, below one, "
    "within a margin, or at a published size. It is **reproduced** when our 95 % interval lies "
    "wholly where the claim puts the mean (within a margin: when two one-sided tests at 5 % show "
    "it), **not reproduced** when it lies wholly elsewhere or does not hold the published size, "
    "and **undecided at this n** otherwise. The tests are not corrected for the number of claims. "
    "pp: percentage points; ×: a ratio, geometric mean."
)
_ORDER = (REPRODUCED, NOT_REPRODUCED, UNDECIDED)


def verdicts(found: Sequence[Verdict], sources: Sources) -> str:
    """A table of claims for each publication, and those that could not be put to the tables."""
    parts = [RULE] if found else []
    for publication, own in by_publication(found).items():
        tested = [verdict for verdict in own if verdict.verdict != NOT_TESTED]
        lines = [f"### {publication}"]
        if tested:
            lines.append(_table(tested, sources))
        missing = [verdict for verdict in own if verdict.verdict == NOT_TESTED]
        if missing:
            lines.append("Not tested here, for want of data:")
            lines.append("\n".join(
                f"- {verdict.claim.statement} ({_where(verdict)}): "
                f"{verdict.note}." for verdict in missing
            ))  # fmt: skip
        parts.append("\n\n".join(lines))
    return "\n\n".join(parts)


def by_publication(found: Iterable[Verdict]) -> dict[str, list[Verdict]]:
    """Verdicts by the paper that made the claim, in order of first appearance."""
    groups: dict[str, list[Verdict]] = {}
    for verdict in found:
        groups.setdefault(verdict.claim.source.partition(",")[0], []).append(verdict)
    return groups


def tally(found: Iterable[Verdict]) -> str:
    """How many claims went which way.

    >>> tally([])
    'none tested'
    """
    counts = Counter(verdict.verdict for verdict in found)
    return listed(f"{counts[name]} {name}" for name in _ORDER if counts[name]) or "none tested"


def ours(verdict: Verdict) -> str:
    """Our figure with its interval and n: +0.40 pp (0.10 to 0.70), n = 5."""
    interval, unit = verdict.interval, verdict.unit
    mean = number(interval.mean, sign=unit == "pp") + ("×" if unit == "×" else f" {unit}")
    bounds = between(interval.low, interval.high)
    return f"{mean} ({bounds}), n = {interval.n}"


def source_of(verdict: Verdict, measure: Measure) -> Source:
    """The rows that a verdict's figure came from."""
    rows = measure.rows
    return Source(
        f"Verdict: {verdict.claim.id}, variant {verdict.variant}",
        "`, `".join(dict.fromkeys(rows["column"])),
        f"study = {verdict.study}, variant = {verdict.variant}, "
        f"branch = {', '.join(dict.fromkeys(rows['branch']))}",
        tuple(
            Row(int(row.seed), str(row.cell), (int(row.level),), float(row.value), row.part == "b")
            for row in rows.itertuples()
        ),
        tuple((int(seed), float(value)) for seed, value in measure.values.items()),
        f"Per seed: {measure.formula}, in {measure.unit}.",
    )


def _table(tested: Sequence[Verdict], sources: Sources) -> str:
    several = len({verdict.variant for verdict in tested}) > 1
    rows = []
    for verdict in tested:
        claim = verdict.claim
        figure = ours(verdict)
        if verdict.measure is not None:
            figure = sources.link(source_of(verdict, verdict.measure), figure)
        note = f"<br>{verdict.note}" if verdict.note else ""
        rows.append([
            f"{claim.statement} *({_where(verdict)})*",
            *([verdict.variant] if several else []),
            claim.published,
            claim.how,
            figure,
            f"**{verdict.verdict}**{note}",
        ])  # fmt: skip
    header = [
        "Claim",
        *(["Variant"] if several else []),
        "Published",
        "Computed here",
        "Ours",
        "Verdict",
    ]
    return table(header, rows)


def _where(verdict: Verdict) -> str:
    return verdict.claim.source.partition(",")[2].strip() or verdict.claim.source


def summary(found: Sequence[Verdict]) -> list[str]:
    """A sentence per publication for the short answer, naming what was decided."""
    texts = []
    for publication, own in by_publication(found).items():
        tested = [verdict for verdict in own if verdict.verdict != NOT_TESTED]
        if not tested:
            texts.append(
                f"**{publication}**: none of {plural(len(own), 'claim')} could be tested here."
            )
            continue
        text = f"**{publication}**: of {plural(len(tested), 'claim')} tested, {tally(tested)}."
        for name in _ORDER:
            statements = [_named(v) for v in tested if v.verdict == name]
            if statements:
                text += f"\n    - {name[0].upper()}{name[1:]}: {'; '.join(statements)}."
        texts.append(text)
    return texts


def _named(verdict: Verdict) -> str:
    return f"{verdict.claim.statement[0].lower()}{verdict.claim.statement[1:]} ({ours(verdict)})"
