"""Settings of training, and the lengths of time they are stated in."""

import math
import re
from dataclasses import dataclass
from typing import Literal

from lottery.data.augmentation import Augmentation
from lottery.data.jitter import Jitter
from lottery.errors import ConfigError, check_choices


def to_steps(setting: str, length: str, steps_per_epoch: int) -> int:
    """Steps of a length such as "5ep" (epochs) or "500it" (iterations, that is steps).

    >>> to_steps("train.duration", "5ep", 916)
    4580
    """
    match = re.fullmatch(r"(\d+)(ep|it)", length)
    if not match:
        raise ConfigError(setting, length, 'a number of epochs "5ep" or of steps "500it"')
    return int(match[1]) * (steps_per_epoch if match[2] == "ep" else 1)


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How a network is trained within a level."""

    duration: str = "5ep"
    """Length of a level: epochs ("5ep") or steps ("50000it"). It is always trained in full; early
    stopping is read off afterwards."""

    batch_size: int = 60
    """Images per step. The last, smaller batch of an epoch is dropped, so that all steps are
    alike; the next epoch's order is new."""

    optimizer: Literal["adam", "sgd"] = "adam"
    """Adam with its usual betas (0.9, 0.999), or SGD."""

    lr: float = 1.2e-3
    """Learning rate."""

    momentum: float = 0.0
    """Momentum of SGD."""

    nesterov: bool = False
    """Nesterov's form of SGD's momentum."""

    weight_decay: float = 0.0
    """L2 penalty on all parameters, coupled as in torch.optim.Adam and SGD."""

    lr_schedule: Literal["constant", "step", "cosine"] = "constant"
    """Learning rate over a level: constant, multiplied by lr_gamma at each of lr_milestones, or
    falling to zero along a half cosine."""

    lr_milestones: list[str] | None = None
    """Lengths at which schedule "step" lowers the learning rate, such as [80ep, 120ep]."""

    lr_gamma: float = 0.1
    """Factor of schedule "step"."""

    warmup: str = "0it"
    """Length over which the learning rate first rises linearly from zero."""

    clip_norm: float | None = None
    """Longest gradient, of all parameters as one vector: a longer one is scaled down to this norm
    (Pascanu et al. 2013). None leaves all as they are."""

    precision: Literal["float32", "bfloat16"] = "float32"
    """bfloat16 computes matrix products and convolutions so (autocast): other results, and much
    faster convolutions on CPUs and GPUs with units for it."""

    eval_every: str = "500it"
    """Length between evaluations on validation and test data; also evaluated at the level's end.
    Dropout's randomness is drawn anew at each."""

    eval_start: bool = False
    """Also evaluate where a level starts: with weights that are kept, what pruning alone does.
    Early stopping never goes back there."""

    eval_actions: bool = True
    """Also evaluate before and after each change that prune.during makes to the network, which
    shows what it does and may take longer than training."""

    augmentation: Literal[Augmentation, Jitter] = "none"
    """flip_shift: each time an image is seen it is mirrored or not, and moved by up to 4 pixels in
    both directions with black behind it, at random. jitter, jitter_flip: images and their boxes
    are cropped, stretched and recoloured, and mirrored or not, as by darknet. The same for all
    schemes under one seed."""

    sizes: list[int] | None = None
    """Sides in pixels to which images are resized in training, one drawn every ten steps (Redmon &
    Farhadi 2017); by default they stay as they are."""

    data_order: Literal["fresh", "same"] = "fresh"
    """Whether every level sees new shuffles of the data, or each level the same ones. Schemes and
    branches under one seed always share theirs."""

    def __post_init__(self) -> None:
        def check(name: str, ok: bool, allowed: str) -> None:
            if not ok:
                raise ConfigError(f"train.{name}", getattr(self, name), allowed)

        check_choices(self, "train")
        check("batch_size", self.batch_size >= 1, "at least 1")
        check("lr", math.isfinite(self.lr) and self.lr > 0, "a number above 0")
        check("momentum", 0 <= self.momentum < 1, "at least 0 below 1")
        check("momentum", self.momentum == 0 or self.optimizer == "sgd", "0 with optimizer adam")
        check("nesterov", not self.nesterov or self.momentum > 0, "false without momentum")
        check("weight_decay", self.weight_decay >= 0, "at least 0")
        clip = self.clip_norm
        check("clip_norm", clip is None or 0 < clip < math.inf, "a number above 0")
        check("sizes", self.sizes is None or min(self.sizes, default=0) > 0, "sides of 1 or more")
        check("lr_gamma", 0 < self.lr_gamma <= 1, "above 0, at most 1")
        check(
            "lr_milestones",
            (self.lr_milestones is not None) == (self.lr_schedule == "step"),
            'lengths with lr_schedule "step", nothing otherwise',
        )
        for name in ("duration", "eval_every"):
            check(name, to_steps(f"train.{name}", getattr(self, name), 1) >= 1, "at least one step")
        to_steps("train.warmup", self.warmup, 1)
        for length in self.lr_milestones or ():
            to_steps("train.lr_milestones", length, 1)


class LearningRate:
    """Learning rate at each step of a level."""

    def __init__(self, config: TrainConfig, steps_per_epoch: int) -> None:
        self.config = config
        self.total = to_steps("train.duration", config.duration, steps_per_epoch)
        self.warmup = to_steps("train.warmup", config.warmup, steps_per_epoch)
        self.milestones = [
            to_steps("train.lr_milestones", m, steps_per_epoch) for m in config.lr_milestones or ()
        ]

    def __call__(self, step: int) -> float:
        """Rate used by the update from `step` to `step` + 1."""
        config, rate = self.config, self.config.lr
        if config.lr_schedule == "step":
            rate *= config.lr_gamma ** sum(step >= milestone for milestone in self.milestones)
        elif config.lr_schedule == "cosine":
            rate *= (1 + math.cos(math.pi * step / self.total)) / 2
        return rate * min(1.0, (step + 1) / self.warmup) if self.warmup else rate
