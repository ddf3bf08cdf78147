"""What a study keeps on disk.

    results/<study>/
        study.yaml      the resolved configuration, its grid joined over all runs
        manifest.json   how each run was made
        levels.csv      a row per cell and level
        curves.parquet  a row per evaluation
        layers.parquet  a row per cell, level and prunable parameter
        diagnostics.parquet  a row per cell, level, layer and quantity, if asked for
        detectors.csv, precision_recall.parquet, detections.parquet, pictures/
                        what detectors do and cost (`lottery.study.detectors`)
        cells/          masks, weights and checkpoints (not committed)
        tensorboard/    events (not committed)

The tables are made from the cells' records; a row whose cell is not on this disk (a table
committed elsewhere) stays.
"""

import contextlib
import dataclasses
import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from filelock import FileLock, Timeout

from lottery.analysis.columns import OF_DETECTORS, PICTURES
from lottery.errors import ConfigError, StoreError
from lottery.files import whole
from lottery.pruning.schedule import ends_walk
from lottery.study.cell_store import CellStore
from lottery.study.config import BASE, StudyConfig
from lottery.study.grid import GRID, Cell, once, shared_settings
from lottery.study.grid import cells as cells_of
from lottery.study.manifest import append_run, end_run
from lottery.study.tables import (
    DIAGNOSTICS,
    TABLES,
    assemble,
    merge,
    places,
    read_table,
)

_ALWAYS = GRID - {"variants"}
"""Settings that every study.yaml has; the first ones were written without variants."""


class StudyStore:
    """One study's folder."""

    def __init__(self, results_dir: str | Path, name: str) -> None:
        self.root = Path(results_dir) / name

    def cell(self, name: str) -> CellStore:
        """A cell's folder."""
        return CellStore(self.root / "cells" / name)

    def tensorboard(self, cell: Cell) -> Path:
        """Where a cell's TensorBoard events go."""
        return self.root / "tensorboard" / cell.name

    @contextlib.contextmanager
    def open(self, config: StudyConfig, *, fresh: bool = False) -> Iterator[None]:
        """Hold the folder for one run; with `fresh`, empty it first.

        Raises StoreError if another run holds it, or if it was made with other settings: one
        study's tables never mix settings.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.root / ".lock").acquire(timeout=0)
        except Timeout:
            raise StoreError(f"{self.root} is in use by another run") from None
        except OSError as error:
            raise self._no_place(error) from error
        with lock:
            if fresh:
                self._clear()
            for leftover in self.root.rglob(".*.tmp"):
                leftover.unlink(missing_ok=True)
            self.check_settings(config)
            self._manifest_with(config.name, {})  # a broken one is found before any training
            yield

    def check_place(self) -> None:
        """Raise ConfigError where `open` could not make the folder; leaves nothing there."""
        try:
            nearest = next(place for place in (self.root, *self.root.parents) if place.exists())
            with tempfile.TemporaryDirectory(dir=nearest, prefix="."):
                pass  # some places refuse what their access rights allow
        except OSError as error:
            raise self._no_place(error) from error

    def _no_place(self, error: OSError) -> ConfigError:
        allowed = f"a folder to write in ({error})"
        return ConfigError("results_dir", str(self.root.parent), allowed)

    def _clear(self) -> None:
        for name in (*TABLES, DIAGNOSTICS, *OF_DETECTORS, "study.yaml", "manifest.json"):
            (self.root / name).unlink(missing_ok=True)
        for name in ("cells", "tensorboard", PICTURES):
            shutil.rmtree(self.root / name, ignore_errors=True)

    def check_settings(self, config: StudyConfig) -> None:
        """Raise ConfigError if what is in the folder was made with other settings."""
        before = self._config()
        if not before:
            return
        # A setting that was not there when the folder was made had what is now its default.
        old = _flat(shared_settings(StudyConfig())) | _flat(before) | _variants(before)
        new = _flat(shared_settings(config)) | _variants(config.to_dict())
        for setting, value in new.items():
            if old.get(setting, value) != value:
                raise ConfigError(
                    setting,
                    value,
                    f"{old[setting]!r}, with which {self.root} was made; "
                    "give the study with this setting a name (--name) or a place (--results-dir) "
                    "of its own, or replace the old results (--fresh)",
                )
        self.joined(config)

    def joined(self, config: StudyConfig) -> StudyConfig:
        """The configuration with the grid of all runs so far, and of this one.

        Raises ConfigError if they cannot be one study, as when two variants are the same.
        """
        old = self._config()
        if not old:
            return config
        variants: dict[str, Any] = {}
        if old.get("variants") or config.variants:
            variants = (old.get("variants") or {BASE: {}}) | (config.variants or {BASE: {}})
        now = dataclasses.asdict(config.controls)
        draws = {k: max(n, now[k]) for k, n in old["controls"].items() if k != "levels"}
        return dataclasses.replace(
            config,
            inits=list(dict.fromkeys([*old["inits"], *config.inits])),
            seeds=sorted({*old["seeds"], *config.seeds}),
            levels=max(old["levels"], config.levels),
            variants=variants,
            controls=dataclasses.replace(config.controls, **draws),
        )

    def write_config(self, config: StudyConfig) -> None:
        """Keep the resolved configuration; its grid is joined with that of earlier runs."""
        values = self.joined(config).to_dict()
        self._write("study.yaml", yaml.safe_dump(values, sort_keys=False))

    def config(self) -> StudyConfig:
        """The study as it was run; StoreError if there is none."""
        values = self._config()
        if not values:
            raise StoreError(
                f"no study in {self.root}; make one with experiments/run_grid.py, or with "
                "run_filters.py or run_detector.py"
            )
        return StudyConfig.from_dict(values)

    def commits(self) -> list[str]:
        """Commits of the code that the study's runs were made with, each once."""
        runs = json.loads(self._manifest_with(self.root.name, {}))["runs"]
        return list(dict.fromkeys(run["git_commit"] for run in runs if run.get("git_commit")))

    def data_sha256(self) -> dict[str, str]:
        """Hashes of the data that the study's last run was given."""
        runs = json.loads(self._manifest_with(self.root.name, {}))["runs"]
        return dict(runs[-2].get("data_sha256", {})) if len(runs) > 1 else {}

    def _config(self) -> dict[str, Any]:
        """What study.yaml says; nothing if it is not there."""
        text = self._read("study.yaml")
        try:
            values = yaml.safe_load(text) if text is not None else {}
        except yaml.YAMLError as error:
            raise self._broken("study.yaml", "no YAML") from error
        if text is not None and not (isinstance(values, dict) and values.keys() >= _ALWAYS):
            raise self._broken("study.yaml", "settings are missing")
        return values

    def add_run(self, study: str, run: dict[str, Any]) -> None:
        """Add what is known of a run to manifest.json, at its start: it may be killed."""
        self._write("manifest.json", self._manifest_with(study, run))

    def end_run(self, found: dict[str, Any]) -> None:
        """Add to the last run what is known of it at its end."""
        self._write("manifest.json", end_run(self._read("manifest.json") or "", found))

    def _manifest_with(self, study: str, run: dict[str, Any]) -> str:
        try:
            return append_run(self._read("manifest.json"), study, run)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise self._broken("manifest.json", "no manifest") from error

    def _read(self, name: str) -> str | None:
        path = self.root / name
        try:
            return path.read_text(encoding="utf-8") if path.exists() else None
        except (OSError, ValueError) as error:
            raise self._broken(name, str(error)) from error

    def _write(self, name: str, text: str) -> None:
        with whole(self.root / name) as path:
            path.write_text(text, encoding="utf-8")

    def _broken(self, name: str, reason: str) -> StoreError:
        return StoreError(f"{self.root / name} is broken ({reason}); --fresh discards the study")

    def unfinished(self, cells: Iterable[Cell], *, networks: bool = False) -> list[Cell]:
        """Cells still to be run: neither on this disk nor in the tables, or needed by such a cell.

        A control needs its ticket's masks, which only the disk has. Of cells that share a name one
        is run for all. networks: tables will not do, as the networks themselves are wanted.
        """
        cells = list(cells)
        levels = {cell: self.levels(cell) for cell in cells}
        on_disk = {cell.name for cell in cells if self.cell(cell.name).has(levels[cell])}
        in_table = set() if networks else self._tabulated()
        missing = {
            cell.name
            for cell in cells
            if cell.name not in on_disk
            and not all((cell.variant, cell.name, level) in in_table for level in levels[cell])
        }
        needed = {cell.needs for cell in cells if cell.name in missing} - on_disk
        return [cell for cell in once(cells) if cell.name in missing or cell.name in needed]

    def levels(self, cell: Cell) -> list[int]:
        """Levels that a cell has when it is finished: all, unless `prune.stop` ended its walk.

        A control has those that its ticket has.
        """
        if cell.stop is None:
            return list(cell.levels)
        name = cell.needs or cell.name
        table, walked = read_table(self.root / "levels.csv"), self.cell(name)
        accuracies: dict[int, float] = {}
        if "val_accuracy" in table:
            rows = table[table["cell"] == name]
            accuracies = dict(zip(rows["level"], rows["val_accuracy"], strict=True))
        for level in walked.finished_levels():
            if record := walked.record(level):
                accuracies[level] = record["level"]["val_accuracy"]
        first = accuracies.get(0, 0.0)
        ends = [n for n, accuracy in accuracies.items() if ends_walk(cell.stop, accuracy, first)]
        return [level for level in cell.levels if level <= min(ends, default=level)]

    def lacks_rows(self, config: StudyConfig, cells: Iterable[Cell]) -> bool:
        """Whether a finished level on this disk is not in the tables, or diagnostics have none."""
        if config.diagnostics.record and not (self.root / DIAGNOSTICS).exists():
            return True
        on_disk = {
            (cell.variant, cell.name, level)
            for cell in cells
            for level in self.cell(cell.name).finished_levels()
        }
        return not on_disk <= self._tabulated()

    def _tabulated(self) -> set[tuple[str, str, int]]:
        """Place (`tables.places`) of each row that all three tables have."""
        return set.intersection(*(set(places(read_table(self.root / name))) for name in TABLES))

    def write_tables(self, config: StudyConfig) -> None:
        """Put the records on this disk into the tables, those of earlier runs' cells too.

        Overlaps between seeds are thus over all of the study's seeds, not over one run's.
        """
        config = self.joined(config)
        pairs = [(cell, self.cell(cell.name)) for cell in cells_of(config)]
        for table, rows in assemble(config, pairs).items():
            merge(self.root / table, rows)

    def rows(self, cells: Iterable[Cell]) -> pd.DataFrame:
        """Rows of levels.csv for these cells and their levels."""
        table = read_table(self.root / "levels.csv")
        wanted = {(cell.variant, cell.name, level) for cell in cells for level in cell.levels}
        return table[[place in wanted for place in places(table)]]


def _variants(config: dict[str, Any]) -> dict[str, Any]:
    """What each variant changes, by dotted name."""
    variants = config.get("variants") or {BASE: {}}
    return {f"variants.{name}": changes for name, changes in variants.items()}


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted name."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        flat |= _flat(value, f"{name}.") if isinstance(value, dict) else {name: value}
    return flat
