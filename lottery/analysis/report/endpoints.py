"""Robustness of each scheme in single numbers: area, critical density, collapse, speed-up."""

import pandas as pd

from lottery.analysis import early_stop
from lottery.analysis.endpoints import endpoints, margins, outcomes, speed_ups
from lottery.analysis.figures.axes import percent_of
from lottery.analysis.figures.style import branch_look, scheme_name, seeds_text
from lottery.analysis.paired import geometric_interval
from lottery.analysis.report.document import between, number, plus_minus, points, table
from lottery.analysis.report.sources import Source, Sources, cell_rows, geometric, of_rows, rows_of
from lottery.analysis.report.study import Study
from lottery.analysis.statistics import censored_quantile

_QUARTILES = (0.25, 0.5, 0.75)
SPARSE = 0.03
"""Weights remaining below which outcomes may be of two kinds, and a mean may describe neither."""


def robustness(study: Study, sources: Sources) -> str:
    """Area, critical density and collapse of the tickets of each scheme."""
    levels = study.first_variant()
    frame = endpoints(levels)
    frame = frame[frame["branch"] == "ticket"]
    if frame.empty:
        return ""
    drop = margins(str(levels["model"].iloc[0])).drop
    rows = []
    for init in [init for init in study.inits if init in set(frame["init"])]:
        own = frame[frame["init"] == init]
        area, density = (_of_cells(study, own, name, init) for name in ("area", "critical_density"))
        lower, median, upper = (
            censored_quantile(own["critical_density"], own["censored"], q) for q in _QUARTILES
        )
        collapsed = _of_cells(
            study, own.assign(collapsed=own["collapse_density"].notna()), "collapsed", init
        )
        rows.append([
            scheme_name(init),
            sources.link(area, plus_minus(area.interval(), 100, sign=True)),
            sources.link(density, _at_most(*median)),
            sources.link(density, f"{_at_most(*lower)} to {_at_most(*upper)}"),
            sources.link(density, f"{int(own['censored'].sum())} of {len(own)}"),
            sources.link(collapsed, f"{int(own['collapse_density'].notna().sum())} of {len(own)}"),
        ])  # fmt: skip
    header = ["Scheme", "Area (pp)", "Critical density, median (%)", "Quartiles (%)", "Not reached",
              "Collapsed"]  # fmt: skip
    first, last = int(frame["first_level"].iloc[0]), int(frame["last_level"].iloc[0])
    return (
        f"Per ticket, then over {seeds_text(frame.groupby('init')['seed'].nunique())}. *Area*: "
        "test accuracy less that of the unpruned network of the same seed, mean over levels "
        f"{first} to {last}, ± half of the 95 % t-interval. *Critical density*: "
        f"{study.left} at which accuracy first falls {points(100 * drop)} below unpruned, "
        "log-linear between levels; median and quartiles, as it may be far higher for single "
        "tickets. *Not reached*: "
        "tickets that never fall so low; theirs is lower than the last level, which is counted in "
        "its place, and a median or quartile that rests on one is a bound (≤). *Collapsed*: "
        "tickets that fall below half of the unpruned accuracy.\n\n"
        + table(header, rows, aligned="lrrrrr")
    )


def speed(study: Study, sources: Sources) -> str:
    """How much sooner than the unpruned network each level reaches its least validation loss.

    With how many of these steps are censored, as the level's last.
    """
    levels = study.first_variant()
    levels = levels.assign(at_end=early_stop.censored(levels))
    known = levels[(levels["early_stop_step"].fillna(0) > 0) & (levels["branch"] != "dense")]
    ratios = speed_ups(known)
    ratios = ratios[ratios["level"] > 0]
    if ratios.empty:
        return ""
    branches = ["ticket", *sorted(set(ratios["branch"]) - {"ticket"})]
    unpruned = known[(known["branch"] == "ticket") & (known["level"] == 0)]
    rows = []
    for level, at_level in ratios.groupby("level"):
        row = [str(level), f"{100 * at_level['weights_remaining'].mean():.3g}"]
        for branch in branches:
            own = at_level[at_level["branch"] == branch]
            source = geometric(
                f"Early-stop speed-up: {branch_look(branch)[0]}, level {level}",
                "speed_up",
                f"branch = {branch}, level = {level}: `early_stop_step` of level 0 of the ticket "
                "of the same scheme and seed, divided by that of the row",
                rows_of(own, "speed_up"),
            )
            text = f"{_ratio(source)}, {_count(own['at_end'])} at end" if len(own) else ""
            row.append(sources.link(source, text) if text else "")
        rows.append(row)
    header = ["Level", percent_of(study.left), *(branch_look(name)[0] for name in branches)]
    seeds = seeds_text(ratios.groupby(["branch", "level"])["seed"].nunique())
    return (
        "Early-stop step of the unpruned network over that of the level: above 1 the level is "
        f"sooner. Geometric mean and 95 % t-interval of the logarithms over {seeds}; schemes and "
        "draws of a seed are averaged first. *At end*: how many networks have their least loss at "
        "the level's last step, as have "
        f"{_count(unpruned['at_end'])} unpruned ones. Nothing was seen of their minimum, so their "
        "step is a lower bound, and a ratio is drawn towards that of the last steps. Where half or "
        "more are at the end, on either side, it says nothing about speed.\n\n"
        + table(header, rows, aligned="r" * len(header))
    )


def sparse_outcomes(study: Study, sources: Sources) -> str:
    """Median and quartiles where few weights are left, or where networks collapse."""
    levels = study.first_variant()
    tickets = levels[levels["branch"] == "ticket"]
    found = outcomes(tickets)
    low = (found["weights_remaining"] < SPARSE) | (found["collapsed"] > 0)
    found = found[low & (found["level"] > 0)]
    if found.empty:
        return ""
    rows = []
    order = {init: place for place, init in enumerate(study.inits)}
    for row in found.sort_values(
        ["level", "init"], key=lambda c: c.map(order).fillna(c)
    ).itertuples():
        own = tickets[(tickets["level"] == row.level) & (tickets["init"] == row.init)]
        source = of_rows(
            f"Test accuracy: {scheme_name(row.init)}, level {row.level}",
            "test_accuracy",
            f"branch = ticket, level = {row.level}, init = {row.init}",
            rows_of(own, "test_accuracy"),
        )
        rows.append([
            str(row.level),
            f"{100 * row.weights_remaining:.3g}",
            scheme_name(row.init),
            sources.link(source, number(100 * row.median)),
            sources.link(source, between(row.q25, row.q75, 100, 2)),
            sources.link(source, f"{round(row.collapsed * row.n)} of {row.n}"),
        ])  # fmt: skip
    header = [
        "Level",
        percent_of(study.left),
        "Scheme",
        "Median (%)",
        "Quartiles (%)",
        "Collapsed",
    ]
    return (
        f"Below {100 * SPARSE:g} % ({study.left}), and wherever a network collapsed, outcomes can "
        "be of two kinds, and a mean describes neither: median and quartiles of test accuracy "
        "over seeds.\n\n" + table(header, rows, aligned="rrlrrr")
    )


def _at_most(density: float, exact: bool) -> str:
    """A density in per cent, marked if it is an upper bound."""
    return f"{'' if exact else '≤ '}{number(100 * density)}"


def _of_cells(study: Study, frame: pd.DataFrame, column: str, init: str) -> Source:
    return of_rows(
        f"Robustness: {column.replace('_', ' ')}, {scheme_name(init)}",
        column,
        f"branch = ticket, init = {init}; computed per cell from level 0 and its pruned levels by "
        "`lottery.analysis.endpoints`",
        cell_rows(frame, column, study.pruned_levels(frame)),
    )


def _count(at_end: pd.Series) -> str:
    """How many of how many."""
    return f"{int(at_end.sum())} of {len(at_end)}"


def _ratio(source: Source) -> str:
    """Geometric mean with its interval."""
    mean, low, high, n = geometric_interval(value for _, value in source.values)
    return f"{number(mean)}×" + (f" ({between(low, high)})" if n > 1 else "")
