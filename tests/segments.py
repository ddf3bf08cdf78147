"""Running segments by hand, as tests of what lies above and below them need."""

from collections.abc import Callable, Generator, Iterator
from typing import TypeVar

from torch import nn
from torch.optim import Optimizer

from lottery.data.batches import Batches
from lottery.pruning.masks import Masks
from lottery.training import engines, loop
from lottery.training.level import Checkpoint, LevelRun
from lottery.training.segment import Outcome, Segment

Returned = TypeVar("Returned")


def train_steps(
    model: nn.Module,
    masks: Masks,
    optimizer: Optimizer,
    batches: Batches,
    learning_rate: Callable[[int], float],
    start: int,
    stop: int,
    clip_norm: float | None = None,
) -> None:
    """Train on the reference engine without evaluating."""
    work = (model, masks, optimizer, batches, learning_rate, start, stop)
    loop.train_steps(Segment("reference", *work, clip_norm=clip_norm))


def checkpoints(run: LevelRun) -> Iterator[Checkpoint]:
    """Train a level; every checkpoint that can be taken on the way."""
    while segment := run.next_segment():
        run.note(engines.run([segment])[0])
        yield run.checkpoint()


def finish(steps: Generator[Segment, Outcome, Returned]) -> Returned:
    """Run the segments that a generator asks for; what it returns in the end."""
    segment = next(steps)
    while True:
        try:
            segment = steps.send(engines.run([segment])[0])
        except StopIteration as end:
            return end.value
