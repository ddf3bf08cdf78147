"""Published claims put to a study's tables.

>>> from lottery.analysis import levels
>>> from lottery.analysis.claims import judge
>>> for verdict in judge(levels("lenet")):  # doctest: +SKIP
...     print(verdict.claim.statement, verdict.interval, verdict.verdict)
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from lottery.analysis.claims.filters import filter_claims
from lottery.analysis.claims.lottery import lottery_claims
from lottery.analysis.claims.measures import Measure, Missing
from lottery.analysis.claims.original import original_claims
from lottery.analysis.claims.protocol import protocol_claims
from lottery.analysis.claims.verdicts import NOT_TESTED, SCALE, Claim, Verdict
from lottery.analysis.endpoints import is_reduced, network
from lottery.errors import ConfigError

BASE, ORIGINAL, CORRECTED = "base", "original", "corrected"
COARSE = 0.02
"""Early stops read off at intervals of more than this share of a level are called coarse."""
OFF = 1.05
"""Levels whose weights remaining are further off than this ratio are named."""


def claims() -> list[Claim]:
    """Every claim, the lottery-ticket paper's first."""
    return [*lottery_claims(), *original_claims(), *protocol_claims(), *filter_claims()]


def judge(
    levels: pd.DataFrame,
    others: pd.DataFrame | None = None,
    among: Sequence[Claim] | None = None,
) -> list[Verdict]:
    """Verdicts on every claim about the study's network, in the order in which they are listed.

    levels: one study's table. others: tables of other studies, one below the other, for claims that
    compare networks. among: the claims to judge; all by default. A claim is put to the variants
    that its scope names, if the study has them, and is "not tested" where something else is
    missing. Each verdict stands for itself: intervals are not widened for the number of claims.
    """
    if levels["study"].nunique() != 1:
        raise ConfigError("study of the table", sorted(set(levels["study"])), "one")
    name = network(levels["model"].iloc[0])
    about = [claim for claim in (claims() if among is None else among) if claim.network == name]
    return [verdict for claim in about for verdict in _verdicts(claim, levels, others)]


def _verdicts(claim: Claim, levels: pd.DataFrame, others: pd.DataFrame | None) -> Iterator[Verdict]:
    """One verdict for each variant (or comparison of them) that the claim is put to."""
    present = set(levels["variant"])
    if claim.variant:
        if claim.variant in present:
            own = levels[levels["variant"] == claim.variant]
            yield _verdict(claim, own, own, claim.variant)
        return
    if claim.scope == "variants":
        if ORIGINAL in present and len(present) > 1:
            yield _verdict(claim, levels, levels, ORIGINAL)
        return
    wanted = {
        "protocol": [BASE],
        "original": [BASE, ORIGINAL, CORRECTED],
        "replication": [ORIGINAL],
    }
    for variant in wanted[claim.scope]:
        own = levels[levels["variant"] == variant]
        if own.empty:
            continue
        given = own
        if claim.others and others is not None:
            rivals = others["model"].map(network) != claim.network
            rivals &= others["variant"] == variant
            given = pd.concat([own, others[rivals]], ignore_index=True)
        yield _verdict(claim, own, given, variant)


def _verdict(claim: Claim, own: pd.DataFrame, given: pd.DataFrame, variant: str) -> Verdict:
    model = own.loc[own["variant"] == variant, "model"].iloc[0]
    place = claim, own["study"].iloc[0], variant, model
    try:
        measure = claim.measure(given)
    except Missing as missing:
        return Verdict(*place, NOT_TESTED, str(missing))
    reduced = tuple(sorted(name for name in set(measure.rows["model"]) if is_reduced(name)))
    notes = "; ".join(_notes(claim, measure, reduced))
    return Verdict(*place, claim.rule.decide(measure), notes, reduced, measure)


def _notes(claim: Claim, measure: Measure, reduced: Sequence[str]) -> Iterator[str]:
    """In what the study differs from the publication, as far as its table says."""
    rows = measure.rows
    if reduced:
        yield f"{SCALE}: {', '.join(reduced)}"
    if measure.why:
        yield measure.why
    apart = np.abs(np.log(rows["weights_remaining"] / rows["asked"])) > np.log(OFF)
    for asked, level in rows[apart].groupby("asked")["weights_remaining"]:
        yield f"at {100 * level.mean():.3g} % of the weights for {100 * float(asked):g} %"
    for name, steps in rows["steps"].groupby(rows["model"].map(network), sort=False):
        published = claim.steps.get(str(name))
        if published and any(abs(step / published - 1) > 0.1 for step in steps):
            listed = ", ".join(f"{step:,}" for step in sorted(set(steps)))
            yield f"{listed} steps a level, published with {published:,}"
    stops = rows.loc[rows["column"] == "early_stop_step", "value"].astype("int64")
    spacing = int(np.gcd.reduce(stops)) if len(stops) else 0
    if spacing > COARSE * rows["steps"].min():
        yield f"early stop read off every {spacing:,} steps"
