"""Layer collapse: levels at which pruning left a layer without weights, or no path of them.

Nothing prevents it when pruning, so it is looked for afterwards. A feed-forward network that is cut
in two predicts the same for every image, however it is trained.
"""

import pandas as pd

_LEVEL = ["variant", "init", "seed", "branch", "draw", "cell", "level"]


def layer_collapses(layers: pd.DataFrame, diagnostics: pd.DataFrame | None = None) -> pd.DataFrame:
    """Levels with a layer of which no weight is left, or without a path from inputs to outputs.

    layers, diagnostics: tables as `lottery.analysis.frames` reads them; without diagnostics, or for
    networks of which no effective density is known, paths are not looked at. Returns a row per cell
    and level, sorted: those columns, `weights_remaining`, and `layers`, the names of layers without
    weights, which is empty where there are weights in all, but no path.
    """
    weights = layers[~layers["layer"].str.endswith(".bias")]
    sums = weights.groupby(_LEVEL)[["weights", "remaining"]].sum()
    empty = weights[weights["remaining"] == 0].groupby(_LEVEL)["layer"].agg(", ".join)
    found = pd.DataFrame({"weights_remaining": sums["remaining"] / sums["weights"]})
    cut = found.index.isin(empty.index)
    if diagnostics is not None:
        whole = (diagnostics["quantity"] == "effective_density") & (diagnostics["layer"] == "all")
        without = diagnostics[whole & (diagnostics["value"] == 0)]
        cut |= found.index.isin(pd.MultiIndex.from_frame(without[_LEVEL]))
    found = found[cut].assign(layers=empty.reindex(found.index[cut]).fillna("").astype(str))
    return found.reset_index().sort_values(_LEVEL, ignore_index=True)
