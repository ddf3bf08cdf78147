"""All that is committed of a study, read at once for its report."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from lottery.analysis import frames
from lottery.analysis.sizes import left, of_filters
from lottery.analysis.walks import may_end_early, together
from lottery.errors import StoreError

SETTINGS = ("model", "data", "validation", "train", "prune", "rewind")
"""Without these in `study.yaml` a protocol cannot be described."""


@dataclass(frozen=True)
class Study:
    """A study's tables, its configuration and how it was made."""

    name: str
    folder: Path
    config: dict[str, Any]
    """`study.yaml`: nested plain values, only those fields that its version had."""
    runs: list[dict[str, Any]]
    """Runs of `manifest.json`, oldest first; empty if there is none."""
    levels: pd.DataFrame
    curves: pd.DataFrame
    layers: pd.DataFrame
    diagnostics: pd.DataFrame | None
    """None where none were recorded."""
    detecting: bool = False
    """Whether networks are detectors, whose accuracy is mean AP."""
    detectors: pd.DataFrame | None = None
    """None where networks are no detectors, or were not measured yet."""

    @property
    def inits(self) -> list[str]:
        """Schemes in the study's own order, those with rows only."""
        present = set(self.levels["init"])
        ordered = [init for init in self.config.get("inits", []) if init in present]
        return ordered + sorted(present - set(ordered))

    @property
    def variants(self) -> list[str]:
        """Variants in order of the configuration; one, "base", if the study has none."""
        present = set(self.levels["variant"])
        ordered = [name for name in self.config.get("variants") or {} if name in present]
        return ordered + sorted(present - set(ordered))

    @property
    def trained(self) -> pd.DataFrame:
        """Levels that this study trained: without the unpruned networks of another (`start`).

        Each once, though the table has a baseline under every variant that shares it.
        """
        own = self.levels[self.levels["level"] > 0] if self.config.get("start") else self.levels
        return own.drop_duplicates(["cell", "level"])

    @property
    def left(self) -> str:
        """What the column `weights_remaining` holds: weights remaining, or parameters left."""
        return left(self.levels)

    @property
    def ends_early(self) -> bool:
        """Whether `prune.stop` ends walks, so that tickets have different levels."""
        return may_end_early(self.config)

    def together(self) -> "Study":
        """The study as far as all tickets of a variant went, if `prune.stop` ends walks."""
        if not self.ends_early:
            return self
        levels, layers = (together(table, self.levels) for table in (self.levels, self.layers))
        return replace(self, levels=levels, layers=layers)

    @property
    def program(self) -> str:
        """The program that runs the study, without `.py`."""
        if self.detecting:
            return "run_detector"
        return "run_filters" if of_filters(self.levels) else "run_grid"

    @property
    def argument(self) -> str:
        """What that program is given as the study."""
        return self.name if frames.is_shipped(self.name) else f"results/{self.name}/study.yaml"

    def variant(self, name: str) -> pd.DataFrame:
        """Levels of one variant."""
        return self.levels[self.levels["variant"] == name]

    def first_variant(self) -> pd.DataFrame:
        """Levels of the first variant, with which the others are compared."""
        return self.variant(self.variants[0])

    def starts_anew(self, variant: str) -> bool:
        """Whether a level's weights are not those that the last level's training left."""
        return frames.starts_anew(self.config, variant)

    def pruned_levels(self, cells: pd.DataFrame) -> tuple[int, ...]:
        """Levels from 1 on of which there are rows for the cells of a table."""
        levels = self.levels.loc[self.levels["cell"].isin(cells["cell"]), "level"].unique()
        return tuple(sorted(int(level) for level in levels if level > 0))


def load(study: str | Path, results: str | Path = "results") -> Study:
    """Read a study named by its folder under `results`, or by a path to such a folder."""
    order = ["variant", "branch", "init", "seed", "draw", "level"]
    levels = frames.levels(study, results).sort_values(order, ignore_index=True)
    folder = next(
        place for place in (Path(results) / study, Path(study)) if (place / "levels.csv").is_file()
    )
    config = _read(folder / "study.yaml", yaml.safe_load) or {}
    absent = [name for name in SETTINGS if name not in config] if config else []
    if absent:
        raise StoreError(f"{folder / 'study.yaml'} has no setting {', '.join(absent)}")
    return Study(
        name=folder.resolve().name,
        folder=folder,
        config=config,
        runs=(_read(folder / "manifest.json", json.loads) or {}).get("runs", []),
        levels=levels,
        curves=frames.curves(study, results),
        layers=frames.layers(study, results),
        diagnostics=frames.diagnostics(study, results)
        if frames.has_diagnostics(study, results)
        else None,
        detecting=frames.of_detectors(study, results),
        detectors=frames.detectors(study, results)
        if frames.has_detectors(study, results)
        else None,
    )


def _read(path: Path, parse: Any) -> Any:
    """The file's contents, or None if there is none."""
    if not path.is_file():
        return None
    try:
        return parse(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise StoreError(f"{path} cannot be read ({reason})") from error
