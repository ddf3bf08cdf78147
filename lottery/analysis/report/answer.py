"""The question, and a short answer in words made of the numbers below it."""

from collections.abc import Sequence
from typing import Any

from lottery.analysis.claims.verdicts import Verdict
from lottery.analysis.contrasts import Contrast, against_standard, declared
from lottery.analysis.figures.style import scheme_name
from lottery.analysis.report import others
from lottery.analysis.report.contrasts import Endpoint, compared
from lottery.analysis.report.detectors import QUESTION as OF_DETECTORS
from lottery.analysis.report.document import listed, nested, number, p_text
from lottery.analysis.report.filters import QUESTION as OF_FILTERS
from lottery.analysis.report.filters import short as criteria
from lottery.analysis.report.influence import short as influence
from lottery.analysis.report.sources import Sources
from lottery.analysis.report.study import Study
from lottery.analysis.report.verdicts import summary
from lottery.analysis.sizes import of_filters

QUESTION = (
    "**How do initialisation schemes change a network's robustness to pruning, and why?** A "
    "network is robust if it keeps its test accuracy while its weights are removed, level by level."
)


def answer(study: Study, found: Sequence[Verdict], more: Sequence[str], sources: Sources) -> str:
    """Whether schemes differ, what became of published claims, and `more` points."""
    schemes = [_schemes(study, sources)]
    if not study.ends_early:
        schemes.append(others.short(study, sources))
    # a factorial asks for its settings
    filters = influence(study) or criteria(study.together(), sources)
    points = [*schemes, filters, *summary(found, sources), *more]
    return _question(study) + "\n\n" + "\n".join(f"- {point}" for point in points if point)


def _question(study: Study) -> str:
    if declared(study.inits):
        return QUESTION
    if study.detecting:
        return OF_DETECTORS
    return OF_FILTERS if of_filters(study.levels) else QUESTION


def _schemes(study: Study, sources: Sources) -> str:
    """Whether the schemes differ, by each endpoint, and in each variant, in words and numbers."""
    question = "**Does initialisation change robustness here?**"
    contrasts = declared(study.inits)
    if not contrasts and (against_standard(study.inits) or of_filters(study.levels)):
        return ""  # which `others` answers, or nobody asks
    if not contrasts or "ticket" not in set(study.levels["branch"]):
        names = listed(scheme_name(init) for init in study.inits)
        return (
            f"{question} This study cannot say: it has {names}, and no two schemes whose "
            "comparison is declared."
        )
    if study.ends_early:
        return (
            f"{question} This study cannot say: `prune.stop` ended its tickets at different "
            "levels, and schemes are compared by means over levels."
        )
    by_variant = {name: compared(study.variant(name)) for name in study.variants}
    by_variant = {name: endpoints for name, endpoints in by_variant.items() if endpoints}
    if not by_variant:
        return f"{question} It was not pruned."
    own = {name: declared(of[0].frame["init"]) for name, of in by_variant.items()}
    by_variant = {name: of for name, of in by_variant.items() if own[name]}
    if not by_variant:
        return f"{question} No variant has two schemes whose comparison is declared."
    if len(study.variants) > 1:
        return _of_variants(question, by_variant, own, sources)
    (name, (primary, *others)) = next(iter(by_variant.items()))
    points = [nested(f"{_capital(primary.title)}:", _each(primary, own[name], sources))]
    points += [f"{_capital(other.title)}: {_line(other, own[name], sources)}" for other in others]
    also = _also(others, own[name])
    head = f"By the primary endpoint, {primary.title}: {_verdict(primary, own[name])}"
    return nested(f"{question} {head}{also}", points)


def _of_variants(
    question: str,
    by_variant: dict[str, list[Endpoint]],
    own: dict[str, list[Contrast]],
    sources: Sources,
) -> str:
    """What each endpoint says of which variants; then numbers, by the first two of them."""
    endpoints = {endpoint.title: endpoint for of in by_variant.values() for endpoint in of}
    points: list[str] = []
    for title in endpoints:
        named: dict[str, list[str]] = {}
        for name, of in by_variant.items():
            for endpoint in of:
                if endpoint.title == title:
                    named.setdefault(_word(endpoint, own[name]), []).append(f"`{name}`")
        every = len(named) == 1 and len(by_variant) > 1
        said = "; ".join(
            f"{_WORDS[word]} in {'all' if every else listed(named[word])}"
            for word in _WORDS
            if word in named
        )
        primary = " (the primary endpoint)" if not points else ""
        points.append(f"{_capital(title)}{primary}: {said}.")
    for name, of in by_variant.items():
        lines = [f"{_capital(e.short)}: {_line(e, own[name], sources)}" for e in of[:2]]
        points.append(nested(f"`{name}`:", lines))
    head = "In each variant of the protocol by itself (tests are not corrected for their number):"
    return nested(f"{question} {head}", points)


_WORDS = {
    "differ": "schemes differ",
    "equivalent": "they are equivalent",
    "undecided": "undecided",
}
"""In the order in which they are told."""


def _word(endpoint: Endpoint, contrasts: list[Contrast]) -> str:
    """What an endpoint says of all contrasts: they differ if one does, are equivalent if all are.

    Undecided otherwise.
    """
    found = {text.partition(" ")[0] for text in endpoint.table(contrasts)["verdict"]}
    return "differ" if "differ" in found else found.pop() if len(found) == 1 else "undecided"


def _also(others: list[Endpoint], contrasts: list[Contrast]) -> str:
    """What the endpoints beside the primary one say, in a sentence."""
    named: dict[str, list[str]] = {}
    for other in others:
        named.setdefault(_word(other, contrasts), []).append(other.short)
    said = "; ".join(f"{word} by {listed(named[word])}" for word in _WORDS if word in named)
    return f" By the others: {said}." if said else ""


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _each(endpoint: Endpoint, contrasts: list[Contrast], sources: Sources) -> list[str]:
    rows = zip(contrasts, endpoint.table(contrasts).itertuples(), strict=True)
    return [_contrast(endpoint, contrast, row, sources) for contrast, row in rows]


def _line(endpoint: Endpoint, contrasts: list[Contrast], sources: Sources) -> str:
    """All contrasts of an endpoint on one line: estimates and verdicts."""
    texts = []
    for contrast, row in zip(contrasts, endpoint.table(contrasts).itertuples(), strict=True):
        texts.append(f"{contrast.name} {endpoint.estimate(contrast, sources)}, {row.verdict}")
    return "; ".join(texts)


def _verdict(endpoint: Endpoint, contrasts: list[Contrast]) -> str:
    named: dict[str, list[str]] = {}
    for contrast, text in zip(contrasts, endpoint.table(contrasts)["verdict"], strict=True):
        named.setdefault(text.partition(" ")[0], []).append(contrast.name)
    margin = f"{number(endpoint.scale * (endpoint.margin or 0), 1)} percentage points"
    if set(named) == {"equivalent"}:
        return f"no, no declared contrast is as large as {margin}."
    if "differ" in named:
        return f"yes, {listed(named['differ'])}."
    if "equivalent" in named:
        small = f"smaller than {margin}: {listed(named['equivalent'])}"
        return f"undecided at this n, {listed(named['undecided'])}. Shown to be {small}."
    return "undecided at this n, neither a difference nor its absence is shown."


def _contrast(endpoint: Endpoint, contrast: Contrast, row: Any, sources: Sources) -> str:
    text = endpoint.estimate(contrast, sources)
    tests = f"n = {row.n}, Holm-corrected {p_text(row.holm_p)}, TOST {p_text(row.tost_p)}"
    return f"{contrast.name}: {text}, {row.verdict} ({tests})"
