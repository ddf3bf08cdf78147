"""Which diagnostic explains robustness to pruning, and how strongly, or that none does.

>>> table = explain(levels("lenet"), diagnostics("lenet"))  # doctest: +SKIP
>>> conclusion(table)  # doctest: +SKIP
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from lottery.analysis import association
from lottery.analysis.endpoints import endpoints
from lottery.analysis.figures.diagnostics import whole_network
from lottery.analysis.paired import holm
from lottery.errors import ConfigError

LOW_DENSITIES = (0.036, 0.019)
"""Weights remaining at which accuracy is explained: where LeNet's tickets are back at the unpruned
accuracy in Frankle & Carbin (2019), and where they have fallen below it."""
NEAR = 1.25
"""A level within this factor of a density stands for it."""
SIGNIFICANT = 0.05
NOT_EXPLAINING = ("overlap_chance", "effective_density", "overlap_other_seeds")
"""Not of a cell, or stood for by effective_share and overlap_over_chance."""
COLUMNS = [
    *("endpoint", "quantity", "over", "n", "schemes", "seeds", "rho", "low", "high"),
    *("between", "within", "r2", "share_between", "p", "holm_p", "verdict"),
]


class Endpoint(NamedTuple):
    """What is to be explained: a value per scheme and seed."""

    name: str
    values: pd.Series
    """Indexed by init and seed."""
    levels: Sequence[int]
    """Levels over which a diagnostic is averaged."""


def explain(
    levels: pd.DataFrame, diagnostics: pd.DataFrame, value: str = "test_accuracy"
) -> pd.DataFrame:
    """Each diagnostic against each endpoint, over the tickets of one study and variant.

    Endpoints: the area between the accuracy-sparsity curve and the unpruned network
    (`endpoints`), against the diagnostic's mean over pruned levels; and accuracy at
    LOW_DENSITIES, where the study has such levels, against the diagnostic at that level. Schemes by
    seeds have to be complete: seeds that lack a scheme are left out.

    Columns COLUMNS. over: text, the levels meant. n: cells. rho: Spearman's correlation over
    cells, with a bootstrap interval over seeds. between, within: of the schemes' means, and of
    deviations from them. r2: of predicting a scheme that was not seen. share_between: share of the
    endpoint's spread that lies between schemes. p: permutation test of rho that shuffles schemes
    and seeds as wholes. holm_p: corrected over the table. verdict: "explains" (holm_p < 0.05, and
    r2 > 0), "goes along" (holm_p < 0.05 alone), "not shown", or "constant". Definitions are in
    `association`.
    """
    for name, table in (("levels", levels), ("diagnostics", diagnostics)):
        for column in ("study", "variant"):
            if table[column].nunique() > 1:
                found = ", ".join(sorted(set(table[column])))
                raise ConfigError(f"{column} of {name}", found, "one")
    quantities = whole_network(diagnostics)
    quantities = quantities[~quantities["quantity"].isin(NOT_EXPLAINING)]
    rows = [
        _row(endpoint, quantity, rows)
        for endpoint in robustness(levels, value)
        for quantity, rows in quantities.groupby("quantity", sort=False)
    ]
    table = pd.DataFrame([row for row in rows if row], columns=COLUMNS[:-2])
    table["holm_p"] = holm(table["p"])
    table["verdict"] = [_verdict(row) for row in table.itertuples()]
    return table


def robustness(levels: pd.DataFrame, value: str = "test_accuracy") -> Iterator[Endpoint]:
    """The endpoints of the tickets, in the order of `explain`."""
    tickets = levels[levels["branch"] == "ticket"]
    area = endpoints(tickets, value)
    pruned = sorted(set(tickets["level"]) - {0})
    yield Endpoint("area", area.set_index(["init", "seed"])["area"], pruned)
    remaining = tickets.groupby("level")["weights_remaining"].mean()
    for density in LOW_DENSITIES:
        distance = np.abs(np.log(remaining / density))
        level = int(distance.idxmin())
        if distance[level] <= np.log(NEAR):
            rows = tickets[tickets["level"] == level].set_index(["init", "seed"])
            name = f"accuracy at {100 * remaining[level]:.3g} %"
            yield Endpoint(name, rows[value], [level])


def conclusion(table: pd.DataFrame) -> str:
    """One sentence on what `explain` found."""
    if table.empty:
        return "No diagnostic was recorded at the levels in question."
    quantities = table["quantity"].nunique()
    schemes, seeds = table["schemes"].max(), table["seeds"].max()
    cells = f"{schemes} {'scheme' if schemes == 1 else 'schemes'} × {seeds} "
    cells += "seed" if seeds == 1 else "seeds"
    grounds = f"{cells}, Holm-corrected over {table['p'].count()} tests"
    found = table[table["verdict"] == "explains"]
    if found.empty:
        best = table.loc[table["rho"].abs().idxmax()] if table["rho"].notna().any() else None
        nearest = ""
        if best is not None:
            nearest = (
                f" The strongest is {_words(best['quantity'])} against {best['endpoint']}: "
                f"ρ = {_signed(best['rho'])}, p = {best['p']:.2g}, corrected {best['holm_p']:.2g}."
            )
        along = table.loc[table["verdict"] == "goes along", "quantity"].nunique()
        beside = (
            f" Of these {along} {'goes' if along == 1 else 'go'} along with it." if along else ""
        )
        none = f"None of {quantities} diagnostics is shown to explain robustness ({grounds})."
        return none + beside + nearest + _too_small(table)
    explained = found["quantity"].nunique()
    verb = "explains" if explained == 1 else "explain"
    return f"{explained} of {quantities} diagnostics {verb} robustness ({grounds})."


def strongest(table: pd.DataFrame, most: int = 3) -> dict[str, list[str]]:
    """By endpoint, the diagnostics that explain it, the strongest first and at most so many."""
    found = table[table["verdict"] == "explains"]
    texts = {}
    for endpoint, rows in found.groupby("endpoint", sort=False):
        order = rows["rho"].abs().sort_values(ascending=False).index
        texts[str(endpoint)] = [
            f"{_words(row.quantity)}, ρ = {_signed(row.rho)}, R² in an unseen scheme {row.r2:.2f}"
            for row in rows.loc[order[:most]].itertuples()
        ]
        if len(order) > most:
            texts[str(endpoint)].append(f"{len(order) - most} more")
    return texts


def _too_small(table: pd.DataFrame) -> str:
    """A word of warning where no association whatsoever could have been shown."""
    shuffles = [
        math.factorial(schemes) * math.factorial(seeds)
        for schemes, seeds in zip(table["schemes"], table["seeds"], strict=True)
    ]
    least = min(1.0, float(table["p"].count()) / max(shuffles))
    if least < SIGNIFICANT:
        return ""
    return f" So few schemes and seeds cannot show any: the least corrected p is {least:.2g}."


def _row(endpoint: Endpoint, quantity: str, rows: pd.DataFrame) -> dict[str, object] | None:
    """One diagnostic against one endpoint; None where it was not recorded."""
    chosen = rows[rows["level"].isin(endpoint.levels)]
    # Draws of a level first, then levels; a cell that lacks a level cannot be compared.
    by_level = chosen.groupby(["init", "seed", "level"])["value"].mean().unstack("level")
    predictor = by_level.dropna(how="all").mean(axis=1, skipna=False)
    both = pd.DataFrame({"x": predictor, "y": endpoint.values}).dropna()
    x, y = (both[name].unstack("seed") for name in ("x", "y"))
    complete = x.columns[x.notna().all()]
    if not len(complete):
        return None
    one, other = x[complete].to_numpy(), y[complete].to_numpy()
    low, high = association.bootstrap_interval(one, other)
    return {
        "endpoint": endpoint.name,
        "quantity": quantity,
        "over": _over(sorted(by_level.columns)),
        "n": one.size,
        "schemes": len(one),
        "seeds": len(complete),
        "rho": association.spearman(one, other),
        "low": low,
        "high": high,
        "between": association.between(one, other),
        "within": association.within(one, other),
        "r2": association.unseen_scheme_r2(one, other),
        "share_between": association.share_between(other),
        "p": association.permutation_p(one, other),
    }


def _over(levels: list[int]) -> str:
    """Levels as a reader names them.

    >>> _over([15]), _over([1, 2, 3]), _over([3, 7])
    ('level 15', 'mean of levels 1 to 3', 'mean of levels 3, 7')
    """
    if len(levels) == 1:
        return f"level {levels[0]}"
    if levels == list(range(levels[0], levels[-1] + 1)):
        return f"mean of levels {levels[0]} to {levels[-1]}"
    return f"mean of levels {', '.join(map(str, levels))}"


def _verdict(row: object) -> str:
    rho, r2, holm_p = (getattr(row, name) for name in ("rho", "r2", "holm_p"))
    if np.isnan(rho):
        return "constant"
    if not holm_p < SIGNIFICANT:
        return "not shown"
    return "explains" if r2 > 0 else "goes along"


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−")


def _words(quantity: str) -> str:
    return quantity.replace("_", " ")
