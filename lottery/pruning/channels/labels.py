"""Labels of channels while a network is followed, and which of them belong together.

Every value of the network has a tensor of int64 labels of its own shape: each element carries the
label of the channel it belongs to, or -1 where no pruning can take it away (a pixel of the image,
a constant). Operations that only move elements are run on the labels themselves. Labels vary along
one dimension of a value at most, its channels: removing some of them leaves a smaller tensor.
"""

from collections.abc import Sequence

import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

NONE = -1
"""The label of elements that belong to no unit."""


def varying(labels: Tensor) -> list[int]:
    """Dimensions along which labels differ."""
    labels = compact(labels)
    return [
        dim
        for dim, size in enumerate(labels.shape)
        if size > 1 and bool((labels != labels.narrow(dim, 0, 1)).any())
    ]


def compact(labels: Tensor) -> Tensor:
    """Labels without their repetitions: dimensions that they were spread over have size 1."""
    for dim, stride in enumerate(labels.stride()):
        if stride == 0:
            labels = labels.narrow(dim, 0, 1)
    return labels


def spread(channels: Tensor, dim: int, shape: Sequence[int]) -> Tensor:
    """Labels of a value of that shape from those of its channels, along `dim`."""
    sizes = [1] * len(shape)
    sizes[dim] = len(channels)
    return channels.view(sizes).expand(shape)


def none(shape: Sequence[int]) -> Tensor:
    """Labels of a value that belongs to no unit."""
    return torch.tensor(NONE).expand(shape)


def channels_of(value: Tensor) -> Tensor:
    """Labels along the channels, shape (channels,); (1,) where all elements have one label."""
    dims = varying(value)
    return (
        value.movedim(dims[0], 0).reshape(value.shape[dims[0]], -1)[:, 0]
        if dims
        else value.flatten()[:1]
    )


class Labels:
    """Labels handed out so far; what is tied, fixed or not to be cut."""

    def __init__(self) -> None:
        self.count = 0
        self._ties: list[Tensor] = []
        self.fixed: list[tuple[Tensor, str]] = []
        """Labels that are never removed, and why."""
        self.refused: list[tuple[Tensor, str]] = []
        """Labels that cannot be removed, and why: an error, unless something else fixes them."""

    def new(self, shape: Sequence[int]) -> Tensor:
        """A label of its own for every element."""
        total = int(torch.Size(shape).numel())
        labels = torch.arange(self.count, self.count + total).view(tuple(shape))
        self.count += total
        return labels

    def tie(self, first: Tensor, second: Tensor) -> None:
        """Labels at the same place go together. Those that meet no label are fixed."""
        first, second = torch.broadcast_tensors(compact(first), compact(second))
        both = (first != NONE) & (second != NONE) & (first != second)
        self._ties.append(torch.stack([first[both], second[both]]).unique(dim=1))
        lone = (first == NONE) != (second == NONE)
        self.fix(
            torch.maximum(first, second)[lone],
            "it meets a channel that cannot be removed (of the images, of padding, of a constant)",
        )

    def fix(self, labels: Tensor, reason: str) -> None:
        """Never remove these."""
        self._note(self.fixed, labels, reason)

    def refuse(self, labels: Tensor, problem: str) -> None:
        """These cannot be removed, and the user should know."""
        self._note(self.refused, labels, problem)

    @staticmethod
    def _note(notes: list[tuple[Tensor, str]], labels: Tensor, text: str) -> None:
        labels = compact(labels)
        labels = labels[labels != NONE].unique()
        if len(labels):
            notes.append((labels, text))

    def settle(self, labels: Tensor, dim: int) -> Tensor:
        """Tie labels over all other dimensions: one for each index of `dim`, shape (size,)."""
        table = labels.movedim(dim, 0).reshape(labels.shape[dim], -1)
        channels = table[:, 0]
        if varying(labels) not in ([], [dim]):
            self.tie(channels[:, None], table)
        return channels

    def components(self) -> Tensor:
        """A number for each label, the same for labels that go together."""
        pairs = torch.cat([torch.empty(2, 0, dtype=torch.int64), *self._ties], dim=1).numpy()
        ones = torch.ones(pairs.shape[1], dtype=torch.bool).numpy()
        links = coo_array((ones, (pairs[0], pairs[1])), shape=(self.count, self.count))
        return torch.from_numpy(connected_components(links, directed=False)[1]).long()
