"""What a factorial study's settings do, by the model of `lottery.analysis.influence`."""

import pandas as pd

from lottery.analysis.influence import FACTORS, TARGETS, TERMS, Fit, design, fit, runs
from lottery.analysis.report.document import between, nested, number, p_text, table
from lottery.analysis.report.study import Study
from lottery.analysis.sizes import of_filters


def short(study: Study) -> str:
    """What each of the settings does to each target, in words; empty unless it is factorial."""
    if (model := _model(study)) is None:
        return ""
    _, _, fits = model
    points = []
    for target, fitted in fits.items():
        said = [_effect(fitted, factor, meaning) for factor, meaning in MEANINGS.items()]
        constant = f"{number(fitted.coefficients['1'])} % where all are in the middle"
        points.append(f"{target.capitalize()} ({constant}) {'; '.join(said)}.")
    head = (
        "**What do the settings do?** By how many points half of a setting's range changes it, "
        "with the others in the middle (95 % intervals). [All terms](#influence-of-the-settings)."
    )
    return nested(head, points)


MEANINGS = {"E": "the length of a level", "P": "the threshold", "I": "the interval"}


def _effect(fitted: Fit, factor: str, meaning: str) -> str:
    low, high = fitted.low[factor], fitted.high[factor]
    verb = "grows with" if low > 0 else "falls with" if high < 0 else "is not shown to change with"
    size = number(fitted.coefficients[factor], sign=True)
    return f"{verb} {meaning} {factor} ({size}; {between(low, high)})"


def _model(study: Study) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Fit]] | None:
    """Settings by variant, the runs, and the model of each target; None unless it is factorial."""
    if not of_filters(study.levels):
        return None
    found = design(study.config, study.variants)
    if found is None:
        return None
    results = runs(study.levels, found)
    fits = {
        name: fit(results, 100 * results[column].astype(float)) for column, name in TARGETS.items()
    }
    return found, results, fits


def settings(study: Study) -> str:
    """Coefficients for accuracy and reduction with intervals, and how well the model fits."""
    if (model := _model(study)) is None:
        return ""
    found, results, fits = model
    rows = [
        [name, *(text for fitted in fits.values() for text in _texts(fitted, name))]
        for name in ("1", *TERMS)
    ]
    header = ["Term"]
    for name in fits:
        header += [f"{name.capitalize()} (pp)", "95 % interval"]
    ranges = "; ".join(
        f"{name} from {found[name].min():g} to {found[name].max():g}" for name in FACTORS
    )
    unit, one = found.attrs["unit"], results["seed"].nunique() == 1
    return (
        "Least squares of f = a0 + a1 E + a2 P + a3 I + a4 EP + a5 EI + a6 PI + a7 EPI, with E the "
        f"{unit} of a level, P the threshold of the shrinkage or its ratio to the largest norm, "
        f"and I the {unit} between two ({ranges}), each coded to [−1, 1]. A coefficient is what "
        "half of a setting's range changes. Intervals hold where the noise is uneven (HC3); runs "
        f"count as independent, n = {len(results)}"
        + (", of one seed: they hold for its initial weights. " if one else ". ")
        + f"{' '.join(map(_quality, fits.items()))}\n\n"
        + table(header, rows, aligned="l" + "r" * (len(header) - 1))
    )


def _texts(fitted: Fit, name: str) -> tuple[str, str]:
    interval = between(fitted.low[name], fitted.high[name])
    return number(fitted.coefficients[name], sign=name != "1"), interval


def _quality(item: tuple[str, Fit]) -> str:
    name, fitted = item
    text = f"{name.capitalize()}: adjusted R² = {number(fitted.adjusted_r2)}"
    if fitted.lack_of_fit_p == fitted.lack_of_fit_p:
        text += f", lack of fit {p_text(fitted.lack_of_fit_p)} by the replicates"
    return f"{text}."
