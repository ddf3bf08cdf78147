"""Detectors smaller by pruning: what each level saves, and how far pruning goes at a small loss.

Sizes and times are those of the physically smaller network, shares those of the unpruned network of
the same variant, scheme and seed.
"""

from collections.abc import Collection

import pandas as pd

from lottery.analysis.columns import ALL
from lottery.analysis.endpoints import PAIR, ROUNDING, with_unpruned
from lottery.analysis.sizes import sizes

ALLOWED = 0.02
"""Fall of mean average precision (a fraction) that is still allowed."""
BUSY = 0.5
"""Cores that other processes may use on average before times are doubtful."""
MEASURED = ["ap_11", "ap_area", "ap_before", "bytes", "latency_ms", "unpruned_ms", "busy_cores"]
"""Columns of `detectors.csv` that `levels.csv` has not."""


def networks(levels: pd.DataFrame, detectors: pd.DataFrame) -> pd.DataFrame:
    """Measured tickets, a row per level, with what each saves.

    levels, detectors: tables of one study. Columns are those of `sizes` and MEASURED, and
    bytes_removed and latency_removed (shares), speed_up and fewer_macs (how many times faster the
    network is, and how many times fewer multiply-accumulates it has), ap_change (ap_area less that
    of the unpruned), worst_change (the same of the class that lost most). Times are compared with
    those of the unpruned network that were taken in turns with them, and not with those of level 0.
    """
    place = ["cell", *PAIR, "level"]
    whole = detectors.loc[detectors["class"] == ALL, [*place, *MEASURED]]
    table = sizes(levels).merge(whole, on=place, how="inner", validate="one_to_one")
    table = table.merge(_worst(detectors), on=place, how="left", validate="one_to_one")
    found = {}
    for column in ("bytes", "macs", "ap_area"):
        table = with_unpruned(table, column)
        found[column] = table[column].astype("float64"), table.pop("unpruned").astype("float64")
    return table.assign(
        bytes_removed=1 - found["bytes"][0] / found["bytes"][1],
        latency_removed=1 - table["latency_ms"] / table["unpruned_ms"],
        speed_up=table["unpruned_ms"] / table["latency_ms"],
        fewer_macs=found["macs"][1] / found["macs"][0],
        ap_change=found["ap_area"][0] - found["ap_area"][1],
    )


def _worst(detectors: pd.DataFrame) -> pd.DataFrame:
    """By ticket and level the column `worst_change`: AP less unpruned, of the class that lost most.

    A mean over classes may hide that one of them is gone.
    """
    classes = detectors[detectors["class"] != ALL]
    start = classes.loc[classes["level"] == 0, [*PAIR, "class", "ap_area"]]
    table = classes.merge(start, on=[*PAIR, "class"], suffixes=("", "_unpruned"))
    change = (table["ap_area"] - table["ap_area_unpruned"]).rename("worst_change")
    place = ["cell", *PAIR, "level"]
    return change.groupby([table[name] for name in place]).min().reset_index()


def since_unpruned(
    levels: pd.DataFrame, anew: Collection[str] = (), branch: str = "ticket"
) -> pd.DataFrame:
    """Tickets with a column `steps_since`: training that a network had since the unpruned one.

    levels: a study's table. anew: variants in which each level starts from the unpruned network, or
    from weights that are older still, so that its own steps are all.
    """
    rows = levels[levels["branch"] == branch].sort_values("level")
    steps = rows["steps"].where(rows["level"] > 0, 0)
    total = steps.groupby([rows[name] for name in PAIR]).cumsum()
    return rows.assign(steps_since=steps.where(rows["variant"].isin(anew), total))


def trained_on(levels: pd.DataFrame, tickets: pd.DataFrame) -> pd.DataFrame:
    """Rows of the unpruned baseline, trained on for as many steps since as each of the tickets.

    tickets: rows with `steps_since`. Tickets of other numbers of steps than the baseline's levels
    end with have no row.
    """
    baseline = since_unpruned(levels, branch="dense")
    return baseline.merge(tickets[[*PAIR, "steps_since"]].drop_duplicates())


def as_trained_on(levels: pd.DataFrame, anew: Collection[str]) -> pd.DataFrame:
    """Pruned tickets with the test accuracy of the unpruned baseline trained on for as long.

    Those that have one. anew: as in `since_unpruned`.
    """
    tickets = since_unpruned(sizes(levels), anew)
    tickets = tickets[tickets["level"] > 0].drop(columns="test_accuracy")
    places = [*PAIR, "steps_since"]
    baseline = trained_on(levels, tickets)[[*places, "test_accuracy"]]
    return tickets.merge(baseline, on=places, validate="many_to_one")


def furthest(table: pd.DataFrame, allowed: float = ALLOWED) -> pd.DataFrame:
    """Of each ticket the last level before its validation AP falls by more than `allowed`.

    table: rows of `networks`, or of a table of levels. Returns one row per ticket, of level 0 where
    the first pruned level has fallen, with a column `censored`: whether no level has, so that
    pruning could go further. Validation pictures choose the level; test pictures judge it.
    """
    return _last_within(with_unpruned(table, "val_accuracy"), allowed)


def furthest_beside(
    levels: pd.DataFrame, tickets: pd.DataFrame, allowed: float = ALLOWED
) -> pd.DataFrame:
    """As `furthest`, with the unpruned baseline trained on for as many steps in place of level 0.

    A long walk gains what training alone adds, of which a short one has little: against level 0 the
    longer is favoured. levels: a study's table. tickets: rows with `steps_since`; those of numbers
    of steps that the baseline was not evaluated at are left out.
    """
    places = [*PAIR, "steps_since"]
    baseline = trained_on(levels, tickets)[[*places, "val_accuracy"]]
    baseline = baseline.rename(columns={"val_accuracy": "unpruned"})
    return _last_within(tickets.merge(baseline, on=places, validate="many_to_one"), allowed)


def _last_within(table: pd.DataFrame, allowed: float) -> pd.DataFrame:
    """Of each ticket the last row before its validation AP is too far below column `unpruned`."""
    table = table.sort_values("level")
    table["fell"] = table["val_accuracy"] < table.pop("unpruned") - allowed - ROUNDING
    after = table.groupby(PAIR)["fell"].cummax()
    censored = ~table.groupby(PAIR)["fell"].transform("any")
    kept = table.assign(censored=censored)[~after].drop(columns="fell")
    return kept.groupby(PAIR, sort=False).tail(1).sort_values(PAIR, ignore_index=True)


def before_retraining(levels: pd.DataFrame, curves: pd.DataFrame) -> pd.DataFrame:
    """Pruned tickets whose network was evaluated as pruned, before it was trained on.

    Rows of `levels` with the accuracies of that moment in place of those at the level's end. Levels
    that start with what the last one had, as soft pruning does, have none, nor have those that were
    not evaluated at their first step. Where weights go back, it says nothing of pruning.
    """
    place = ["variant", "cell", "level"]
    measured = ["test_accuracy", "val_accuracy"]
    rows = curves[curves["branch"] == "ticket"]
    last = rows.drop_duplicates(place, keep="last").rename(columns={"step": "last_step"})
    first = rows.drop_duplicates(place)[[*place, "step", "weights_remaining", *measured]]
    first = first.merge(last[[*place, "last_step"]], on=place)
    first = first.rename(columns={"weights_remaining": "at_first"})
    tickets = levels[(levels["branch"] == "ticket") & (levels["level"] > 0)].drop(columns=measured)
    table = tickets.merge(first, on=place, how="inner", validate="one_to_one")
    at_start = table["last_step"] - table["step"] >= table["steps"]
    alike = (table["at_first"] - table["weights_remaining"]).abs() < ROUNDING
    return table[at_start & alike].drop(columns=["step", "last_step", "at_first"])
