"""A whole study with one worker and with all: time, scaling and memory."""

import contextlib
import dataclasses
import logging
import multiprocessing
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from lottery.costs.timing import log, timing
from lottery.errors import LotteryError
from lottery.study.config import StudyConfig
from lottery.study.run import choose_workers, run_study

FIRST_INTERVAL, INTERVAL = 0.5, 5.0
"""Seconds between two looks at memory, which double from one to the other. Looking takes a core's
time from workers that need every core."""


def measure_grid(
    config: StudyConfig, data_dir: str | Path | None, device: str, repeats: int
) -> dict[str, Any]:
    """Rows for one worker and for one per core (on a GPU for its one process), and the scaling.

    Measured from a process of its own, whose memory holds nothing of what was measured before.
    """
    alone = ProcessPoolExecutor(
        1,
        multiprocessing.get_context("spawn"),
        initializer=_log_to,
        initargs=(log.getEffectiveLevel(),),
    )
    with alone:
        return alone.submit(_measure, config, data_dir, device, repeats).result()


def _log_to(level: int) -> None:
    """Say what is going on as the process that started this one does."""
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    log.setLevel(level)


def _measure(
    config: StudyConfig, data_dir: str | Path | None, device: str, repeats: int
) -> dict[str, Any]:
    counts = [0] if device == "cuda" else sorted({1, choose_workers(None, device)})
    # Worker processes come from a server that has to start once; that is not what is measured.
    first = dataclasses.replace(config.train, duration="1it")
    once = dataclasses.replace(config, levels=0, seeds=config.seeds[:1], train=first)
    _run(once, data_dir, counts[-1], device)
    seconds: dict[int, list[float]] = {workers: [] for workers in counts}
    memory: dict[int, int | None] = {}
    for number in range(1, repeats + 1):
        for workers in counts:
            log.info("grid: workers %d, %d of %d", workers, number, repeats)
            took, cells, steps, peak = _run(config, data_dir, workers, device)
            seconds[workers].append(took)
            memory[workers] = max(peak, memory.get(workers) or 0) if peak else None
    rows = []
    for workers, each in seconds.items():
        found = timing(each)
        rows.append(
            {
                "workers": workers,
                "cells": cells,
                "steps": steps,
                "seconds": dataclasses.asdict(found),
                "cells_per_hour": 3600 * cells / found.median,
                "steps_per_second": steps / found.median,
                "to_one_worker": timing(seconds[counts[0]]).median / found.median,
                "peak_memory_bytes": memory[workers],
            }
        )
    return {"study": config.name, "network": config.model, "engine": config.engine, "rows": rows}


def _run(
    config: StudyConfig, data_dir: str | Path | None, workers: int, device: str
) -> tuple[float, int, int, int | None]:
    """Seconds, cells and trained steps of a run from nothing, and the peak of its memory."""
    with tempfile.TemporaryDirectory(prefix="lottery-") as place, peak_memory() as peaks:
        started = time.perf_counter()
        result = run_study(
            config,
            results_dir=place,
            data_dir=data_dir,
            workers=workers,
            device=device,
            quiet=True,
        )
        seconds = time.perf_counter() - started
    if result.failures:
        cell, reason = next(iter(result.failures.items()))
        raise LotteryError(f"{cell} of the grid failed: {reason}")
    return seconds, result.computed, int(result.levels["steps"].sum()), max(peaks, default=None)


@contextlib.contextmanager
def peak_memory() -> Iterator[list[int]]:
    """Watch the memory of this process and its descendants; the list holds what was seen."""
    seen: list[int] = []
    over = threading.Event()

    def watch() -> None:
        interval = FIRST_INTERVAL
        while not over.wait(interval):
            interval = min(2 * interval, INTERVAL)
            total = sum(map(proportional_set_size, descendants()))
            if total:
                seen.append(total)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def descendants() -> list[int]:
    """This process and those that it started, directly or not; none where there is no /proc."""
    children: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parent = int(status.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(status.parent.name))
    found = [os.getpid()] if children else []
    for process in found:  # grows
        found += children.get(process, [])
    return found


def proportional_set_size(process: int) -> int:
    """Bytes in memory, those that several processes share in equal parts; 0 if it has ended."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    sizes = [int(line.split()[1]) for line in lines if line.startswith("Pss:")]
    return 1024 * sum(sizes)
