"""Timings and what is said of them: medians with their spread."""

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

log = logging.getLogger("lottery")

Key = TypeVar("Key")


@dataclass(frozen=True)
class Timing:
    """Repetitions of one measurement, in seconds."""

    n: int
    median: float
    low: float
    """Lower quartile."""
    high: float
    """Upper quartile."""


def timing(seconds: Sequence[float]) -> Timing:
    """Median and quartiles, interpolated between repetitions.

    >>> timing([3.0, 1.0, 2.0])
    Timing(n=3, median=2.0, low=1.5, high=2.5)
    """
    low, median, high = (float(value) for value in np.percentile(seconds, (25, 50, 75)))
    return Timing(len(seconds), median, low, high)


def round_robin(
    cases: Mapping[Key, Callable[[], float]], rounds: int, what: str = ""
) -> dict[Key, Timing]:
    """Measure every case once a round, so that a machine that drifts drifts for all alike.

    cases: functions that measure and return seconds. what: said of each round, if anything.
    """
    found: dict[Key, list[float]] = {key: [] for key in cases}
    for number in range(1, rounds + 1):
        if what:
            log.info("%s: round %d of %d", what, number, rounds)
        for key, measure in cases.items():
            found[key].append(measure())
    return {key: timing(seconds) for key, seconds in found.items()}


def clocked(work: Callable[[], object], device: str) -> float:
    """Seconds that `work` takes; on a GPU, until the device has finished it."""
    synchronize(device)
    started = time.perf_counter()
    work()
    synchronize(device)
    return time.perf_counter() - started


def per_call(work: Callable[[], object], calls: int, device: str = "cpu") -> Callable[[], float]:
    """A measurement: seconds of one of `calls` calls in a row, after one that is not counted."""

    def repeated() -> None:
        for _ in range(calls):
            work()

    def measure() -> float:
        work()
        return clocked(repeated, device) / calls

    return measure


def calls_within(work: Callable[[], object], seconds: float) -> int:
    """How many calls take about so long, at least one."""
    work()
    return max(1, round(seconds / clocked(work, "cpu")))


class OtherLoad:
    """Cores that other processes keep busy from now on, which spoils timings."""

    def __init__(self) -> None:
        self._before = self._now()

    def __call__(self) -> float | None:
        """Their number on average; None where the system does not tell."""
        before, now = self._before, self._now()
        if before is None or now is None:
            return None
        elapsed, busy, own = (end - start for start, end in zip(before, now, strict=True))
        return max(0.0, (busy - own) / elapsed)

    @staticmethod
    def _now() -> tuple[float, float, float] | None:
        """Seconds: the clock's, those of all cores at work, and this process's share of them."""
        try:
            line = Path("/proc/stat").read_text().split("\n", 1)[0]
        except OSError:
            return None
        user, nice, system, _, _, interrupts, soft, stolen = map(int, line.split()[1:9])
        busy = (user + nice + system + interrupts + soft + stolen) / os.sysconf("SC_CLK_TCK")
        return time.perf_counter(), busy, time.process_time()


def synchronize(device: str) -> None:
    """Wait for a GPU to finish what it was given."""
    if device == "cuda":
        torch.cuda.synchronize()
