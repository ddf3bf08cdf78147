"""A study whose cells are trained as one is the study whose cells are trained one by one."""

import json

import pandas as pd
import pytest
import torch
from pandas.testing import assert_frame_equal
from torch import nn

from lottery.errors import ConfigError
from lottery.study import ControlsConfig, cells, run_study, worker
from lottery.study.cell_store import CellStore
from lottery.study.store import StudyStore
from lottery.study.together import cells_together
from lottery.tickets.imp import RewindConfig
from lottery.training.engines import ENGINES
from tests import tiny


def run(config, place, **options):
    return run_study(config, results_dir=place, **{"workers": 0, "quiet": True, **options})


@pytest.fixture
def stacks(monkeypatch):
    """Steps and size of each stack that was run; may be told to interrupt before the n-th."""
    seen: list[tuple[int, int, int]] = []
    engine = ENGINES["stacked"]

    def counting(segments):
        if len(seen) == counting.interrupt_at:
            raise KeyboardInterrupt
        seen.append((segments[0].start, segments[0].stop, len(segments)))
        return engine(segments)

    counting.interrupt_at = None
    counting.seen = seen
    monkeypatch.setitem(ENGINES, "stacked", counting)
    return counting


CURVE = ["cell", "level", "step"]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"train": tiny.train(optimizer="sgd", momentum=0.9, lr=0.1)},
        {"rewind": RewindConfig(to="5it", optimizer="rewound")},
        {"rewind": RewindConfig(mode="learning_rate", optimizer="kept")},
    ],
)
def test_every_table_is_that_of_the_reference(settings, tmp_path, stacks):
    """The same masks to the last weight, and the same figures to rounding."""
    config = tiny.with_controls(levels=1, engine="reference", **settings)
    ours = run(tiny.with_controls(levels=1, engine="stacked", **settings), tmp_path / "ours")
    theirs = run(config, tmp_path / "theirs")
    assert ours.failures == {}
    assert set(ours.levels["engine"]) == {"stacked"}
    assert set(theirs.levels["engine"]) == {"reference"}
    assert max(size for _, _, size in stacks.seen) == 8
    drop = ["engine", "seconds"]
    assert_frame_equal(ours.levels.drop(columns=drop), theirs.levels.drop(columns=drop), rtol=1e-4)
    mine, other = (
        pd.read_parquet(result.folder / "curves.parquet").sort_values(CURVE, ignore_index=True)
        for result in (ours, theirs)
    )
    assert_frame_equal(mine, other, rtol=1e-4)
    for cell in cells(config):
        for level in cell.levels:
            a, b = (
                StudyStore(tmp_path / place, config.name).cell(cell.name).ticket(level)[0]
                for place in ("ours", "theirs")
            )
            assert all(torch.equal(mask, b[name]) for name, mask in a.items())


def test_cells_are_trained_in_step_and_controls_after_their_tickets(tmp_path, stacks, monkeypatch):
    events = []
    study = tiny.config(
        levels=1, inits=["xavier_normal"], controls=ControlsConfig(reinit=2), engine="stacked"
    )
    tasks = [worker.Task(study, cell, tmp_path, None, "cpu") for cell in cells(study)]
    worker.run_cells(tasks, events.append, together=None)
    one_level = [(0, 8), (8, 16), (16, 20), (20, 20)]
    tickets, controls = stacks.seen[:8], stacks.seen[8:]
    assert [(start, stop) for start, stop, _ in tickets] == one_level * 2
    assert {size for _, _, size in tickets} == {2}
    assert [(start, stop) for start, stop, _ in controls] == one_level
    assert {size for _, _, size in controls} == {4}
    order = [(event.cell.branch, event.kind) for event in events]
    done = max(place for place, what in enumerate(order) if what == ("ticket", "done"))
    assert done < order.index(("reinit", "evaluation"))


def test_a_diverged_cell_leaves_the_stack_and_the_others_finish(tmp_path, stacks):
    inits = ["xavier_normal", "normal(1e+30)", "normal(0.3)"]
    config = tiny.with_controls(inits=inits, seeds=[0], levels=1, engine="stacked")
    result = run(config, tmp_path)
    labels = {cell.name: cell.label for cell in cells(config)}
    failed = {labels[name]: reason for name, reason in result.failures.items()}
    assert set(failed) == {f"normal(1e+30) seed 0 {b}" for b in ("ticket", "dense", "reinit 0")}
    assert "loss is nan at level 0, step 8" in failed["normal(1e+30) seed 0 ticket"]
    assert result.computed == 6
    assert [size for _, _, size in stacks.seen[:2]] == [6, 4]
    plain = tiny.with_controls(inits=inits, seeds=[0], levels=1, engine="reference")
    expected = run(plain, tmp_path / "reference")
    drop = ["engine", "seconds"]
    assert_frame_equal(
        result.levels.drop(columns=drop), expected.levels.drop(columns=drop), rtol=1e-4
    )


def test_a_cell_that_fails_between_segments_leaves_the_others(tmp_path, stacks, monkeypatch):
    save = CellStore.save_level

    def full(store, level):
        if "normal_0.3" in store.folder.name:
            raise OSError(28, "No space left on device")
        save(store, level)

    monkeypatch.setattr(CellStore, "save_level", full)
    result = run(tiny.config(seeds=[0], levels=1, engine="stacked"), tmp_path)
    ((name, reason),) = result.failures.items()
    assert name.startswith("normal_0.3-s0-ticket")
    assert "No space left on device" in reason
    assert result.computed == 1
    assert stacks.seen[-1] == (20, 20, 1)


def test_an_interrupted_study_ends_as_if_it_never_was(tmp_path, stacks, monkeypatch):
    """Bit for bit, since the cells meet again at the same steps."""
    monkeypatch.setattr(CellStore.__init__, "__defaults__", (0.0,))
    config = tiny.config(engine="stacked", train=tiny.train(optimizer="sgd", momentum=0.9))
    whole = run(config, tmp_path / "whole")
    work = list(stacks.seen)
    assert {size for _, _, size in work} == {4}
    stacks.seen.clear()
    interruptions = 0
    while True:
        stacks.interrupt_at = len(stacks.seen) + 2
        try:
            result = run(config, tmp_path / "pieces")
        except KeyboardInterrupt:
            interruptions += 1
            assert interruptions < len(work), "interrupted at the same place for ever"
            continue
        break
    assert interruptions == (len(work) - 1) // 2
    assert stacks.seen == work
    one, other = (r.levels.drop(columns="seconds") for r in (whole, result))
    assert_frame_equal(one, other, check_exact=True)


def test_a_network_that_cannot_be_stacked_is_refused_before_any_training(tmp_path, stacks):
    config = tiny.config(model="tests.tiny:conv_net", engine="stacked")
    with pytest.raises(ConfigError, match=r"engine is 'stacked'; allowed: .*1\.running_mean"):
        run(config, tmp_path)
    assert list(tmp_path.iterdir()) == []


def breaks() -> nn.Module:
    """A network that works on a few images and fails on a batch."""

    class Breaks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(16, 3)

        def forward(self, x):
            if len(x) == 30:
                raise ValueError("thirty is too many")
            return self.layer(x.flatten(1))

    return Breaks()


@pytest.mark.parametrize("engine", ["reference", "stacked"])
def test_a_network_that_fails_in_training_fails_its_cells_with_the_reason(
    engine, tmp_path, monkeypatch
):
    """And not the whole run; the traceback is kept."""
    monkeypatch.setattr(tiny, "breaks", breaks, raising=False)
    result = run(tiny.config(model="tests.tiny:breaks", seeds=[0], engine=engine), tmp_path)
    assert len(result.failures) == 2
    for name, reason in result.failures.items():
        assert reason.startswith("ValueError: thirty is too many (traceback in ")
        trace = (result.folder / "cells" / name / "error.txt").read_text()
        assert "in forward" in trace
    (made,) = json.loads((result.folder / "manifest.json").read_text())["runs"]
    assert (made["cells_computed"], made["cells_failed"]) == (0, 2)


def test_cells_are_run_together_only_where_they_are_computed_as_one():
    def together(device: str, **settings) -> int:
        def dataset():
            if together.data is None:
                raise AssertionError("the data was loaded for nothing")
            return together.data

        return cells_together(tiny.config(**settings), device, 2, dataset)

    together.data = None
    assert together("cpu") == together("cpu", engine="reference") == 1
    assert together("cuda", engine="reference") == 1
    together.data = tiny.images(None)
    assert together("cpu", engine="stacked") == 8
