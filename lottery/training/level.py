"""One level of training: from a starting point to the level's last step, evaluated on the way.

`train_level` yields a `Checkpoint` at every evaluation. Training continued from any of them ends
with the same numbers, bit for bit, as training that was never interrupted.
"""

import copy
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from lottery.data.batches import Batches
from lottery.data.images import Examples, Splits
from lottery.errors import DivergedError
from lottery.pruning.masks import Masks, State
from lottery.seeds import derive, generator
from lottery.training.config import LearningRate, TrainConfig, to_steps
from lottery.training.loop import ENGINES, evaluate


@dataclass(frozen=True)
class Evaluation:
    """The network after `step` steps of a level. Accuracies are fractions, losses cross-entropy.

    The train figures are of a fixed random sample of the training images as large as the
    validation set.
    """

    step: int
    train_loss: float
    train_accuracy: float
    val_loss: float
    val_accuracy: float
    test_loss: float
    test_accuracy: float


@dataclass(frozen=True)
class Checkpoint:
    """All that is needed to go on from `step` of `level`. Tensors are copies."""

    level: int
    first_step: int
    step: int
    model: State
    optimizer: dict[str, Any]
    evaluations: list[Evaluation] = field(default_factory=list)
    seconds: float = 0.0


def snapshot(model: nn.Module) -> State:
    """A copy of all parameters and buffers on the CPU, which later training cannot reach."""
    return {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}


@dataclass(frozen=True)
class LevelTrainer:
    """What all levels of a cell have in common: data, settings, seed and engine."""

    data: Splits
    config: TrainConfig
    seed: int
    engine: str

    def __post_init__(self) -> None:
        """Refuse an impossible batch size before any length is counted in epochs of it."""
        Batches(self.data.train, self.config.batch_size, seed=self.seed)

    @property
    def steps_per_epoch(self) -> int:
        """Steps in which every training image is seen once (but for the last partial batch)."""
        return len(self.data.train) // self.config.batch_size

    @property
    def last_step(self) -> int:
        """Step at which a level ends."""
        return to_steps("train.duration", self.config.duration, self.steps_per_epoch)

    @cached_property
    def train_sample(self) -> Examples:
        """Training images as many as validation images, the same at every evaluation."""
        order = torch.randperm(len(self.data.train), generator=generator(self.seed, "sample"))
        return self.data.train.subset(order[: len(self.data.val)])

    @property
    def evaluations(self) -> int:
        """Evaluations in a level that starts at step 0."""
        return len(self._stops(0))

    def train(
        self,
        model: nn.Module,
        masks: Masks,
        optimizer: Optimizer,
        begin: Checkpoint,
        *,
        also_at: int = 0,
        hold_rate: bool = False,
    ) -> Iterator[Checkpoint]:
        """Train `model` in place from `begin` to the level's end; yield at every evaluation.

        masks: on the model's device, already applied. also_at: a further step to evaluate at.
        hold_rate: keep the schedule's last learning rate throughout (fine-tuning).
        Raises DivergedError when a loss is no longer a finite number.
        """
        level = begin.level
        order = level if self.config.data_order == "fresh" else 0
        batches = Batches(self.data.train, self.config.batch_size, seed=self.seed, level=order)
        schedule = LearningRate(self.config, self.steps_per_epoch)
        last_rate = schedule(self.last_step - 1)
        evaluations, seconds, step = list(begin.evaluations), begin.seconds, begin.step
        for stop in self._stops(step, also_at):
            started = time.perf_counter()
            with torch.random.fork_rng(self._cuda_devices()):
                torch.manual_seed(derive(self.seed, "noise", level, step))
                ENGINES[self.engine](
                    model,
                    masks,
                    optimizer,
                    batches,
                    (lambda _: last_rate) if hold_rate else schedule,
                    step,
                    stop,
                )
            step = stop
            evaluations.append(self._evaluate(model, level, step))
            seconds += time.perf_counter() - started
            yield Checkpoint(
                level,
                begin.first_step,
                step,
                snapshot(model),
                copy.deepcopy(optimizer.state_dict()),
                list(evaluations),
                seconds,
            )

    def _stops(self, start: int, also_at: int = 0) -> list[int]:
        every = to_steps("train.eval_every", self.config.eval_every, self.steps_per_epoch)
        stops = {*range(every, self.last_step, every), self.last_step, also_at}
        return sorted(stop for stop in stops if stop > start)

    def _evaluate(self, model: nn.Module, level: int, step: int) -> Evaluation:
        train = evaluate(model, self.train_sample)
        val, test = evaluate(model, self.data.val), evaluate(model, self.data.test)
        for name, loss in (("training", train.loss), ("validation", val.loss)):
            if not math.isfinite(loss):
                raise DivergedError(
                    f"{name} loss is {loss} at level {level}, step {step}: training diverged; "
                    f"try a train.lr below {self.config.lr:g}"
                )
        return Evaluation(
            step, train.loss, train.accuracy, val.loss, val.accuracy, test.loss, test.accuracy
        )

    def _cuda_devices(self) -> list[torch.device]:
        device = self.data.train.labels.device
        return [device] if device.type == "cuda" else []
