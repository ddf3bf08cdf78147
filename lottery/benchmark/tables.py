"""What a benchmark found, as tables for people."""

from collections.abc import Callable, Iterator
from typing import Any

from rich.table import Table

Found = dict[str, Any]


def headline(found: Found) -> str:
    """Where and when this was measured, in a line."""
    machine = found["machine"]
    host = machine["host"]
    memory = f"{machine['memory_bytes'] / 2**30:.0f} GiB"
    parts = [
        machine["gpu"],
        host["processor"],
        f"{host['cores']} cores, {memory}",
        f"PyTorch {machine['versions']['torch']}",
        f"commit {_commit(machine['git_commit'])}",
        machine["started"][:10],
    ]
    if found["settings"]["quick"]:
        parts.append("a quick run: too short to quote")
    busy = max(found[part].get("others_busy_cores") or 0.0 for part in TABLES if part in found)
    if busy > 0.1:
        parts.append(f"others kept {busy:.1f} cores busy: not to be quoted")
    return " | ".join(part for part in parts if part)


def _commit(name: str | None) -> str:
    """Its first ten characters, and what follows a "+": the code was changed since."""
    commit, plus, changed = (name or "unknown").partition("+")
    return commit[:10] + plus + changed


def _table(title: str, *columns: str, left: int = 1) -> Table:
    """A table whose first `left` columns hold text."""
    table = Table(title=title, title_justify="left", title_style="bold")
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number < left else "right", no_wrap=True)
    return table


def _step_tables(step: Found) -> Iterator[Table]:
    for network in dict.fromkeys(row["network"] for row in step["rows"]):
        rows = [row for row in step["rows"] if row["network"] == network]
        table = _table(
            f"One training step of {network} (batch {step['batch'][network]}, "
            f"{rows[0]['steps']} in a row), per replica; the floor is the dense network's "
            "products alone",
            *("engine", "weights\nremaining", "time", "quartiles", "n", "÷ floor"),
            *("÷ reference,\nsame weights", "÷ reference,\nall weights"),
        )
        for row in rows:
            stack = f" ×{row['replicas']}" if row["replicas"] > 1 else ""
            mode = f" ({row['mode']})" if row["mode"] else ""
            ratios = ("to_floor", "to_reference", "to_dense_reference")
            table.add_row(
                row["engine"] + stack + mode,
                _percent(row["weights_remaining"]),
                *_times(row["seconds"]),
                *(_ratio(row[key]) for key in ratios),
            )
        yield table
    if step["kernels"]:
        densities = [cell["density"] for cell in step["kernels"][0]["csr"]]
        table = _table(
            "One linear layer's products, masking and Adam, one thread: dense, and in CSR "
            "as a multiple of dense",
            *("layer", "dense", *(f"{d:.3g}" for d in densities), "equal at"),
        )
        for row in step["kernels"]:
            crossing = "never" if row["crossing"] is None else f"{row['crossing']:.3g}"
            multiples = [_ratio(cell["to_dense"]) for cell in row["csr"]]
            dense = _time(row["dense_seconds"]["median"])
            table.add_row(row["layer"], dense, *multiples, crossing)
        yield table
    if step["options"]:
        table = _table(
            f"One dense step of {step['options'][0]['network']} in other layouts and precision",
            *("option", "time", "quartiles", "n", "÷ first"),
        )
        for row in step["options"]:
            table.add_row(row["option"], *_times(row["seconds"]), _ratio(row["to_usual"]))
        yield table
    if step["emptied"]:
        table = _table(
            "Filters and input channels of convolutions that random masks leave without a weight",
            *("network", "weights\nremaining", "empty filters", "empty inputs"),
        )
        for row in step["emptied"]:
            counts = (f"{row[f'emptied_{side}']} of {row[side]}" for side in ("filters", "inputs"))
            table.add_row(row["network"], _percent(row["weights_remaining"]), *counts)
        yield table


def _study_tables(study: Found) -> Iterator[Table]:
    table = _table(
        f"A cell of {study['study']} ({study['network']}, {study['levels']} levels of "
        f"{study['steps_per_level']:,} steps), per replica, with evaluation",
        *("engine", "threads", "levels run", "whole cell", "quartiles", "n", "median level"),
        *("steps/s", "× faster than\nreference", "× faster than\nthe usual way"),
    )
    for row in study["rows"]:
        part = row["levels_run"] < study["levels"]
        cell, *spread = _times(row["cell_seconds"])
        table.add_row(
            row["engine"] + (f" ×{row['replicas']}" if row["replicas"] > 1 else ""),
            str(row["threads"]),
            str(row["levels_run"]),
            ("≈ " if part else "") + cell,
            *spread,
            _time(row["level_seconds"]["median"]),
            f"{row['steps_per_second']:,.0f}",
            _ratio(row["speed_up_over_reference"]),
            _ratio(row["speed_up_over_usual"]),
        )
    if any(row["levels_run"] < study["levels"] for row in study["rows"]):
        table.caption = "≈: the median of the levels run, times all levels"
    yield table
    if study["differences"]:
        table = _table(
            "How far test accuracies at the same level lie apart, in percentage points",
            *("between", "and", "levels", "most", "mean"),
            left=2,
        )
        for row in study["differences"]:
            points = (f"{100 * row[key]:.2f}" for key in ("max", "mean"))
            table.add_row(*row["between"], str(row["levels"]), *points)
        yield table


def _grid_tables(grid: Found) -> Iterator[Table]:
    table = _table(
        f"The whole study {grid['study']} ({grid['network']}, engine {grid['engine']})",
        *("workers", "cells", "time", "quartiles", "n", "cells/h", "steps/s"),
        *("× one worker", "peak memory", "× steps/s of\nthe usual way"),
        left=0,
    )
    for row in grid["rows"]:
        peak = row["peak_memory_bytes"]
        table.add_row(
            str(row["workers"]),
            str(row["cells"]),
            *_times(row["seconds"]),
            f"{row['cells_per_hour']:,.0f}",
            f"{row['steps_per_second']:,.0f}",
            _ratio(row["to_one_worker"]),
            "–" if peak is None else f"{peak / 2**30:.2f} GiB",
            _ratio(row.get("speed_up_over_usual")),
        )
    yield table


TABLES: dict[str, Callable[[Found], Iterator[Table]]] = {
    "step": _step_tables,
    "study": _study_tables,
    "grid": _grid_tables,
}


def tables(found: Found) -> Iterator[Table]:
    """Every table that there are figures for."""
    for name, build in TABLES.items():
        if name in found:
            yield from build(found[name])


def _times(timing: Found) -> tuple[str, str, str]:
    """Median, quartiles in the same unit (if there are enough for such), and n."""
    median = timing["median"]
    if timing["n"] < 3:
        return _time(median), "–", str(timing["n"])
    low, high = (_time(timing[key], of=median) for key in ("low", "high"))
    return _time(median), f"{low.partition(' ')[0]}–{high}", str(timing["n"])


def _time(seconds: float, of: float | None = None) -> str:
    """In the unit that suits it (or the time `of`), to three digits or more.

    >>> _time(0.0008123), _time(0.3376), _time(123.4)
    ('812 µs', '338 ms', '123 s')
    """
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if (of or seconds) >= (size if unit == "s" else 10 * size) or unit == "µs":
            break
    value = seconds / size
    return f"{value:,.{0 if value >= 100 else 1 if value >= 10 else 2}f} {unit}"


def _percent(fraction: float | None) -> str:
    return "" if fraction is None else f"{100 * fraction:.3g} %"


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
