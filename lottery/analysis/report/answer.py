"""The question, and a short answer in words made of the numbers below it."""

from collections.abc import Sequence
from typing import Any

from lottery.analysis.claims.verdicts import Verdict
from lottery.analysis.contrasts import Contrast, declared
from lottery.analysis.figures.style import scheme_name
from lottery.analysis.report.contrasts import Endpoint, compared
from lottery.analysis.report.detectors import QUESTION as OF_DETECTORS
from lottery.analysis.report.document import listed, nested, number, p_text, plus_minus
from lottery.analysis.report.sources import Sources
from lottery.analysis.report.study import Study
from lottery.analysis.report.verdicts import summary

QUESTION = (
    "**How do initialisation schemes change a network's robustness to pruning, and why?** A "
    "network is robust if it keeps its test accuracy while its weights are removed, level by level."
)


def answer(study: Study, found: Sequence[Verdict], more: Sequence[str], sources: Sources) -> str:
    """Whether schemes differ, what became of published claims, and `more` points."""
    points = [_schemes(study, sources), *summary(found, sources), *more]
    question = QUESTION if study.detectors is None else OF_DETECTORS
    return question + "\n\n" + "\n".join(f"- {point}" for point in points if point)


def _schemes(study: Study, sources: Sources) -> str:
    """Whether the schemes differ in each variant, in words and numbers."""
    question = "**Does initialisation change robustness here?**"
    contrasts = declared(study.inits)
    if not contrasts or "ticket" not in set(study.levels["branch"]):
        names = listed(scheme_name(init) for init in study.inits)
        return (
            f"{question} This study cannot say: it has {names}, and no two schemes whose "
            "comparison is declared."
        )
    by_variant = {name: compared(study.variant(name)) for name in study.variants}
    by_variant = {name: endpoints for name, endpoints in by_variant.items() if endpoints}
    if not by_variant:
        return f"{question} It was not pruned."
    if len(study.variants) == 1:
        endpoints = by_variant[study.variants[0]][:2]
        head = _verdict(endpoints[0], contrasts)
        points = [(e.title[0].upper() + e.title[1:], e, contrasts) for e in endpoints]
    else:
        points = []
        for name, (endpoint, *_) in by_variant.items():
            if own := declared(endpoint.frame["init"]):  # variants may have been run with fewer
                verdict = _verdict(endpoint, own).partition(":")[0]
                points.append((f"`{name}`, {verdict.lower()}", endpoint, own))
        if not points:
            return f"{question} No variant has two schemes whose comparison is declared."
        head = f"By {points[0][1].title}, in each variant of the protocol:"
    return nested(
        f"{question} {head}",
        (nested(f"{start}:", _each(endpoint, own, sources)) for start, endpoint, own in points),
    )


def _each(endpoint: Endpoint, contrasts: list[Contrast], sources: Sources) -> list[str]:
    rows = zip(contrasts, endpoint.table(contrasts).itertuples(), strict=True)
    return [_contrast(endpoint, contrast, row, sources) for contrast, row in rows]


def _verdict(endpoint: Endpoint, contrasts: list[Contrast]) -> str:
    named: dict[str, list[str]] = {}
    for contrast, text in zip(contrasts, endpoint.table(contrasts)["verdict"], strict=True):
        named.setdefault(text.partition(" ")[0], []).append(contrast.name)
    margin = f"{number(endpoint.scale * (endpoint.margin or 0), 1)} percentage points"
    if set(named) == {"equivalent"}:
        return f"No: no declared contrast is as large as {margin}."
    if "differ" in named:
        return f"Yes: {listed(named['differ'])}."
    if "equivalent" in named:
        small = f"smaller than {margin}: {listed(named['equivalent'])}"
        return f"Undecided at this n: {listed(named['undecided'])}. Shown to be {small}."
    return "Undecided at this n: neither a difference nor its absence is shown."


def _contrast(endpoint: Endpoint, contrast: Contrast, row: Any, sources: Sources) -> str:
    source = endpoint.source(contrast)
    text = f"{plus_minus(source.interval(), endpoint.scale, 3, sign=True)} {endpoint.unit}"
    tests = f"n = {row.n}, Holm-corrected {p_text(row.holm_p)}, TOST {p_text(row.tost_p)}"
    return f"{contrast.name}: {sources.link(source, text)}, {row.verdict} ({tests})"
