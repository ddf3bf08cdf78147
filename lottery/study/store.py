"""What a study keeps on disk.

    results/<study>/
        study.yaml      the resolved configuration of the last run
        manifest.json   how each run was made
        levels.csv      a row per cell and level
        curves.parquet  a row per evaluation
        layers.parquet  a row per cell, level and prunable parameter
        cells/          masks, weights and checkpoints (not committed)
        tensorboard/    events (not committed)

The tables are made from the cells' records; a row whose cell is not on this disk (a table
committed elsewhere) stays.
"""

import contextlib
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from filelock import FileLock, Timeout

from lottery.errors import ConfigError, StoreError
from lottery.study.cell_store import CellStore, whole
from lottery.study.config import StudyConfig
from lottery.study.grid import Cell, shared_settings

TABLES = ("levels.csv", "curves.parquet", "layers.parquet")
KEY = ["init", "seed", "branch", "draw", "level"]


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
            self.write_text("study.yaml", yaml.safe_dump(config.to_dict(), sort_keys=False))
            yield

    def _clear(self) -> None:
        for name in (*TABLES, "study.yaml", "manifest.json"):
            (self.root / name).unlink(missing_ok=True)
        for name in ("cells", "tensorboard"):
            shutil.rmtree(self.root / name, ignore_errors=True)

    def check_settings(self, config: StudyConfig) -> None:
        """Raise ConfigError if what is in the folder was made with other settings."""
        path = self.root / "study.yaml"
        if not path.exists():
            return
        old, new = _flat(yaml.safe_load(path.read_text())), _flat(shared_settings(config))
        for setting, value in new.items():
            if old.get(setting, value) != value:
                raise ConfigError(
                    setting,
                    value,
                    f"{old[setting]!r}, with which {self.root} was made; "
                    "give this variant a name (--name) or a place (--results-dir) of its own, "
                    "or replace the old results (--fresh)",
                )

    def manifest(self) -> str | None:
        """The manifest's text, if there is one."""
        path = self.root / "manifest.json"
        return path.read_text() if path.exists() else None

    def write_text(self, name: str, text: str) -> None:
        """Write a file of the study's folder, whole or not at all."""
        with whole(self.root / name) as path:
            path.write_text(text)

    def unfinished(self, cells: Iterable[Cell]) -> list[Cell]:
        """Cells still to be run: neither on this disk nor in the tables, or needed by such a cell.

        A control needs its ticket's masks, which only the disk has.
        """
        cells = list(cells)
        on_disk = {cell.name for cell in cells if self.cell(cell.name).has(cell.levels)}
        table = self._old("levels.csv")
        in_table = set(zip(table["cell"], table["level"], strict=True))
        missing = {
            cell.name
            for cell in cells
            if cell.name not in on_disk
            and not all((cell.name, level) in in_table for level in cell.levels)
        }
        needed = {cell.needs for cell in cells if cell.name in missing} - on_disk
        return [cell for cell in cells if cell.name in missing or cell.name in needed]

    def _old(self, table: str) -> pd.DataFrame:
        path = self.root / table
        if not path.exists():
            return pd.DataFrame({"cell": [], "level": []})
        return pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)

    def write_tables(self, config: StudyConfig, cells: Iterable[Cell]) -> pd.DataFrame:
        """Make the three tables anew from the records on disk; the rows of levels.csv."""
        rows: dict[str, list[dict[str, Any]]] = {table: [] for table in TABLES}
        for cell in cells:
            identity = {
                "study": config.name,
                "cell": cell.name,
                "model": config.model,
                "init": cell.init,
                "seed": cell.seed,
                "branch": cell.branch,
                "draw": cell.draw,
            }
            done = 0
            store = self.cell(cell.name)
            for level in store.finished_levels():
                record = store.record(level)
                if record is None:
                    continue
                rows["levels.csv"].append({**identity, **record["level"]})
                short = {key: value for key, value in identity.items() if key != "model"}
                rows["layers.parquet"] += [{**short, **row} for row in record["layers"]]
                steps = record["level"]["steps"]
                before = done - (record["curves"][-1]["step"] - steps)
                rows["curves.parquet"] += [
                    {**short, "total_step": before + row["step"], **row} for row in record["curves"]
                ]
                done += steps
        for table, found in rows.items():
            self._merge(table, pd.DataFrame(found))
        return self._old("levels.csv")

    def _merge(self, table: str, new: pd.DataFrame) -> None:
        old = self._old(table)
        if len(new):
            fresh = set(zip(new["cell"], new["level"], strict=True))
            kept = [key not in fresh for key in zip(old["cell"], old["level"], strict=True)]
            old = old[kept]
        frame = pd.concat([part for part in (old, new) if len(part)] or [new])
        if not len(frame):
            return
        # Rows of one level stay in the order of their record: evaluations, layers.
        frame = frame.sort_values(KEY, kind="stable")
        with whole(self.root / table) as path:
            if table.endswith(".csv"):
                frame.to_csv(path, index=False)
            else:
                frame.to_parquet(path, index=False)


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted name."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        flat |= _flat(value, f"{name}.") if isinstance(value, dict) else {name: value}
    return flat
