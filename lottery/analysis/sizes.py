"""What removing whole filters leaves of a network: shares of its parameters and of its work.

Level 0 of a ticket is the network left whole, with which its later levels are compared.
"""

import pandas as pd

from lottery.analysis.endpoints import with_unpruned

REMOVED = {"parameters": "parameters_removed", "macs": "macs_removed"}
"""Columns of `levels.csv`, and of `sizes` the share of each that is gone."""
WEIGHTS, PARAMETERS = "weights remaining", "parameters left"
"""What the column `weights_remaining` is, where single weights are pruned and where filters are."""


def of_filters(levels: pd.DataFrame) -> bool:
    """Whether whole filters are pruned, so that weights remaining are all parameters left."""
    return all(name in levels and levels[name].notna().any() for name in REMOVED)


def left(levels: pd.DataFrame) -> str:
    """What to call the column `weights_remaining` of a study's table."""
    return PARAMETERS if of_filters(levels) else WEIGHTS


def sizes(levels: pd.DataFrame) -> pd.DataFrame:
    """Tickets whose size is known, with columns parameters_removed and macs_removed.

    levels: a study's table. Shares are fractions of the unpruned network of the same variant,
    scheme and seed; rows without one are left out.
    """
    table = levels[levels["branch"] == "ticket"]
    for column, removed in REMOVED.items():
        table = with_unpruned(table[table[column].notna()], column)
        share = 1 - table[column].astype("float64") / table["unpruned"].astype("float64")
        table = table.assign(**{removed: share}).drop(columns="unpruned")
    return table


def only_weights(layers: pd.DataFrame) -> pd.DataFrame:
    """Rows of layers' weights, without the biases and batch norm that go with filters."""
    return layers[layers["layer"].str.endswith("weight") & (layers["kind"] != "norm")]


def at_last_level(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of each variant's last level; a cell that ended before it has none."""
    return table[table["level"] == table.groupby("variant")["level"].transform("max")]
