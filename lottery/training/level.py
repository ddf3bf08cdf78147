"""One level of training: from a starting point to the level's last step, evaluated on the way.

A `Checkpoint` can be taken at every evaluation. Training continued from any of them ends with the
same numbers, bit for bit, as training that was never interrupted.
"""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from lottery.data.batches import Batches
from lottery.data.images import Examples, Splits
from lottery.errors import DivergedError
from lottery.objectives import Metrics
from lottery.pruning.masks import Masks, State
from lottery.seeds import derive, generator
from lottery.training.config import LearningRate, TrainConfig, to_steps
from lottery.training.engines import choose_engine
from lottery.training.procedures.base import Acting, During, Findings, Scene
from lottery.training.segment import Outcome, Segment


@dataclass(frozen=True)
class Evaluation:
    """The network after `step` steps of a level. Accuracies are fractions, of detectors mean AP;
    losses are those of the data set's objective.

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
    weights_remaining: float | None = None
    """Fraction kept by the masks at that time; None in points saved before this was recorded."""


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
    masks: State | None = None
    """Those that a procedure has changed since the level's start."""
    procedure: State | None = None
    """What the procedure remembers; None where none is at work, and at the level's start."""


def snapshot(model: nn.Module) -> State:
    """A copy of all parameters and buffers on the CPU, which later training cannot reach."""
    return {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}


@dataclass(frozen=True)
class LevelTrainer:
    """What all levels of a cell have in common."""

    data: Splits
    config: TrainConfig
    seed: int
    engine: str = "auto"
    """As configured: "auto" is decided at each level."""
    order_seed: int | None = None
    """Decides the order of images and how they are augmented in place of `seed`; nothing else."""

    def __post_init__(self) -> None:
        """Refuse impossible batches before any length is counted in epochs of them."""
        self.batches(0)

    def batches(self, level: int) -> Batches:
        """What training at a level sees."""
        return Batches(
            self.data.train,
            self.config.batch_size,
            seed=self.seed if self.order_seed is None else self.order_seed,
            level=level if self.config.data_order == "fresh" else 0,
            augmentation=self.config.augmentation,
            sizes=self.config.sizes,
        )

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
        return len(self.stops(0)) + self.config.eval_start

    def stops(self, start: int, also_at: int = 0) -> list[int]:
        """Steps after `start` at which a level is evaluated; `also_at`: a further one."""
        every = to_steps("train.eval_every", self.config.eval_every, self.steps_per_epoch)
        stops = {*range(every, self.last_step, every), self.last_step, also_at}
        return sorted(stop for stop in stops if stop > start)


class LevelRun:
    """One level under way: asks an engine for segment after segment and keeps count.

    while segment := run.next_segment():
        run.note(engines.run([segment])[0])
    """

    def __init__(
        self,
        trainer: LevelTrainer,
        model: nn.Module,
        masks: Masks,
        optimizer: Optimizer,
        begin: Checkpoint,
        *,
        also_at: int = 0,
        hold_rate: bool = False,
        during: During | None = None,
        steps_before: int = 0,
    ) -> None:
        """Go on from `begin`.

        model: trained in place. masks: on the model's device, already applied. also_at: a further
        step to evaluate at. hold_rate: keep the schedule's last learning rate (fine-tuning).
        during: a procedure that changes the network on the way; unless the configuration has no
        `eval_actions`, the level is evaluated before and after each of its actions. steps_before:
        that the weights were trained for before step 0.
        """
        self.trainer, self.model, self.masks, self.optimizer = trainer, model, masks, optimizer
        self.level, self.first_step, self.step = begin.level, begin.first_step, begin.step
        self.evaluations, self.seconds = list(begin.evaluations), begin.seconds
        config, train = trainer.config, trainer.data.train
        self.engine = choose_engine(
            trainer.engine, model, masks, config, train, procedure=during is not None
        )
        self._batches, self._steps_before = trainer.batches(self.level), steps_before
        self._schedule: Callable[[int], float] = LearningRate(config, trainer.steps_per_epoch)
        if hold_rate:
            last_rate = self._schedule(trainer.last_step - 1)
            self._schedule = lambda step: last_rate
        self._acting = during and self._at_work(during, begin)
        self._usual = set(trainer.stops(self.step, also_at))
        if config.eval_start and not self.evaluations and self.step == self.first_step:
            self._usual.add(self.step)
        self._stops = sorted(self._usual | self._actions)

    def _at_work(self, during: During, begin: Checkpoint) -> Acting:
        trainer = self.trainer
        scene = Scene(
            model=self.model,
            optimizer=self.optimizer,
            example=trainer.data.train.batch(slice(0, 1))[0],
            level=self.level,
            start=self.first_step,
            last_step=trainer.last_step,
            steps_per_epoch=trainer.steps_per_epoch,
            train=trainer.config,
            prune=during.prune,
            learning_rate=self._schedule,
            seed=trainer.seed,
            choose=during.choose,
        )
        return Acting(during.procedure, scene, self.masks, begin.procedure, self.step)

    @property
    def _actions(self) -> set[int]:
        """Steps after which a procedure still has to act."""
        return self._acting.steps if self._acting else set()

    @property
    def evaluations_left(self) -> int:
        """Evaluations to come."""
        if self.trainer.config.eval_actions:
            return len(self._stops) + len(self._actions)
        return len(self._usual.intersection(self._stops))

    @property
    def settled(self) -> bool:
        """Whether all that belongs to this step is done: else it is evaluated once more."""
        return self._stops[:1] != [self.step]

    @property
    def findings(self) -> Findings:
        """What the level's procedure measured."""
        return self._acting.findings() if self._acting else {}

    def next_segment(self) -> Segment | None:
        """Training up to the next evaluation or action, and that evaluation; None at the end."""
        if not self._stops:
            return None
        stop, data = self._stops[0], self.trainer.data
        if stop in self._actions and not self.trainer.config.eval_actions:
            return self._segment(stop, ())
        return self._segment(stop, (self.trainer.train_sample, data.val, data.test))

    def last_evaluation(self) -> Segment:
        """The evaluation on all training images, without a step."""
        return self._segment(self.step, (self.trainer.data.train,))

    def _segment(self, stop: int, examples: tuple[Examples, ...]) -> Segment:
        return Segment(
            self.engine,
            self.model,
            self.masks,
            self.optimizer,
            self._batches,
            self._schedule,
            self.step,
            stop,
            examples,
            derive(self.trainer.seed, "noise", self.level, self.step),
            self.trainer.config.precision,
            self.trainer.config.clip_norm,
            self._steps_before,
        )

    def note(self, outcome: Outcome) -> Evaluation | None:
        """The segment asked for is done; a procedure may act on it. None if nothing was evaluated.

        Raises DivergedError when a loss is no finite number.
        """
        self.step = self._stops.pop(0)
        self.seconds += outcome.seconds
        evaluation = self._evaluation(*outcome.metrics) if outcome.metrics else None
        if evaluation is not None:
            self.evaluations.append(evaluation)
        if self._acting and self.step in self._actions:
            self.masks = self._acting.act(self.step, self.masks)
            if self.trainer.config.eval_actions or self.step in self._usual:
                self._stops.insert(0, self.step)
        return evaluation

    def _evaluation(self, train: Metrics, val: Metrics, test: Metrics) -> Evaluation:
        for name, loss in (("training", train.loss), ("validation", val.loss)):
            if not math.isfinite(loss):
                raise DivergedError(
                    f"{name} loss is {loss} at level {self.level}, step {self.step}: training "
                    f"diverged; try a train.lr below {self.trainer.config.lr:g}"
                )
        return Evaluation(
            self.step,
            train.loss,
            train.accuracy,
            val.loss,
            val.accuracy,
            test.loss,
            test.accuracy,
            self.masks.weights_remaining,
        )

    def checkpoint(self) -> Checkpoint:
        """A copy of everything at this step."""
        return Checkpoint(
            self.level,
            self.first_step,
            self.step,
            snapshot(self.model),
            copy.deepcopy(self.optimizer.state_dict()),
            list(self.evaluations),
            self.seconds,
            *(self._of_procedure(self._acting) if self._acting else ()),
        )

    def _of_procedure(self, acting: Acting) -> tuple[State, State]:
        """Copies of the masks and of what the procedure remembers."""
        states = dict(self.masks), acting.state
        masks, own = ({name: t.detach().cpu().clone() for name, t in s.items()} for s in states)
        return masks, own
