"""How far each ticket of a study of detectors went, and by how much it fell there.

One mean AP on a few validation pictures ends a walk, so a reader should see how close it was.
"""

import numpy as np
import pandas as pd

from lottery.analysis.endpoints import PAIR, with_unpruned
from lottery.analysis.figures.style import scheme_name
from lottery.analysis.report.document import listed, number, table
from lottery.analysis.report.saved import POINTS, Saved
from lottery.analysis.report.sources import Sources, of_rows, rows_of
from lottery.analysis.sizes import sizes
from lottery.words import plural

VALIDATION = "val_accuracy"


def walks(own: Saved, sources: Sources) -> str:
    """A row per variant and scheme, a column per seed: AP less unpruned at the end of each walk."""
    tickets = sizes(own.study.levels)
    seeds = sorted(set(own.table["seed"]))
    several = own.table["init"].nunique() > 1
    rows = []
    for variant in own.variants:
        of_variant = own.table[own.table["variant"] == variant]
        for init, of_scheme in of_variant.groupby("init", sort=False):
            name = f"{variant}, {scheme_name(str(init))}" if several else variant
            levels = of_scheme.set_index("seed")["level"]
            walked = tickets[(tickets["variant"] == variant) & (tickets["init"] == init)]
            rows.append([name, *(_end(walked, seed, levels.get(seed), sources) for seed in seeds)])
    header = ["Variant, scheme" if several else "Variant", *(f"Seed {seed} (pp)" for seed in seeds)]
    return (
        "Where each walk ended, on *validation* pictures: the last level within the allowed loss "
        "and its mean AP less that of level 0, then, if there was one, the level that lay below. "
        f"{_bounds(tickets)} {_noise(tickets)}\n\n"
        + table(header, rows, aligned="l" + "r" * len(seeds))
    )


def _end(walked: pd.DataFrame, seed: int, level: float | None, sources: Sources) -> str:
    """The last level of a ticket within the allowed loss and the next, with what each lost."""
    if level is None:
        return ""
    own = walked[walked["seed"] == seed]
    texts = []
    for at in (int(level), int(level) + 1):
        rows, start = own[own["level"] == at], own[own["level"] == 0]
        if rows.empty:
            continue
        variant = rows["variant"].iloc[0]
        source = of_rows(
            f"Walks: {variant}, seed {seed}, level {at}",
            VALIDATION,
            f"variant = {variant}, branch = ticket, level = {at}, less level = 0",
            (*rows_of(rows, VALIDATION), *rows_of(start, VALIDATION, minus=True)),
        )
        ((_, value),) = source.values
        texts.append(f"{at}: {sources.link(source, number(100 * value, 2, sign=True))}")
    return "; ".join(texts)


def _bounds(tickets: pd.DataFrame) -> str:
    """Mean AP of level 0, from which all variants of a seed are judged."""
    start = tickets[tickets["level"] == 0]
    several = start["init"].nunique() > 1
    texts = []
    for (init, seed), own in start.groupby(["init", "seed"]):
        values = dict.fromkeys(number(100 * value, 1) for value in own[VALIDATION])
        scheme = f"{scheme_name(str(init))}, " if several else ""
        texts.append(f"{', '.join(values)} % ({scheme}seed {seed})")
    return (
        f"Level 0 has {listed(texts)}. It sets the bound, {POINTS} lower, of all variants of its "
        "seed: by chance high or low, it moves all of them."
    )


def _noise(tickets: pd.DataFrame) -> str:
    """How well one evaluation tells another, from what both sets of pictures say of each level."""
    pruned = tickets[tickets["level"] > 0]
    change = {
        column: (known := with_unpruned(tickets, column).set_index([*PAIR, "level"]))[column]
        - known["unpruned"]
        for column in (VALIDATION, "test_accuracy")
    }
    apart = (change[VALIDATION] - change["test_accuracy"]).drop(index=0, level="level")
    size = number(100 * float(np.sqrt((apart**2).mean())), 1)
    return (
        f"Changes on validation and on test pictures differ by {size} points (root mean square "
        f"over {plural(len(pruned), 'level')}): a smaller margin, or difference between tickets, "
        "may be of the pictures alone."
    )
