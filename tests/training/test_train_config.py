"""Learning rates against tables by hand; lengths and settings are read as written or refused."""

import math

import pytest

from lottery.errors import ConfigError
from lottery.training.config import LearningRate, TrainConfig, to_steps


def rates(steps: int, steps_per_epoch: int = 4, **settings) -> list[float]:
    schedule = LearningRate(TrainConfig(lr=1.0, **settings), steps_per_epoch)
    return [schedule(step) for step in range(steps)]


@pytest.mark.parametrize(
    ("length", "steps"), [("5ep", 4580), ("500it", 500), ("0it", 0), ("0ep", 0), ("1ep", 916)]
)
def test_lengths_are_epochs_or_steps(length, steps):
    assert to_steps("x", length, 916) == steps


@pytest.mark.parametrize(
    "length", ["5", "ep", "5 ep", "-1it", "1.5ep", "5epochs", "", "5ep\n", "2ep30it"]
)
def test_other_lengths_are_refused_with_the_setting(length):
    with pytest.raises(ConfigError, match=r"train.duration is .*; allowed: a number of epochs"):
        to_steps("train.duration", length, 10)


def test_a_constant_rate_stays():
    assert rates(3, duration="3it") == [1.0, 1.0, 1.0]


def test_steps_lower_the_rate_from_the_milestone_on():
    settings = {"lr_schedule": "step", "duration": "2ep"}
    assert rates(8, lr_milestones=["3it", "6it"], lr_gamma=0.5, **settings) == (
        [1.0] * 3 + [0.5] * 3 + [0.25] * 2
    )
    assert rates(8, lr_milestones=["1ep"], **settings) == pytest.approx([1.0] * 4 + [0.1] * 4)
    assert rates(3, lr_milestones=["0it"], **settings) == pytest.approx([0.1] * 3)
    unsorted = rates(8, lr_milestones=["6it", "3it"], lr_gamma=0.5, **settings)
    assert unsorted == [1.0] * 3 + [0.5] * 3 + [0.25] * 2


def test_a_cosine_falls_from_the_rate_towards_zero_over_the_level():
    expected = [1.0, 0.853553, 0.5, 0.146447]
    assert rates(4, lr_schedule="cosine", duration="1ep") == pytest.approx(expected, abs=1e-6)
    assert rates(9, lr_schedule="cosine", duration="2ep")[4] == pytest.approx(0.5)
    assert rates(9, lr_schedule="cosine", duration="2ep")[8] == pytest.approx(0.0)


def test_warm_up_rises_linearly_and_never_starts_at_zero():
    expected = [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    assert rates(6, warmup="4it", duration="8it") == pytest.approx(expected)
    assert rates(6, warmup="1ep", duration="8it") == pytest.approx(expected)
    assert rates(2, warmup="1it", duration="8it") == [1.0, 1.0]


def test_warm_up_multiplies_the_other_schedules():
    stepped = rates(
        6, warmup="2it", duration="6it", lr_schedule="step", lr_milestones=["1it"], lr_gamma=0.5
    )
    assert stepped == pytest.approx([0.5, 0.5, 0.5, 0.5, 0.5, 0.5])
    cosine = rates(4, warmup="4it", duration="1ep", lr_schedule="cosine")
    factors = [0.25, 0.5, 0.75, 1.0]
    expected = [f * (1 + math.cos(math.pi * t / 4)) / 2 for t, f in enumerate(factors)]
    assert cosine == pytest.approx(expected)


def test_the_rate_is_the_configured_one():
    assert LearningRate(TrainConfig(lr=0.03), 4)(2) == 0.03


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr": 0.0}, "train.lr is 0.0; allowed: a number above 0"),
        ({"lr": float("inf")}, "train.lr is inf"),
        ({"lr": float("nan")}, "train.lr is nan"),
        ({"batch_size": 0}, "train.batch_size is 0; allowed: at least 1"),
        ({"momentum": 1.0, "optimizer": "sgd"}, "train.momentum is 1.0"),
        ({"momentum": 0.9}, "train.momentum is 0.9; allowed: 0 with optimizer adam"),
        ({"nesterov": True, "optimizer": "sgd"}, "train.nesterov is True; allowed: false without"),
        ({"augmentation": "flip"}, "train.augmentation is 'flip'; allowed: none, flip_shift"),
        ({"weight_decay": -1e-4}, "train.weight_decay is -0.0001; allowed: at least 0"),
        ({"clip_norm": 0.0}, "train.clip_norm is 0.0; allowed: a number above 0"),
        ({"lr_gamma": 0.0}, "train.lr_gamma is 0.0"),
        ({"lr_schedule": "step"}, "train.lr_milestones is None; allowed: lengths with"),
        ({"lr_milestones": ["1ep"]}, "train.lr_milestones is .*nothing otherwise"),
        ({"lr_schedule": "step", "lr_milestones": ["1"]}, "lr_milestones is '1'"),
        ({"warmup": "1"}, "train.warmup.* is '1'"),
        ({"duration": "0ep"}, "train.duration is '0ep'; allowed: at least one step"),
        ({"eval_every": "0it"}, "train.eval_every is '0it'; allowed: at least one step"),
        ({"optimizer": "adamw"}, "train.optimizer is 'adamw'; allowed: adam, sgd"),
        ({"lr_schedule": "cos"}, "train.lr_schedule is 'cos'; allowed: constant, step, cosine"),
        ({"data_order": "new"}, "train.data_order is 'new'; allowed: fresh, same"),
    ],
)
def test_a_wrong_setting_is_named_with_what_is_allowed(settings, message):
    with pytest.raises(ConfigError, match=message):
        TrainConfig(**settings)
