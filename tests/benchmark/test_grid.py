"""The grid's memory is that of all its processes, what they share counted once."""

import os
import subprocess
import sys

import pytest

from lottery.benchmark import grid
from lottery.benchmark.grid import descendants, measure_grid, peak_memory, proportional_set_size
from lottery.errors import LotteryError
from tests import tiny

linux = pytest.mark.skipif(not os.path.exists("/proc/self/smaps_rollup"), reason="needs /proc")

HOLD = "import sys; held = bytearray(b'x' * {size}); print('ready', flush=True); sys.stdin.read()"
NESTED = (
    "import subprocess, sys; child = subprocess.Popen([sys.executable, '-c', sys.argv[1]], "
    "stdin=sys.stdin, stdout=sys.stdout); child.wait()"
)


@linux
def test_processes_started_by_ones_own_processes_count_too(monkeypatch):
    monkeypatch.setattr(grid, "FIRST_INTERVAL", 0.01)
    monkeypatch.setattr(grid, "INTERVAL", 0.01)
    size = 200_000_000
    with peak_memory() as before:
        tiny.wait_until(lambda: before)
    command = [sys.executable, "-c", NESTED, HOLD.format(size=size)]
    with (
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process,
        peak_memory() as during,
    ):
        process.stdout.readline()
        assert len(descendants()) >= 3
        seen = len(during)
        tiny.wait_until(lambda: len(during) > seen + 1)
        process.stdin.close()
    assert max(during) - max(before) > 0.9 * size


@linux
def test_a_process_that_has_ended_takes_no_memory():
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    assert proportional_set_size(process.pid) == 0
    assert proportional_set_size(os.getpid()) > 1_000_000


def test_a_grid_is_run_with_one_worker_and_with_all(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    runs = []

    def run(config, data_dir, workers, device):
        runs.append((workers, config.levels))
        return {1: 10.0, 2: 4.0}[workers], 4, 200, 1000 * workers + len(runs)

    monkeypatch.setattr(grid, "_run", run)
    found = grid._measure(tiny.config(), tmp_path, "cpu", 2)
    assert runs == [(2, 0), (1, 2), (2, 2), (1, 2), (2, 2)], "a small one first, then in turns"
    one, two = found["rows"]
    assert (one["to_one_worker"], two["to_one_worker"]) == (1.0, 2.5)
    assert (two["cells_per_hour"], two["steps_per_second"]) == (3600.0, 50.0)
    assert two["peak_memory_bytes"] == 2005


def test_a_grid_in_a_process_of_its_own_tells_why_it_failed():
    with pytest.raises(LotteryError, match=r"grid failed: .*broken|no weights"):
        measure_grid(tiny.config(inits=["tests.tiny:broken"]), None, "cpu", 1)
