"""Claims of Frankle & Carbin (ICLR 2019), read from `lottery.yaml` beside this file."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from lottery.analysis.claims.measures import Measurer, Place, compare, mean_of
from lottery.analysis.claims.verdicts import Claim, Region, Size

DATA = Path(__file__).with_suffix(".yaml")
UNPRUNED = Place()


class _Quantity(NamedTuple):
    column: str
    ratio: bool
    words: str


_QUANTITIES = {
    "steps": _Quantity("early_stop_step", True, "early-stop step"),
    "accuracy": _Quantity("test_accuracy_at_early_stop", False, "test accuracy at early stop"),
    "last_accuracy": _Quantity("test_accuracy", False, "test accuracy at the last step"),
    "train_accuracy": _Quantity("train_accuracy", False, "training accuracy at the last step"),
}
_BRANCHES = {
    "ticket": "tickets",
    "reinit": "reinitialised tickets",
    "one_shot": "one-shot tickets",
    "random": "random masks",
    "magnitude_at_init": "the largest initial weights",
}


def lottery_claims() -> list[Claim]:
    """All of them, in the paper's order within each network."""
    return list(_claims(yaml.safe_load(DATA.read_text(encoding="utf-8"))))


def _claims(data: dict[str, Any]) -> Iterator[Claim]:
    for network, group in data["networks"].items():
        for entry in group["claims"]:
            name = next(name for name in _QUANTITIES if name in entry)
            how, measure = _measure(entry[name], _QUANTITIES[name], data["scheme"])
            yield Claim(
                id=f"fc19-{entry['id']}",
                source=f"{data['paper']}, {entry['where']}",
                statement=entry["statement"],
                published=entry["published"],
                network=network,
                how=how,
                rule=_rule(entry, _QUANTITIES[name].ratio),
                measure=measure,
                steps={network: group["steps"]},
            )


def _measure(text: str, quantity: _Quantity, scheme: str) -> tuple[str, Measurer]:
    """A sentence and a function for text such as "unpruned / ticket 21.1"."""
    sign, verb = ("/", "over that of") if quantity.ratio else ("-", "minus that of")
    first, _, second = (part.strip() for part in text.partition(f" {sign} "))
    whose = f"{quantity.words.capitalize()} of {_words(first)}"
    if not second:
        return f"{whose}, mean over seeds", mean_of(_place(first), quantity.column, [scheme])
    return (
        f"{whose} {verb} {_words(second)}, paired by seed",
        compare(_place(first), _place(second), quantity.column, [scheme], quantity.ratio),
    )


def _place(text: str) -> Place:
    if text == "unpruned":
        return UNPRUNED
    branch, percent = text.split()
    return Place(float(percent), branch)


def _words(text: str) -> str:
    place = _place(text)
    if place == UNPRUNED:
        return "the unpruned network"
    return f"{_BRANCHES[place.branch]} at {place.percent:g} % of the weights"


def _rule(entry: dict[str, Any], ratio: bool) -> Region | Size:
    if "size" in entry:
        return Size(entry["size"], none=1.0 if ratio else 0.0)
    if "within" in entry:
        return Region(*entry["within"])
    return Region(low=entry["above"]) if "above" in entry else Region(high=entry["below"])
