"""A whole cell of a study per engine, the same in the usual way, and what both find."""

import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lottery.benchmark.cells import CellRun, run_cells
from lottery.benchmark.usual import run_usual, save_as_mnist
from lottery.costs.timing import log, timing
from lottery.data.images import Dataset
from lottery.study.config import StudyConfig

USUAL = "the usual way"
REFERENCE = "reference"


def measure_study(
    config: StudyConfig,
    dataset: Dataset,
    names: Sequence[str],
    *,
    levels: int,
    usual_levels: int,
    repeats: int,
    replicas: int,
) -> dict[str, Any]:
    """Run tickets of the first scheme: every engine with seed 0, and the reference with 1 too.

    levels: prunings. usual_levels: levels of the usual way that are run; their median stands for
    the others. replicas: cells that the stacked engine trains as one.
    """
    runs: list[CellRun] = []
    first = replace(config.train, duration="1it", eval_every="1it")
    for name in names:  # what is imported and set up once per process is not measured
        run_cells(replace(config, train=first), dataset, name, [0], levels=0)
    for number in range(1, repeats + 1):
        for name in names:
            log.info("study: %s, %d of %d", name, number, repeats)
            seeds = list(range(replicas if name == "stacked" else 1))
            runs.append(run_cells(config, dataset, name, seeds, levels))
        log.info("study: %s, %d of %d", USUAL, number, repeats)
        runs.append(run_as_usual(config, dataset, min(usual_levels, levels + 1)))
    if REFERENCE in names:
        log.info("study: %s, another seed", REFERENCE)
        runs.append(run_cells(config, dataset, REFERENCE, [1], levels))
    return {
        "study": config.name,
        "network": config.model,
        "init": config.inits[0],
        "levels": levels + 1,
        "steps_per_level": runs[0].steps // len(runs[0].level_seconds),
        "rows": _rows(runs, levels + 1),
        "differences": differences([run for run in runs if run.engine != USUAL]),
        "runs": [asdict(run) for run in runs],
    }


def run_as_usual(config: StudyConfig, dataset: Dataset, levels: int) -> CellRun:
    """The first so many levels in the usual way, with as many threads as PyTorch takes."""
    run = CellRun(USUAL, [0], torch.get_num_threads())
    device = dataset.train.device.type
    with tempfile.TemporaryDirectory(prefix="lottery-") as root, torch.random.fork_rng():
        save_as_mnist(dataset, Path(root))
        for level in run_usual(config, Path(root), levels - 1, seed=0, device=device):
            run.steps += level.steps
            run.level_seconds.append(level.seconds)
            run.test_accuracy.append(level.test_accuracy)
    run.seconds = sum(run.level_seconds)
    return run


def differences(runs: Sequence[CellRun]) -> list[dict[str, Any]]:
    """How far the reference's test accuracies lie from other engines', and from another seed's."""
    first: dict[tuple[str, int], CellRun] = {}
    for run in runs:
        first.setdefault((run.engine, run.seeds[0]), run)
    reference = first.pop((REFERENCE, 0), None)
    if reference is None:
        return []
    rows = []
    for (engine, seed), other in first.items():
        apart = np.abs(np.subtract(reference.test_accuracy, other.test_accuracy))
        rows.append(
            {
                "between": [f"{REFERENCE}, seed 0", f"{engine}, seed {seed}"],
                "levels": len(apart),
                "max": float(apart.max()),
                "mean": float(apart.mean()),
            }
        )
    return rows


def _rows(runs: Sequence[CellRun], levels: int) -> list[dict[str, Any]]:
    """A row per engine and one for the usual way: seconds of a cell and of a level, and ratios."""
    rows: dict[str, dict[str, Any]] = {}
    for name in dict.fromkeys(run.engine for run in runs):
        mine = [run for run in runs if run.engine == name]
        cell = timing([_whole(run, levels) for run in mine])
        rows[name] = {
            "engine": name,
            "replicas": len(mine[0].seeds),
            "threads": mine[0].threads,
            "levels_run": len(mine[0].level_seconds),
            "cell_seconds": asdict(cell),
            "level_seconds": asdict(timing([s for run in mine for s in run.level_seconds])),
            "steps_per_second": levels * mine[0].steps // len(mine[0].level_seconds) / cell.median,
        }
    for row in rows.values():
        for key, other in (("speed_up_over_reference", REFERENCE), ("speed_up_over_usual", USUAL)):
            found = rows[other]["cell_seconds"]["median"] if other in rows else None
            row[key] = found / row["cell_seconds"]["median"] if found else None
    return list(rows.values())


def _whole(run: CellRun, levels: int) -> float:
    """Seconds of one cell; where only some levels were run, their median stands for each."""
    if len(run.level_seconds) < levels:
        return statistics.median(run.level_seconds) * levels
    return run.seconds / len(run.seeds)
