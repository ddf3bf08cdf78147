"""Objectives: the loss that is lowered, and what a level says of the network."""

from collections import OrderedDict

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lottery.data.images import Examples, Splits
from lottery.objectives import CLASSIFICATION, Metrics
from lottery.pruning.schedule import PruneConfig
from lottery.tickets import find_tickets
from lottery.tickets.imp import RewindConfig
from lottery.training.config import TrainConfig


class Regression:
    """Squares of what the label says, counted in images seen; and a mark for every loss asked."""

    def __init__(self) -> None:
        self.seen: list[int | None] = []

    def loss(self, output, labels, seen=None):
        self.seen.append(seen)
        return (output[:, 0] - labels).square().mean()

    def measure(self, predictions):
        errors = torch.cat([(output[:, 0] - labels).abs() for output, labels in predictions])
        return Metrics(float(errors.square().mean()), float((errors < 0.5).float().mean()))

    def check(self, output, classes):
        pass


def test_accuracy_and_loss_do_not_depend_on_how_examples_are_batched():
    logits, labels = torch.randn(10, 3), torch.arange(10) % 3
    whole = CLASSIFICATION.measure([(logits, labels)])
    parts = CLASSIFICATION.measure(zip(logits.split(3), labels.split(3), strict=True))
    assert whole.accuracy == parts.accuracy == int((logits.argmax(1) == labels).sum()) / 10
    assert whole.loss == pytest.approx(float(F.cross_entropy(logits, labels)), rel=1e-6)
    assert parts.loss == pytest.approx(whole.loss, rel=1e-6)


@pytest.mark.parametrize("shape", [(2, 2), (2, 3, 1), (6,)])
def test_a_network_without_a_logit_per_class_is_refused(shape):
    with pytest.raises(ValueError, match="its output is"):
        CLASSIFICATION.check(torch.zeros(shape), 3)


@pytest.mark.parametrize(
    ("mode", "first_of_levels"), [("weights", [0, 0, 0]), ("none", [0, 20, 40])]
)
def test_an_objective_of_ones_own_trains_and_knows_how_often_it_was_trained(mode, first_of_levels):
    objective = Regression()
    images = torch.rand(20, 4, generator=torch.Generator().manual_seed(0))
    examples = Examples(images, (images.sum(1) > 2).long(), objective)
    data = Splits(examples, examples, examples, 2)
    model = nn.Sequential(OrderedDict(fc1=nn.Linear(4, 8), relu=nn.ReLU(), fc2=nn.Linear(8, 1)))
    levels = list(
        find_tickets(
            model,
            data,
            levels=2,
            train=TrainConfig(duration="4it", batch_size=5, eval_every="2it", lr=0.05),
            prune=PruneConfig(),
            rewind=RewindConfig(mode=mode),
        )
    )
    starts = [seen for seen in objective.seen if seen is not None]
    assert starts == [first + 5 * step for first in first_of_levels for step in range(4)]
    assert {level.engine for level in levels} == {"reference"}, "others compute cross-entropy"
    with torch.no_grad():
        expected = objective.measure([(model(images), examples.labels)])
    assert levels[-1].test == expected
