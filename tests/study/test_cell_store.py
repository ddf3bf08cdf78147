import logging
import math
import os
import random
from dataclasses import replace
from functools import partial

import pytest
import torch
from safetensors import safe_open

from lottery.errors import StoreError
from lottery.init import initialise
from lottery.objectives import Metrics
from lottery.pruning.masks import Masks
from lottery.study import records
from lottery.study.cell_store import CellStore
from lottery.tickets.level import Level
from lottery.training.level import Checkpoint, Evaluation, snapshot
from tests import tiny

EVALUATIONS = [
    Evaluation(8, 0.9, 0.1, 0.8, 0.2, 0.7, 0.3, 0.75),
    Evaluation(20, 1, 2, 3, 4, 5, 6, 0.5),
]


@pytest.fixture
def store(tmp_path):
    return CellStore(tmp_path / "cell")


@pytest.fixture
def level():
    """A level of a network with batch norm, so that there are buffers beside the weights."""
    initial = snapshot(initialise(tiny.conv_net(), seed=3))
    stream = torch.Generator().manual_seed(0)
    masks = Masks(
        {n: torch.rand(initial[n].shape, generator=stream) < 0.3 for n in ("0.weight", "5.weight")}
    )
    trained = {name: tensor + 1 for name, tensor in initial.items()}
    for name, mask in masks.items():
        trained[name] = trained[name] * mask
    return Level(
        level=7,
        masks=masks,
        kinds={"0.weight": "conv", "5.weight": "output"},
        initial=initial,
        trained=trained,
        evaluations=EVALUATIONS,
        train=Metrics(0.1, 1 / 3),
        val=Metrics(0.2, 0.92),
        test=Metrics(0.3, 0.93),
        first_step=5,
        seconds=1.5,
        engine="reference",
        device="cpu",
    )


def checkpoint(step=8, level=2):
    weights = {"w": torch.randn(3, 4), "count": torch.tensor(7)}
    optimizer = {"state": {0: {"exp_avg": torch.randn(3, 4)}}, "param_groups": [{"lr": 0.1}]}
    return Checkpoint(level, 5, step, weights, optimizer, EVALUATIONS[:1], 0.25)


def same(a, b):
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def test_a_level_comes_back_bit_for_bit(store, level):
    store.save_level(level)
    found = CellStore(store.folder).load_level(7, level.initial)
    assert same(dict(found.masks), dict(level.masks))
    assert found.trained.keys() == level.trained.keys()
    assert all(same(found.trained[name], level.trained[name]) for name in level.trained)
    for name in vars(level).keys() - {"masks", "trained"}:
        assert getattr(found, name) == getattr(level, name), name


def test_a_levels_record_is_its_rows(store, level):
    store.save_level(level)
    assert store.record(7) == {
        "level": records.level_row(level),
        "curves": records.curve_rows(level),
        "layers": records.layer_rows(level),
        "diagnostics": level.diagnostics,
    }
    assert store.finished_levels() == [7]
    assert store.has([7])
    assert not store.has([6, 7])


def test_diagnostics_come_back_unknown_values_too(store, level):
    known = {"init_memory": {"all": 0.1 + 0.2, "0.weight": math.nan}}
    store.save_level(replace(level, diagnostics=known))
    found = store.load_level(7, level.initial).diagnostics["init_memory"]
    assert found["all"] == 0.1 + 0.2
    assert math.isnan(found["0.weight"])


def test_masks_alone_can_be_read(store, level):
    store.save_level(level)
    assert same(dict(store.ticket(7)[0]), dict(level.masks))
    with pytest.raises(StoreError, match="no masks of level 8"):
        store.ticket(8)


def test_a_point_carries_a_procedures_masks_and_state_and_older_points_have_none(store):
    masks, state = {"w": torch.tensor([True, False])}, {"clusters": torch.arange(3)}
    point = replace(checkpoint(), masks=masks, procedure=state)
    store.save_checkpoint(lambda: point, must=True)
    found = store.load_checkpoint()
    assert same(found.masks, masks) and same(found.procedure, state)
    values = {**vars(checkpoint()), "evaluations": [vars(e).copy() for e in EVALUATIONS]}
    for since in ("masks", "procedure"):
        del values[since]
    for evaluation in values["evaluations"]:
        del evaluation["weights_remaining"]
    torch.save(values, store.folder / "checkpoint.pt")
    older = store.load_checkpoint()
    assert older.masks is None and older.procedure is None
    assert [e.weights_remaining for e in older.evaluations] == [None, None]


def test_only_kept_weights_take_room(store, level):
    store.save_level(level)
    with safe_open(store.path(7), framework="pt") as file:
        assert file.get_tensor("trained/5.weight").numel() == level.masks.remaining["5.weight"]
        assert file.get_tensor("mask/5.weight").numel() == 192 // 8


def test_a_level_whose_file_is_cut_anywhere_is_not_finished(store, level, caplog):
    store.save_level(level)
    content = store.path(7).read_bytes()
    for length in [*range(12), *range(12, len(content), 97), len(content) - 1]:
        caplog.clear()
        store.path(7).write_bytes(content[:length])
        assert store.record(7) is None, f"cut to {length} of {len(content)} bytes"
        assert store.load_level(7, level.initial) is None
        assert not store.has([7])
        assert "level_07.safetensors is not readable" in caplog.text


def test_levels_are_found_in_order_of_number(store, level):
    for number in (10, 2, 100, 0):
        store.path(number).parent.mkdir(exist_ok=True)
        store.path(number).touch()
    assert store.finished_levels() == [0, 2, 10, 100]


@pytest.mark.parametrize("kind", ["checkpoint", "rewind_point"])
def test_a_point_comes_back_bit_for_bit(store, kind):
    point = checkpoint()
    if kind == "checkpoint":
        store.save_checkpoint(lambda: point, must=True)
    else:
        store.save_rewind_point(point)
    found = getattr(CellStore(store.folder), f"load_{kind}")()
    assert vars(found).keys() == vars(point).keys()
    for name, value in vars(point).items():
        assert same(getattr(found, name), value), name
    other = "load_rewind_point" if kind == "checkpoint" else "load_checkpoint"
    assert getattr(store, other)() is None


def test_points_hold_nothing_that_runs_code(store):
    store.save_checkpoint(checkpoint, must=True)
    torch.load(store.folder / "checkpoint.pt", weights_only=True)


def test_a_broken_point_is_passed_over(store, caplog):
    store.save_checkpoint(checkpoint, must=True)
    path = store.folder / "checkpoint.pt"
    content = path.read_bytes()
    for length in [*range(12), *range(12, len(content), 97), len(content) - 1]:
        caplog.clear()
        path.write_bytes(content[:length])
        assert store.load_checkpoint() is None, f"cut to {length} of {len(content)} bytes"
        assert "is passed over" in caplog.text
    chance = random.Random(0)
    for _ in range(300):
        altered = bytearray(content)
        for _ in range(50):
            altered[chance.randrange(len(content))] = chance.randrange(256)
        path.write_bytes(altered)
        store.load_checkpoint()  # whatever it finds, it does not raise


def test_a_point_of_something_else_is_passed_over(store):
    store.folder.mkdir()
    for values in ([1, 2], {}, {"evaluations": [], "colour": 1}, {"evaluations": [{"step": 1}]}):
        torch.save(values, store.folder / "checkpoint.pt")
        assert store.load_checkpoint() is None


def test_checkpoints_that_need_not_be_kept_are_saved_now_and_then(tmp_path, monkeypatch):
    now = 100.0
    monkeypatch.setattr("lottery.study.cell_store.time.monotonic", lambda: now)
    store = CellStore(tmp_path, checkpoint_seconds=30)
    saved = []
    for now, step in [(110, 1), (129, 2), (131, 3), (150, 4), (160, 5), (162, 6)]:  # noqa: B007
        store.save_checkpoint(partial(checkpoint, step), must=step == 4)
        found = store.load_checkpoint()
        saved.append(found and found.step)
    assert saved == [None, None, 3, 4, 4, 4]


def test_a_write_that_fails_leaves_the_old_file_and_no_rubbish(store, level, monkeypatch):
    store.save_level(level)
    before = store.path(7).read_bytes()

    def full(tensors, path, metadata):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lottery.study.cell_store.save_file", full)
    with pytest.raises(OSError, match="No space"):
        store.save_level(level)
    assert store.path(7).read_bytes() == before
    assert os.listdir(store.folder) == ["level_07.safetensors"]


def test_an_empty_cell_has_nothing(store, caplog):
    caplog.set_level(logging.DEBUG)
    assert store.finished_levels() == []
    assert store.record(0) is None
    assert store.load_checkpoint() is None
    assert store.load_rewind_point() is None
    assert caplog.text == ""
