"""Published results of filter pruning on CIFAR-10 beside ours, without a verdict.

Networks, training and what is removed differ, so these figures are context and no test.
"""

from typing import Any, NamedTuple

import pandas as pd

from lottery.analysis import frames
from lottery.analysis.endpoints import with_unpruned
from lottery.analysis.report.document import number, plus_minus, table
from lottery.analysis.report.study import Study
from lottery.analysis.statistics import mean_interval
from lottery.registry import parse_spec

DATA = "cifar10"
_BENCHMARK = "listed by Torch-Pruning, reproduce/readme.md"


class Published(NamedTuple):
    """One result: accuracies in %, and how many times fewer multiply-accumulates."""

    method: str
    source: str
    criterion: str
    """Of our variants of the same method; empty for any."""
    during: str
    network: str
    before: float
    after: float
    fewer: float


PUBLISHED = (
    Published(
        "SFP", f"He et al. 2018, {_BENCHMARK}", "l2", "soft", "ResNet-56",
        93.59, 93.36, 2.11,
    ),
    Published(
        "FPGM", f"He et al. 2019, {_BENCHMARK}", "geometric_median", "", "ResNet-56",
        93.59, 93.26, 1.70,
    ),
    Published(
        "C-SGD", f"Ding et al. 2019, {_BENCHMARK}", "", "centripetal", "ResNet-56",
        93.39, 93.44, 2.55,
    ),
)  # fmt: skip


def beside(study: Study, known: pd.DataFrame) -> str:
    """Each published result, and the level of a like variant that removes about as much.

    known: rows of `lottery.analysis.sizes.sizes`.
    """
    if study.config.get("data") != DATA:
        return ""
    rows = []
    for published in PUBLISHED:
        removed = 1 - 1 / published.fewer
        theirs = [
            f"{published.method} ({published.source})",
            f"{published.network}: {published.before:g} → {published.after:g}",
            number(100 * removed, 1),
        ]
        for variant in study.variants:
            if _alike(study.config, variant, published):
                rows.append([*theirs, *_ours(known[known["variant"] == variant], variant, removed)])
    if not rows:
        return ""
    header = ["Published", "Test accuracy (%)", "MACs removed (%)", "Here", "Level",
              "MACs removed (%)", "Unpruned (%)", "Change (pp)"]  # fmt: skip
    return (
        "Published results beside those of variants of the same method here, at the level that "
        "removes about as many multiply-accumulates. Network, training and the layers that are "
        "pruned differ, so no verdict follows. Changes are paired by scheme and seed, mean ± half "
        "of the 95 % t-interval.\n\n" + table(header, rows, aligned="llrlrrrr")
    )


def _alike(config: dict[str, Any], variant: str, published: Published) -> bool:
    prune = frames.settings(config, variant, "prune")
    criterion, during = (
        parse_spec(str(prune.get(name, "none")), name)[0] for name in ("criterion", "during")
    )
    same = not published.criterion or criterion == published.criterion
    return same and (not published.during or during == published.during)


def _ours(rows: pd.DataFrame, variant: str, removed: float) -> list[str]:
    by_level = rows[rows["level"] > 0].groupby("level")["macs_removed"].mean()
    if by_level.empty:
        return [variant, "", "", "", ""]
    level = (by_level - removed).abs().idxmin()
    at = with_unpruned(rows)
    at = at[at["level"] == level]
    change = (at["test_accuracy"] - at["unpruned"]).groupby(at["seed"]).mean()
    return [
        f"`{variant}`, {at['model'].iloc[0]}, n = {len(change)}",
        str(level),
        number(100 * by_level[level], 1),
        number(100 * at["unpruned"].mean()),
        plus_minus(mean_interval(change), 100, sign=True),
    ]
