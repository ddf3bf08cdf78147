"""Made-up tables of a study, with the shape and rough numbers of real ones.

Accuracy depends on weights remaining alone (plus a known offset per seed), so a test can say what
a figure has to show.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

LENET = {
    "fc1.weight": ("linear", (300, 784), 0.2),
    "fc2.weight": ("linear", (100, 300), 0.2),
    "fc3.weight": ("output", (10, 100), 0.1),
}
_WIDTHS = (3, 64, 64, 128, 128, 256, 256)
CONV6 = {
    **{f"conv{i + 1}.weight": ("conv", (_WIDTHS[i + 1], _WIDTHS[i] * 9), 0.15) for i in range(6)},
    "fc1.weight": ("linear", (256, 4096), 0.2),
    "fc2.weight": ("linear", (256, 256), 0.2),
    "fc3.weight": ("output", (10, 256), 0.1),
}
NETWORKS = {"lenet_300_100": LENET, "conv6": CONV6}
LOSS = {"ticket": 0.0, "dense": 0.0, "reinit": 0.004, "random": 0.03, "shuffle_layer": 0.008}


def counts(model: str, level: int) -> dict[str, int]:
    """Weights kept in each layer at a level."""
    kept = {}
    for name, (_, shape, rate) in NETWORKS[model].items():
        kept[name] = shape[0] * shape[1]
        for _ in range(level):
            kept[name] -= round(kept[name] * rate)
    return kept


def weights_remaining(model: str, level: int) -> float:
    return sum(counts(model, level).values()) / sum(counts(model, 0).values())


def accuracy(model: str, branch: str, level: int) -> float:
    """Expected test accuracy at the end of a level: a hump, then a collapse."""
    density = weights_remaining(model, 0 if branch == "dense" else level)
    hump = np.exp(-((np.log10(density) + 1.0) ** 2) / 0.3)
    if model == "conv6":
        return (
            0.74
            + 0.035 * hump
            - 0.004 * (0.03 / density) ** 2
            - 2 * LOSS.get(branch, 0) * level / 8
        )
    fall = (
        0.012 * (0.02 / density) ** 4 + LOSS.get(branch, 0.01) * (1 - density) * (level / 10) ** 2
    )
    return 0.976 + 0.0065 * hump - fall - (0.001 if branch == "dense" else 0)


def write_study(
    results: Path,
    study: str = "lenet",
    model: str = "lenet_300_100",
    inits: Sequence[str] = ("kaiming_normal", "xavier_uniform"),
    seeds: Sequence[int] = (0, 1, 2),
    levels: int = 4,
    draws: dict[str, int] | None = None,
    steps: int = 1000,
    evaluations: int = 5,
    missing: Sequence[tuple[str, int]] = (),
    noise: float = 0.001,
) -> Path:
    """Write the three tables of a study with levels 0 to `levels`; returns its folder.

    draws: cells per branch, init and seed. missing: (init, seed) pairs that failed after level 1.
    """
    rng = np.random.default_rng(5)
    table, curve, layer_rows = [], [], []
    for branch, number in (draws or {"ticket": 1}).items():
        for init in inits:
            for seed in seeds:
                for draw in range(number):
                    cell = {
                        "study": study,
                        "cell": f"{init}-s{seed}-{branch}-{draw}",
                        "init": init,
                        "seed": seed,
                        "branch": branch,
                        "draw": draw,
                    }
                    first = 0 if branch in ("ticket", "dense") else 1
                    last = 1 if (init, seed) in missing else levels
                    for level in range(first, last + 1):
                        end = accuracy(model, branch, level) + noise * rng.normal()
                        density = 1.0 if branch == "dense" else weights_remaining(model, level)
                        place = cell | {"level": level, "weights_remaining": density}
                        stop = int(
                            steps
                            * (0.35 + 0.5 * (np.log10(density) + 0.7) ** 2)
                            / 1.2
                            * rng.uniform(0.8, 1.2)
                        )
                        table.append(_level(place, model, end, min(stop, steps), steps))
                        curve += _evaluations(place, end, steps, evaluations)
                        layer_rows += _layers(cell | {"level": level}, model, branch, rng)
    folder = results / study
    folder.mkdir(parents=True, exist_ok=True)
    frame = pd.DataFrame(table)
    front = ["study", "cell", "model", "init", "seed", "branch", "draw", "level"]
    frame = frame[front + [column for column in frame if column not in front]]
    frame.to_csv(folder / "levels.csv", index=False)
    pd.DataFrame(curve).to_parquet(folder / "curves.parquet")
    pd.DataFrame(layer_rows).to_parquet(folder / "layers.parquet")
    return folder


def _level(place: dict, model: str, end: float, stop: int, steps: int) -> dict:
    return place | {
        "model": model,
        "test_accuracy": end,
        "val_accuracy": end,
        "train_accuracy": min(1.0, end + 0.015),
        "test_loss": 0.1,
        "val_loss": 0.1,
        "train_loss": 0.02,
        "early_stop_step": stop,
        "test_accuracy_at_early_stop": end,
        "val_accuracy_at_early_stop": end,
        "steps": steps,
        "seconds": 12.5,
        "engine": "reference",
        "device": "cpu",
    }


def _evaluations(place: dict, end: float, steps: int, number: int) -> list[dict]:
    start = 0 if place["branch"] != "dense" or place["level"] == 0 else 1
    rows = []
    for k in range(start, number + 1):
        risen = 1 - np.exp(-6 * k / number) if place["branch"] != "dense" else 1.0
        value = end if k == number else 0.1 + (end - 0.1) * risen
        rows.append(
            place
            | {
                "step": k * steps // number,
                "total_step": place["level"] * steps + k * steps // number,
                "train_loss": 0.1,
                "train_accuracy": value,
                "val_loss": 0.1,
                "val_accuracy": value,
                "test_loss": 0.1,
                "test_accuracy": value,
            }
        )
    return rows


def _layers(cell: dict, model: str, branch: str, rng: np.random.Generator) -> list[dict]:
    rows = []
    kept = counts(model, 0 if branch == "dense" else cell["level"])
    for index, (name, (kind, (outputs, fan_in), _)) in enumerate(NETWORKS[model].items()):
        std = np.sqrt(2 / (outputs + fan_in))
        size = outputs * fan_in
        sample = std * rng.normal(size=20_000)
        threshold = np.quantile(np.abs(sample), 1 - kept[name] / size)
        trained = sample + 0.4 * std * rng.normal(size=sample.size)
        survive = np.abs(trained) >= threshold
        span = float(6 * std)
        histograms = [
            np.histogram(values[survive], bins=64, range=(-span, span))[0].tolist()
            for values in (sample, trained)
        ]
        rows.append(
            cell
            | {
                "layer": name,
                "kind": kind,
                "weights": size,
                "remaining": kept[name],
                "span": span,
                "initial_histogram": histograms[0],
                "final_histogram": histograms[1],
                "kept_inputs": _pixels(kept[name], outputs, rng)
                if index == 0 and kind == "linear"
                else None,
                "outputs": outputs,
            }
        )
    return rows


def _pixels(kept: int, outputs: int, rng: np.random.Generator) -> list[int]:
    """Kept weights per pixel of a 28 × 28 image, denser in the middle."""
    axis = np.linspace(-1, 1, 28)
    bump = np.exp(-3 * (axis[:, None] ** 2 + axis[None, :] ** 2)).ravel() ** (
        2 * (1 - kept / (784 * outputs))
    )
    expected = np.minimum(outputs, kept * bump / bump.sum())
    return (
        np.minimum(outputs, rng.poisson(expected) if kept < 784 * outputs else expected)
        .astype(int)
        .tolist()
    )
