"""Choosing a scheme before it is judged: by validation accuracy, on seeds that judge nothing.

What is chosen by is accuracy less that of the same network unpruned, mean over pruned levels: the
area between the accuracy-sparsity curve and the unpruned network. Absolute accuracy would also
reward a scheme that trains better before any weight is pruned, which is another question. So that a
scheme that trains worse does not win by having less to lose, it has to keep up unpruned.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from lottery.analysis.endpoints import ROUNDING, endpoints, network
from lottery.analysis.paired import difference, paired
from lottery.analysis.statistics import mean_interval
from lottery.errors import ConfigError, StoreError

VALUE = "val_accuracy"
STANDARD = ("xavier_normal", "xavier_uniform", "kaiming_normal", "kaiming_uniform")
DENSE_LOSS = {"lenet": 0.001}
"""By how much a scheme's unpruned accuracy may lie below the best standard scheme's."""
DENSE_LOSS_ELSEWHERE = 0.003


@dataclass(frozen=True)
class Choice:
    """What was chosen and from which study, as it is kept in a file."""

    chosen: str
    """The custom scheme of the largest area among those that keep up unpruned."""
    standard: str
    """The standard scheme of the largest area."""
    study: str
    commits: list[str]
    """Of the runs that made the study."""
    seeds: list[int]
    """Of the choice, with which it must not be judged."""
    candidates: list[dict[str, Any]]
    """Rows of `ranking`."""
    judges: list[str] = field(default_factory=list)
    """Studies that judge it, named beforehand; if none are, all that have both schemes."""

    def to_yaml(self) -> str:
        """The file's text."""
        return yaml.safe_dump(asdict(self), sort_keys=False, allow_unicode=True, width=100)

    @classmethod
    def read(cls, path: str | Path) -> "Choice":
        """From a file that `experiments/choose_scheme.py` wrote; StoreError if it is none."""
        try:
            return cls(**yaml.safe_load(Path(path).read_text(encoding="utf-8")))
        except (OSError, TypeError, ValueError, yaml.YAMLError) as error:
            reason = " ".join(str(error).split())
            raise StoreError(
                f"{path} is no file of experiments/choose_scheme.py ({reason})"
            ) from error


def dense_loss(model: str) -> float:
    """What a scheme may lose unpruned: 0.1 percentage points for LeNet, 0.3 for all others."""
    kind = network(model).partition("_")[0]
    return DENSE_LOSS.get(kind, DENSE_LOSS_ELSEWHERE)


def choose(
    levels: pd.DataFrame, study: str, commits: Sequence[str] = (), judges: Sequence[str] = ()
) -> Choice:
    """The custom scheme of the largest validation area, and the standard scheme to beat.

    levels: of a study of one variant with at least one standard scheme and one other. Seeds that
    lack a scheme are left out, so that all are compared over the same seeds.
    Raises ConfigError where nothing can be chosen.
    """
    table = ranking(levels)
    best = {
        custom: table[(table["custom"] == custom) & table["keeps_up"]].head(1)
        for custom in (True, False)
    }
    if best[True].empty:
        allowed = "a study with a custom scheme that keeps up with the standard ones unpruned"
        raise ConfigError("study", study, allowed)
    tickets = levels[levels["branch"] == "ticket"]
    return Choice(
        chosen=str(best[True]["scheme"].iloc[0]),
        standard=str(best[False]["scheme"].iloc[0]),
        study=study,
        commits=sorted(set(commits)),
        seeds=sorted(int(seed) for seed in tickets["seed"].unique()),
        candidates=table.round(6).to_dict("records"),
        judges=list(judges),
    )


def ranking(levels: pd.DataFrame) -> pd.DataFrame:
    """Schemes by their mean validation area, largest first; ties by name.

    Columns scheme, custom (not a standard scheme), area with its t-interval low to high over n
    seeds, mean_accuracy (over pruned levels) and unpruned (accuracy), both means over seeds of
    validation accuracy; keeps_up: whether unpruned is below that of the best standard scheme by no
    more than `dense_loss`, in the mean. Test accuracy is not looked at.
    """
    for column in ("variant", "model"):
        if levels[column].nunique() > 1:
            raise ConfigError(
                f"{column} of the table", ", ".join(sorted(set(levels[column]))), "one"
            )
    cells = endpoints(levels, VALUE)
    cells = cells[cells["branch"] == "ticket"]
    areas = cells.pivot(index="seed", columns="init", values="area").dropna()
    missing = sorted(set(levels["init"]) - set(areas.columns))
    standard = [init for init in STANDARD if init in areas.columns]
    if missing or areas.empty or not standard:
        allowed = f"seeds with all schemes, at least one of them of {', '.join(STANDARD)}"
        raise ConfigError("study", ", ".join(missing) or "its finished cells", allowed)
    cells = cells[cells["seed"].isin(areas.index)]
    unpruned = cells.pivot(index="seed", columns="init", values="unpruned")
    reference = areas[standard].mean().sort_index().idxmax()
    rows = []
    for init, own in cells.groupby("init"):
        interval = mean_interval(own["area"])
        loss = difference(paired(unpruned[init], unpruned[reference])).mean
        rows.append(
            {
                "scheme": str(init),
                "custom": init not in STANDARD,
                "area": interval.mean,
                "low": interval.low,
                "high": interval.high,
                "n": interval.n,
                "mean_accuracy": float(own["mean_accuracy"].mean()),
                "unpruned": float(own["unpruned"].mean()),
                "keeps_up": bool(
                    init in STANDARD or loss >= -dense_loss(levels["model"].iloc[0]) - ROUNDING
                ),
            }
        )
    return pd.DataFrame(rows).sort_values(
        ["area", "scheme"], ascending=[False, True], ignore_index=True
    )
