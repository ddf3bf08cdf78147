"""Walks that end early are finished: nothing waits for the levels that never come."""

import dataclasses
import io

import pytest
from rich.console import Console

from lottery.pruning.schedule import PruneConfig
from lottery.study import ControlsConfig, cells, run_study
from lottery.study.progress import Progress
from lottery.study.store import TABLES, StudyStore
from lottery.study.worker import Event
from tests import tiny

HARSH = PruneConfig(linear_rate=0.9, output_rate=0.9, stop=0.05)
"""Leaves next to nothing after a level or two."""


@pytest.fixture(scope="module")
def study():
    controls = ControlsConfig(dense=True, reinit=1, levels=[1, 4])
    return tiny.config(levels=4, prune=HARSH, controls=controls, train=tiny.train(lr=0.05))


@pytest.fixture(scope="module")
def stopped(study, tmp_path_factory):
    return run_study(study, results_dir=tmp_path_factory.mktemp("stop"), workers=0, quiet=True)


def test_each_walk_ends_with_its_first_level_below_the_line(stopped, study):
    assert not stopped.failures
    tickets = stopped.levels[stopped.levels["branch"] == "ticket"]
    lengths = set()
    for _, walk in tickets.groupby("cell"):
        loss = walk["val_accuracy"].iloc[0] - walk["val_accuracy"]
        assert (loss.iloc[:-1] <= 0.05).all()
        assert len(walk) == 5 or loss.iloc[-1] > 0.05
        lengths.add(len(walk))
    assert lengths != {5}, "the settings of this test stop no walk"


def test_controls_have_the_levels_that_their_tickets_have(stopped, study):
    levels = stopped.levels
    for cell in cells(study):
        own = set(levels.loc[levels["cell"] == cell.name, "level"])
        if cell.branch == "reinit":
            ticket = set(levels.loc[levels["cell"] == cell.needs, "level"])
            assert own == ticket & {1, 4}
        if cell.branch == "dense":
            assert own == {0, 1, 2, 3, 4}


def test_nothing_is_left_to_do_on_this_disk_or_from_the_tables_alone(stopped, study, tmp_path):
    again = run_study(study, results_dir=stopped.folder.parent, workers=0, quiet=True)
    assert again.computed == 0
    committed = StudyStore(tmp_path, "tiny")
    committed.root.mkdir()
    for name in TABLES:
        (committed.root / name).write_bytes((stopped.folder / name).read_bytes())
    assert committed.unfinished(cells(study)) == []


def test_a_walk_that_was_interrupted_ends_where_it_would_have(stopped, study, tmp_path):
    store = StudyStore(tmp_path, "tiny")
    first = dataclasses.replace(study, levels=1, controls=ControlsConfig(dense=True))
    run_study(first, results_dir=tmp_path, workers=0, quiet=True)
    run_study(study, results_dir=tmp_path, workers=0, quiet=True)
    tiny.assert_same_tables(store.root, stopped.folder)


def test_progress_does_not_wait_for_levels_that_never_come(study):
    grid = [cell for cell in cells(study) if cell.branch == "ticket"]
    console = Console(file=io.StringIO(), force_terminal=False)
    progress = Progress(grid, grid, {"base": 20}, console=console)
    for cell in grid:
        for level in range(2):
            progress.event(Event(cell, "level", level, 20))
        progress.event(Event(cell, "done"))
    assert "cells 4/4, levels 8/8" in progress._summary()
    assert progress._steps_left == 0
