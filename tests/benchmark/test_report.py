"""Files are read back as written, and tables hold the figures."""

import copy
import io

import pytest
from rich.console import Console

from lottery.benchmark import report, tables
from lottery.errors import StoreError

SECONDS = {"n": 3, "median": 0.0012, "low": 0.0011, "high": 0.0013}
RATIOS = {"to_floor": 1.75, "to_reference": 0.5, "to_dense_reference": 0.25}
STEP = {"network": "net", "mode": None, "replicas": 1, "steps": 5, "seconds": SECONDS}
FOUND = {
    "machine": {
        "started": "2026-01-02T03:04:05+00:00",
        "git_commit": "0123456789abcdef",
        "versions": {"torch": "2.11"},
        "host": {"processor": "Fast(R) CPU @ 3.00GHz", "cores": 2},
        "gpu": None,
        "memory_bytes": 8 * 2**30,
    },
    "settings": {"quick": False},
    "step": {
        "batch": {"net": 60},
        "rows": [
            {**STEP, "engine": "floor", "weights_remaining": None, **dict.fromkeys(RATIOS)},
            {**STEP, "engine": "sparse", "weights_remaining": 0.036, **RATIOS},
            {
                **STEP,
                "engine": "stacked",
                "replicas": 20,
                "mode": "vmap",
                "weights_remaining": 1.0,
                **RATIOS,
            },
        ],
        "kernels": [
            {
                "layer": "784×300",
                "dense_seconds": SECONDS,
                "csr": [{"density": 0.25, "seconds": SECONDS, "to_dense": 1.07}],
                "crossing": 0.231,
            }
        ],
        "options": [{"network": "conv", "option": "plain", "seconds": SECONDS, "to_usual": 1.1}],
        "emptied": [
            {
                "network": "conv",
                "weights_remaining": 0.01,
                "filters": 64,
                "emptied_filters": 3,
                "inputs": 32,
                "emptied_inputs": 0,
            }
        ],
    },
    "study": {
        "study": "lenet",
        "network": "net",
        "levels": 21,
        "steps_per_level": 4580,
        "rows": [
            {
                "engine": "the usual way",
                "replicas": 1,
                "threads": 2,
                "levels_run": 3,
                "cell_seconds": SECONDS | {"median": 480.0},
                "level_seconds": SECONDS,
                "steps_per_second": 200.4,
                "speed_up_over_reference": 0.3,
                "speed_up_over_usual": 1.0,
            }
        ],
        "differences": [{"between": ["one", "two"], "levels": 21, "max": 0.0031, "mean": 0.001}],
    },
    "grid": {
        "study": "lenet-quick",
        "network": "net",
        "engine": "auto",
        "rows": [
            {
                "workers": 2,
                "cells": 12,
                "steps": 1,
                "seconds": SECONDS | {"median": 90.0},
                "cells_per_hour": 480.0,
                "steps_per_second": 1700.0,
                "to_one_worker": 1.93,
                "peak_memory_bytes": 3 * 2**30,
                "speed_up_over_usual": 11.5,
            }
        ],
    },
}


def printed(found):
    console = Console(file=io.StringIO(), width=140)
    console.print(tables.headline(found))
    for table in tables.tables(found):
        console.print(table)
    return console.file.getvalue()


def row_of(text, *words):
    """The line of a table that has all these words."""
    (line,) = (line for line in text.splitlines() if all(word in line for word in words))
    return [cell.strip() for cell in line.strip("│").split("│")]


def test_a_file_is_read_back_as_it_was_written(tmp_path):
    path = tmp_path / "new" / "found.json"
    report.save(FOUND, path)
    assert report.load(path) == FOUND
    assert printed(report.load(path)) == printed(FOUND)


def test_numbers_are_kept_to_six_digits(tmp_path):
    report.save({**FOUND, "seconds": 1 / 3, "n": 12345678}, tmp_path / "found.json")
    found = report.load(tmp_path / "found.json")
    assert (found["seconds"], found["n"]) == (0.333333, 12345678)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"machine": 1'])
def test_a_file_that_is_no_benchmark_is_named(tmp_path, text):
    path = tmp_path / "found.json"
    path.write_text(text)
    with pytest.raises(StoreError, match=r"found\.json cannot be read"):
        report.load(path)
    with pytest.raises(StoreError, match=r"other\.json cannot be read"):
        report.load(tmp_path / "other.json")


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        report.save(FOUND, tmp_path / "file" / "found.json")


@pytest.mark.parametrize(
    ("processor", "name"),
    [
        ("Intel(R) Xeon(R) Processor", "intel-xeon-2-cores"),
        ("Intel(R) Xeon(R) CPU @ 2.20GHz", "intel-xeon-2-cores"),
        ("Intel(R) Core(TM) i7-8700 CPU @ 3.20GHz", "intel-core-i7-8700-2-cores"),
        ("AMD EPYC 7B12", "amd-epyc-7b12-2-cores"),
    ],
)
def test_a_machine_is_named_after_its_processor(processor, name):
    machine = {"gpu": None, "host": {"processor": processor, "cores": 2}}
    assert report.machine_name(machine) == name
    assert report.machine_name({**machine, "gpu": "NVIDIA H200"}) == "nvidia-h200"


def test_every_figure_is_in_its_table():
    text = printed(FOUND)
    assert row_of(text, "floor", "1,200")[:2] == ["floor", ""]
    assert row_of(text, "sparse") == [
        *("sparse", "3.6 %", "1,200 µs", "1,100–1,300 µs", "3", "1.75", "0.50", "0.25"),
    ]
    assert row_of(text, "stacked")[0] == "stacked ×20 (vmap)"
    assert row_of(text, "784×300") == ["784×300", "1,200 µs", "1.07", "0.231"]
    assert row_of(text, "plain")[-1] == "1.10"
    assert row_of(text, "3 of 64") == ["conv", "1 %", "3 of 64", "0 of 32"]
    usual = row_of(text, "the usual way", "480 s")
    assert usual[:4] == ["the usual way", "2", "3", "≈ 480 s"]
    assert usual[-3:] == ["200", "0.30", "1.00"]
    assert row_of(text, "one", "two") == ["one", "two", "21", "0.31", "0.10"]
    assert row_of(text, "3.00 GiB")[-3:] == ["1.93", "3.00 GiB", "11.50"]


def test_the_headline_says_where_and_what_not_to_quote():
    assert tables.headline(FOUND) == (
        "Fast(R) CPU @ 3.00GHz | 2 cores, 8 GiB | PyTorch 2.11 | commit 0123456789 | 2026-01-02"
    )
    spoilt = copy.deepcopy(FOUND)
    spoilt["settings"]["quick"] = True
    spoilt["study"]["others_busy_cores"] = 1.04
    assert "too short to quote" in tables.headline(spoilt)
    assert "others kept 1.0 cores busy: not to be quoted" in tables.headline(spoilt)


def test_parts_that_were_not_measured_have_no_table():
    some = {key: FOUND[key] for key in ("machine", "settings", "grid")}
    assert [table.row_count for table in tables.tables(some)] == [1]
    bare = {**FOUND["step"], "kernels": [], "options": [], "emptied": []}
    assert len(list(tables.tables({**some, "step": bare}))) == 2
