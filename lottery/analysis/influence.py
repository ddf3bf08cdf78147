"""How a factorial study's settings act on its results: a linear model with interactions.

f = a0 + a1 E + a2 P + a3 I + a4 EP + a5 EI + a6 PI + a7 EPI (Idiap-RR-03-2018), by ordinary least
squares, with E the length of a level, P the threshold of the shrinkage (or its ratio to the
largest norm) and I the length between two shrinkages. Each is coded to [−1, 1] over the study's
range, without which products of them are all but collinear with themselves. A coefficient is then
the change of f from the middle of a range to its end, the others being in the middle.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

from lottery.analysis import frames
from lottery.analysis.sizes import at_last_level, sizes
from lottery.errors import ConfigError
from lottery.registry import parse_spec

FACTORS = ("E", "P", "I")
TERMS = tuple("".join(c) for size in range(1, 4) for c in combinations(FACTORS, size))
"""E, P, I, EP, EI, PI, EPI."""
TARGETS = {"test_accuracy": "test accuracy", "parameters_removed": "reduction"}
"""Columns of `runs`, and what they are called."""
LEVERED = 1e-9
"""A run whose leverage is this close to 1 is met exactly, and says nothing of the noise."""


@dataclass(frozen=True)
class Fit:
    """Coefficients in the unit of the target; index "1" (the constant) and TERMS."""

    coefficients: pd.Series
    low: pd.Series
    """95 % intervals, t(n − 8) with heteroscedasticity-consistent variances (HC3, MacKinnon & White
    1985); nan where they cannot be had."""
    high: pd.Series
    n: int
    r2: float
    adjusted_r2: float
    lack_of_fit_p: float
    """F test of the model against the means of runs at equal settings; nan without replicates."""


def design(config: Mapping[str, Any], present: Collection[str]) -> pd.DataFrame | None:
    """E, P and I of every variant that shrinks (index), or None if they do not make a design.

    That is, if not all three are varied so that the model can be fitted. config: `study.yaml`.
    present: variants that have results. Lengths are all in `attrs["unit"]`, epochs or steps.
    """
    rows, units = {}, set()
    for name in config.get("variants") or {}:
        if name not in present:
            continue
        train, prune = (frames.settings(config, name, group) for group in ("train", "prune"))
        procedure, _, options = parse_spec(str(prune.get("during", "none")), "prune.during")
        threshold = options.get("ratio", options.get("threshold"))
        if procedure != "shrinkage" or threshold is None:
            continue
        lengths = [str(train["duration"]), str(options.get("every", "2ep"))]
        units |= {length[-2:] for length in lengths}
        length, interval = (float(text[:-2]) for text in lengths)
        rows[name] = length, float(threshold), interval
    table = pd.DataFrame.from_dict(rows, orient="index", columns=list(FACTORS))
    if len(units) != 1 or (table.nunique() < 2).any():
        return None
    table.attrs["unit"] = "epochs" if units == {"ep"} else "steps"
    return table if np.linalg.matrix_rank(_model(coded(table))) > len(TERMS) else None


def coded(settings: pd.DataFrame) -> pd.DataFrame:
    """Each column from −1 at its lowest value to 1 at its highest."""
    low, high = settings.min(), settings.max()
    return 2 * (settings - low) / (high - low) - 1


def runs(levels: pd.DataFrame, settings: pd.DataFrame) -> pd.DataFrame:
    """The last level of every run of a design: its row of `sizes`, and E, P and I coded."""
    table = at_last_level(sizes(levels))
    return table.join(coded(settings), on="variant", how="inner").reset_index(drop=True)


def fit(settings: pd.DataFrame, values: ArrayLike, confidence: float = 0.95) -> Fit:
    """Least squares of a target on E, P, I (coded) and their products.

    settings: a row per run, columns FACTORS. values: the target of each run. Runs count as
    independent of each other.
    """
    y = np.asarray(values, dtype=float)
    x = _model(settings)
    n, terms = x.shape
    if n <= terms or np.linalg.matrix_rank(x) < terms:
        allowed = f"more than {terms}, at settings that tell E, P, I and their products apart"
        raise ConfigError("runs", n, allowed)
    inverse = np.linalg.inv(x.T @ x)
    beta = inverse @ x.T @ y
    residuals = y - x @ beta
    half = stats.t.ppf((1 + confidence) / 2, n - terms) * _hc3(x, inverse, residuals)
    rest, total = float(residuals @ residuals), float(((y - y.mean()) ** 2).sum())
    r2 = 1 - rest / total if total > 0 else np.nan
    names = ["1", *TERMS]
    return Fit(
        pd.Series(beta, names),
        pd.Series(beta - half, names),
        pd.Series(beta + half, names),
        n,
        r2,
        1 - (1 - r2) * (n - 1) / (n - terms),
        _lack_of_fit(settings, y, rest, terms),
    )


def _model(settings: pd.DataFrame) -> np.ndarray:
    """(runs, 8): a constant, and the products of settings that TERMS names."""
    columns = [settings[list(term)].prod(axis=1).to_numpy(dtype=float) for term in TERMS]
    return np.column_stack([np.ones(len(settings)), *columns])


def _hc3(x: np.ndarray, inverse: np.ndarray, residuals: np.ndarray) -> np.ndarray:
    """Standard errors: √diag((XᵀX)⁻¹ Xᵀ diag(e² / (1 − h)²) X (XᵀX)⁻¹), h the leverages."""
    leverage = np.einsum("ij,jk,ik->i", x, inverse, x)
    if (1 - leverage < LEVERED).any():
        return np.full(x.shape[1], np.nan)
    scaled = x * (residuals / (1 - leverage))[:, None]
    return np.sqrt(np.diag(inverse @ (scaled.T @ scaled) @ inverse))


def _lack_of_fit(settings: pd.DataFrame, y: np.ndarray, rest: float, terms: int) -> float:
    """p of F = (lack of fit / (m − terms)) / (pure error / (n − m)), m the different settings."""
    groups = pd.Series(y).groupby([settings[name].to_numpy() for name in FACTORS])
    pure = float(((y - groups.transform("mean")) ** 2).sum())
    between, within = groups.ngroups - terms, len(y) - groups.ngroups
    if between < 1 or within < 1 or pure <= 0:
        return np.nan
    return float(stats.f.sf(((rest - pure) / between) / (pure / within), between, within))
