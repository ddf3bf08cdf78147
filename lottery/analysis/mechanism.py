"""Does the distance that weights travel say which schemes are robust, with Adam and with SGD?

The hypothesis: Adam's steps are about as long whatever the scale of the weights, so wide weights
travel little for their size, magnitude after training ranks them much as it did before (high init
memory), and masks are nearly those of pruning at initialisation, which are known to be worse.
Then narrow is robust with Adam, and the effect goes with SGD or where magnitudes tie.
"""

import pandas as pd

from lottery.analysis.explain import explain, robustness
from lottery.analysis.figures.diagnostics import whole_network
from lottery.analysis.paired import holm

QUANTITIES = ("init_memory", "relative_travel")
AREA, ACCURACY = "area", "accuracy"
"""Endpoints: accuracy less unpruned, and plain accuracy, both means over pruned levels."""
ALL = "all variants"


def mechanism(levels: pd.DataFrame, diagnostics: pd.DataFrame) -> pd.DataFrame:
    """Both quantities against both endpoints, within each variant and over all of them.

    Against AREA and ACCURACY, as a scheme that trains worse unpruned has less to lose, so that the
    two may disagree. levels, diagnostics: of one study.
    Columns variant, and those of `explain`; where there are
    several variants, rows of ALL take a scheme in each of them for one scheme. holm_p is corrected
    over this table.
    """
    layers = by_layer(diagnostics)
    tables = []
    variants = sorted(set(layers["variant"]) & set(levels["variant"]))
    for variant in variants:
        own = levels["variant"] == variant
        tables.append(_of(levels[own], layers[layers["variant"] == variant], variant))
    if len(variants) > 1:
        tables.append(_of(_as_one(levels), _as_one(layers), ALL))
    tables = [table for table in tables if len(table)]
    if not tables:
        return pd.DataFrame()
    found = pd.concat(tables, ignore_index=True)
    return found.assign(holm_p=holm(found["p"]))


def by_layer(diagnostics: pd.DataFrame) -> pd.DataFrame:
    """Rows of QUANTITIES of single layers alone, so that every layer counts the same.

    Over all weights the largest layer decides, and of a scheme by layer it may be the one at rest.
    """
    chosen = diagnostics["quantity"].isin(QUANTITIES) & (diagnostics["layer"] != "all")
    return diagnostics[chosen]


def cells(levels: pd.DataFrame, diagnostics: pd.DataFrame) -> pd.DataFrame:
    """A row per ticket and quantity: variant, init, seed, quantity, value, area.

    value: mean over layers and pruned levels; area as `endpoints` has it.
    """
    parts = []
    for variant, own in levels.groupby("variant"):
        area = next(iter(robustness(own))).values
        rows = by_layer(diagnostics[diagnostics["variant"] == variant])
        if area.empty or rows.empty:
            continue
        table = whole_network(rows)
        pruned = table[table["level"] > 0]
        means = pruned.groupby(["quantity", "init", "seed"])["value"].mean().reset_index()
        joined = means.join(area.rename("area"), on=["init", "seed"], how="inner")
        parts.append(joined.assign(variant=variant))
    if not parts:
        return pd.DataFrame(columns=["quantity", "init", "seed", "value", "area", "variant"])
    return pd.concat(parts, ignore_index=True).dropna(subset=["value", "area"])


def _of(levels: pd.DataFrame, diagnostics: pd.DataFrame, variant: str) -> pd.DataFrame:
    # The area above an unpruned accuracy that is the same for all is plain accuracy.
    plain = levels.assign(test_accuracy=levels["test_accuracy"].where(levels["level"] > 0, 0.0))
    parts = []
    for endpoint, own in ((AREA, levels), (ACCURACY, plain)):
        table = explain(own, diagnostics)
        parts.append(table[table["endpoint"] == "area"].assign(endpoint=endpoint))
    return pd.concat(parts).assign(variant=variant)


def _as_one(table: pd.DataFrame) -> pd.DataFrame:
    """Variants as schemes of one variant."""
    return table.assign(init=table["variant"] + ": " + table["init"], variant=ALL)
