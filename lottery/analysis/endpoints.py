"""One number per cell: how robust a network was to pruning.

A cell's *unpruned* network is level 0 of the ticket of the same variant, scheme and seed, also for
a control, which has no level 0 of its own.
"""

from collections.abc import Collection
from typing import NamedTuple

import numpy as np
import pandas as pd

from lottery.errors import ConfigError
from lottery.registry import parse_spec

CELL = ["variant", "init", "seed", "branch", "draw"]
"""What tells the cells of a study apart."""
PAIR = ["variant", "init", "seed"]
"""What a control shares with its ticket."""
ENDPOINTS = [
    *CELL,
    "cell",
    "unpruned",
    "first_level",
    "last_level",
    "pruned_levels",
    "mean_accuracy",
    "area",
    "critical_density",
    "censored",
    "log2_critical_density",
    "collapse_density",
]
ROUNDING = 1e-9
"""An accuracy this close below a bound reaches it."""
COLLAPSED = 0.5
"""Share of the unpruned accuracy below which a network has collapsed."""


class Margins(NamedTuple):
    """What counts as small on a network's data, in accuracy as a fraction."""

    equivalence: float
    """Schemes that differ by less are alike."""
    drop: float
    """The fall below unpruned accuracy at which the critical density is read off."""


def margins(model: str) -> Margins:
    """0.1 and 0.5 percentage points for LeNet on MNIST, 1 and 2 for YOLO; 0.5 and 1 for others."""
    name = network(model)
    if "yolo" in name:
        return Margins(0.01, 0.02)
    return Margins(0.001, 0.005) if name.startswith("lenet") else Margins(0.005, 0.01)


def network(model: str) -> str:
    """A model's name without its options.

    >>> network("conv6(width=0.25)")
    'conv6'
    """
    return parse_spec(model, "model")[0]


def is_reduced(model: str) -> bool:
    """Whether a model has other than its full width.

    >>> is_reduced("conv6(width=0.25)"), is_reduced("lenet_300_100(negative_slope=0.05)")
    (True, False)
    """
    return bool(parse_spec(model, "model")[2].get("width", 1) != 1)


def levels_above(levels: pd.DataFrame, density: float) -> list[int]:
    """Pruned levels whose tickets keep at least `density` of the weights, on average."""
    tickets = levels[(levels["branch"] == "ticket") & (levels["level"] > 0)]
    remaining = tickets.groupby("level")["weights_remaining"].mean()
    return [int(level) for level in remaining.index[remaining >= density]]


def with_unpruned(levels: pd.DataFrame, value: str = "test_accuracy") -> pd.DataFrame:
    """Rows of `levels` whose unpruned network is known, with its `value` as column `unpruned`."""
    ticket = levels[(levels["branch"] == "ticket") & (levels["level"] == 0)]
    unpruned = ticket[[*PAIR, value]].rename(columns={value: "unpruned"})
    return levels.merge(unpruned, on=PAIR, how="inner", validate="many_to_one")


def endpoints(
    levels: pd.DataFrame,
    value: str = "test_accuracy",
    drop: float | None = None,
    at: Collection[int] | None = None,
) -> pd.DataFrame:
    """Robustness of each cell of a study, one row per cell.

    value: test_accuracy, val_accuracy, or either at early stop; a fraction. drop: fall below the
    unpruned accuracy that defines the critical density (default: `margins`). at: pruned levels to
    use; by default all that the branch has in that variant. A cell that lacks one of them is left
    out, so that cells are comparable.

    Columns ENDPOINTS: CELL, cell, unpruned (accuracy), first_level, last_level and pruned_levels
    (how many were used), mean_accuracy (over these levels), area (mean over them of accuracy −
    unpruned: the area between the accuracy-sparsity curve and the unpruned network),
    critical_density, censored (no level fell below: the true one is lower still, and differences
    come out too small), log2_critical_density, and collapse_density (weights remaining at the first
    collapsed level; nan if none collapsed). The dense branch is never pruned, so it has no
    densities.
    """
    drop = margins(levels["model"].iloc[0]).drop if drop is None else drop
    table = with_unpruned(levels, value)
    table = table[table[value].notna() & table["unpruned"].notna()]
    rows = []
    for (_, branch), group in table.groupby(["variant", "branch"]):
        cells = [cell for _, cell in group.sort_values("level").groupby(CELL)]
        pruned = [set(cell["level"]) - {0} for cell in cells]
        used = set.union(*pruned) if at is None else set(at) - {0}
        for cell in cells:
            chosen = cell[cell["level"].isin(used)]
            if len(chosen) < max(len(used), 1):
                continue
            first = chosen.iloc[0]
            density, censored = np.nan, False
            if branch != "dense":
                density, censored = critical_density(
                    [1.0, *chosen["weights_remaining"]], [first["unpruned"], *chosen[value]], drop
                )
            collapsed = chosen[chosen[value] < COLLAPSED * chosen["unpruned"]]
            rows.append(
                {name: first[name] for name in [*CELL, "cell", "unpruned"]}
                | {
                    "first_level": chosen["level"].iloc[0],
                    "last_level": chosen["level"].iloc[-1],
                    "pruned_levels": len(chosen),
                    "mean_accuracy": chosen[value].mean(),
                    "area": (chosen[value] - chosen["unpruned"]).mean(),
                    "critical_density": density,
                    "censored": censored,
                    "log2_critical_density": np.log2(density),
                    "collapse_density": collapsed["weights_remaining"].max(),
                }
            )
    return pd.DataFrame(rows, columns=ENDPOINTS)


def critical_density(
    densities: Collection[float], accuracies: Collection[float], drop: float
) -> tuple[float, bool]:
    """Lowest density reached from the dense end with accuracy ≥ unpruned − drop, and if censored.

    densities: weights remaining, falling; accuracies: at each, the first of the unpruned network.
    Between the last level above the bound and the first below it, accuracy is taken as linear in
    the logarithm of density. Without a level below the bound it is the lowest density, censored.

    >>> critical_density([1.0, 0.5, 0.25], [0.98, 0.98, 0.96], drop=0.01)
    (0.3535533905932738, False)
    """
    if not drop >= 0:
        raise ConfigError("drop", drop, "a number that is not negative")
    log = np.log(np.asarray(list(densities), dtype=float))
    accuracy = np.asarray(list(accuracies), dtype=float)
    bound = accuracy[0] - drop
    below = np.flatnonzero(accuracy < bound - ROUNDING)
    if not len(below):
        return float(np.exp(log[-1])), True
    first = below[0]
    above = max(accuracy[first - 1], bound)
    share = (above - bound) / (above - accuracy[first])
    return float(np.exp(log[first - 1] + share * (log[first] - log[first - 1]))), False


def outcomes(
    levels: pd.DataFrame,
    value: str = "test_accuracy",
    by: Collection[str] = ("variant", "branch", "init", "level"),
) -> pd.DataFrame:
    """Median, quartiles and collapse rate over seeds: for levels where a mean describes no cell.

    At a few per cent of the weights some networks collapse and others do not. Draws of a seed are
    averaged first. Columns `by`, weights_remaining, median, q25, q75 (linear interpolation),
    collapsed (share of seeds below half of the unpruned accuracy) and n (seeds).
    """
    table = with_unpruned(levels, value)
    keys = list(by)
    per_seed = table.groupby([*keys, "seed"], as_index=False)[
        [value, "unpruned", "weights_remaining"]
    ].mean()
    per_seed = per_seed.dropna(subset=value)
    per_seed["collapsed"] = per_seed[value] < COLLAPSED * per_seed["unpruned"]
    groups = per_seed.groupby(keys)
    return groups.agg(
        weights_remaining=("weights_remaining", "mean"),
        median=(value, "median"),
        q25=(value, lambda values: values.quantile(0.25)),
        q75=(value, lambda values: values.quantile(0.75)),
        collapsed=("collapsed", "mean"),
        n=("seed", "count"),
    ).reset_index()


def speed_ups(levels: pd.DataFrame) -> pd.DataFrame:
    """How much sooner than the unpruned network each level stops early: rows with `speed_up`.

    speed_up: early-stop step of the unpruned network over that of the row, under the same variant,
    scheme and seed; above 1 is sooner. Only rows in which both are known and above 0.
    """
    known = levels[levels["early_stop_step"].fillna(0) > 0]
    table = with_unpruned(known, "early_stop_step")
    ratio = table["unpruned"].astype(float) / table["early_stop_step"].astype(float)
    return table.drop(columns="unpruned").assign(speed_up=ratio)
