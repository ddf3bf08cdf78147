"""The record of one finished level, and training one from a starting point to its record."""

import copy
import functools
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, ParamSpec

from torch import nn

from lottery.diagnostics import Quantities, Recorder
from lottery.objectives import Metrics
from lottery.pruning.masks import Masks, State, prunable
from lottery.tickets.size import Size
from lottery.training import engines
from lottery.training.level import Checkpoint, Evaluation, LevelRun, LevelTrainer, snapshot
from lottery.training.loop import make_optimizer
from lottery.training.procedures.base import During
from lottery.training.segment import Outcome, Segment


@dataclass(frozen=True)
class Level:
    """A network trained at one sparsity. Tensors are copies on the CPU."""

    level: int
    masks: Masks
    """At the level's end."""
    kinds: dict[str, str]
    """Layer kind of each masked parameter: conv, linear or output; norm where it is of none."""
    initial: State
    """Weights at initialisation, before masks: this level's own draw where it has one, and rescaled
    where the level's were."""
    trained: State
    """Weights at the level's last step; pruned ones are zero."""
    evaluations: list[Evaluation]
    train: Metrics
    """Over all training images at the last step; `val` and `test` likewise."""
    val: Metrics
    test: Metrics
    first_step: int
    seconds: float
    engine: str
    device: str
    diagnostics: Quantities = field(default_factory=dict)
    """Values by quantity and layer, if they were asked for."""
    size: Size | None = None
    """What is left when what is pruned is removed, where whole filters are pruned."""

    @property
    def weights_remaining(self) -> float:
        """Fraction of prunable weights kept."""
        return self.masks.weights_remaining

    @property
    def early_stop(self) -> Evaluation:
        """The first evaluation of least validation loss (Frankle & Carbin 2019, read off after).

        Of those of the network that the level ends with, where masks change on the way, and after
        a step at least.
        """
        end = self.evaluations[-1].weights_remaining
        trained = [e for e in self.evaluations if e.step > self.first_step]
        candidates = [e for e in trained if e.weights_remaining in (end, None)]
        return min(candidates, key=lambda evaluation: evaluation.val_loss)

    @property
    def steps(self) -> int:
        """Steps trained in this level."""
        return self.evaluations[-1].step - self.first_step

    def __repr__(self) -> str:
        return (
            f"Level {self.level}: {self.weights_remaining:.2%} of weights, "
            f"test accuracy {self.test.accuracy:.2%}"
        )


class Memory:
    """What a cell needs to go on: finished levels and checkpoints. This one ends with the process,
    and keeps no levels; the study's store keeps all of it on disk.
    """

    def __init__(self) -> None:
        self._checkpoint: Checkpoint | None = None
        self._rewind_point: Checkpoint | None = None

    def load_level(self, level: int, initial: State) -> Level | None:
        """A level finished earlier."""
        return None

    def save_level(self, level: Level) -> None:
        """Keep a finished level."""

    def load_checkpoint(self) -> Checkpoint | None:
        """The last point saved: within an unfinished level, or at the end of a finished one."""
        return self._checkpoint

    def save_checkpoint(self, take: Callable[[], Checkpoint], *, must: bool) -> None:
        """Take a point to go on from and keep it; unless it must be, only if worth the time."""
        self._checkpoint = take()

    def load_rewind_point(self) -> Checkpoint | None:
        """The point to which later levels are rewound, if training has passed it."""
        return self._rewind_point

    def save_rewind_point(self, checkpoint: Checkpoint) -> None:
        """Keep the point to which later levels are rewound."""
        self._rewind_point = checkpoint


@dataclass(frozen=True)
class Start:
    """Where a level begins: weights, masks, step, and the optimiser's state unless fresh."""

    level: int
    masks: Masks
    weights: State
    initial: State
    step: int = 0
    optimizer: dict[str, Any] = field(default_factory=dict)
    hold_rate: bool = False
    during: During | None = None
    """What changes the network on the way."""
    steps_before: int = 0
    """Steps that the weights were trained for before the level's step 0."""


Watch = Callable[[Start, Evaluation], None]
"""Told of each evaluation, and of the start of the level it belongs to, with the masks in force."""


def ignore(start: Start, evaluation: Evaluation) -> None:
    """A watch that does not look."""


Steps = Generator[Segment | Level, Outcome, None]
"""Yields segments, each of which is to be answered with its outcome, and levels, which are not."""

P = ParamSpec("P")


class Walk(Iterator[Level]):
    """A cell's levels, as they are finished.

    As an iterator it trains each level by itself. Whoever has several walks can instead `advance`
    them side by side and run the segments that they ask for together.
    """

    def __init__(self, steps: Steps) -> None:
        self._steps = steps

    def advance(self, outcome: Outcome | None = None) -> Segment | Level | None:
        """The next segment to run, or finished level; None at the end.

        outcome: of the segment that was returned last, nothing after a level.
        """
        try:
            return next(self._steps) if outcome is None else self._steps.send(outcome)
        except StopIteration:
            return None

    def __next__(self) -> Level:
        item = self.advance()
        while isinstance(item, Segment):
            item = self.advance(engines.run([item])[0])
        if item is None:
            raise StopIteration
        return item


def walk(function: Callable[P, Steps]) -> Callable[P, Walk]:
    """Make a generator of segments and levels a function that returns a `Walk`."""

    @functools.wraps(function)
    def start(*args: P.args, **kwargs: P.kwargs) -> Walk:
        return Walk(function(*args, **kwargs))

    return start


def train_to_end(
    model: nn.Module,
    trainer: LevelTrainer,
    start: Start,
    memory: Memory,
    watch: Watch,
    *,
    rewind_step: int = 0,
    keep_end: bool = False,
    recorder: Recorder | None = None,
) -> Generator[Segment, Outcome, Level]:
    """Train one level, from its last checkpoint in `memory` if there is one, and record it.

    rewind_step: save the rewind point there (level 0). keep_end: save the final point too.
    """
    device = trainer.data.train.device
    masks = start.masks.to(device)
    begin = memory.load_checkpoint()
    if begin is None or begin.level != start.level:
        begin = Checkpoint(start.level, start.step, start.step, start.weights, start.optimizer)
    told = start
    if begin.masks is not None:
        masks = Masks(begin.masks).to(device)
        told = replace(start, masks=masks)
    optimizer = make_optimizer(model, trainer.config)
    model.load_state_dict(begin.model)
    if begin.optimizer:
        # Torch takes the tensors it is given: training would overwrite the saved point.
        optimizer.load_state_dict(copy.deepcopy(begin.optimizer))
    masks.apply(model, optimizer)
    run = LevelRun(
        trainer,
        model,
        masks,
        optimizer,
        begin,
        also_at=rewind_step,
        hold_rate=start.hold_rate,
        during=start.during,
        steps_before=start.steps_before,
    )
    while segment := run.next_segment():
        evaluation = run.note((yield segment))
        if evaluation is not None:
            watch(told, evaluation)
        if evaluation is None or not run.settled:  # a procedure has acted
            told = replace(start, masks=run.masks)
        if not run.settled:
            continue
        if run.step == rewind_step:
            memory.save_rewind_point(run.checkpoint())
        memory.save_checkpoint(run.checkpoint, must=keep_end and run.step == trainer.last_step)
    last = (yield run.last_evaluation()).metrics[0]
    end, kinds, trained = run.evaluations[-1], prunable(model, biases=True), snapshot(model)
    diagnostics: Quantities = run.findings
    if recorder:
        recorded = recorder.level(model, run.masks, start.weights, start.initial, trained)
        diagnostics = recorded | diagnostics
    return Level(
        level=start.level,
        masks=run.masks.to("cpu"),
        kinds={name: kinds.get(name, "norm") for name in run.masks},
        initial=start.initial,
        trained=trained,
        evaluations=run.evaluations,
        train=last,
        val=Metrics(end.val_loss, end.val_accuracy),
        test=Metrics(end.test_loss, end.test_accuracy),
        first_step=start.step,
        seconds=run.seconds,
        engine=run.engine,
        device=device.type,
        diagnostics=diagnostics,
    )
