"""The choice of a custom scheme, in the report of the study that it was made from."""

import pandas as pd

from lottery.analysis.choice import VALUE, Choice, dense_loss, ranking
from lottery.analysis.endpoints import endpoints
from lottery.analysis.figures.style import scheme_name
from lottery.analysis.report.document import anchor, listed, number, plus_minus, points, table
from lottery.analysis.report.sources import Source, Sources, cell_rows, of_rows
from lottery.analysis.report.study import Study

TITLE = "The choice of a custom scheme"
"""Of the section."""


def choice_made(study: Study, choice: Choice | None, sources: Sources) -> str:
    """The ranking that the choice rests on, and how close it was; empty for other studies."""
    if choice is None or choice.study != study.name:
        return ""
    cells = _cells(study, choice)
    rows = []
    for row in ranking(_levels(study, choice)).itertuples():
        area, unpruned = (_source(cells, column, row.scheme) for column in ("area", "unpruned"))
        name = scheme_name(row.scheme)
        rows.append([
            f"**{name}**" if row.scheme in (choice.chosen, choice.standard) else name,
            "custom" if row.custom else "standard",
            sources.link(area, plus_minus(area.interval(), 100, 3, sign=True)),
            sources.link(unpruned, number(100 * unpruned.interval().mean)),
            "yes" if row.keeps_up else "**no**",
        ])  # fmt: skip
    loss = dense_loss(str(study.levels["model"].iloc[0]))
    header = ["Scheme", "Kind", "Validation area (pp)", "Unpruned (%)", "Keeps up"]
    judges = listed(f"`{name}`" for name in choice.judges) or "every study that has both schemes"
    return (
        f"{_chosen(choice)} {_closeness(choice, cells, sources)}\n\n"
        "The rule, fixed before: of the custom schemes that keep up unpruned (mean accuracy not "
        f"more than {points(100 * loss)} below that of the best standard scheme), the one of the "
        "largest area under the curve of *validation* accuracy less unpruned, mean over pruned "
        f"levels. Test accuracy had no part in it. Seeds {listed(map(str, choice.seeds))} chose, "
        f"and judge nothing: {judges} judge, on other seeds.\n\n"
        + table(header, rows, aligned="llrrl")
    )


def short(study: Study, choice: Choice | None) -> str:
    """A point for the short answer; empty where the section is."""
    if choice is None or choice.study != study.name:
        return ""
    return f"**Which custom scheme is to be judged?** {_chosen(choice)} [Why](#{anchor(TITLE)})."


def _chosen(choice: Choice) -> str:
    return (
        f"{scheme_name(choice.chosen)} was chosen by validation accuracy, to be judged against "
        f"{scheme_name(choice.standard)}, the best standard scheme."
    )


def _closeness(choice: Choice, cells: pd.DataFrame, sources: Sources) -> str:
    """How far the chosen scheme led the next candidate and the standard one, and how surely."""
    keep_up = [row["scheme"] for row in choice.candidates if row["custom"] and row["keeps_up"]]
    texts, sure = [], True
    for other in (*keep_up[1:2], choice.standard):
        source = _source(cells, "area", choice.chosen, other)
        lead = source.interval()
        sure = sure and lead.low > 0
        figure = sources.link(source, plus_minus(lead, 100, 3, sign=True))
        texts.append(f"{scheme_name(other)} by {figure} pp")
    unsure = ", which is no difference: other seeds may well have chosen another scheme"
    return f"It leads {listed(texts)} (n = {lead.n}){'' if sure else unsure}."


def _levels(study: Study, choice: Choice) -> pd.DataFrame:
    """Of the seeds that chose, as the study may have been given more since."""
    return study.levels[study.levels["seed"].isin(choice.seeds)]


def _cells(study: Study, choice: Choice) -> pd.DataFrame:
    found = endpoints(_levels(study, choice), VALUE)
    return found[found["branch"] == "ticket"]


def _source(cells: pd.DataFrame, column: str, scheme: str, less: str | None = None) -> Source:
    sides = [(scheme, False)] + ([(less, True)] if less else [])
    first, last = int(cells["first_level"].min()), int(cells["last_level"].max())
    levels = tuple(range(first, last + 1)) if column == "area" else (0,)
    return of_rows(
        f"Choice: {column} of {scheme}" + (f" less {less}" if less else ""),
        f"{column} of {VALUE}",
        "branch = ticket, of the seeds that chose; per cell by `lottery.analysis.endpoints`",
        [
            row
            for init, minus in sides
            for row in cell_rows(cells[cells["init"] == init], column, levels, minus)
        ],
    )
