"""The record of a level says what happened, and an interrupted level goes on where it was."""

import copy
import dataclasses
from typing import Any

import pytest
import torch

from lottery.init import initialise
from lottery.objectives import Metrics
from lottery.pruning.masks import Masks
from lottery.tickets.level import Level, Memory, Start, ignore, train_to_end
from lottery.training.config import TrainConfig
from lottery.training.level import Evaluation, LevelTrainer, snapshot
from lottery.training.loop import evaluate
from tests.segments import finish


def finished(*args: Any, **options: Any) -> Level:
    return finish(train_to_end(*args, **options))


def record(val_losses: list[float], first_step: int = 0) -> Level:
    evaluations = [
        Evaluation(first_step + 10 * (index + 1), 0.0, 0.1, loss, 0.2, 0.0, index / 10)
        for index, loss in enumerate(val_losses)
    ]
    masks = Masks({"w": torch.tensor([True, False, True, True])})
    metrics = Metrics(0.5, 0.98224)
    return Level(
        3, masks, {}, {}, {}, evaluations, metrics, metrics, metrics, first_step, 1.0, "", ""
    )


@pytest.mark.parametrize(
    ("losses", "step"),
    [
        ([3.0, 2.0, 1.0], 30),
        ([1.0, 2.0, 3.0], 10),
        ([3.0, 1.0, 2.0, 1.0], 20),
        ([2.0, 2.0, 2.0], 10),
        ([0.5], 10),
    ],
)
def test_early_stopping_is_the_first_least_validation_loss(losses, step):
    stop = record(losses).early_stop
    assert stop.step == step
    assert stop.test_accuracy == (step // 10 - 1) / 10


def test_early_stopping_never_goes_back_to_before_the_first_step():
    level = record([1.0, 2.0, 0.5])
    start = dataclasses.replace(level.evaluations[0], step=0, val_loss=0.1)
    looked_at = dataclasses.replace(level, evaluations=[start, *level.evaluations])
    assert looked_at.early_stop == level.early_stop


def test_steps_are_those_trained_in_the_level():
    assert record([1.0, 2.0]).steps == 20
    assert record([1.0, 2.0], first_step=5).steps == 20


def test_a_level_shows_its_density_and_accuracy():
    assert repr(record([1.0])) == "Level 3: 75.00% of weights, test accuracy 98.22%"
    assert record([1.0]).weights_remaining == 0.75


def half(model) -> Masks:
    chance = torch.Generator().manual_seed(1)
    return Masks(
        {n: torch.rand(m.shape, generator=chance) < 0.5 for n, m in Masks.ones(model).items()}
    )


class Killed(Exception):
    pass


class Killer:
    """A watch that ends the process, so to say, at evaluation number `at`."""

    def __init__(self, at: int) -> None:
        self.left = at

    def __call__(self, start, evaluation) -> None:
        if self.left == 0:
            raise Killed
        self.left -= 1


SETTINGS = [
    {"lr": 0.01},
    {"optimizer": "sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 0.01},
    {"lr": 0.01, "lr_schedule": "cosine"},
]


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("hold_rate", [False, True])
def test_an_interrupted_level_goes_on_from_memory_bit_for_bit(settings, hold_rate, noisy, data):
    config = TrainConfig(duration="2ep", batch_size=8, eval_every="5it", **settings)
    trainer = LevelTrainer(data, config, 0, "reference")

    def run(memory: Memory, watch=ignore) -> Level:
        model = initialise(noisy())
        initial = snapshot(model)
        start = Start(0, half(model), initial, initial, hold_rate=hold_rate)
        return finished(model, trainer, start, memory, watch)

    whole = run(Memory())
    assert len(whole.evaluations) == 3
    for at in range(3):
        memory = Memory()
        with pytest.raises(Killed):
            run(memory, Killer(at))
        saved = copy.deepcopy(memory.load_checkpoint())
        level = run(memory)
        assert level.evaluations == whole.evaluations
        assert (level.train, level.val, level.test) == (whole.train, whole.val, whole.test)
        assert all(torch.equal(level.trained[name], v) for name, v in whole.trained.items())
        assert (saved is None) == (at == 0)


def test_going_on_leaves_the_saved_point_as_it_was(noisy, data, quick):
    """Torch's optimisers train on the very tensors that load_state_dict is given."""
    trainer, model = LevelTrainer(data, quick, 0, "reference"), initialise(noisy())
    initial, memory = snapshot(model), Memory()
    start = Start(0, half(model), initial, initial)
    with pytest.raises(Killed):
        finished(model, trainer, start, memory, Killer(1))
    point = memory.load_checkpoint()
    before = copy.deepcopy(point)
    finished(model, trainer, start, memory, ignore)
    for number, state in before.optimizer["state"].items():
        for name, value in state.items():
            assert torch.equal(point.optimizer["state"][number][name], value), name
    assert all(torch.equal(point.model[name], value) for name, value in before.model.items())


def test_a_point_of_another_level_is_not_gone_on_from(plain, data, quick):
    trainer, memory = LevelTrainer(data, quick, 0, "reference"), Memory()
    model = initialise(plain())
    initial = snapshot(model)
    finished(model, trainer, Start(0, half(model), initial, initial), memory, ignore)
    one = finish(
        train_to_end(model, trainer, Start(1, half(model), initial, initial), memory, ignore)
    )
    other = finish(
        train_to_end(model, trainer, Start(1, half(model), initial, initial), Memory(), ignore)
    )
    assert all(torch.equal(one.trained[name], value) for name, value in other.trained.items())


def test_a_record_holds_the_last_step_of_each_set(noisy, data, quick):
    model = initialise(noisy())
    initial, masks = snapshot(model), half(model)
    trainer = LevelTrainer(data, quick, 0, "reference")
    level = finish(
        train_to_end(model, trainer, Start(0, masks, initial, initial), Memory(), ignore)
    )
    fresh = noisy()
    fresh.load_state_dict(level.trained)
    for part in ("train", "val", "test"):
        metrics, examples = getattr(level, part), getattr(data, part)
        assert metrics == evaluate(fresh, examples)
        share = metrics.accuracy * len(examples)
        assert share == pytest.approx(round(share), abs=1e-9)
    last = level.evaluations[-1]
    assert (last.val_accuracy, last.test_accuracy) == (level.val.accuracy, level.test.accuracy)
    assert (last.step, level.steps) == (12, 12)
    assert list(level.kinds.values()) == ["linear", "linear", "output"]
    assert (level.engine, level.device) == ("reference", "cpu")
    for name, mask in masks.items():
        assert not level.trained[name][~mask].any()
        assert level.trained[name][mask].all()
        assert (level.trained[name] != initial[name])[mask].any()


def test_a_record_is_not_reached_by_what_the_network_does_next(plain, data, quick):
    model = initialise(plain())
    initial = snapshot(model)
    trainer = LevelTrainer(data, quick, 0, "reference")
    level = finish(
        train_to_end(model, trainer, Start(0, half(model), initial, initial), Memory(), ignore)
    )
    before = copy.deepcopy(level.trained), copy.deepcopy(level.initial)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(7)
    for kept, now in zip(before, (level.trained, level.initial), strict=True):
        assert all(torch.equal(now[name], value) for name, value in kept.items())


def test_the_watch_hears_every_evaluation_and_its_level(plain, data, quick):
    heard = []
    model = initialise(plain())
    initial = snapshot(model)
    trainer = LevelTrainer(data, dataclasses.replace(quick, eval_every="3it"), 0, "reference")
    start = Start(2, half(model), initial, initial)
    level = finished(model, trainer, start, Memory(), lambda *told: heard.append(told))
    assert [evaluation for _, evaluation in heard] == level.evaluations
    assert all(told is start for told, _ in heard)


def test_points_are_saved_for_going_on_and_for_rewinding(plain, data, quick):
    class Notes(Memory):
        def __init__(self) -> None:
            super().__init__()
            self.saved, self.rewind = [], []

        def save_checkpoint(self, take, *, must):
            self.saved.append((take().step, must))

        def save_rewind_point(self, checkpoint):
            self.rewind.append(checkpoint.step)

    trainer = LevelTrainer(data, quick, 0, "reference")
    for keep_end in (False, True):
        model, memory = initialise(plain()), Notes()
        initial = snapshot(model)
        start = Start(0, half(model), initial, initial)
        finish(
            train_to_end(model, trainer, start, memory, ignore, rewind_step=3, keep_end=keep_end)
        )
        assert memory.saved == [(3, False), (5, False), (10, False), (12, keep_end)]
        assert memory.rewind == [3]
