"""What many tests share: tiny data, tiny networks, and an engine that writes down what it is given.

The three sets of examples differ in size and in class shares, so that mixing them up shows.
"""

import copy
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import settings
from torch import Tensor, nn

from lottery.data.images import Examples, Splits
from lottery.pruning.masks import Masks, State
from lottery.training.config import TrainConfig
from lottery.training.engines import ENGINES
from lottery.training.level import snapshot
from lottery.training.loop import run_reference

# A shell starts jobs in the background with Ctrl-C ignored, which what tests start would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("tests", deadline=None)
settings.load_profile("tests")
"""An example may take long on a machine that does something else."""

torch.set_num_threads(1)
"""On tiny tensors more threads only wait for each other."""


def blobs(total: int, seed: int) -> Examples:
    """`total` noisy points, 6 numbers each, around three centres."""
    chance = torch.Generator().manual_seed(seed)
    centres = torch.randn(3, 6, generator=torch.Generator().manual_seed(0))
    labels = torch.randint(3, (total,), generator=chance)
    return Examples(centres[labels] + torch.randn(total, 6, generator=chance), labels)


@pytest.fixture(scope="session")
def data() -> Splits:
    """50 training points (6 steps of 8 and 2 left over), 13 for validation, 17 for test."""
    return Splits(blobs(50, 1), blobs(13, 2), blobs(17, 3), classes=3)


@pytest.fixture(scope="session")
def quick() -> TrainConfig:
    """12 steps (two epochs), evaluated after 5, 10 and 12."""
    return TrainConfig(duration="2ep", batch_size=8, lr=0.01, eval_every="5it")


def _plain() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 10), nn.ReLU(), nn.Linear(10, 8), nn.ReLU(), nn.Linear(8, 3))


def _noisy() -> nn.Module:
    return nn.Sequential(
        nn.Linear(6, 10),
        nn.BatchNorm1d(10),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Linear(10, 8),
        nn.BatchNorm1d(8),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Linear(8, 3),
    )


class OwnBlock(nn.Module):
    """A part of a user's network, with parameters that are not of a layer."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix = nn.Conv1d(channels, channels, 3, padding=1, groups=2, bias=False)
        self.norm = nn.BatchNorm1d(channels)
        self.scale = nn.Parameter(torch.full((channels, 1), 0.5))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.scale * torch.relu(self.norm(self.mix(x)))


class OwnNetwork(nn.Module):
    """A user's network: nested, one-dimensional convolutions, in no registry."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv1d(1, 4, 3, padding=1)
        self.blocks = nn.ModuleList([OwnBlock(4), OwnBlock(4)])
        self.heads = nn.ModuleDict({"classes": nn.Linear(24, 3)})

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x.unsqueeze(1))
        for block in self.blocks:
            x = block(x)
        return self.heads["classes"](x.flatten(1))


@pytest.fixture(scope="session")
def plain() -> Callable[[], nn.Module]:
    """Makes a network of three linear layers, 164 weights."""
    return _plain


@pytest.fixture(scope="session")
def noisy() -> Callable[[], nn.Module]:
    """Makes the same with batch norm and dropout: state beside the weights, and chance."""
    return _noisy


@pytest.fixture(scope="session")
def own() -> Callable[[], nn.Module]:
    """Makes a user's own network."""
    return OwnNetwork


@dataclass(frozen=True)
class Call:
    """What the engine was given; tensors are copies."""

    level: int
    """Whose data order is used."""
    start: int
    stop: int
    masks: Masks
    before: State
    optimizer: dict[int, Any]
    """The optimiser's state per parameter, by the parameter's number."""
    after: State
    optimizer_after: dict[int, Any]
    rates: list[float]
    images: Tensor


@pytest.fixture
def spy(monkeypatch: pytest.MonkeyPatch) -> list[Call]:
    """The calls of engine "spy", which trains as the reference does."""
    calls: list[Call] = []

    def engine(segments):
        (segment,) = segments
        model, optimizer, batches = segment.model, segment.optimizer, segment.batches
        before, state = snapshot(model), copy.deepcopy(optimizer.state_dict()["state"])
        metrics = run_reference(segments)
        if segment.stop > segment.start:
            calls.append(
                Call(
                    batches.level,
                    segment.start,
                    segment.stop,
                    segment.masks,
                    before,
                    state,
                    snapshot(model),
                    copy.deepcopy(optimizer.state_dict()["state"]),
                    segment.rates,
                    torch.cat([i for i, _ in batches.steps(segment.start, segment.stop)]),
                )
            )
        return metrics

    monkeypatch.setitem(ENGINES, "spy", engine)
    return calls
