"""Labelled images as tensors: data sets by name, a validation split, batches by index."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from lottery.data import sources
from lottery.errors import ConfigError, DataError
from lottery.objectives import CLASSIFICATION, Objective
from lottery.registry import Registry
from lottery.seeds import generator


@dataclass(frozen=True, eq=False)
class Examples:
    """Images and their labels, on one device.

    Raises DataError when the tensors do not fit each other or have no meaning as images.
    """

    images: Tensor
    """uint8 pixels, N×H×W or N×H×W×C; or any float tensor N×..., which is used as it is."""
    labels: Tensor
    """int64 class indices, N."""
    objective: Objective = CLASSIFICATION
    """What a network learns from them: to tell their classes."""

    def __post_init__(self) -> None:
        """Refuse what would fail, or train on nonsense, much later."""
        images, labels = self.images, self.labels
        self._check_labels()
        if images.dtype == torch.uint8:
            if images.dim() not in (3, 4):
                raise DataError(f"images are {form(images)}; uint8 needs N×H×W or N×H×W×C")
        elif not images.is_floating_point():
            raise DataError(f"images are {form(images)}; needed: uint8 or a float type")
        if images.dim() == 0 or len(images) != len(labels):
            raise DataError(f"images are {form(images)} but there are {len(labels)} labels")

    def _check_labels(self) -> None:
        if self.labels.dtype != torch.int64 or self.labels.dim() != 1:
            raise DataError(f"labels are {form(self.labels)}; needed: one dimension of int64")

    def __len__(self) -> int:
        """Number of examples."""
        return len(self.labels)

    def check_classes(self, what: str, classes: int) -> None:
        """Raise DataError for labels that a network of `classes` outputs cannot predict.

        what: what the examples are, such as "mnist has training", for the message.
        """
        low, high = (int(label) for label in self.labels.aminmax())
        if low < 0 or high >= classes:
            raise DataError(
                f"{what} labels from {low} to {high} but {classes} classes: 0 to {classes - 1}"
            )

    @property
    def device(self) -> torch.device:
        """Where the examples are."""
        return self.labels.device

    def to(self, device: torch.device | str) -> Examples:
        """The same examples on `device`."""
        images, labels = self.images.to(device), self.labels.to(device)
        return dataclasses.replace(self, images=images, labels=labels)

    def subset(self, index: Tensor) -> Examples:
        """The examples at `index` (int64, on any device), in its order."""
        images, labels = self._at(index.to(self.device))
        return dataclasses.replace(self, images=images, labels=labels)

    def batch(self, index: Tensor | slice) -> tuple[Tensor, Tensor]:
        """Network input and labels of the examples at `index` (int64, on the same device).

        Pixels become float32 from 0 to 1, with no further normalisation, and are laid out
        B×1×H×W or B×C×H×W, in channels-last memory. Float images are left alone.
        """
        images, labels = self._at(index)
        return as_input(images), labels

    def _at(self, index: Tensor | slice) -> tuple[Tensor, Tensor]:
        if isinstance(index, slice):
            return self.images[index], self.labels[index]
        # On CPU ten times as fast as images[index] for a batch.
        return self.images.index_select(0, index), self.labels.index_select(0, index)


def as_input(images: Tensor) -> Tensor:
    """What a network is shown of some of an `Examples`' images; see `Examples.batch`."""
    if images.dtype != torch.uint8:
        return images
    images = images.float().div_(255)
    if images.dim() == 3:
        images = images.unsqueeze(-1)
    # Convolutions on CPUs are faster on channels-last memory, so permuting is enough. That of a
    # single channel is told by its strides alone: in bfloat16 LeNet-5 takes half as long with them.
    return images.permute(0, 3, 1, 2)


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set as published: training and test examples, and perhaps validation examples.

    Raises DataError when a label is not one of the classes.
    """

    name: str
    train: Examples
    test: Examples
    classes: int
    """Labels are 0 to classes - 1."""
    sha256: dict[str, str] = field(default_factory=dict)
    """Hash of each array's values in C order, for the record; `load` computes what is not given."""
    val: Examples | None = None
    """Validation examples, where the data set comes with some: `split` then draws none."""

    def __post_init__(self) -> None:
        """Refuse what a network of `classes` outputs cannot learn or predict."""
        for part, examples in self.parts.items():
            what = {"train": "training", "val": "validation"}.get(part, part)
            if len(examples) == 0:
                raise DataError(f"{self.name} has no {what} examples")
            examples.check_classes(f"{self.name} has {what}", self.classes)

    @property
    def parts(self) -> dict[str, Examples]:
        """Its examples by part: train, test, and val if it has one."""
        parts = {"train": self.train, "test": self.test}
        return parts if self.val is None else parts | {"val": self.val}

    def to(self, device: torch.device | str) -> Dataset:
        """The same data set on `device`."""
        train, test = self.train.to(device), self.test.to(device)
        val = None if self.val is None else self.val.to(device)
        return dataclasses.replace(self, train=train, test=test, val=val)


@dataclass(frozen=True, eq=False)
class Splits:
    """What a run trains on, validates on, and reports on."""

    train: Examples
    val: Examples
    test: Examples
    classes: int

    def to(self, device: torch.device | str) -> Splits:
        """The same splits on `device`."""
        train, val, test = (part.to(device) for part in (self.train, self.val, self.test))
        return Splits(train, val, test, self.classes)


DATASETS = Registry("data", leading=1)
"""Functions data_dir -> Dataset by name."""


@DATASETS.register
def mnist(data_dir: Path) -> Dataset:
    """MNIST: 60,000 + 10,000 handwritten digits, 28×28 (LeCun et al. 1998)."""
    return _published("mnist", data_dir)


@DATASETS.register
def cifar10(data_dir: Path) -> Dataset:
    """CIFAR-10: 50,000 + 10,000 small photographs in ten classes, 32×32 RGB (Krizhevsky 2009)."""
    return _published("cifar10", data_dir)


def _published(name: str, directory: Path) -> Dataset:
    arrays = sources.arrays(name, directory)
    train, test = (
        Examples(arrays[f"{part}_images"], arrays[f"{part}_labels"].long())
        for part in ("train", "test")
    )
    sha256 = {key: digest for key, (_, digest) in sources.PUBLISHED[name].arrays.items()}
    return Dataset(name, train, test, classes=10, sha256=sha256)


def load(spec: str, data_dir: str | Path | None = None) -> Dataset:
    """A data set by name (`mnist`), or by reference to one's own function (`module:function`).

    The function is called with the data folder (see `sources.data_dir`) and the spec's options.
    Raises ConfigError for an unknown name and DataError for data that cannot be had.
    """
    dataset = DATASETS.resolve(spec)(sources.data_dir(data_dir))
    if not isinstance(dataset, Dataset):
        raise ConfigError("data", spec, "a function that returns a lottery.data.Dataset")
    return dataset if dataset.sha256 else dataclasses.replace(dataset, sha256=_hashes(dataset))


def split(
    dataset: Dataset, validation: int = 5000, *, seed: int, stratified: bool = True
) -> Splits:
    """Hold `validation` training examples out; the test examples stay as they are.

    A stratified split holds the training set's class proportions, rounded by largest remainder
    (ties to the lower class) so that exactly `validation` come out; otherwise, and where an image
    has boxes of any classes, the draw is uniform. Either way it depends on nothing but the data and
    `seed`. Raises ConfigError unless 1 <= validation < number of training examples, and DataError
    where a part can tell nothing, as images without boxes. A data set with validation examples of
    its own is split as it is, for every seed alike, whatever `validation` says.
    """
    if dataset.val is not None:
        return Splits(dataset.train, dataset.val, dataset.test, dataset.classes)
    total = len(dataset.train)
    if not 1 <= validation < total:
        raise ConfigError("validation", validation, f"1 to {total - 1}")
    order = torch.randperm(total, generator=generator(seed, "split"))
    if stratified and dataset.train.labels.dim() == 1:
        labels = dataset.train.labels.cpu()[order]
        quotas = _largest_remainder(labels.bincount(minlength=dataset.classes), validation)
        chosen = [order[labels == label][:quota] for label, quota in enumerate(quotas)]
        held_out = torch.cat(chosen)
    else:
        held_out = order[:validation]
    is_val = torch.zeros(total, dtype=torch.bool)
    is_val[held_out] = True
    train, val = (dataset.train.subset(part.nonzero().squeeze(1)) for part in (~is_val, is_val))
    for part, kept in (("training", train), ("validation", val)):
        what = f"{dataset.name}, where seed {seed} holds {validation} examples out, has {part}"
        kept.check_classes(what, dataset.classes)
    return Splits(train, val, dataset.test, dataset.classes)


def _largest_remainder(counts: Tensor, seats: int) -> list[int]:
    """`seats` shared out in proportion to `counts` (Hamilton's method), exactly.

    >>> _largest_remainder(torch.tensor([5, 3, 1]), 4)
    [2, 1, 1]
    """
    shares = counts * seats
    total = counts.sum()
    quotas, remainders = shares // total, shares % total
    first = remainders.argsort(descending=True, stable=True)[: seats - int(quotas.sum())]
    quotas[first] += 1
    return quotas.tolist()


def _hashes(dataset: Dataset) -> dict[str, str]:
    return {
        f"{part}_{kind}": hashlib.sha256(
            getattr(examples, kind).detach().cpu().flatten().view(torch.uint8).numpy().data
        ).hexdigest()
        for part, examples in dataset.parts.items()
        for kind in ("images", "labels")
    }


def form(tensor: Tensor) -> str:
    """Type and shape, for messages."""
    return f"{str(tensor.dtype).removeprefix('torch.')} of shape {tuple(tensor.shape)}"
