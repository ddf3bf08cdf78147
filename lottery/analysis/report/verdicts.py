"""Published claims put to the tables: what was said, what we find, and the verdict."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from string import ascii_lowercase

from lottery.analysis.claims.measures import Measure
from lottery.analysis.claims.verdicts import (
    NOT_REPRODUCED,
    NOT_TESTED,
    REPRODUCED,
    SCALE,
    UNDECIDED,
    Verdict,
)
from lottery.analysis.figures.style import scheme_name
from lottery.analysis.report.document import (
    ABSENT,
    between,
    listed,
    nested,
    number,
    table,
)
from lottery.analysis.report.sources import Row, Source, Sources
from lottery.words import plural

RULE = (
    "One rule decides every claim. A claim says where a mean lies: above a bound, below one, "
    "within a margin, or at a published size. It is **reproduced** when our 95 % interval lies "
    "wholly where the claim puts the mean (within a margin: when two one-sided tests at 5 % show "
    "it, which is the 90 % interval), **not reproduced** when it lies wholly elsewhere or does not "
    "hold the published size, and **undecided** otherwise. Where values are censored (a loss that "
    "is least at a level's end, an accuracy that never falls so far), the interval reaches as far "
    "as they may, and a figure that is only a bound is marked ≤ or ≥. The tests are not corrected "
    "for the number of claims. pp: percentage points; ×: a ratio, geometric mean."
)
USUAL = 0.95
"""Confidence of intervals that do not say theirs."""
NO_BREAK = "\u00a0"
_FIGURE = re.compile(r", (?:fig|app|sec|tab)\..*$")
"""The place in a publication, at the end of a claim's source."""
_ORDER = (REPRODUCED, NOT_REPRODUCED, UNDECIDED)


def verdicts(found: Sequence[Verdict], sources: Sources) -> str:
    """A table of claims for each publication, and those that could not be put to the tables."""
    parts = [RULE] if found else []
    for publication, own in by_publication(found).items():
        parts.append(f"### {publication}")
        tested = [verdict for verdict in own if verdict.verdict != NOT_TESTED]
        if tested:
            schemes = _schemes(tested)
            parts += [f"All computed on {schemes}."] if schemes else []
            parts.append(_table(tested, sources))
        missing: dict[str, dict[str, None]] = {}  # a claim may be put to several variants
        for verdict in own:
            if verdict.verdict == NOT_TESTED:
                missing.setdefault(verdict.note, {})[_statement(verdict)] = None
        if missing:
            lines = (f"- {nested(f'{note}:', claims)}" for note, claims in missing.items())
            parts.append("Not tested here, for want of data:\n\n" + "\n".join(lines))
    return "\n\n".join(parts)


def by_publication(found: Iterable[Verdict]) -> dict[str, list[Verdict]]:
    """Verdicts by the paper that made the claim, in order of first appearance."""
    groups: dict[str, list[Verdict]] = {}
    for verdict in found:
        groups.setdefault(_FIGURE.split(verdict.claim.source)[0], []).append(verdict)
    return groups


def tally(found: Iterable[Verdict]) -> str:
    """How many claims went which way.

    >>> tally([])
    'none tested'
    """
    counts = Counter(verdict.verdict for verdict in found)
    return listed(f"{counts[name]} {name}" for name in _ORDER if counts[name]) or "none tested"


def ours(verdict: Verdict) -> str:
    """Our figure with its interval on one line: +0.40 pp (0.10 to 0.70).

    An interval of another confidence than 95 % says so. A bound is marked, and has no interval
    where all its values are one and the same last level.
    """
    interval, unit = verdict.interval, verdict.unit
    bound = verdict.measure.bound if verdict.measure else ""
    mean = number(interval.mean, sign=unit == "pp") + ("×" if unit == "×" else f" {unit}")
    mean = f"{bound} {mean}" if bound in ("≤", "≥") else mean
    ends, confidence = between(interval.low, interval.high), verdict.claim.rule.confidence
    if bound and math.isclose(interval.low, interval.high):
        return mean.replace(" ", NO_BREAK)
    other = "" if confidence == USUAL or ends == ABSENT else f", {100 * confidence:g} %"
    return f"{mean} ({ends}{other})".replace(" ", NO_BREAK)


def source_of(verdict: Verdict, measure: Measure) -> Source:
    """The rows that a verdict's figure came from."""
    rows = measure.rows
    return Source(
        f"Verdict: {verdict.claim.id}, variant {verdict.variant}",
        "`, `".join(dict.fromkeys(rows["column"])),
        f"study = {', '.join(dict.fromkeys(rows['study']))}, "
        f"variant = {', '.join(dict.fromkeys(rows['variant']))}, "
        f"branch = {', '.join(dict.fromkeys(rows['branch']))}, "
        f"init = {', '.join(sorted(set(rows['init'])))}",
        tuple(
            Row(int(row.seed), str(row.cell), (int(row.level),), float(row.value), row.part in "bc")
            for row in rows.itertuples()
        ),
        tuple((int(seed), float(value)) for seed, value in measure.values.items()),
        f"Per seed: {measure.formula}, in {measure.unit}.",
    )


def _table(tested: Sequence[Verdict], sources: Sources) -> str:
    """Claims with our figures; notes that several share stand below, under a letter."""
    several = len({verdict.variant for verdict in tested}) > 1
    counts = Counter(note for verdict in tested for note in _notes(verdict))
    shared = dict(
        zip((n for n, count in counts.items() if count > 2), ascii_lowercase, strict=False)
    )
    rows = []
    for verdict in tested:
        own = [note for note in _notes(verdict) if note not in shared]
        letters = [shared[note] for note in _notes(verdict) if note in shared]
        marks = f" ({', '.join(letters)})" if letters else ""
        rows.append([
            _statement(verdict),
            *([verdict.variant] if several else []),
            verdict.claim.published,
            verdict.claim.how,
            _linked(verdict, sources, ours(verdict)),
            _linked(verdict, sources, str(verdict.interval.n)),
            f"**{verdict.verdict}**{marks}{''.join(f'<br>{note}' for note in own)}",
        ])  # fmt: skip
    header = [
        "Claim",
        *(["Variant"] if several else []),
        "Published",
        "Computed here",
        "Ours (95 % unless stated)",
        "n",
    ]
    text = table([*header, "Verdict"], rows)
    if shared:
        text += "\n\n" + " ".join(f"({letter}) {note}." for note, letter in shared.items())
    return text


def _notes(verdict: Verdict) -> list[str]:
    return verdict.note.split("; ") if verdict.note else []


def _statement(verdict: Verdict) -> str:
    where = _FIGURE.search(verdict.claim.source)
    return f"{verdict.claim.statement} *({where[0][2:]})*" if where else verdict.claim.statement


def _schemes(tested: Iterable[Verdict]) -> str:
    """The one scheme that all figures come from, though the study may have others; or nothing."""
    measures = (verdict.measure for verdict in tested)
    inits = {init for measure in measures if measure for init in measure.rows["init"]}
    return f"{scheme_name(inits.pop())} alone" if len(inits) == 1 else ""


def _linked(verdict: Verdict, sources: Sources, text: str) -> str:
    if verdict.measure is None:
        return text
    return sources.link(source_of(verdict, verdict.measure), text)


def summary(found: Sequence[Verdict], sources: Sources) -> list[str]:
    """For the short answer, a point per publication: what was decided, and on what figures.

    Verdicts on figures of another scale have a point of their own.
    """
    points = []
    for publication, own in by_publication(found).items():
        tested = [verdict for verdict in own if verdict.verdict != NOT_TESTED]
        if not tested:
            none = f"none of {plural(len(own), 'claim')} could be tested here."
            points.append(f"**{publication}**: {none}")
        for reduced in dict.fromkeys(verdict.reduced for verdict in tested):
            where = f", at another scale ({_models(reduced)})" if reduced else ""
            scaled = [verdict for verdict in tested if verdict.reduced == reduced]
            points.append(_decided(f"**{publication}{where}**", scaled, sources))
    return points


def _models(names: Iterable[str]) -> str:
    return listed(f"`{name}`" for name in names)


def _decided(head: str, tested: Sequence[Verdict], sources: Sources) -> str:
    """Counts, what holds of all these verdicts, and each with its figure under what it is."""
    n = sorted({verdict.interval.n for verdict in tested})
    variants = list(dict.fromkeys(verdict.variant for verdict in tested))
    whose = f", variant {variants[0]}" if len(variants) == 1 and variants != ["base"] else ""
    notes = [_scaled(verdict) for verdict in tested]
    shared = [note for note in notes[0] if all(note in others for others in notes)]
    counted = f"of {plural(len(tested), 'claim')} tested, {tally(tested)}"
    grounds = f"95 % intervals unless stated, n = {listed(map(str, n))}{whose}"
    schemes = _schemes(tested)
    whole = [grounds, *([schemes] if schemes else []), *shared]
    text = f"{head}: {counted} ({'; '.join(whole)})."
    groups = []
    for name in _ORDER:
        figures: dict[tuple[str, ...], list[Verdict]] = {}
        for verdict in tested:
            if verdict.verdict == name:
                figure = verdict.claim.how, verdict.variant, ours(verdict)
                figures.setdefault(figure, []).append(verdict)
        if figures:
            named = (_short(v, sources, len(variants) > 1, shared) for v in figures.values())
            groups.append(nested(f"{name[0].upper()}{name[1:]}:", named))
    return nested(text, groups)


def _short(
    verdicts: Sequence[Verdict], sources: Sources, several: bool, known: Sequence[str]
) -> str:
    """Claims, our one figure for them, and in what the study differs as far as not known yet."""
    verdict = verdicts[0]
    statements = "; ".join(verdict.claim.statement for verdict in verdicts)
    figure = _linked(verdict, sources, ours(verdict))
    notes = [note for note in _scaled(verdict) if note not in known]
    variant = [f"variant {verdict.variant}"] if several else []
    return f"{statements}: {', '.join([figure, *variant, *notes])}"


def _scaled(verdict: Verdict) -> list[str]:
    """Notes, but for that on scale."""
    return [note for note in _notes(verdict) if not note.startswith(SCALE)]
