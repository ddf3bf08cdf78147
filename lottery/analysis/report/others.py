"""Schemes beside the standard ones, such as a user's own: each against these."""

from lottery.analysis.contrasts import Contrast, against_standard
from lottery.analysis.figures.style import scheme_name
from lottery.analysis.report.contrasts import Endpoint, compared
from lottery.analysis.report.document import (
    ABSENT,
    anchor,
    listed,
    nested,
    number,
    p_text,
    p_value,
    plus_minus,
    table,
)
from lottery.analysis.report.sources import Sources
from lottery.analysis.report.study import Study
from lottery.words import plural

TITLE = "Other schemes against the standard ones"
"""Of the section."""
FEW = 3
"""Schemes whose differences are all told in the short answer."""


def others(study: Study, sources: Sources) -> str:
    """Each other scheme's difference from the standard schemes, by each endpoint.

    Empty without a standard scheme, or without another one.
    """
    contrasts, endpoints = _compared(study)
    parts = []
    for endpoint in endpoints:
        rows = []
        for contrast, row in zip(contrasts, endpoint.table(contrasts).itertuples(), strict=True):
            source = endpoint.source(contrast)
            texts = (
                plus_minus(source.interval(), endpoint.scale, 3, sign=True),
                str(row.n),
                *(p_value(p) for p in (row.t_p, row.holm_p, row.tost_p)),
            )
            linked = [sources.link(source, text) if text != ABSENT else text for text in texts]
            rows.append([scheme_name(contrast.plus[0]), *linked, row.verdict])
        header = ["Scheme", f"Less standard ({endpoint.unit}), 95 % t", "n", "p (t)", "p (Holm)",
                  "p (TOST)", "Verdict"]  # fmt: skip
        heading = endpoint.title[0].upper() + endpoint.title[1:]
        parts.append(f"### {heading}\n\n{table(header, rows, aligned='lrrrrrl')}")
    if not parts:
        return ""
    (standard,) = {contrast.minus for contrast in contrasts}
    named = listed(map(scheme_name, standard))
    what = f"the mean of {named}" if len(standard) > 1 else named
    return (
        f"{_where(study)}Each scheme less {what} of the same seed. *Holm*: corrected for the "
        f"{plural(len(contrasts), 'scheme')} of a table. *TOST*: below 0.05 the difference is "
        "shown to be smaller than the margin of equivalence; critical density has none. Schemes "
        "*differ* at 5 % after Holm; that they are *equivalent* is at 5 % each, not corrected for "
        "how many are.\n\n" + "\n\n".join(parts)
    )


def short(study: Study, sources: Sources) -> str:
    """A point for the short answer; empty where the section is."""
    contrasts, endpoints = _compared(study)
    if not endpoints:
        return ""
    points = [_line(endpoint, contrasts, sources) for endpoint in endpoints]
    head = f"**Do other schemes differ from the standard ones?** {_where(study)}"
    return nested(f"{head}[All of them](#{anchor(TITLE)}).", points)


def _where(study: Study) -> str:
    return f"In the variant `{study.variants[0]}`. " if len(study.variants) > 1 else ""


def _compared(study: Study) -> tuple[list[Contrast], list[Endpoint]]:
    """Contrasts and endpoints of the first variant; no endpoints where there is no contrast."""
    levels = study.first_variant()
    tickets = levels[levels["branch"] == "ticket"]
    contrasts = against_standard(tickets["init"])
    return contrasts, compared(levels) if contrasts else []


def _line(endpoint: Endpoint, contrasts: list[Contrast], sources: Sources) -> str:
    """What an endpoint says: of few schemes each difference, of many those that differ."""
    found = list(zip(contrasts, endpoint.table(contrasts).itertuples(), strict=True))
    heading = endpoint.title[0].upper() + endpoint.title[1:]
    told = [
        f"{scheme_name(contrast.plus[0])} {endpoint.estimate(contrast, sources)} (n = {row.n}, "
        f"Holm-corrected {p_text(row.holm_p)}), {row.verdict}"
        for contrast, row in found
        if len(found) <= FEW or row.verdict == "differ"
    ]
    if len(found) > FEW:
        alike = sum(row.verdict.startswith("equivalent") for _, row in found)
        margin = f"{number(endpoint.scale * (endpoint.margin or 0), 1)} {endpoint.unit}"
        if alike:
            told.append(f"{alike} of {len(found)} equivalent within ±{margin}")
        if rest := sum(row.verdict == "undecided" for _, row in found):
            told.append(f"{rest} of {len(found)} undecided")
    return f"{heading}: {'; '.join(told)}."
