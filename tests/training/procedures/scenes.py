"""A network in the middle of a level, for procedures to act on."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lottery.pruning.channels import trace
from lottery.pruning.masks import Masks
from lottery.pruning.schedule import PruneConfig
from lottery.pruning.shrink import unit_masks
from lottery.training.config import TrainConfig
from lottery.training.procedures.base import Scene

EXAMPLE = torch.zeros(1, 1, 4, 4)


def network() -> nn.Module:
    """Two convolutions with batch norm, and a linear layer behind a flatten (U = 16)."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Conv2d(6, 4, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64, 5),
        nn.ReLU(),
        nn.Linear(5, 3),
    )
    norm = model[1]
    for tensor in (norm.weight, norm.bias, norm.running_mean):
        nn.init.normal_(tensor)
    nn.init.uniform_(norm.running_var, 0.5, 2)
    return model


class Scaled(nn.Module):
    """A convolution whose channels are scaled and shifted by the network's own code."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.out = nn.Conv2d(1, 6, 3, padding=1), nn.Linear(6, 3)
        self.scale = nn.Parameter(torch.randn(1, 6, 1, 1))
        self.shift = nn.Parameter(torch.randn(6))

    def channels(self, x: Tensor) -> Tensor:
        """(batch, 1, 4, 4) -> (batch, 6, 4, 4)."""
        return torch.relu(self.conv(x)) * self.scale + self.shift[:, None, None]

    def forward(self, x: Tensor) -> Tensor:
        """(batch, 1, 4, 4) -> (batch, 3)."""
        return self.out(self.channels(x).mean((2, 3)))


def _example(model: nn.Module) -> Tensor:
    return EXAMPLE.to(next(model.parameters()).dtype)


def everything(model: nn.Module) -> Masks:
    """Masks over all that belongs to units, with nothing pruned."""
    graph = trace(model, _example(model))
    return unit_masks(graph, model, torch.zeros(graph.units, dtype=torch.bool))


def scene(
    model: nn.Module,
    lr: float = 0.1,
    momentum: float = 0.0,
    weight_decay: float = 0.01,
    steps: int = 20,
    **prune: Any,
) -> Scene:
    """Level 1 of so many steps, 10 of them an epoch; all is kept until told otherwise."""
    train = TrainConfig(optimizer="sgd", lr=lr, momentum=momentum, weight_decay=weight_decay)
    return Scene(
        model=model,
        optimizer=torch.optim.SGD(model.parameters(), lr, momentum, weight_decay=weight_decay),
        example=_example(model),
        level=1,
        start=0,
        last_step=steps,
        steps_per_epoch=10,
        train=train,
        prune=PruneConfig(**({"criterion": "l2", "linear_rate": 0.4, "conv_rate": 0.5} | prune)),
        learning_rate=lambda step: lr,
        seed=3,
        choose=everything,
    )


def step(at: Scene, seed: int) -> None:
    """Train one step on images drawn by the seed."""
    chance = torch.Generator().manual_seed(seed)
    images = torch.randn(8, 1, 4, 4, generator=chance)
    labels = torch.randint(3, (8,), generator=chance)
    at.optimizer.zero_grad()
    F.cross_entropy(at.model.train()(images), labels).backward()
    at.optimizer.step()
