"""Tickets whose walks end at different levels: what can be averaged, and which are at their end.

`prune.stop` ends a walk where too much accuracy is lost, and a run may be interrupted. A mean over
the tickets that are left is one of survivors, and its change from level to level says nothing.
"""

from typing import Any

import pandas as pd

from lottery.analysis.endpoints import PAIR, with_unpruned
from lottery.analysis.frames import settings
from lottery.pruning.schedule import ends_walk


def may_end_early(config: dict[str, Any]) -> bool:
    """Whether a study's `prune.stop` ends walks, in one of its variants or more."""
    variants = config.get("variants") or {"": {}}
    return any(settings(config, name, "prune").get("stop") is not None for name in variants)


def together(table: pd.DataFrame, levels: pd.DataFrame) -> pd.DataFrame:
    """Rows of any table up to the level at which the first ticket of their variant ends.

    At these levels all tickets of a variant are there. A variant without tickets stays whole.
    """
    ends = last_levels(levels).groupby("variant").min()
    return table[~(table["level"] > table["variant"].map(ends))]


def beyond(levels: pd.DataFrame) -> pd.DataFrame:
    """Tickets that go on where the first of their variant ends: their rows from that level on."""
    tickets = levels[levels["branch"] == "ticket"]
    own = last_levels(levels)
    first = tickets["variant"].map(own.groupby("variant").min())
    last = pd.Series(own.reindex(pd.MultiIndex.from_frame(tickets[PAIR])).array, tickets.index)
    return tickets[(tickets["level"] >= first) & (last > first)]


def last_levels(levels: pd.DataFrame) -> pd.Series:
    """The last level of each ticket, by variant, scheme and seed."""
    return levels[levels["branch"] == "ticket"].groupby(PAIR)["level"].max()


def finished(levels: pd.DataFrame, config: dict[str, Any]) -> pd.DataFrame:
    """Rows of the tickets that are at their walk's end: the last level, or where it was stopped.

    levels: a study's table. config: its `study.yaml`; without one the last level is that of the
    ticket that went furthest.
    """
    tickets = with_unpruned(levels[levels["branch"] == "ticket"], "val_accuracy")
    stops = {v: settings(config, v, "prune").get("stop") for v in set(tickets["variant"])}
    wanted = config.get("levels", tickets["level"].max())
    ended = [
        row.level >= wanted or ends_walk(stops[row.variant], row.val_accuracy, row.unpruned)
        for row in tickets.itertuples()
    ]
    done = pd.Series(ended, tickets.index, dtype=bool)
    whole = done.groupby([tickets[name] for name in PAIR]).transform("any")
    return tickets[whole].drop(columns="unpruned")
