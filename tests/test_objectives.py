"""Objectives: the loss that is lowered, and what a level says of the network."""

from collections import OrderedDict

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lottery.data.images import Examples, Splits
from lottery.objectives import CLASSIFICATION, Metrics
from lottery.tickets import Level, Memory, find_tickets
from lottery.tickets.imp import RewindConfig
from lottery.training.config import TrainConfig


class Regression:
    """Squares of what the label says, counted in images seen; and a mark for every loss asked."""

    def __init__(self) -> None:
        self.seen: list[int | None] = []

    def loss(self, output, labels, seen=None, scale=(1.0, 1.0)):
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
        CLASSIFICATION.check(torch.zeros(shape), 3, torch.zeros(2, 1, 8, 8))


class Earlier(Memory):
    """Has a level 0 that was trained elsewhere."""

    def __init__(self, level: Level | None) -> None:
        super().__init__()
        self._level = level

    def load_level(self, level, initial):
        return None if level else self._level


def tickets(objective, *, levels, duration, mode, to="0it", memory=None):
    """A small network is trained for the objective; its levels."""
    images = torch.rand(20, 4, generator=torch.Generator().manual_seed(0))
    examples = Examples(images, (images.sum(1) > 2).long(), objective)
    model = nn.Sequential(OrderedDict(fc1=nn.Linear(4, 8), relu=nn.ReLU(), fc2=nn.Linear(8, 1)))
    found = find_tickets(
        model,
        Splits(examples, examples, examples, 2),
        levels=levels,
        train=TrainConfig(duration=duration, batch_size=5, eval_every="2it", lr=0.05),
        rewind=RewindConfig(mode=mode, to=to),
        memory=memory,
    )
    return list(found), model, examples


@pytest.mark.parametrize(
    ("mode", "first_of_levels"), [("weights", [0, 0, 0]), ("none", [0, 20, 40])]
)
def test_an_objective_of_ones_own_trains_and_knows_how_often_it_was_trained(mode, first_of_levels):
    objective = Regression()
    levels, model, examples = tickets(objective, levels=2, duration="4it", mode=mode)
    starts = [seen for seen in objective.seen if seen is not None]
    assert starts == [first + 5 * step for first in first_of_levels for step in range(4)]
    assert {level.engine for level in levels} == {"reference"}, "others compute cross-entropy"
    with torch.no_grad():
        expected = objective.measure([(model(examples.images), examples.labels)])
    assert levels[-1].test == expected


@pytest.mark.parametrize(
    ("to", "first_of_levels"), [("0it", [50, 70]), ("1it", [50, 65]), ("3it", [50, 55])]
)
def test_what_an_unpruned_network_was_trained_for_elsewhere_counts_in_full(to, first_of_levels):
    """10 steps of it, though a level of its own has 4, of which some are gone back to."""
    (unpruned,), _, _ = tickets(Regression(), levels=0, duration="10it", mode="none")
    objective = Regression()
    mode, memory = "learning_rate", Earlier(unpruned)
    tickets(objective, levels=2, duration="4it", mode=mode, to=to, memory=memory)
    starts = [seen for seen in objective.seen if seen is not None]
    steps = range(4 - int(to.removesuffix("it")))
    assert starts == [first + 5 * step for first in first_of_levels for step in steps]
