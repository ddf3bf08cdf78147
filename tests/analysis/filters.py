"""Made-up tables of a study of whole filters, with what is to be found planted in them."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

PARAMETERS, MACS = 431_080, 2_293_000
LAYERS = {"conv1": 20, "conv2": 50, "fc1": 500, "fc2": 10}
SETTINGS = {
    "model": "lenet5",
    "data": "mnist",
    "validation": 5000,
    "levels": 2,
    "inits": ["kaiming_normal"],
    "train": {
        "duration": "10ep",
        "batch_size": 60,
        "optimizer": "adam",
        "lr": 0.001,
        "lr_schedule": "constant",
        "eval_every": "1ep",
    },
    "prune": {
        "criterion": "l2",
        "scope": "layer",
        "linear_rate": 0.2,
        "conv_rate": 0.2,
        "output_rate": None,
    },
    "rewind": {"mode": "none", "to": "0it", "optimizer": "fresh"},
}

Value = Callable[[str, int, int], float]
"""Of variant, seed and level."""


def write_filter_study(
    results: Path,
    variants: Mapping[str, Any],
    removed: Value,
    accuracy: Value,
    *,
    study: str = "filters",
    model: str = "lenet5",
    seeds: Sequence[int] = (0, 1, 2),
    levels: int = 2,
    shrinking: bool = False,
    branches: Sequence[str] = ("ticket",),
    lengths: Mapping[tuple[str, int], int] | None = None,
) -> Path:
    """Levels 0 to `levels`; MACs fall by half of what parameters do. Returns the study's folder.

    shrinking: whether parameters go while a level trains, in two actions. lengths: the last level
    of tickets, by variant and seed, whose walks end before `levels`; controls end with them.
    """
    table, curves, layers = [], [], []
    cells = [(v, s, b) for v in variants for s in seeds for b in branches]
    for variant, seed, branch in cells:
        identity = {
            "study": study,
            "cell": f"{variant}-s{seed}-{branch}",
            "variant": variant,
            "init": "kaiming_normal",
            "seed": seed,
            "branch": branch,
            "draw": 0,
        }
        last = (lengths or {}).get((variant, seed), levels)
        for level in range(0 if branch == "ticket" else 1, last + 1):
            share = removed(variant, seed, level) if level else 0.0
            before = removed(variant, seed, level - 1) if level > 1 else 0.0
            value = accuracy(variant, seed, level) - (0.02 if branch != "ticket" else 0)
            place = identity | {"level": level, "weights_remaining": 1 - share}
            table.append(
                place
                | {
                    "model": model,
                    **{
                        f"{part}_{what}": value if what == "accuracy" else 0.1
                        for part in ("test", "val", "train")
                        for what in ("accuracy", "loss")
                    },
                    "early_stop_step": 100,
                    "test_accuracy_at_early_stop": value,
                    "val_accuracy_at_early_stop": value,
                    "steps": 100,
                    "seconds": 1.0,
                    "engine": "reference",
                    "device": "cpu",
                    "parameters": round(PARAMETERS * (1 - share)),
                    "macs": round(MACS * (1 - share / 2)),
                }
            )
            half = (before + share) / 2
            moments = [(0, share, 0.9), (40, share, 0.3), (80, share, 0.2), (100, share, 0.1)]
            if variant.endswith("soft"):  # pruned at the level's end
                moments = [(step, before, loss) for step, _, loss in moments] + [(100, share, 0.2)]
            if shrinking and level:
                moments = [
                    *[(0, before, 0.9), (40, before, 0.3), (40, half, 0.6)],
                    *[(80, half, 0.2), (80, share, 0.5), (100, share, 0.1)],
                ]
            curves += [
                identity
                | {
                    "level": level,
                    "step": step,
                    "total_step": 100 * level + step,
                    "weights_remaining": 1 - gone,
                    "train_loss": loss,
                    "val_loss": loss,
                    "test_loss": loss,
                    "train_accuracy": value,
                    "val_accuracy": value,
                    "test_accuracy": value,
                }
                for step, gone, loss in moments
            ]
            layers += [
                identity
                | {
                    "level": level,
                    "layer": layer,
                    "kind": kind
                    or ("output" if name == "fc2" else name[:-1].replace("fc", "linear")),
                    "weights": size * outputs,
                    "remaining": round(size * outputs * (1 - share)),
                    "span": 1.0,
                    "initial_histogram": [1] * 64,
                    "final_histogram": [1] * 64,
                    "kept_inputs": None,
                    "outputs": outputs,
                    "kept_outputs": outputs if name == "fc2" else round(outputs * (1 - share)),
                }
                for name, outputs in LAYERS.items()
                for layer, kind, size in (
                    (f"{name}.weight", "", 100),
                    (f"{name}.bias", "", 1),
                    (f"{name}_norm.weight", "norm", 1),
                )
            ]
    folder = results / study
    folder.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(table).to_csv(folder / "levels.csv", index=False)
    pd.DataFrame(curves).to_parquet(folder / "curves.parquet")
    pd.DataFrame(layers).to_parquet(folder / "layers.parquet")
    config = SETTINGS | {"model": model, "levels": levels, "variants": dict(variants)}
    (folder / "study.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    return folder


FACTORIAL = {
    f"run{k}": {
        "train": {"duration": f"{10 + 10 * (k % 3)}ep"},
        "prune": {"during": f"shrinkage(ratio={0.1 + 0.1 * (k // 9)}, every={1 + k // 3 % 3}ep)"},
    }
    for k in range(18)
}
"""Runs over epochs, ratios and intervals, each at two or three values."""


def write_factorial_study(results, accuracy):
    """Write the runs of FACTORIAL; only their ratio decides what is removed."""

    def removed(variant, *_):
        return 0.5 + 0.2 * (int(variant[3:]) // 9)

    return write_filter_study(results, FACTORIAL, removed, accuracy, levels=1, seeds=[0])
