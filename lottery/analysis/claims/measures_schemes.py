"""Measures over several schemes, variants or networks, with the rows they came from."""

from dataclasses import replace

import numpy as np
import pandas as pd

from lottery.analysis.claims.measures import (
    DIFFERENCE,
    RATIO,
    Bound,
    Measure,
    Measurer,
    Missing,
    Place,
    between,
    complete,
)
from lottery.analysis.contrasts import all_pairs, declared
from lottery.analysis.endpoints import critical_density, is_reduced, network
from lottery.analysis.unpaired import Moments


def scheme_contrast(name: str, place: Place, column: str) -> Measurer:
    """A contrast of `contrasts.declared` by its name, over all levels of a place."""

    def measure(levels: pd.DataFrame) -> Measure:
        rows = place.rows(levels, column)
        found = [contrast for contrast in declared(rows["init"]) if contrast.name == name]
        if not found:
            raise Missing(f"no schemes for the contrast {name}")
        return _of_sides(rows, found[0].plus, found[0].minus)

    return measure


def widest_pair(place: Place, column: str, margin: float) -> Measurer:
    """Of all pairs of schemes the one furthest from equivalence within `margin` (points).

    That is the pair proven to differ by most beyond the margin; if there is none, the one whose
    90 % interval reaches furthest from zero. All schemes are equivalent where this pair is (an
    intersection-union test).
    """

    def measure(levels: pd.DataFrame) -> Measure:
        rows = place.rows(levels, column)
        pairs = all_pairs(rows["init"])
        if not pairs:
            raise Missing("no second scheme")
        measures = [
            replace(_of_sides(rows, pair.plus, pair.minus), formula=f"{DIFFERENCE} ({pair.name})")
            for pair in pairs
        ]

        def far(pair: Measure) -> tuple[float, float, float]:
            sure, likely = pair.interval(1 - 0.05 / len(pairs)), pair.interval(0.90)
            beyond = np.nan_to_num(max(sure.low, -sure.high) - margin)
            reach = np.nan_to_num(max(-likely.low, likely.high))
            return max(float(beyond), 0.0), float(reach), abs(likely.mean)

        return replace(max(measures, key=far), comparisons=len(pairs))

    return measure


def train_minus_test(place: Place) -> Measurer:
    """Training minus test accuracy at the last step, over all schemes and levels of a place."""

    def measure(levels: pd.DataFrame) -> Measure:
        columns = {"a": "train_accuracy", "b": "test_accuracy"}
        parts = [place.rows(levels, name).assign(part=part) for part, name in columns.items()]
        return between(complete(pd.concat(parts)))

    return measure


def spread_change(variant: str, other: str, place: Place, column: str) -> Measurer:
    """How much more the schemes of one variant differ under a seed than those of another."""

    def measure(levels: pd.DataFrame) -> Measure:
        rows = _variants(levels, variant, other, place, column)
        if rows["init"].nunique() < 2:
            raise Missing("no second scheme")
        by_scheme = rows.groupby(["seed", "part", "init"])["value"].mean()
        spread = 100 * by_scheme.groupby(["seed", "part"]).std(ddof=1).unstack("part")
        formula = "deviation over schemes of their means of a − the same of b"
        return Measure(spread["a"] - spread["b"], rows, "pp", formula)

    return measure


def critical_ratio(variant: str, other: str, drop: float) -> Measurer:
    """Critical density of a variant over that of another, geometric mean over schemes.

    drop: fall below the unpruned test accuracy, as a fraction. A cell in which no level falls so
    far counts with its lowest density, which makes the ratio a bound; where that is so under both
    variants the ratio is not known and counts as 1, and if it is so everywhere it is missing.
    """

    def measure(levels: pd.DataFrame) -> Measure:
        every = Place(100.0, down_to=0.0)
        rows = _variants(levels, variant, other, every, "test_accuracy")
        cells = _log_critical(rows, drop).unstack("part")
        unknown = cells["censored"].all(axis=1)
        if unknown.all():
            raise Missing(f"no level {100 * drop:g} points below unpruned in {variant} or {other}")
        ratios = (cells["log"]["a"] - cells["log"]["b"]).where(~unknown, 0.0)
        values = np.exp(ratios.groupby("seed").mean())
        never = cells["censored"].sum()
        bound = _BOUNDS[bool(never["a"]), bool(never["b"])]
        who = f"{never['a']} of {len(cells)} tickets of {variant} and {never['b']} of {other}"
        why = f"{who} {_never(bound)}" if bound else ""
        return Measure(values, rows, "×", f"{_critical(drop)}: {RATIO}", bound=bound, why=why)

    return measure


def critical_percent(variant: str, drop: float) -> Measurer:
    """Critical density of a variant in per cent, geometric mean over schemes.

    At most that where cells never fall so far, as these count with their lowest density.
    """

    def measure(levels: pd.DataFrame) -> Measure:
        place = Place(100.0, down_to=0.0, variant=variant)
        rows = complete(place.rows(levels, "test_accuracy").assign(part="a"))
        cells = _log_critical(rows, drop)
        never = int(cells["censored"].sum())
        return Measure(
            100 * np.exp(cells["log"].groupby("seed").mean()),
            rows,
            "%",
            f"{_critical(drop)}: geometric mean of a",
            bound="≤" if never else "",
            why=f"{never} of {len(cells)} tickets {_never('≤')}" if never else "",
        )

    return measure


def against(place: Place, column: str, theirs: Moments, inits: list[str]) -> Measurer:
    """Our mean over schemes minus a published one, in points; all the schemes are needed."""

    def measure(levels: pd.DataFrame) -> Measure:
        rows = place.rows(levels, column, inits)
        absent = sorted(set(inits) - set(rows["init"]))
        if absent:
            raise Missing(f"no init {', '.join(absent)}")
        rows = complete(rows.assign(part="a"))
        values = 100 * rows.groupby("seed")["value"].mean()
        formula = f"mean of a, less the published {theirs.mean:.2f}"
        return Measure(values, rows, "pp", formula, reference=theirs)

    return measure


def network_contrast(first: str, second: str, percent: float, column: str) -> Measurer:
    """The gain over unpruned at `percent` of the weights: one network's minus another's.

    Of several studies of a network one of its full width comes first, then the first by name. Seeds
    of different networks share nothing, so the comparison is Welch's.
    """

    def measure(levels: pd.DataFrame) -> Measure:
        gains = []
        for name, parts in ((first, "ab"), (second, "cd")):
            rows = _study_of(levels, name)
            places = zip((Place(percent), Place()), parts, strict=True)
            found = [place.rows(rows, column).assign(part=part) for place, part in places]
            kept = complete(pd.concat(found))
            wide = 100 * kept.groupby(["seed", "part"])["value"].mean().unstack("part")
            gains.append((kept, wide[parts[0]] - wide[parts[1]]))
        (ours, values), (theirs, other) = gains
        gain = Moments.of(other)
        formula = (
            f"mean of a − mean of b, less that of c − d ({second}: {gain.mean:.2f}, n = {gain.n})"
        )
        rows = pd.concat([ours, theirs], ignore_index=True)
        return Measure(values, rows, "pp", formula, reference=gain)

    return measure


def _of_sides(rows: pd.DataFrame, plus: tuple[str, ...], minus: tuple[str, ...]) -> Measure:
    part = rows["init"].map(dict.fromkeys(plus, "a") | dict.fromkeys(minus, "b"))
    return between(complete(rows.assign(part=part).dropna(subset="part")))


def _variants(
    levels: pd.DataFrame, variant: str, other: str, place: Place, column: str
) -> pd.DataFrame:
    """Rows of a place under two variants, as parts a and b, of the schemes that both have."""
    parts = [
        replace(place, variant=name).rows(levels, column).assign(part=part)
        for name, part in ((variant, "a"), (other, "b"))
    ]
    common = set(parts[0]["init"]) & set(parts[1]["init"])
    return complete(pd.concat(rows[rows["init"].isin(common)] for rows in parts))


_BOUNDS: dict[tuple[bool, bool], Bound] = {
    (False, False): "",
    (True, False): "≤",
    (False, True): "≥",
    (True, True): "?",
}
"""What a ratio a / b is where some of a, or of b, are only known to be so small or smaller."""


def _never(bound: Bound) -> str:
    """What cells do that are censored, and what that makes of a figure."""
    makes = {"≤": "an upper bound", "≥": "a lower bound"}.get(bound, "no bound either way")
    return f"never fall so far and count with their last level, so this is {makes}"


def _critical(drop: float) -> str:
    return f"critical density at {100 * drop:g} points below unpruned"


def _log_critical(rows: pd.DataFrame, drop: float) -> pd.DataFrame:
    """Logarithm of the critical density, and if censored, by seed, scheme and part."""
    keys = ["seed", "init", "part"]
    found = {
        key: critical_density(cell["weights_remaining"], cell["value"], drop)
        for key, cell in rows.sort_values("level").groupby(keys)
    }
    table = pd.DataFrame.from_dict(found, orient="index", columns=["density", "censored"])
    table.index = pd.MultiIndex.from_tuples(table.index, names=keys)
    return table.assign(log=np.log(table["density"]))


def _study_of(levels: pd.DataFrame, name: str) -> pd.DataFrame:
    """The rows of one study of a network."""
    models = set(zip(levels["model"], levels["study"], strict=True))
    found = sorted((is_reduced(model), study) for model, study in models if network(model) == name)
    if not found:
        raise Missing(f"no study of {name}")
    return levels[(levels["study"] == found[0][1]) & (levels["model"].map(network) == name)]
