"""The reference engine: the shortest honest training loop. Faster engines are tested against it."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import SGD, Adam, Optimizer

from lottery.data.batches import Batches
from lottery.data.images import Examples
from lottery.errors import ConfigError
from lottery.pruning.masks import Masks
from lottery.training.config import TrainConfig


def make_optimizer(model: nn.Module, config: TrainConfig) -> Optimizer:
    """A fresh optimiser over all parameters of `model`."""
    parameters = list(model.parameters())
    lr, decay = config.lr, config.weight_decay
    if config.optimizer == "sgd":
        return SGD(parameters, lr, config.momentum, weight_decay=decay, fused=True)
    return Adam(parameters, lr, weight_decay=decay, fused=True)


def train_steps(
    model: nn.Module,
    masks: Masks,
    optimizer: Optimizer,
    batches: Batches,
    learning_rate: Callable[[int], float],
    start: int,
    stop: int,
) -> None:
    """Train `model` in place for steps start .. stop − 1 with cross-entropy."""
    model.train()
    for step, (images, labels) in enumerate(batches.steps(start, stop), start):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step)
        loss = F.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        masks.apply_to_gradients(model)
        optimizer.step()


@dataclass(frozen=True)
class Metrics:
    """Mean loss and accuracy (a fraction) over a set of examples."""

    loss: float
    accuracy: float


EVALUATION_VALUES = 784_000
"""Input values per batch of an evaluation: 1,000 MNIST images, 255 of CIFAR-10. Larger batches of
convolutions fall out of a CPU's cache and take nearly twice as long."""


@torch.no_grad()
def evaluate(model: nn.Module, examples: Examples, batch_size: int | None = None) -> Metrics:
    """Cross-entropy and accuracy of `model` in eval mode over all of `examples`."""
    batch_size = batch_size or max(1, EVALUATION_VALUES // examples.images[0].numel())
    model.eval()
    loss = torch.zeros((), dtype=torch.float64, device=examples.labels.device)
    correct = torch.zeros((), dtype=torch.int64, device=examples.labels.device)
    for start in range(0, len(examples), batch_size):
        images, labels = examples.batch(slice(start, start + batch_size))
        logits = model(images)
        loss += F.cross_entropy(logits, labels, reduction="sum")
        correct += (logits.argmax(dim=1) == labels).sum()
    return Metrics(float(loss) / len(examples), int(correct) / len(examples))


Engine = Callable[[nn.Module, Masks, Optimizer, Batches, Callable[[int], float], int, int], None]

ENGINES: dict[str, Engine] = {"reference": train_steps}


def choose_engine(name: str) -> str:
    """The engine that "auto" stands for, or `name` if it is one."""
    if name not in ("auto", *ENGINES):
        raise ConfigError("engine", name, ", ".join(("auto", *ENGINES)))
    return "reference" if name == "auto" else name
