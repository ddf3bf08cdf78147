"""A study's tables as DataFrames, with the same column types whatever is in them.

A study is named by its folder under `results`, or by a path to such a folder.
"""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from lottery.analysis.columns import (
    CURVES,
    DETECTIONS,
    DETECTORS,
    DIAGNOSTICS,
    KEPT_OUTPUTS,
    LAYERS,
    LEVELS,
    OF_DETECTORS,
    PICTURES,
    PRECISION_RECALL,
    SIZES,
    TEXT,
)
from lottery.analysis.endpoints import network
from lottery.errors import StoreError
from lottery.registry import parse_spec

BOXES = ("digit_scenes", "voc", "voc2007", "voc2012")
"""Data sets of pictures with boxes."""
SHIPPED = Path(__file__).parents[2] / "experiments" / "configs"
"""Folder of the shipped studies' files."""


def levels(study: str | Path, results: str | Path = "results") -> pd.DataFrame:
    """`levels.csv`: one row per cell and level; accuracies and weights remaining are fractions."""
    return _read(study, results, "levels.csv", LEVELS, SIZES)


def curves(study: str | Path, results: str | Path = "results") -> pd.DataFrame:
    """`curves.parquet`: one row per evaluation; `total_step` counts over all levels."""
    return _read(study, results, "curves.parquet", CURVES)


def layers(study: str | Path, results: str | Path = "results") -> pd.DataFrame:
    """`layers.parquet`: one row per cell, level and prunable layer."""
    return _read(study, results, "layers.parquet", LAYERS, KEPT_OUTPUTS)


def diagnostics(study: str | Path, results: str | Path = "results") -> pd.DataFrame:
    """`diagnostics.parquet`: one row per cell, level, layer ("all" is the network) and quantity."""
    return _read(study, results, "diagnostics.parquet", DIAGNOSTICS)


def has_diagnostics(study: str | Path, results: str | Path = "results") -> bool:
    """Whether a study has a table of diagnostics, which is recorded only if asked for."""
    return _place(study, results, "diagnostics.parquet").is_file()


def detectors(study: str | Path, results: str | Path = "results") -> pd.DataFrame:
    """`detectors.csv`: average precision (a fraction) of each level on test pictures, by class.

    The rows of class "all", the mean over classes, say what the physically smaller network costs.
    """
    return _read(study, results, "detectors.csv", DETECTORS)


def precision_recall(study: str | Path, results: str | Path = "results") -> pd.DataFrame:
    """`precision_recall.parquet`: best precision at a recall or higher, unpruned and furthest."""
    return _read(study, results, "precision_recall.parquet", PRECISION_RECALL)


def detections(study: str | Path, results: str | Path = "results") -> pd.DataFrame:
    """`detections.parquet`: boxes found in a few pictures; those of variant TRUTH are there."""
    return _read(study, results, "detections.parquet", DETECTIONS, may_be_empty=True)


def pictures(study: str | Path, results: str | Path = "results") -> dict[int, Path]:
    """Files of the pictures that `detections` is about, by number."""
    folder = _place(study, results, "detectors.csv").parent / PICTURES
    return {int(path.stem): path for path in sorted(folder.glob("*.jpg"))}


def has_detectors(study: str | Path, results: str | Path = "results") -> bool:
    """Whether detectors of a study were measured, which happens when all its cells are done."""
    return _place(study, results, "detectors.csv").is_file()


def of_detectors(study: str | Path, results: str | Path = "results") -> bool:
    """Whether a study is one of detectors, whose accuracy is mean average precision.

    Its network or its data tell, measured or not; where both are one's own, what was measured does.
    """
    data = parse_spec(str(configuration(study, results).get("data", "")), "data")[0]
    model = str(levels(study, results)["model"].iloc[0])
    return data in BOXES or "yolo" in network(model) or has_detectors(study, results)


def variants(study: str | Path, results: str | Path = "results") -> list[str]:
    """Variants of a study that have rows, in the order of `study.yaml`: the first is the reference.

    One whose `study.yaml` is missing has them in alphabetical order.
    """
    table = levels(study, results)
    found = sorted(set(table["variant"]))
    said = list(configuration(study, results).get("variants") or {})
    found.sort(key=lambda name: said.index(name) if name in said else len(said))
    return found


def configuration(study: str | Path, results: str | Path = "results") -> dict[str, Any]:
    """`study.yaml` as nested plain values; empty if it is missing."""
    path = _place(study, results, "study.yaml")
    if not path.is_file():
        return {}
    try:
        return dict(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, yaml.YAMLError) as error:
        raise StoreError(f"{path} cannot be read ({error})") from error


def settings(config: Mapping[str, Any], variant: str, group: str) -> dict[str, Any]:
    """A group of settings of `study.yaml`, such as prune, as a variant has them.

    >>> config = {"train": {"lr": 1, "momentum": 0}, "variants": {"fast": {"train": {"lr": 2}}}}
    >>> settings(config, "fast", "train")
    {'lr': 2, 'momentum': 0}
    """
    own = (config.get("variants") or {}).get(variant) or {}
    return {**(config.get(group) or {}), **(own.get(group) or {})}


def starts_anew(config: Mapping[str, Any], variant: str) -> bool:
    """Whether a level's weights are not those that the last level's training left."""
    prune, rewind = (settings(config, variant, group) for group in ("prune", "rewind"))
    one_shot = not prune.get("iterative", True) or prune.get("at") == "initial"
    return one_shot or rewind.get("mode") == "weights"


def studies(results: str | Path = "results") -> list[str]:
    """Names of the studies that have a table of levels under `results`, sorted."""
    return sorted(table.parent.name for table in Path(results).glob("*/levels.csv"))


def is_shipped(study: str) -> bool:
    """Whether `run_grid.py` knows a study by its name; any other it is given as a file."""
    return (SHIPPED / f"{study}.yaml").is_file()


def _read(
    study: str | Path,
    results: str | Path,
    name: str,
    types: dict[str, str],
    optional: dict[str, str] | None = None,
    may_be_empty: bool = False,
) -> pd.DataFrame:
    """One table, its columns checked and cast; StoreError names the file and how to make it.

    optional: types of columns that need not be there.
    """
    path = _place(study, results, name)
    if not path.is_file():
        raise StoreError(f"{path} is missing; {_remedy(path)}")
    try:
        frame = (
            _read_csv(path, types | (optional or {}))
            if path.suffix == ".csv"
            else pd.read_parquet(path)
        )
        if "variant" not in frame:  # written before studies had variants
            frame["variant"] = "base"
        absent = [column for column in types if column not in frame]
        if absent:
            raise ValueError(f"no column {', '.join(absent)}")
        known = types | {c: kind for c, kind in (optional or {}).items() if c in frame}
        frame = frame.astype(known)
    except (OSError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise StoreError(f"{path} cannot be read ({reason}); {_remedy(path)}") from error
    if frame.empty and not may_be_empty:
        raise StoreError(f"{path} holds no finished level; {_remedy(path)}")
    return frame


def _place(study: str | Path, results: str | Path, name: str) -> Path:
    places = [Path(results) / study / name, Path(study) / name]
    return next((place for place in places if place.is_file()), places[0])


def _read_csv(path: Path, types: dict[str, str]) -> pd.DataFrame:
    """The table as written; `none` and `007` are good names, and no text is ever empty."""
    texts = [name for name, kind in types.items() if kind == TEXT]
    blank = {name: [""] for name in types if name not in texts}
    as_text = dict.fromkeys(texts, "str")
    frame = pd.read_csv(path, dtype=as_text, keep_default_na=False, na_values=blank)
    if (frame[[name for name in texts if name in frame]].fillna("") == "").any(axis=None):
        raise ValueError("a row is cut short")
    return frame


def _remedy(path: Path) -> str:
    folder, results = path.parent, shlex.quote(str(path.parent.parent))
    option = "" if results == "results" else f" --results-dir {results}"
    option += " --diagnostics.record true" if path.name == "diagnostics.parquet" else ""
    detectors = path.name in OF_DETECTORS or path.parent.name.startswith("detector-")
    program = "run_detector" if detectors else "run_grid"
    study, file = folder.name, folder / "study.yaml"
    if not is_shipped(study):  # where the folder has no file, it is still to be written
        study = shlex.quote(str(file) if file.is_file() else f"{study}.yaml")
    return f"make it with `python experiments/{program}.py {study}{option}`"
