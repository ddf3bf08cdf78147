"""What it is about schemes that makes them robust: scale, shape, and where; and the mechanism."""

import pandas as pd

from lottery.analysis.contrasts import verdict
from lottery.analysis.endpoints import endpoints
from lottery.analysis.explain import robustness
from lottery.analysis.factorial import factors
from lottery.analysis.figures.style import variant_name
from lottery.analysis.mechanism import ALL, by_layer, mechanism
from lottery.analysis.paired import difference, holm
from lottery.analysis.report.document import (
    ABSENT,
    between,
    number,
    p_value,
    plus_minus,
    table,
)
from lottery.analysis.report.sources import Row, Source, Sources, cell_rows, of_rows
from lottery.analysis.report.study import Study
from lottery.analysis.scale import Effect, effects
from lottery.analysis.widths import is_axis, widths

_EXPLAINED = (
    "Schemes as points on an axis of widths, the standard deviation σ of weights over Xavier's. "
    "Differences of the *area* (accuracy less unpruned, mean over pruned levels) in percentage "
    "points, one per seed: mean ± half of the 95 % t-interval. Kaiming differs from Xavier by its "
    "width and by how it spreads it over layers: *what its width makes* is read off Xavier schemes "
    "of other gains. What schemes take from tickets is told by the main effects of a 2³ factorial. "
    "A scheme that trains worse unpruned has less to lose, which the area counts in its favour: "
    "*accuracy* is the same difference of plain accuracy over pruned levels. *Holm*: p of the "
    "area's t test corrected for the rows of a table."
)
_MECHANISM = (
    "The hypothesis: with Adam, steps are about as long however wide the weights are, so wide ones "
    "travel little for their size, keep the order of their initial magnitudes (*init memory*), and "
    "are pruned much as at initialisation. Then memory goes with less robustness and travel with "
    "more, and less so with SGD. Both are means over layers and pruned levels of a ticket, against "
    "its area and its plain accuracy, mean over pruned levels: a scheme that trains worse unpruned "
    "has less to lose, so that the two may disagree. *Why* takes all weights of a network together,"
    " where layers of other widths make part of the order. Constant weights have no order of "
    "magnitudes, so no memory. *ρ*: Spearman's correlation over tickets with a 95 % bootstrap "
    "interval over seeds; *between*: of the schemes' means; *R²*: of predicting a scheme that was "
    "left out; *p*: shuffles schemes and seeds as wholes."
)
_NAMES = {"init_memory": "init memory", "relative_travel": "relative travel"}


def scale(study: Study, sources: Sources) -> str:
    """Scale, shape and place, and what of tickets helps, in each variant that can tell."""
    tickets = study.levels[study.levels["branch"] == "ticket"]
    if tickets.empty:
        return ""
    found = widths(tickets)
    axis = is_axis(found)

    def listed_in(wide: pd.DataFrame) -> list[Effect]:
        return (effects(wide, found) if axis else []) + factors(wide)

    frame = endpoints(tickets)
    parts = []
    for name in study.variants:
        own = frame[frame["variant"] == name]
        if own.empty:
            continue
        listed, plain = (
            listed_in(own.pivot(index="seed", columns="init", values=column))
            for column in ("area", "mean_accuracy")
        )
        if not listed:
            continue
        tests = [difference(effect.values) for effect in listed]
        corrected = holm([test.t_p for test in tests])
        rows = []
        for effect, beside, test, p in zip(listed, plain, tests, corrected, strict=True):
            source = _source(effect, "area", own, study, name)
            other = _source(beside, "mean_accuracy", own, study, name)
            texts = plus_minus(source.interval(), 100, sign=True), p_value(test.t_p), p_value(p)
            links = [sources.link(source, text) if text != ABSENT else text for text in texts]
            links.append(sources.link(other, plus_minus(other.interval(), 100, sign=True)))
            rows.append([
                effect.question, effect.name, *links, str(test.n), verdict(float(p), 1.0, None),
            ])  # fmt: skip
        header = [
            *("Question", "Effect", "Area (pp)", "p (t)", "p (Holm)", "Accuracy (pp)", "n"),
            "Verdict on the area",
        ]
        heading = f"### {variant_name(name)}\n\n" if len(study.variants) > 1 else ""
        parts.append(heading + table(header, rows, aligned="llrrrrrl"))
    return "\n\n".join([_EXPLAINED, *parts]) if parts else ""


def travel(study: Study, sources: Sources) -> str:
    """Init memory and relative travel against robustness, within variants and over all."""
    tickets = study.levels[study.levels["branch"] == "ticket"]
    if study.diagnostics is None or tickets["init"].nunique() < 2:
        return ""
    found = mechanism(tickets, study.diagnostics)
    if found.empty:
        return ""
    rows = []
    layers = by_layer(study.diagnostics)
    for row in found.itertuples():
        own = layers[layers["quantity"] == row.quantity]
        of = tickets
        if row.variant != ALL:
            own, of = (part[part["variant"] == row.variant] for part in (own, tickets))
        source = _recorded(own, of, f"{_NAMES[row.quantity]}, {row.variant}")
        numbers = (
            f"{number(row.rho, sign=True)} ({between(row.low, row.high)})",
            number(row.between, sign=True),
            number(row.r2),
            p_value(row.p),
            p_value(row.holm_p),
        )
        links = [text if text == ABSENT else sources.link(source, text) for text in numbers]
        place = f"{row.n} ({row.schemes} × {row.seeds})"
        names = variant_name(row.variant), _NAMES[row.quantity], row.endpoint
        rows.append([*names, *links, place])
    header = [
        "Variant",
        "Quantity",
        "Against",
        "ρ",
        "Between",
        "R²",
        "p",
        "p (Holm)",
        "n (schemes × seeds)",
    ]
    return f"{_MECHANISM}\n\n{table(header, rows, aligned='lllrrrrrr')}"


def _source(effect: Effect, column: str, frame: pd.DataFrame, study: Study, variant: str) -> Source:
    """An effect's values as they were computed, and the cells of both sides."""
    own = frame[frame["seed"].isin(effect.values.index)]
    at = study.pruned_levels(own)
    rows = [
        row
        for inits, minus in ((effect.plus, False), (effect.minus, True))
        for row in cell_rows(own[own["init"].isin(inits)], column, at, minus)
    ]
    plain = of_rows(
        f"Scale, shape and place: {effect.name}, {variant}",
        column,
        f"variant = {variant}, branch = ticket, per cell by `lottery.analysis.endpoints`",
        rows,
    )
    values = tuple((int(seed), float(value)) for seed, value in effect.values.items())
    return Source(plain.what, plain.column, plain.where, plain.rows, values, effect.how)


def _recorded(recorded: pd.DataFrame, tickets: pd.DataFrame, what: str) -> Source:
    """What was recorded of each ticket: its mean over layers and pruned levels."""
    levels = next(iter(robustness(tickets))).levels
    chosen = recorded[recorded["level"].isin(levels) & recorded["cell"].isin(tickets["cell"])]
    rows = [
        Row(int(own["seed"].iloc[0]), str(cell), tuple(levels), float(own["value"].mean()))
        for cell, own in chosen.groupby("cell")
    ]
    quantity = str(recorded["quantity"].iloc[0])
    return of_rows(
        f"Travel of weights: {what}",
        "value",
        f"quantity = {quantity}, mean over layers and pruned levels",
        rows,
        table="diagnostics.parquet",
    )
