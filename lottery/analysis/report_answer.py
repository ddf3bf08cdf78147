"""The question, and a short answer in words made of the numbers below it."""

from collections.abc import Sequence
from typing import Any

from lottery.analysis import report_verdicts
from lottery.analysis.contrasts import Contrast, declared
from lottery.analysis.report_contrasts import Endpoint, compared
from lottery.analysis.report_document import listed, number, p_value, plus_minus
from lottery.analysis.report_sources import Sources
from lottery.analysis.report_study import Study
from lottery.analysis.style import scheme_name
from lottery.analysis.verdicts import Verdict

QUESTION = (
    "**How do initialisation schemes change a network's robustness to pruning, and why?** A "
    "network is robust if it keeps its test accuracy while its weights are removed, level by level."
)


def answer(study: Study, found: Sequence[Verdict], why: str, sources: Sources) -> str:
    """Whether schemes differ, what became of published claims, and what explains it."""
    points = [_schemes(study, sources), *report_verdicts.summary(found, sources), why]
    return QUESTION + "\n\n" + "\n".join(f"- {point}" for point in points if point)


def _schemes(study: Study, sources: Sources) -> str:
    """Whether the schemes differ by the main endpoint, in words and numbers."""
    contrasts, endpoints = declared(study.inits), compared(study)
    names = listed(scheme_name(init) for init in study.inits)
    if not contrasts or not endpoints:
        return (
            "**Does initialisation change robustness here?** This study cannot say: it has "
            f"{names}, and no two schemes whose comparison is declared."
        )
    main = endpoints[0]
    results = main.table(contrasts)
    shown = [verdict.partition(" ")[0] for verdict in results["verdict"]]
    margin = number(main.scale * (main.margin or 0), 1)
    if all(word == "equivalent" for word in shown):
        head = f"No: no declared contrast is as large as {margin} percentage points"
    elif "differ" in shown:
        head = "Yes, in " + listed(
            contrast.name
            for contrast, word in zip(contrasts, shown, strict=True)
            if word == "differ"
        )
    else:
        head = "Undecided at this n: neither a difference nor its absence is shown"
    variant = f", variant `{study.variants[0]}`" if len(study.variants) > 1 else ""
    text = f"**Does initialisation change robustness here?** {head}."
    for endpoint in endpoints[:2]:
        rows = zip(contrasts, endpoint.table(contrasts).itertuples(), strict=True)
        found = "; ".join(_contrast(endpoint, contrast, row, sources) for contrast, row in rows)
        text += f"\n    - {endpoint.title[0].upper()}{endpoint.title[1:]}{variant}: {found}."
    return text


def _contrast(endpoint: Endpoint, contrast: Contrast, row: Any, sources: Sources) -> str:
    source = endpoint.source(contrast)
    text = f"{plus_minus(source.interval(), endpoint.scale, 3, sign=True)} {endpoint.unit}"
    tests = f"n = {row.n}, Holm-corrected p = {p_value(row.holm_p)}, TOST p = {p_value(row.tost_p)}"
    return f"{contrast.name} {sources.link(source, text)} ({tests}), {row.verdict}"
