"""What networks are trained for: the loss that training lowers, and how well a network does.

An objective belongs to the examples that it is learned from (`Examples.objective`), so that
training, criteria and diagnostics need not know what kind of task they work on.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor
from torch.nn import functional as F

Predictions = Iterable[tuple[Tensor, Tensor]]
"""Batch by batch, what a network puts out and the labels of its input."""


@dataclass(frozen=True)
class Metrics:
    """Mean loss and accuracy (a fraction; `Objective.metric` calls it) over a set of examples."""

    loss: float
    accuracy: float


class Objective(Protocol):
    """A loss and a measure of success."""

    @property
    def metric(self) -> str:
        """What the accuracy of `measure` is called."""
        ...

    def loss(
        self,
        output: Tensor,
        labels: Tensor,
        seen: int | None = None,
        scale: tuple[float, float] = (1.0, 1.0),
    ) -> Tensor:
        """Mean loss of a batch, a scalar.

        seen: images that the network was trained on before, on which a loss may depend; None
        outside of training. scale: width and height of the images that it was shown, as multiples
        of the examples' own; other than 1 where `train.sizes` resizes them.
        """
        ...

    def measure(self, predictions: Predictions) -> Metrics:
        """Loss and accuracy over all of some examples."""
        ...

    def check(self, output: Tensor, classes: int, images: Tensor) -> None:
        """Raise ValueError if no network for so many classes can put this out for these images."""
        ...


class Classification:
    """Cross-entropy and the share of images whose largest logit is that of their class.

    output: logits (batch, classes). labels: int64 class indices (batch,).
    """

    @property
    def metric(self) -> str:
        """Accuracy."""
        return "accuracy"

    def loss(
        self,
        output: Tensor,
        labels: Tensor,
        seen: int | None = None,
        scale: tuple[float, float] = (1.0, 1.0),
    ) -> Tensor:
        """Mean cross-entropy, at all steps and sizes the same."""
        return F.cross_entropy(output, labels)

    def measure(self, predictions: Predictions) -> Metrics:
        """Mean cross-entropy and accuracy; of no examples, an error."""
        loss: Tensor | float = 0.0
        correct: Tensor | int = 0
        total = 0
        for logits, labels in predictions:
            loss = loss + F.cross_entropy(logits, labels, reduction="sum").double()
            correct = correct + (logits.argmax(dim=1) == labels).sum()
            total += len(labels)
        return Metrics(float(loss) / total, int(correct) / total)

    def check(self, output: Tensor, classes: int, images: Tensor) -> None:
        """There has to be a logit for each class."""
        if output.dim() != 2 or output.shape[1] < classes:
            raise ValueError(f"its output is {tuple(output.shape)} for {len(output)} images")


CLASSIFICATION = Classification()


def is_classification(objective: Objective) -> bool:
    """Whether an engine that computes cross-entropy by itself may train for it."""
    return isinstance(objective, Classification)
