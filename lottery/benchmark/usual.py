"""Iterative magnitude pruning with rewinding as it is usually written in PyTorch.

torchvision's MNIST and its transforms, a DataLoader, torch.nn.utils.prune, torch.optim.Adam,
rewinding by hand. It is here to be compared with, and shares nothing with this project's training
but the network, its initial weights and the settings. Steps per epoch are made equal (drop_last),
and it evaluates on fewer images: not on the training set.
"""

import copy
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import prune
from torch.utils.data import DataLoader, random_split
from torchvision import datasets, transforms

from lottery.data.formats import IDX_FILES
from lottery.data.images import Dataset
from lottery.errors import ConfigError
from lottery.init import initialise
from lottery.models import build
from lottery.pruning.masks import prunable
from lottery.study.config import StudyConfig
from lottery.training.config import to_steps

Loader = DataLoader[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class UsualLevel:
    """One level, with what was measured of it."""

    level: int
    seconds: float
    steps: int
    test_accuracy: float


def run_usual(
    config: StudyConfig, root: Path, levels: int, *, seed: int, device: str
) -> Iterator[UsualLevel]:
    """Levels 0 to `levels` of the study's first scheme; data as torchvision keeps it in `root`."""
    torch.manual_seed(seed)
    to_tensor = transforms.ToTensor()
    whole = datasets.MNIST(root, train=True, transform=to_tensor)
    test_set = datasets.MNIST(root, train=False, transform=to_tensor)
    train_set, val_set = random_split(whole, [len(whole) - config.validation, config.validation])
    size = config.train.batch_size
    train_loader: Loader = DataLoader(train_set, batch_size=size, shuffle=True, drop_last=True)
    val_loader: Loader = DataLoader(val_set, batch_size=1000)
    test_loader: Loader = DataLoader(test_set, batch_size=1000)
    steps = to_steps("train.duration", config.train.duration, len(train_loader))
    every = to_steps("train.eval_every", config.train.eval_every, len(train_loader))

    model = initialise(build(config.model, seed), config.inits[0], seed).to(device)
    initial = copy.deepcopy(model.state_dict())
    rates = {name: config.prune.rates[kind] for name, kind in prunable(model).items()}
    for level in range(levels + 1):
        started = time.perf_counter()
        if level > 0:
            for name, rate in rates.items():
                layer = model.get_submodule(name.removesuffix(".weight"))
                prune.l1_unstructured(layer, "weight", amount=rate)
            rewind(model, initial)
        optimizer = torch.optim.Adam(model.parameters(), lr=config.train.lr)
        step = 0
        while step < steps:
            for images, labels in train_loader:
                train_step(model, optimizer, images.to(device), labels.to(device))
                step += 1
                if step % every == 0 or step == steps:
                    evaluate(model, val_loader, device)
                    _, accuracy = evaluate(model, test_loader, device)
                if step == steps:
                    break
        yield UsualLevel(level, time.perf_counter() - started, steps, accuracy)


def train_step(
    model: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor
) -> None:
    """One step."""
    model.train()
    optimizer.zero_grad()
    loss = F.cross_entropy(model(images), labels)
    loss.backward()
    optimizer.step()


@torch.no_grad()
def evaluate(model: nn.Module, loader: Loader, device: str) -> tuple[float, float]:
    """Mean loss and accuracy."""
    model.eval()
    loss, correct, total = 0.0, 0, 0
    for images, labels in loader:
        images, labels = images.to(device), labels.to(device)
        logits = model(images)
        loss += F.cross_entropy(logits, labels, reduction="sum").item()
        correct += (logits.argmax(dim=1) == labels).sum().item()
        total += len(labels)
    return loss / total, correct / total


@torch.no_grad()
def rewind(model: nn.Module, initial: dict[str, Tensor]) -> None:
    """Set all parameters to their initial values; the masks stay."""
    for name, parameter in model.named_parameters():
        parameter.copy_(initial[name.removesuffix("_orig")])


def save_as_mnist(dataset: Dataset, root: Path) -> None:
    """Write grey images as the IDX files that torchvision's MNIST reads in `root`."""
    folder = root / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for part, examples in (("train", dataset.train), ("test", dataset.test)):
        if examples.images.dtype != torch.uint8 or examples.images.dim() != 3:
            raise ConfigError("study", dataset.name, "a study of grey images of bytes")
        (folder / IDX_FILES[f"{part}_images"]).write_bytes(as_idx(examples.images))
        (folder / IDX_FILES[f"{part}_labels"]).write_bytes(as_idx(examples.labels.to(torch.uint8)))


def as_idx(array: Tensor) -> bytes:
    """An IDX file of bytes, which `formats.parse_idx` reads."""
    shape = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.dim()]) + shape + array.cpu().contiguous().numpy().tobytes()
