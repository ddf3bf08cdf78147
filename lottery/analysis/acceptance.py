"""When a custom initialisation is said to work: a rule that was fixed before it was tried.

On seeds that the choice has not seen it needs, against the best standard scheme: a larger area
between the accuracy-sparsity curve and the unpruned network (an interval above 0) on LeNet and on a
convolutional network; the same sign of this difference in at least 5 of 7 pruning methods; and
unpruned accuracy not lower by more than 0.1 percentage points on LeNet and 0.3 on the other.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import pandas as pd

from lottery.analysis.choice import Choice, dense_loss
from lottery.analysis.endpoints import ROUNDING, endpoints, network
from lottery.analysis.meta import Pooled, random_effects
from lottery.analysis.paired import difference, paired
from lottery.analysis.statistics import Interval
from lottery.registry import parse_spec

MET, NOT_MET, UNDECIDED, MISSING = "met", "not met", "undecided", "no data"
METHODS, SAME_SIGN = 7, 5
"""Pruning methods needed, and how many of them have to agree."""
SEEDS = 8
"""Fewer held-out seeds confirm nothing."""
NETWORKS = {"LeNet": True, "a convolutional network": False}
"""Networks of the rule, and whether their name begins with lenet."""


@dataclass(frozen=True)
class Condition:
    """One condition of the rule, the difference it is about, and what became of it."""

    name: str
    rule: str
    verdict: str
    interval: Interval
    """Custom − standard, a fraction; of the methods, a seed's are averaged first."""
    figure: str = ""
    """What is compared with the rule where it is not the interval."""
    column: str = "area"
    cells: pd.DataFrame = field(default_factory=pd.DataFrame, compare=False)
    """Rows of `pairs` that it was computed from."""


@dataclass(frozen=True)
class Acceptance:
    """The rule's conditions, and the single methods behind one of them."""

    conditions: list[Condition]
    methods: pd.DataFrame
    """As `by_method` gives it; empty if there are none."""
    pooled: Pooled
    """Random effects over the methods, as if they were independent. Methods of one study are not:
    they share seeds and unpruned networks, so that its interval is too narrow."""

    @property
    def verdict(self) -> str:
        """`works` only if all conditions are met; `does not work` if any is not."""
        found = {condition.verdict for condition in self.conditions}
        if found == {MET}:
            return "works"
        return "does not work" if NOT_MET in found else "is not shown to work"


def held_out(levels: pd.DataFrame, choice: Choice) -> pd.DataFrame:
    """Tickets of both schemes, of the seeds that the choice has not seen.

    levels: of any number of studies. Those that are not to judge, and studies and variants that
    lack one of the two, are left out.
    A scheme fitted to tickets needs a file for each network. Where a network was never drawn by the
    chosen one itself, but by the same scheme of one other file, that is the chosen one, and is
    named so; of several files none is, as there would be a choice.
    """
    both = {choice.chosen, choice.standard}
    if choice.judges:
        levels = levels[levels["study"].isin(choice.judges)]
    tickets = levels[(levels["branch"] == "ticket") & ~levels["seed"].isin(choice.seeds)]
    own = tickets.assign(
        init=tickets["init"].mask(_fitted_again(tickets, levels, choice.chosen), choice.chosen)
    )
    own = own[own["init"].isin(both)]
    schemes = own.groupby(["study", "variant"])["init"].transform("nunique")
    return own[schemes == len(both)]


def _fitted_again(tickets: pd.DataFrame, levels: pd.DataFrame, chosen: str) -> pd.Series:
    """Rows of the chosen scheme by another file, on networks of their own."""
    scheme = _without_file(chosen)
    alike = [
        init for init in set(levels["init"]) if init != chosen and _without_file(init) == scheme
    ]
    drawn = set(levels.loc[levels["init"] == chosen, "model"])
    files = levels[levels["init"].isin(alike)].groupby("model")["init"].nunique()
    networks = set(files.index[files == 1]) - drawn
    return tickets["init"].isin(alike) & tickets["model"].isin(networks)


def _without_file(init: str) -> object:
    """A scheme but for the file that it was fitted in: its name and other options."""
    name, args, options = parse_spec(init, "init")
    if name != "ticket_informed":
        return init
    if args:
        args = args[1:]
    else:
        options.pop("file", None)
    return name, args, options


def accept(levels: pd.DataFrame, choice: Choice) -> Acceptance:
    """The rule put to studies of the chosen scheme.

    levels: of any number of studies, each of one model per variant. Studies of one variant decide
    about networks, those of several about pruning methods. Seeds of the choice are left out.
    """
    levels = held_out(levels, choice)
    variants = levels.groupby("study")["variant"].transform("nunique")
    plain, cells = levels[variants == 1], pairs(levels[variants > 1], choice)
    methods = by_method(cells, choice)
    conditions = []
    for name, is_lenet in NETWORKS.items():
        kinds = plain["model"].map(network).str.startswith("lenet").astype(bool)
        conditions += _on_network(name, plain[kinds == is_lenet], choice)
    usable = methods[methods["error"] > 0]
    pooled = random_effects(usable["mean"].tolist(), usable["error"].tolist())
    conditions.insert(2, _over_methods(methods, cells, choice))
    return Acceptance(conditions, methods, pooled)


def pairs(levels: pd.DataFrame, choice: Choice) -> pd.DataFrame:
    """Rows of `endpoints` with the study: of a study and variant, the seeds with both schemes."""
    parts = []
    for study, own in levels.groupby("study", sort=False):
        cells = endpoints(own)
        cells = cells[cells["init"].isin([choice.chosen, choice.standard])]
        both = cells.groupby(["variant", "seed"])["init"].transform("nunique") == 2
        parts.append(cells[both].assign(study=study))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def differences(cells: pd.DataFrame, choice: Choice, column: str) -> pd.Series:
    """Custom − standard of a column of `pairs`, by seed; cells: of one study and variant."""
    cells = cells.set_index("seed")
    one, other = (
        cells.loc[cells["init"] == init, column] for init in (choice.chosen, choice.standard)
    )
    return paired(one, other)


def by_variant(cells: pd.DataFrame) -> Iterable[tuple[tuple[str, str], pd.DataFrame]]:
    """Rows of `pairs` by study and variant."""
    return cells.groupby(["study", "variant"], sort=False) if len(cells) else ()


def by_method(cells: pd.DataFrame, choice: Choice) -> pd.DataFrame:
    """Difference of area of the two schemes for each study and variant of `pairs`.

    Columns study, variant, mean, low, high (t-interval), n (seeds) and error (standard error of the
    mean; nan where n < 2).
    """
    rows = []
    for (study, variant), own in by_variant(cells):
        found = difference(differences(own, choice, "area"))
        error = found.deviation / math.sqrt(found.n)
        place = {"study": study, "variant": variant}
        rows.append(place | found.interval._asdict() | {"error": error})
    return pd.DataFrame(
        rows, columns=["study", "variant", "mean", "low", "high", "n", "error"]
    ).astype({"mean": float, "error": float})


def _on_network(name: str, levels: pd.DataFrame, choice: Choice) -> list[Condition]:
    """Area and unpruned accuracy, by the study with most seeds if there are several."""
    model = levels["model"].iloc[0] if len(levels) else "lenet" if NETWORKS[name] else "conv"
    loss = dense_loss(model)
    area, unpruned = pd.Series(dtype=float), pd.Series(dtype=float)
    cells = pd.DataFrame()
    if len(levels):
        study = levels.groupby("study")["seed"].nunique().idxmax()
        cells = pairs(levels[levels["study"] == study], choice)
        area, unpruned = (differences(cells, choice, column) for column in ("area", "unpruned"))
    higher, kept = difference(area).interval, difference(unpruned).interval
    return [
        Condition(
            f"Area on {name}",
            f"interval above 0, n ≥ {SEEDS}",
            _enough(higher.n, _above_zero(higher)),
            higher,
            cells=cells,
        ),
        Condition(
            f"Unpruned accuracy on {name}",
            f"mean not below −{100 * loss:g} pp, n ≥ {SEEDS}",
            _enough(kept.n, MET if kept.mean >= -loss - ROUNDING else NOT_MET),
            kept,
            column="unpruned",
            cells=cells,
        ),
    ]


def _over_methods(methods: pd.DataFrame, cells: pd.DataFrame, choice: Choice) -> Condition:
    """Whether enough methods have the sign that is wanted."""
    own = [differences(part, choice, "area") for _, part in by_variant(cells)]
    over_seeds = pd.concat(own, axis=1).mean(axis=1) if own else pd.Series(dtype=float)
    count, positive = len(methods), int((methods["mean"] > 0).sum())
    verdict = MISSING
    if count:
        agree = positive * METHODS >= SAME_SIGN * count
        seeds = int(methods["n"].min())
        verdict = _enough(seeds, MET if agree else NOT_MET) if count >= METHODS else UNDECIDED
    return Condition(
        "Area over pruning methods",
        f"above 0 in at least {SAME_SIGN} of {METHODS}, as many of more",
        verdict,
        difference(over_seeds).interval,
        f"{positive} of {count}",
        cells=cells,
    )


def _above_zero(interval: Interval) -> str:
    """An interval that holds 0 leaves it open, and one below 0 does not."""
    if interval.low > 0:
        return MET
    return NOT_MET if interval.high < 0 else UNDECIDED


def _enough(seeds: int, verdict: str) -> str:
    """The verdict, if there are seeds enough for one."""
    if not seeds:
        return MISSING
    return verdict if seeds >= SEEDS else UNDECIDED
