"""Results of "Less is more" (Idiap-RR-03-2018) on LeNet and MNIST, its four variants.

Each is the mean of 10 runs in the report; the unpruned network has an error of 0.85 %. They are put
to the variants basic, input, layer and relative of a study of `lenet5`, at its last level.
"""

from collections.abc import Iterator

import pandas as pd

from lottery.analysis.claims.measures import SOURCE, Measure, Measurer, Missing, complete
from lottery.analysis.claims.verdicts import Claim, Region, Size
from lottery.analysis.sizes import at_last_level

REPORT = "Zhou et al., Less is more, Idiap-RR-03-2018"
NETWORK = "lenet5"
UNPRUNED = 0.85
"""Error (%) of the network that all variants start from."""
RESULTS = {
    "basic": ("the basic algorithm", 84.0, 0.93),
    "input": ("grouping by input", 87.6, 0.97),
    "layer": ("reducing one layer at a time", 87.2, 1.31),
    "relative": ("a relative threshold", 85.9, 0.96),
}
"""By variant: in words, parameters removed (%), and the error that is left (%)."""


def filter_claims() -> list[Claim]:
    """The unpruned error, then reduction and error of each variant."""
    return list(_claims())


def _claims() -> Iterator[Claim]:
    yield _claim(
        "unpruned", "LeNet has this error before it is reduced", "relative",
        f"{UNPRUNED} % error", "Test error at level 0", Size(UNPRUNED), error(unpruned=True),
    )  # fmt: skip
    for variant, (words, removed, left) in RESULTS.items():
        yield _claim(
            f"{variant}-reduction", f"{words.capitalize()} makes LeNet this much smaller", variant,
            f"{removed} % fewer parameters", "Parameters removed at the last level",
            Size(removed), reduction(),
        )  # fmt: skip
        yield _claim(
            f"{variant}-error", f"{words.capitalize()} leaves this error", variant,
            f"{left} % error", "Test error at the last level", Size(left), error(),
        )  # fmt: skip
    yield _claim(
        "layer-above-1", "Reducing one layer at a time never gets below 1 % error", "layer",
        "above 1 % error", "Test error at the last level", Region(low=1.0), error(),
    )  # fmt: skip


def reduction() -> Measurer:
    """Parameters removed at the last level (%)."""

    def measure(levels: pd.DataFrame) -> Measure:
        first, last = _ends(levels, "parameters")
        rows = complete(pd.concat([last.assign(part="a"), first.assign(part="b")]))
        sums = rows["value"].groupby([rows["seed"], rows["part"]]).mean().unstack("part")
        values = 100 * (1 - sums["a"] / sums["b"])
        return Measure(values, rows, "%", "1 − mean of a / mean of b")

    return measure


def error(unpruned: bool = False) -> Measurer:
    """Test error (%) at the last level, or at level 0."""

    def measure(levels: pd.DataFrame) -> Measure:
        first, last = _ends(levels, "test_accuracy")
        rows = complete((first if unpruned else last).assign(part="a"))
        return Measure(100 * (1 - rows.groupby("seed")["value"].mean()), rows, "%", "1 − mean of a")

    return measure


def _ends(levels: pd.DataFrame, column: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Tickets at level 0 and at the last level, columns SOURCE without part; raises Missing."""
    tickets = levels[levels["branch"] == "ticket"]
    if column not in tickets or not (tickets["level"] > 0).any():
        raise Missing(f"no {column.replace('_', ' ')} of pruned levels")
    value = tickets[column].astype("float64")
    rows = tickets.assign(asked=float("nan"), column=column, value=value).dropna(subset="value")
    first, last = rows[rows["level"] == 0], at_last_level(rows)
    if first.empty or last.empty:
        raise Missing(f"no {column.replace('_', ' ')} for both ends")
    return first[list(SOURCE[1:])], last[list(SOURCE[1:])]


def _claim(
    id: str,
    statement: str,
    variant: str,
    published: str,
    how: str,
    rule: Region | Size,
    measure: Measurer,
) -> Claim:
    return Claim(
        id=f"lim-{id}",
        source=REPORT,
        statement=statement,
        published=published,
        network=NETWORK,
        how=f"{how}, variant {variant}, mean over seeds",
        rule=rule,
        measure=measure,
        variant=variant,
    )
