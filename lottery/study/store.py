"""What a study keeps on disk.

    results/<study>/
        study.yaml      the resolved configuration, its grid joined over all runs
        manifest.json   how each run was made
        levels.csv      a row per cell and level
        curves.parquet  a row per evaluation
        layers.parquet  a row per cell, level and prunable parameter
        diagnostics.parquet  a row per cell, level, layer and quantity, if asked for
        cells/          masks, weights and checkpoints (not committed)
        tensorboard/    events (not committed)

The tables are made from the cells' records; a row whose cell is not on this disk (a table
committed elsewhere) stays.
"""

import contextlib
import json
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from filelock import FileLock, Timeout

from lottery.errors import ConfigError, StoreError
from lottery.study.cell_store import CellStore, whole
from lottery.study.config import BASE, StudyConfig
from lottery.study.grid import GRID, Cell, shared_settings
from lottery.study.manifest import append_run
from lottery.study.tables import DIAGNOSTICS, TABLES, assemble, merge, read_table

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
            where = str(self.root.parent)
            raise ConfigError("results_dir", where, f"a folder to write in ({error})") from error
        with lock:
            if fresh:
                self._clear()
            for leftover in self.root.rglob(".*.tmp"):
                leftover.unlink(missing_ok=True)
            self.check_settings(config)
            self._manifest_with(config.name, {})  # a broken one is found before any training
            yield

    def _clear(self) -> None:
        for name in (*TABLES, DIAGNOSTICS, "study.yaml", "manifest.json"):
            (self.root / name).unlink(missing_ok=True)
        for name in ("cells", "tensorboard"):
            shutil.rmtree(self.root / name, ignore_errors=True)

    def check_settings(self, config: StudyConfig) -> None:
        """Raise ConfigError if what is in the folder was made with other settings."""
        before = self._config()
        old, new = _flat(before), _flat(shared_settings(config))
        old |= _variants(before) if before else {}
        new |= _variants(config.to_dict())
        for setting, value in new.items():
            if old.get(setting, value) != value:
                raise ConfigError(
                    setting,
                    value,
                    f"{old[setting]!r}, with which {self.root} was made; "
                    "give this variant a name (--name) or a place (--results-dir) of its own, "
                    "or replace the old results (--fresh)",
                )

    def write_config(self, config: StudyConfig) -> None:
        """Keep the resolved configuration; its grid is joined with that of earlier runs."""
        values, old = config.to_dict(), self._config()
        if old:
            values["inits"] = list(dict.fromkeys([*old["inits"], *values["inits"]]))
            values["seeds"] = sorted({*old["seeds"], *values["seeds"]})
            values["levels"] = max(old["levels"], values["levels"])
            if old.get("variants") or values["variants"]:
                both = (old.get("variants") or {BASE: {}}, values["variants"] or {BASE: {}})
                values["variants"] = both[0] | both[1]
            for control, draws in old["controls"].items():
                if control != "levels":
                    values["controls"][control] = max(draws, values["controls"][control])
        self._write("study.yaml", yaml.safe_dump(values, sort_keys=False))

    def config(self) -> StudyConfig:
        """The study as it was run; StoreError if there is none."""
        values = self._config()
        if not values:
            raise StoreError(f"no study in {self.root}; make one with experiments/run_grid.py")
        return StudyConfig.from_dict(values)

    def commits(self) -> list[str]:
        """Commits of the code that the study's runs were made with, each once."""
        runs = json.loads(self._manifest_with(self.root.name, {}))["runs"]
        return list(dict.fromkeys(run["git_commit"] for run in runs if run.get("git_commit")))

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
        """Add what is known of a run to manifest.json."""
        self._write("manifest.json", self._manifest_with(study, run))

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

    def unfinished(self, cells: Iterable[Cell]) -> list[Cell]:
        """Cells still to be run: neither on this disk nor in the tables, or needed by such a cell.

        A control needs its ticket's masks, which only the disk has.
        """
        cells = list(cells)
        on_disk = {cell.name for cell in cells if self.cell(cell.name).has(cell.levels)}
        in_table = self._tabulated()
        missing = {
            cell.name
            for cell in cells
            if cell.name not in on_disk
            and not all((cell.name, level) in in_table for level in cell.levels)
        }
        needed = {cell.needs for cell in cells if cell.name in missing} - on_disk
        return [cell for cell in cells if cell.name in missing or cell.name in needed]

    def lacks_rows(self, cells: Iterable[Cell]) -> bool:
        """Whether a finished level on this disk is not in the tables."""
        on_disk = {
            (cell.name, level) for cell in cells for level in self.cell(cell.name).finished_levels()
        }
        return not on_disk <= self._tabulated()

    def _tabulated(self) -> set[tuple[str, int]]:
        """Cell and level of each row that all three tables have."""
        found = []
        for name in TABLES:
            table = read_table(self.root / name)
            found.append(set(zip(table["cell"], table["level"], strict=True)))
        return set.intersection(*found)

    def write_tables(self, config: StudyConfig, cells: Iterable[Cell]) -> None:
        """Put the records on this disk into the tables."""
        pairs = [(cell, self.cell(cell.name)) for cell in cells]
        for table, rows in assemble(config, pairs).items():
            merge(self.root / table, rows)

    def rows(self, cells: Iterable[Cell]) -> pd.DataFrame:
        """Rows of levels.csv for these cells and their levels."""
        table = read_table(self.root / "levels.csv")
        wanted = {(cell.name, level) for cell in cells for level in cell.levels}
        return table[[key in wanted for key in zip(table["cell"], table["level"], strict=True)]]


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
