"""Tables of levels in which a test plants what is to be found, or nothing."""

from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd

SCHEMES = ("kaiming_normal", "kaiming_uniform", "xavier_normal", "xavier_uniform")


def levels(
    accuracy: Callable[..., float] = lambda **_: 0.98,
    step: Callable[..., float] = lambda **_: 20_000,
    *,
    study: str = "planted",
    model: str = "lenet_300_100",
    variants: Iterable[str] = ("base",),
    inits: Iterable[str] = SCHEMES,
    seeds: Iterable[int] = range(5),
    branches: dict[str, int] | None = None,
    last: int = 19,
    steps: int = 50_000,
    kept: float = 0.8,
    noise: float = 0.0,
) -> pd.DataFrame:
    """Rows of `levels`: accuracy and early-stop step are functions of what a row is.

    Both get variant, init, seed, branch, draw, level and density by name. branches: draws per
    branch. kept: share of weights that a level keeps. noise: deviation added to every accuracy.
    """
    rng = np.random.default_rng(3)
    rows = []
    for variant in variants:
        for init in inits:
            for seed in seeds:
                for branch, draws in (branches or {"ticket": 1}).items():
                    for draw in range(draws):
                        first = 0 if branch in ("ticket", "dense") else 1
                        for level in range(first, last + 1):
                            density = 1.0 if branch == "dense" else kept**level
                            place = {
                                "variant": variant,
                                "init": init,
                                "seed": seed,
                                "branch": branch,
                                "draw": draw,
                                "level": level,
                            }
                            value = accuracy(**place, density=density) + noise * rng.normal()
                            rows.append(
                                {"study": study, "model": model, "cell": _cell(place)}
                                | place
                                | {
                                    "weights_remaining": density,
                                    "test_accuracy": value,
                                    "val_accuracy": value,
                                    "train_accuracy": min(1.0, value + 0.015),
                                    "early_stop_step": round(step(**place, density=density)),
                                    "test_accuracy_at_early_stop": value,
                                    "val_accuracy_at_early_stop": value,
                                    "steps": steps,
                                }
                            )
    return pd.DataFrame(rows).astype({"early_stop_step": "Int64"})


def _cell(place: dict) -> str:
    return "-".join(str(place[name]) for name in ("variant", "init", "seed", "branch", "draw"))
