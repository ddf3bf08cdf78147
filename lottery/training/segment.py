"""The work of an engine: training from one evaluation to the next, and that evaluation."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import nn
from torch.optim import Optimizer

from lottery.data.batches import Batches
from lottery.data.images import Examples
from lottery.objectives import Metrics
from lottery.pruning.masks import Masks


@dataclass(frozen=True)
class Segment:
    """Steps start .. stop − 1 of a level, after which the network is evaluated.

    An engine changes `model` and `optimizer` in place; what masks prune is zero in both before and
    after. With start = stop there is only the evaluation.
    """

    engine: str
    """Name of the engine to run it on."""
    model: nn.Module
    masks: Masks
    """On the model's device, already applied."""
    optimizer: Optimizer
    batches: Batches
    learning_rate: Callable[[int], float]
    """Rate of the update from a step to the next."""
    start: int
    stop: int
    examples: tuple[Examples, ...] = ()
    """Sets to evaluate on."""
    noise: int = 0
    """Seed of dropout and its like."""
    precision: str = "float32"
    """float32, or bfloat16 for matrix products and convolutions."""
    clip_norm: float | None = None
    """Norm that no step's gradient exceeds."""
    steps_before: int = 0
    """Steps that the weights were trained for before the level's step 0."""

    @property
    def seen(self) -> int:
        """Images that the weights were trained on before the segment, in batches like its own."""
        return (self.steps_before + self.start) * self.batches.batch_size

    @property
    def rates(self) -> list[float]:
        """The learning rate of each step."""
        return [self.learning_rate(step) for step in range(self.start, self.stop)]


@dataclass(frozen=True)
class Outcome:
    """What an engine found out: metrics on each set of examples, and how long it all took."""

    metrics: list[Metrics]
    seconds: float


Engine = Callable[[Sequence[Segment]], list[list[Metrics]]]
"""Works off segments, together if it can; metrics of each segment on each of its sets."""
