"""A level continued from any checkpoint ends as one that was never interrupted, bit for bit."""

import copy
import dataclasses
import math
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import nn

from lottery.data.images import Examples, Splits, split
from lottery.errors import DivergedError
from lottery.init import initialise
from lottery.pruning.masks import Masks
from lottery.training.config import TrainConfig
from lottery.training.level import Checkpoint, LevelRun, LevelTrainer, snapshot
from lottery.training.loop import evaluate, make_optimizer
from tests import tiny
from tests.segments import checkpoints


def half_masks(model: nn.Module) -> Masks:
    chance = torch.Generator().manual_seed(1)
    ones = Masks.ones(model)
    return Masks({n: torch.rand(m.shape, generator=chance) < 0.5 for n, m in ones.items()})


def train(model, data, config, *, level=0, begin=None, seed=0, engine="reference", **options):
    """All checkpoints of a level, from its start or from a checkpoint, in a new process's state."""
    initialise(model, seed=seed)
    trainer = LevelTrainer(data, config, seed, engine)
    begin = begin or Checkpoint(level, 0, 0, snapshot(model), {})
    begin = copy.deepcopy(begin)
    model.load_state_dict(begin.model)
    optimizer = make_optimizer(model, config)
    if begin.optimizer:
        optimizer.load_state_dict(begin.optimizer)
    masks = half_masks(model)
    masks.apply(model, optimizer)
    return list(checkpoints(LevelRun(trainer, model, masks, optimizer, begin, **options)))


def assert_same(one: Checkpoint, other: Checkpoint) -> None:
    assert (one.level, one.first_step, one.step) == (other.level, other.first_step, other.step)
    assert one.evaluations == other.evaluations
    assert one.model.keys() == other.model.keys()
    assert all(torch.equal(one.model[name], value) for name, value in other.model.items())
    a, b = one.optimizer, other.optimizer
    assert a["param_groups"] == b["param_groups"]
    assert a["state"].keys() == b["state"].keys()
    for number, state in a["state"].items():
        assert all(torch.equal(state[k], v) for k, v in b["state"][number].items() if v is not None)


@pytest.mark.parametrize("network", ["plain", "noisy", "own"])
@pytest.mark.parametrize(
    "settings",
    [
        {"lr": 0.01, "weight_decay": 0.01},
        {"optimizer": "sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 0.01},
        {"lr": 0.01, "lr_schedule": "cosine", "warmup": "5it"},
        {"lr": 0.01, "lr_schedule": "step", "lr_milestones": ["7it"], "data_order": "same"},
    ],
)
def test_training_from_any_checkpoint_ends_as_if_never_interrupted(
    settings, network, data, request
):
    make = request.getfixturevalue(network)
    config = TrainConfig(duration="3ep", batch_size=8, eval_every="4it", **settings)
    whole = train(make(), data, config, level=2)
    assert [point.step for point in whole] == [4, 8, 12, 16, 18]
    for index, point in enumerate(whole):
        torch.manual_seed(index)  # a new process has another random state
        rest = train(make(), data, config, begin=point)
        assert [p.step for p in rest] == [4, 8, 12, 16, 18][index + 1 :]
        for one, other in zip(rest, whole[index + 1 :], strict=True):
            assert_same(one, other)


def test_augmented_images_are_the_same_after_an_interruption():
    data = split(tiny.images(Path()), 50, seed=0)
    config = TrainConfig(duration="2ep", batch_size=30, eval_every="3it", augmentation="flip_shift")
    whole = train(tiny.conv_net(), data, config, level=1)
    for point in whole[:-1]:
        assert_same(train(tiny.conv_net(), data, config, begin=point)[-1], whole[-1])
    plain = dataclasses.replace(config, augmentation="none")
    changed = train(tiny.conv_net(), data, plain, level=1)[-1].model["0.weight"]
    assert not torch.equal(changed, whole[-1].model["0.weight"])


def test_a_level_clips_gradients_as_its_settings_say(plain, data):
    settings = {"duration": "7it", "eval_every": "1it", "batch_size": 8, "optimizer": "sgd"}
    config = TrainConfig(**settings, lr=0.1, clip_norm=1e-3)
    first, *_, last = (point.model for point in train(plain(), data, config))
    moved = sum(float((last[name] - value).square().sum()) for name, value in first.items()) ** 0.5
    assert 0 < moved <= 6 * 0.1 * 1e-3 * 1.01, "six steps no longer than rate × norm"


def test_checkpoints_are_copies_that_training_does_not_reach(noisy, data, quick):
    model = initialise(noisy())
    trainer = LevelTrainer(data, quick, 0, "reference")
    begin, optimizer = Checkpoint(0, 0, 0, snapshot(model), {}), make_optimizer(model, quick)
    run = checkpoints(LevelRun(trainer, model, Masks.ones(model), optimizer, begin))
    first = next(run)
    kept = copy.deepcopy(first)
    last = list(run)[-1]
    assert_same(first, kept)
    assert len(first.evaluations) == 1
    assert len(last.evaluations) == 3
    assert begin.evaluations == []
    assert not torch.equal(first.model["0.weight"], last.model["0.weight"])
    exp_avg = [point.optimizer["state"][0]["exp_avg"] for point in (first, last)]
    assert not torch.equal(*exp_avg)


def test_a_level_neither_uses_nor_changes_the_process_random_state(noisy, data, quick):
    runs = []
    for seed in (1, 2):
        model = noisy()
        torch.manual_seed(seed)
        state = torch.get_rng_state()
        runs.append(train(model, data, quick))
        assert torch.equal(state, torch.get_rng_state())
    assert_same(runs[0][-1], runs[1][-1])


def test_dropout_differs_between_levels_seeds_and_parts_of_a_level(data, quick):
    """Seen through a network that is dropout alone, under one order of the data."""

    class Seen(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.drop, self.patterns = nn.Linear(6, 3), nn.Dropout(0.5), []

        def forward(self, x):
            pattern = self.drop(torch.ones(x.shape[0], 16))
            if self.training:
                self.patterns.append(tuple(pattern.flatten().tolist()))
            return self.layer(x)

    config = dataclasses.replace(quick, data_order="same")
    seen = []
    for seed, level in ((0, 0), (0, 1), (1, 0)):
        model = Seen()
        train(model, data, config, level=level, seed=seed)
        seen += model.patterns
    assert len(seen) == 36
    assert len(set(seen)) == 36


@pytest.mark.parametrize(
    ("duration", "every", "also", "steps"),
    [
        ("2ep", "5it", 0, [5, 10, 12]),
        ("2ep", "6it", 0, [6, 12]),
        ("2ep", "1ep", 0, [6, 12]),
        ("2ep", "500it", 0, [12]),
        ("2ep", "5it", 3, [3, 5, 10, 12]),
        ("2ep", "5it", 10, [5, 10, 12]),
        ("1it", "1it", 0, [1]),
        ("7it", "3it", 0, [3, 6, 7]),
    ],
)
def test_evaluations_come_at_every_interval_and_at_the_end(
    duration, every, also, steps, plain, data
):
    config = TrainConfig(duration=duration, batch_size=8, eval_every=every)
    points = train(plain(), data, config, also_at=also)
    assert [point.step for point in points] == steps
    assert [evaluation.step for evaluation in points[-1].evaluations] == steps


@pytest.mark.parametrize(("first", "steps"), [(0, [0, 5, 10, 12]), (3, [3, 5, 10, 12])])
def test_a_start_that_is_looked_at_shows_the_weights_as_they_were_given(first, steps, plain, data):
    config = TrainConfig(duration="2ep", batch_size=8, eval_every="5it", eval_start=True)
    model = initialise(plain())
    begin = Checkpoint(1, first, first, snapshot(model), {})
    points = train(plain(), data, config, begin=begin)
    assert [evaluation.step for evaluation in points[-1].evaluations] == steps
    half_masks(model).apply(model)
    start = points[0].evaluations[0]
    assert start.test_loss == evaluate(model, data.test).loss
    without = dataclasses.replace(config, eval_start=False)
    plainly = train(plain(), data, without, begin=begin)[-1]
    assert points[-1].evaluations[1:] == plainly.evaluations


def test_a_start_is_looked_at_once_however_often_a_level_is_interrupted(plain, data):
    config = TrainConfig(duration="2ep", batch_size=8, eval_every="5it", eval_start=True)
    whole = train(plain(), data, config)
    for point in whole[:-1]:
        assert_same(train(plain(), data, config, begin=point)[-1], whole[-1])


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_how_often_one_looks_does_not_change_what_is_trained(precision, plain, data, quick):
    quick = dataclasses.replace(quick, precision=precision)
    often = train(plain(), data, dataclasses.replace(quick, eval_every="1it"))
    rarely = train(plain(), data, dataclasses.replace(quick, eval_every="12it"))
    assert len(often) == 12
    assert len(rarely) == 1
    assert all(torch.equal(often[-1].model[n], v) for n, v in rarely[-1].model.items())
    assert often[-1].evaluations[-1] == rarely[-1].evaluations[-1]


def test_a_level_begins_where_it_is_told_to(plain, data, quick, spy):
    model = initialise(plain())
    begin = Checkpoint(1, 3, 3, snapshot(model), {})
    points = train(plain(), data, quick, begin=begin, engine="spy")
    assert [(call.start, call.stop) for call in spy] == [(3, 5), (5, 10), (10, 12)]
    assert points[-1].first_step == 3


def test_each_step_gets_its_place_in_the_schedule(plain, data, spy):
    config = TrainConfig(
        duration="2ep", batch_size=8, eval_every="5it", lr=1e-3, lr_schedule="cosine", warmup="4it"
    )
    train(plain(), data, config, engine="spy")
    expected = [
        1e-3 * min(1, (step + 1) / 4) * (1 + math.cos(math.pi * step / 12)) / 2
        for step in range(12)
    ]
    assert [rate for call in spy for rate in call.rates] == pytest.approx(expected)


def test_holding_the_rate_holds_the_schedules_last(plain, data, spy):
    config = TrainConfig(
        duration="2ep", batch_size=8, eval_every="5it", lr_schedule="step", lr_milestones=["11it"]
    )
    train(plain(), data, config, engine="spy", hold_rate=True)
    assert [rate for call in spy for rate in call.rates] == pytest.approx([1.2e-4] * 12)


@pytest.mark.parametrize("order", ["fresh", "same"])
def test_the_order_of_the_data_is_fresh_or_the_same_at_every_level(
    order, plain, noisy, data, quick, spy
):
    config = dataclasses.replace(quick, data_order=order)
    for level in (0, 1):
        train(plain(), data, config, level=level, engine="spy")
    train(noisy(), data, config, level=0, engine="spy")
    train(plain(), data, config, level=0, engine="spy", seed=1)
    zero, one, other_network, other_seed = (
        torch.cat([call.images for call in spy[3 * run : 3 * run + 3]]) for run in range(4)
    )
    assert torch.equal(zero, one) == (order == "same")
    assert torch.equal(zero, other_network)
    assert not torch.equal(zero, other_seed)
    assert not torch.equal(zero[:48], zero[48:]), "every epoch has the same order"


class Constant(nn.Module):
    """Says class 0 whatever it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 3)

    def forward(self, x):
        return 0 * self.layer(x) + torch.tensor([3.0, 0.0, 0.0])


def test_train_validation_and_test_figures_are_of_their_own_set(quick):
    """Class 0 has another share in each set, so a mix-up shows."""

    def examples(total: int, zeros: int) -> Examples:
        return Examples(torch.rand(total, 6), (torch.arange(total) >= zeros).long())

    data = Splits(examples(50, 50), examples(13, 4), examples(17, 12), 3)
    final = train(Constant(), data, quick)[-1].evaluations[-1]
    accuracies = final.train_accuracy, final.val_accuracy, final.test_accuracy
    assert accuracies == (1.0, 4 / 13, 12 / 17)
    base = math.log(math.exp(3) + 2)
    losses = final.train_loss, final.val_loss, final.test_loss
    assert losses == pytest.approx((base - 3, base - 12 / 13, base - 36 / 17), rel=1e-5)


def test_figures_are_those_of_the_checkpoints_own_weights(noisy, data, quick):
    for point in train(noisy(), data, quick):
        model = noisy()
        model.load_state_dict(point.model)
        seen = point.evaluations[-1]
        for part, share in (("val", seen.val_accuracy), ("test", seen.test_accuracy)):
            examples = getattr(data, part)
            assert evaluate(model, examples).accuracy == share
            assert (share * len(examples)) == pytest.approx(round(share * len(examples)), abs=1e-9)
        assert seen.train_accuracy * 13 == pytest.approx(round(seen.train_accuracy * 13), abs=1e-9)


def test_the_training_sample_is_the_same_at_every_level(plain, data, quick):
    frozen = dataclasses.replace(quick, lr=1e-30)
    samples = {
        train(plain(), data, frozen, level=level)[index].evaluations[-1].train_loss
        for level in (0, 1)
        for index in (0, 2)
    }
    assert len(samples) == 1


@pytest.mark.parametrize("network", ["plain", "noisy"])
def test_a_diverged_loss_names_level_step_and_rate(network, data, request):
    config = TrainConfig(
        optimizer="sgd", lr=1e30, duration="2ep", batch_size=8, eval_every="5it", momentum=0.9
    )
    make = request.getfixturevalue(network)
    with pytest.raises(DivergedError, match=r"loss is \w+ at level 3, step 5: .* below 1e\+30"):
        train(make(), data, config, level=3)


def test_time_adds_up_over_an_interruption(plain, data, quick):
    points = train(plain(), data, quick)
    assert all(0 < a.seconds < b.seconds for a, b in pairwise(points))
    late = dataclasses.replace(points[0], seconds=1000.0)
    assert train(plain(), data, quick, begin=late)[-1].seconds > 1000
