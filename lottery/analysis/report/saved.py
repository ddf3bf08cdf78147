"""What pruned detectors save within the allowed loss, with the rows that each number comes from."""

from dataclasses import dataclass, replace
from functools import cached_property

import pandas as pd

from lottery.analysis.detectors import (
    ALLOWED,
    BUSY,
    furthest,
    furthest_beside,
    networks,
    since_unpruned,
    trained_on,
)
from lottery.analysis.endpoints import PAIR
from lottery.analysis.report.document import listed
from lottery.analysis.report.sources import Source, Sources, geometric, of_rows, rows_of
from lottery.analysis.report.study import Study
from lottery.analysis.report.tested import ratio, told
from lottery.analysis.statistics import FEWEST
from lottery.analysis.walks import finished, last_levels

TITLE = "Detector"
TABLE = "detectors.csv"
POINTS = f"{100 * ALLOWED:g} points"
RATIOS = ("speed_up", "fewer_macs")
"""Columns of `networks` that are ratios, whose means are geometric; others are shares."""
STEPS = (
    "sum of `steps` of `levels.csv` from level 1 on, or that of the level alone where each level "
    "starts from the unpruned network or from older weights"
)
_KEY = ["init", "seed"]


@dataclass(frozen=True)
class Saved:
    """What each variant's tickets save at the last level within the allowed loss."""

    study: Study
    table: pd.DataFrame
    """Rows of `furthest` or `furthest_beside`, of tickets that are at their walk's end, with what
    was measured there."""
    variants: list[str]
    missing: int
    """Tickets that are not at their walk's end yet, or whose level was not measured yet."""
    reference: str = ""
    """What the loss is measured from, where it is not the unpruned network as it was."""

    @cached_property
    def beside(self) -> "Saved | None":
        """The same within the allowed loss of the unpruned network trained on for as many steps.

        None where the study has no such baseline.
        """
        if "dense" not in set(self.study.levels["branch"]):
            return None
        return _saved(self.study, beside=True)

    def source(self, variant: str, column: str) -> Source:
        """Values of one variant; speed-ups are ratios."""
        rows = rows_of(self.table[self.table["variant"] == variant], column)
        what = f"{TITLE}: {variant}, {column.replace('_', ' ')}"
        if column in RATIOS:
            return replace(geometric(what, column, self.where(variant), rows), table=TABLE)
        return of_rows(what, column, self.where(variant), rows, TABLE)

    def where(self, variant: str) -> str:
        """Which rows of detectors.csv a number comes from."""
        return (
            f"variant = {variant}, class = all, each cell at its last level within {POINTS} of "
            f"validation mean AP (`val_accuracy` of `levels.csv`){self.reference}"
            f"{', branch = dense' if self.reference else ''}; shares and ratios are of the row of "
            "level 0, those of times of `unpruned_ms`"
        )

    def less(self, variant: str, other: str, column: str) -> Source:
        """A variant less another, paired by scheme and seed."""
        sides = [self.table[self.table["variant"] == name] for name in (variant, other)]
        keys = [pd.MultiIndex.from_frame(side[_KEY]) for side in sides]
        both = keys[0].intersection(keys[1])
        own, base = (side[key.isin(both)] for side, key in zip(sides, keys, strict=True))
        return of_rows(
            f"{TITLE}: {variant} less {other}, {column.replace('_', ' ')}",
            column,
            f"{self.where(variant)}, less variant = {other}",
            (*rows_of(own, column), *rows_of(base, column, minus=True)),
            TABLE,
        )

    def trained(self, what: str, variants: list[str], sources: Sources) -> str:
        """How many steps such variants were trained for since the unpruned network, as a link."""
        rows = rows_of(self.table[self.table["variant"].isin(variants)], "steps_since")
        which = f"{self.where(' or '.join(variants))}; {STEPS}"
        title = f"{TITLE}: {what}, steps since the unpruned network"
        source = of_rows(title, "steps_since", which, rows, TABLE)
        return sources.link(source, told(source, 1, 0))

    def less_trained_on(self, variant: str) -> Source:
        """Test mean AP less that of the unpruned network trained on for as many steps."""
        own = self.table[self.table["variant"] == variant]
        base = trained_on(self.study.levels, own)
        keys = [pd.MultiIndex.from_frame(side[_KEY]) for side in (own, base)]
        return of_rows(
            f"{TITLE}: {variant} less the unpruned trained on, test mean AP",
            "test_accuracy",
            f"variant = {variant}, branch = ticket, each cell at its last level within {POINTS} of "
            "validation mean AP, less branch = dense at the level with as many steps since level 0",
            (
                *rows_of(own[keys[0].isin(keys[1])], "test_accuracy"),
                *rows_of(base, "test_accuracy", minus=True),
            ),
        )

    def settled(self, variant: str, other: str) -> bool:
        """Whether a difference between two variants is of more than one evaluation.

        Where their last levels lie one apart or less on average, but are not the same, the
        difference is a step of the ladder, and whether a ticket takes it one evaluation decides.
        """
        gaps = [gap for _, gap in self.less(variant, other, "level").values]
        return not any(gaps) or abs(sum(gaps)) > len(gaps)


def saved(study: Study) -> Saved | None:
    """Of a study of detectors whose pruned networks were measured.

    `levels.csv` says how far each ticket goes, as measuring may lag behind training.
    """
    return _saved(study, beside=False)


def _saved(study: Study, beside: bool) -> Saved | None:
    if study.detectors is None or not (study.levels["level"] > 0).any():
        return None
    anew = [variant for variant in study.variants if study.starts_anew(variant)]
    tickets = since_unpruned(study.levels, anew)
    place = [*PAIR, "level"]
    done = finished(tickets, study.config)
    chosen = furthest_beside(study.levels, done) if beside else furthest(done)
    chosen = chosen[[*place, "censored"]]
    found = networks(tickets, study.detectors).merge(chosen, on=place, validate="one_to_one")
    if found.empty:
        return None
    variants = [name for name in study.variants if name in set(found["variant"])]
    found = found.sort_values(PAIR, ignore_index=True)
    reference = " of the unpruned network trained on for as many steps"
    missing = len(last_levels(tickets)) - len(found)
    return Saved(study, found, variants, missing, reference if beside else "")


def text(source: Source, column: str, sources: Sources) -> str:
    """What is saved, as a link: a ratio, or per cent."""
    if column in RATIOS:
        return sources.link(source, ratio(source))
    return sources.link(source, told(source, 100, 1)) + " %"


def drift(rows: pd.DataFrame) -> str:
    """In a sentence how much the time of one and the same network varied, of rows of `networks`.

    It was timed anew with each level: a ratio to it is taken in turns and drifts less.
    """
    taken = rows.loc[rows["level"] > 0, "unpruned_ms"]
    if len(taken) < FEWEST:
        return ""
    low, first, third, high = taken.quantile([0, 0.25, 0.75, 1])
    return (
        f" Timed again beside each of {len(taken)} pruned networks it took {low:.1f} to "
        f"{high:.1f} ms (quartiles {first:.1f} and {third:.1f}), as the machine's speed varies."
    )


def disturbed(rows: pd.DataFrame) -> str:
    """In a sentence whose times other processes spoilt, of rows of `networks`; or nothing."""
    busy = rows["busy_cores"]
    counts = (busy > BUSY).groupby(rows["variant"], sort=False).agg(["sum", "size"])
    names = [f"`{v}` ({high} of {all_})" for v, high, all_ in counts.itertuples() if high]
    text = ""
    if names:
        text = (
            f" Other processes kept more than {BUSY:g} cores busy (at most {busy.max():.1f}) while "
            f"times were taken, which are doubtful, of {listed(names)}."
        )
    if busy.isna().any():
        text += " Of some times it is not known how busy other processes kept the machine."
    return text
