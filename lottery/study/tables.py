"""The tables of a study: assembled from the records of its cells, merged with older rows.

Text columns hold text whatever it looks like: a study may be called 007 and a scheme None.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from lottery.errors import StoreError
from lottery.files import whole
from lottery.study.cell_store import CellStore
from lottery.study.config import BASE, StudyConfig
from lottery.study.grid import Cell
from lottery.study.overlaps import overlaps_between_seeds

TABLES = ("levels.csv", "curves.parquet", "layers.parquet")
"""Tables that hold every finished level."""
DIAGNOSTICS = "diagnostics.parquet"
"""Table that is there if diagnostics were asked for, without levels finished before."""
KEY = ["variant", "init", "seed", "branch", "draw", "level"]
COUNTS = ("parameters", "macs")
"""Columns of whole numbers that rows may lack."""
TEXT = ("study", "cell", "model", "variant", "init", "branch", "engine", "device")

Rows = list[dict[str, Any]]


def read_table(path: Path) -> pd.DataFrame:
    """A table as it was written; without rows if it is not there."""
    if not path.exists():
        return pd.DataFrame({"variant": [], "cell": [], "level": []})
    try:
        if path.suffix == ".csv":
            as_text = dict.fromkeys(TEXT, "str")
            table = pd.read_csv(path, dtype=as_text, keep_default_na=False)
        else:
            table = pd.read_parquet(path)
        if "init" in table and "variant" not in table:  # written before studies had variants
            table.insert(table.columns.get_loc("init"), "variant", BASE)
        if not {"cell", *KEY} <= set(table.columns):
            raise ValueError("columns are missing")
        return table
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise StoreError(f"{path} is broken ({reason}); --fresh discards the study") from error


def assemble(config: StudyConfig, cells: Iterable[tuple[Cell, CellStore]]) -> dict[str, Rows]:
    """Rows of each table from the records of the cells' finished levels."""
    cells = list(cells)
    rows: dict[str, Rows] = {table: [] for table in (*TABLES, DIAGNOSTICS)}
    overlaps = overlaps_between_seeds(cells) if config.diagnostics.record else {}
    for cell, store in cells:
        identity = {
            "study": config.name,
            "cell": cell.name,
            "model": config.variant(cell.variant).model,
            "variant": cell.variant,
            "init": cell.init,
            "seed": cell.seed,
            "branch": cell.branch,
            "draw": cell.draw,
        }
        short = {name: value for name, value in identity.items() if name != "model"}
        done = 0
        for level in store.finished_levels():
            record = store.record(level)
            if record is None:
                continue
            row, curve = record["level"], record["curves"]
            rows["levels.csv"].append(identity | row)
            rows["layers.parquet"] += [short | layer for layer in record["layers"]]
            before = done - (curve[-1]["step"] - row["steps"])  # a rewound level starts at step k
            rows["curves.parquet"] += [
                short | {"total_step": before + point["step"]} | point for point in curve
            ]
            done += row["steps"]
            place = {"level": level, "weights_remaining": row["weights_remaining"]}
            quantities = record.get("diagnostics", {}) | overlaps.get((cell.name, level), {})
            rows[DIAGNOSTICS] += [
                short | place | {"layer": layer, "quantity": quantity, "value": value}
                for quantity, values in quantities.items()
                for layer, value in values.items()
            ]
    return rows


def places(table: pd.DataFrame) -> list[tuple[str, str, int]]:
    """Variant, cell and level of each row; variants may share a baseline's cell."""
    return list(zip(table["variant"], table["cell"], table["level"], strict=True))


def merge(path: Path, rows: Rows) -> None:
    """Write the table at `path` with `rows` in place of older ones of the same places."""
    old, new = read_table(path), pd.DataFrame(rows)
    new = new.astype({name: "Int64" for name in COUNTS if name in new})
    if len(new):
        fresh = set(places(new))
        old = old[[place not in fresh for place in places(old)]]
    parts = [part for part in (old, new) if len(part)]
    if not parts:
        return
    # Rows of one level stay in the order of their record: evaluations, layers.
    frame = pd.concat(parts).sort_values(KEY, kind="stable")
    with whole(path) as place:
        if path.suffix == ".csv":
            frame.to_csv(place, index=False)
        else:
            # Losses hardly repeat: this leaves two thirds of what the usual compression does.
            frame.to_parquet(place, index=False, compression="brotli")
