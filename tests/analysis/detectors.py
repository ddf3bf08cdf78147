"""Made-up tables of a study of detectors, on those of a study of whole filters."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from PIL import Image

from lottery.analysis.columns import NO_SEED, TRUTH
from tests.analysis.filters import Value, write_filter_study

CLASSES = ("0", "1", "2")
SIDE = 64


def write_detector_study(
    results: Path,
    variants: Mapping[str, Any],
    removed: Value,
    ap: Value,
    *,
    study: str = "detectors",
    classes: Sequence[str] = CLASSES,
    seeds: Sequence[int] = (0, 1, 2),
    levels: int = 2,
    data: str = "digit_scenes",
    busy: Value = lambda variant, seed, level: 0.0,
    lengths: Mapping[tuple[str, int], int] | None = None,
) -> Path:
    """Latency falls as MACs do, by half of `removed`. Before retraining AP is half of `ap`; in
    variants called soft or rewind it is not known. lengths: as in `write_filter_study`.

    Classes have the mean AP, but the first 0.1 less and the last 0.1 more. Validation AP is `ap`
    too. Returns the study's folder.
    """
    folder = write_filter_study(
        results, variants, removed, ap, study=study, model="tiny_yolo_v2", seeds=seeds,
        levels=levels, lengths=lengths,
    )  # fmt: skip
    config = yaml.safe_load((folder / "study.yaml").read_text())
    config |= {"data": data, "start": f"{study}-unpruned", "seeds": list(seeds)}
    config["train"] |= {"eval_start": True}
    config["prune"] |= {"scope": "global", "stop": 0.02}
    config["rewind"] = {"mode": "learning_rate", "to": "8ep", "optimizer": "fresh"}
    (folder / "study.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    curves = pd.read_parquet(folder / "curves.parquet")
    curves.loc[(curves["step"] == 0) & (curves["level"] > 0), "test_accuracy"] /= 2
    curves.to_parquet(folder / "curves.parquet")
    tickets = pd.read_csv(folder / "levels.csv", dtype={"study": str, "variant": str})
    ends = {
        key: _furthest(own.sort_values("level")["val_accuracy"].tolist())
        for key, own in tickets.groupby(["variant", "seed"])
    }
    detectors, curves = [], []
    for row in tickets.itertuples():
        place = {name: getattr(row, name) for name in ("cell", "variant", "init", "seed", "level")}
        apart = np.linspace(-0.1, 0.1, len(classes)) if len(classes) > 1 else [0.0]
        for name, more in [("all", 0.0), *zip(classes, apart, strict=True)]:
            mean = row.test_accuracy + more
            detectors.append(
                {"study": study} | place | {"class": name, "ap_11": mean + 0.01, "ap_area": mean}
                | {"boxes": 20 * (len(classes) if name == "all" else 1)}
            )  # fmt: skip
            if name != "all" and row.level in (0, ends[row.variant, row.seed]):
                curves += [
                    place | {"class": name, "recall": k / 100, "precision": 1 - k / 200}
                    for k in range(101)
                    if k <= 100 * mean
                ]
        latency = 10 * row.macs / tickets["macs"].max()
        as_pruned = row.level > 0 and not row.variant.endswith(("soft", "rewind"))
        detectors[-1 - len(classes)] |= {
            "ap_before": row.test_accuracy / 2 if as_pruned else None,
            "parameters": row.parameters,
            "macs": row.macs,
            "bytes": 4 * row.parameters,
            "latency_ms": latency,
            "latency_low": 0.9 * latency,
            "latency_high": 1.2 * latency,
            "latency_n": 50,
            "unpruned_ms": 10.0,
            "busy_cores": busy(row.variant, row.seed, row.level),
            "pictures": 40,
        }
    counts = dict.fromkeys(("parameters", "macs", "bytes", "latency_n", "pictures"), "Int64")
    pd.DataFrame(detectors).astype(counts).to_csv(folder / "detectors.csv", index=False)
    pd.DataFrame(curves).to_parquet(folder / "precision_recall.parquet")
    _pictures(folder, tickets, classes, ends)
    return folder


def _furthest(validation: Sequence[float]) -> int:
    """The level before the first that lies more than 2 points below level 0's."""
    fallen = [level for level, ap in enumerate(validation) if ap < validation[0] - 0.02 - 1e-9]
    return min(fallen, default=len(validation)) - 1


def _pictures(
    folder: Path,
    tickets: pd.DataFrame,
    classes: Sequence[str],
    ends: Mapping[tuple[str, int], int],
) -> None:
    """Four pictures with one object of each class; found with less certainty once pruned."""
    places = [
        {"class": name, "x0": 0.3 * k, "y0": 0.3 * k, "x1": 0.3 * k + 0.25, "y1": 0.3 * k + 0.25}
        for k, name in enumerate(classes[:3])
    ]
    truth = {"cell": "", "variant": TRUTH, "init": "", "seed": NO_SEED, "level": 0}
    first = tickets[tickets["seed"] == tickets["seed"].min()]
    last = [ends[key] for key in zip(first["variant"], first["seed"], strict=True)]
    first = first[(first["level"] == 0) | (first["level"] == last)]
    of = ["cell", "variant", "init", "seed", "level"]
    rows = []
    (folder / "pictures").mkdir()
    for picture in range(4):
        pixels = np.full((SIDE, SIDE, 3), 40 + 40 * picture, dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "pictures" / f"{picture}.jpg")
        rows += [truth | {"picture": picture, "score": np.nan} | place for place in places]
        for network in first[of].to_dict("records"):
            score = 0.5 if network["level"] else 0.9
            rows += [network | {"picture": picture, "score": score} | place for place in places]
            rows.append(network | {"picture": picture, "score": 0.01} | places[0])
    pd.DataFrame(rows).to_parquet(folder / "detections.parquet")


def add_baseline(folder: Path, longest: str, gain: float) -> None:
    """Give a study an unpruned baseline, shared by all variants, with as many levels as `longest`.

    Its AP, on validation and on test pictures, is level 0's and `gain` more at each level.
    """
    levels = pd.read_csv(folder / "levels.csv")
    rows = levels[levels["variant"] == longest]
    start = rows[rows["level"] == 0].set_index("seed")["test_accuracy"].to_dict()
    ap = rows["seed"].map(start) + gain * rows["level"]
    cell = rows["cell"].str.replace("ticket", "dense")
    baseline = rows.assign(branch="dense", cell=cell, test_accuracy=ap, val_accuracy=ap)
    variants = levels["variant"].unique()
    every = [baseline.assign(variant=variant) for variant in variants]
    pd.concat([levels, *every]).to_csv(folder / "levels.csv", index=False)
