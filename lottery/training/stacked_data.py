"""What replicas of a stack are shown: data held once, and each replica's own order of it."""

from collections.abc import Hashable, Iterator, Sequence
from weakref import ref

import torch
from torch import Tensor

from lottery.data.augmentation import augment
from lottery.data.images import Examples, as_input
from lottery.training.segment import Segment

WINDOW = 1024
"""Steps whose data order is laid out at a time."""


def distinct(sets: Sequence[Examples]) -> tuple[list[Examples], list[int]]:
    """The different ones among sets of examples, and which of them each is."""
    numbers: dict[Examples, int] = {}
    which = [numbers.setdefault(examples, len(numbers)) for examples in sets]
    return list(numbers), which


def on_device(numbers: Sequence[float], device: torch.device) -> Tensor:
    """Numbers as a tensor there, without waiting for what the device still has to do."""
    tensor = torch.tensor(numbers)
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


class StackedBatches:
    """The batches of all replicas, one step after the other, on tensors that stay in place."""

    def __init__(self, segments: Sequence[Segment]) -> None:
        batches = [segment.batches for segment in segments]
        examples, replicas = batches[0].examples, len(batches)
        sets = len(distinct([one.examples for one in batches])[0])
        device = examples.device
        self._replicas, self._device = replicas, device
        self._held: list[ref[Examples]] = []
        self._images = examples.images.new_zeros((sets * len(examples), *examples.images.shape[1:]))
        self._labels = examples.labels.new_zeros(sets * len(examples))
        order, choices = batches[0].drawn(0, 0)
        width = replicas * batches[0].batch_size
        self._order = order.new_zeros((WINDOW, width))
        self._choices = choices.new_zeros((WINDOW, width, choices.shape[2]))
        self._rates = torch.zeros(WINDOW, device=device)
        self._at = torch.zeros(1, dtype=torch.int64, device=device)
        self.rate = torch.zeros((), device=device)
        """Learning rate of the step of the latest batch."""

    def windows(self, segments: Sequence[Segment]) -> Iterator[int]:
        """Lay out the steps of segments, a window at a time; the number of steps in each."""
        self._hold(segments)
        rates = on_device(segments[0].rates, self._device)
        for first, order, choices in self._drawn(segments):
            steps = len(order)
            self._order[:steps] = order
            self._choices[:steps] = choices
            self._rates[:steps] = rates[first : first + steps]
            self._at.zero_()
            yield steps

    def next(self) -> tuple[Tensor, Tensor]:
        """Inputs (replicas × batch × ...) and labels of the next step in the window.

        All on the device, so that a captured call moves on by itself.
        """
        index = self._order.index_select(0, self._at).flatten()
        choices = self._choices.index_select(0, self._at).flatten(0, 1)
        torch.index_select(self._rates, 0, self._at, out=self.rate.view(1))
        self._at.add_(1)
        images = augment(as_input(self._images.index_select(0, index)), choices)
        labels = self._labels.index_select(0, index)
        return images.unflatten(0, (self._replicas, -1)), labels.view(self._replicas, -1)

    def _hold(self, segments: Sequence[Segment]) -> None:
        """Have the replicas' training data, each set once."""
        held, _ = distinct([segment.batches.examples for segment in segments])
        if [known() for known in self._held] == held:
            return
        self._held = []
        parts = zip(self._images.chunk(len(held)), self._labels.chunk(len(held)), strict=True)
        for examples, (images, labels) in zip(held, parts, strict=True):
            images.copy_(examples.images)
            labels.copy_(examples.labels)
        self._held = [ref(examples) for examples in held]

    def _drawn(self, segments: Sequence[Segment]) -> Iterator[tuple[int, Tensor, Tensor]]:
        """Each window's first step; where the images of its steps are (steps × all images), and
        the choices of how they are changed.
        """
        start, stop = segments[0].start, segments[0].stop
        held, which = distinct([segment.batches.examples for segment in segments])
        drawn: dict[Hashable, tuple[Tensor, Tensor]] = {}
        addresses = []
        for segment in segments:
            address = segment.batches.seed, segment.batches.level
            addresses.append(address)
            if address not in drawn:
                drawn[address] = segment.batches.drawn(start, stop)
        known = list(drawn)
        chosen = on_device([known.index(address) for address in addresses], self._device)
        offsets = on_device(which, self._device)[:, None, None] * len(held[0])
        orders, choices = (torch.stack(of_each) for of_each in zip(*drawn.values(), strict=True))
        for first in range(0, stop - start, WINDOW):
            window = slice(first, first + WINDOW)
            order = orders[:, window].index_select(0, chosen) + offsets
            choice = choices[:, window].index_select(0, chosen)
            yield first, order.transpose(0, 1).flatten(1), choice.transpose(0, 1).flatten(1, 2)
