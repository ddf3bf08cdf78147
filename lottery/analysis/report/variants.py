"""Variants of a study's protocol, each against the first, by the same endpoints."""

import pandas as pd

from lottery.analysis.contrasts import declared
from lottery.analysis.endpoints import endpoints
from lottery.analysis.figures.axes import percent_of
from lottery.analysis.figures.style import seeds_text
from lottery.analysis.paired import difference, holm
from lottery.analysis.report.contrasts import contrast_rows
from lottery.analysis.report.document import p_value, plus_minus, table
from lottery.analysis.report.sources import Row, Source, Sources, cell_rows, of_rows, rows_of
from lottery.analysis.report.study import Study

COLUMN = "mean_accuracy"


def variants(study: Study, sources: Sources) -> str:
    """Mean accuracy, area, collapse and declared contrasts of each variant that has tickets."""
    frame = endpoints(study.levels)
    frame = frame[frame["branch"] == "ticket"]
    pruned = set(frame["variant"])
    first, *others = study.variants
    others = [name for name in others if name in pruned]
    if first not in pruned or not others:
        return ""
    of = {name: frame[frame["variant"] == name] for name in (first, *others)}
    changes = {name: _against(study, of[name], of[first], name, first) for name in others}
    tests = {name: difference(value for _, value in changes[name].values) for name in others}
    corrected = dict(zip(others, holm([test.t_p for test in tests.values()]), strict=True))
    contrasts = [contrast.name for contrast in declared(study.inits)]
    rows = []
    for name, own in of.items():
        mean = _of(study, own, name, COLUMN)
        area = _of(study, own, name, "area")
        row = [
            name,
            sources.link(mean, plus_minus(mean.interval(), 100)),
            sources.link(area, plus_minus(area.interval(), 100, sign=True)),
        ]
        if name == first:
            row += ["reference", "", ""]
        else:
            change, test = changes[name], tests[name]
            texts = (
                plus_minus(change.interval(), 100, sign=True),
                p_value(test.t_p),
                p_value(float(corrected[name])),
            )
            row += [sources.link(change, text) for text in texts]
        collapsed = _of(
            study, own.assign(collapsed=own["collapse_density"].notna()), name, "collapsed"
        )
        count = int(own["collapse_density"].notna().sum())
        row.append(sources.link(collapsed, f"{count} of {len(own)}"))
        declarations = {contrast.name: contrast for contrast in declared(own["init"])}
        for title in contrasts:
            contrast = declarations.get(title)
            if contrast is None:  # this variant was run with fewer schemes
                row.append("")
                continue
            source = of_rows(
                f"Variants: {name}, {title}",
                COLUMN,
                f"variant = {name}, branch = ticket, per cell over its pruned levels",
                contrast_rows(contrast, own, COLUMN, study.pruned_levels(own)),
            )
            row.append(sources.link(source, plus_minus(source.interval(), 100, 3, sign=True)))
        rows.append(row)
    header = ["Variant", "Mean accuracy (%)", "Area (pp)", f"Less {first} (pp)", "p (t)"]
    header += ["p (Holm)", "Collapsed", *(f"{title} (pp)" for title in contrasts)]
    return (
        "Tickets, over all pruned levels, schemes of a seed averaged first; mean ± half of the 95 "
        f"% t-interval over {seeds_text(frame.groupby('variant')['seed'].nunique())}. *Mean "
        "accuracy* and *area* (accuracy less unpruned) are means over levels. The difference from "
        f"`{first}` is paired by scheme and seed, its Holm-corrected p counts the variants. The "
        "last columns are the contrasts between schemes within a variant.\n\n"
        + table(header, rows, aligned="l" + "r" * (len(header) - 1))
        + "\n\n"
        + _by_level(study, list(of), sources)
    )


def _by_level(study: Study, names: list[str], sources: Sources) -> str:
    """Test accuracy of each variant at every level, over all its schemes."""
    tickets = study.levels[study.levels["branch"] == "ticket"]
    rows = []
    for level, at_level in tickets.groupby("level"):
        row = [str(level), f"{100 * at_level['weights_remaining'].mean():.3g}"]
        for name in names:
            own = at_level[at_level["variant"] == name]
            source = of_rows(
                f"Test accuracy of variants: {name}, level {level}",
                "test_accuracy",
                f"variant = {name}, branch = ticket, level = {level}",
                rows_of(own, "test_accuracy"),
            )
            row.append(sources.link(source, plus_minus(source.interval(), 100)) if len(own) else "")
        rows.append(row)
    header = ["Level", percent_of(study.left), *names]
    return (
        "Test accuracy (%) at the end of each level, schemes of a seed averaged first. Variants "
        f"that prune at other rates have other {study.left} at the same level; the column is "
        "their mean.\n\n" + table(header, rows, aligned="r" * len(header))
    )


def _against(
    study: Study, own: pd.DataFrame, reference: pd.DataFrame, name: str, first: str
) -> Source:
    """The difference of a variant from the first, over the schemes and seeds that both have."""
    keys = [set(zip(frame["init"], frame["seed"], strict=True)) for frame in (own, reference)]
    both = keys[0] & keys[1]
    sides = []
    for frame, minus in ((own, False), (reference, True)):
        paired = [pair in both for pair in zip(frame["init"], frame["seed"], strict=True)]
        sides += _cells(study, frame[paired], COLUMN, minus)
    return of_rows(
        f"Variants: {name} less {first}",
        COLUMN,
        "branch = ticket, per cell over its pruned levels",
        sides,
    )


def _of(study: Study, frame: pd.DataFrame, name: str, column: str) -> Source:
    return of_rows(
        f"Variants: {name}, {column.replace('_', ' ')}",
        column,
        f"variant = {name}, branch = ticket, per cell by `lottery.analysis.endpoints`",
        _cells(study, frame, column),
    )


def _cells(study: Study, frame: pd.DataFrame, column: str, minus: bool = False) -> list[Row]:
    return list(cell_rows(frame, column, study.pruned_levels(frame), minus))
