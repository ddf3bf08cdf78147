"""Epochs of batches, drawn on the examples' device and addressable by step."""

from collections.abc import Iterator

import torch
from torch import Tensor

from lottery.data.images import Examples
from lottery.errors import ConfigError
from lottery.seeds import generator


class Batches:
    """The order in which training sees its examples: each epoch is one fresh permutation.

    The permutation of an epoch follows from (seed, level, epoch) alone, so the batch of any step
    can be had without those before it. The examples left over when the batch size does not divide
    their number sit an epoch out (others the next time), which makes all steps alike.

    >>> from lottery.data.images import Examples
    >>> examples = Examples(torch.rand(10, 4), torch.arange(10))
    >>> [len(labels) for _, labels in Batches(examples, 4, seed=0).steps(0, 3)]
    [4, 4, 4]
    """

    def __init__(self, examples: Examples, batch_size: int, *, seed: int, level: int = 0) -> None:
        if not 1 <= batch_size <= len(examples):
            raise ConfigError("train.batch_size", batch_size, f"1 to {len(examples)}")
        self.examples = examples
        self.batch_size = batch_size
        self.seed = seed
        self.level = level
        self._latest: tuple[int, Tensor] | None = None  # epoch and its order
        self.steps_per_epoch = len(examples) // batch_size

    def steps(self, start: int, stop: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Input and labels of steps start to stop - 1, counted from the level's first step as 0."""
        for part in self._parts(start, stop):
            for index in part.unbind():
                yield self.examples.batch(index)

    def indices(self, start: int, stop: int) -> Tensor:
        """Which examples those steps see: int64, steps × batch size, on the examples' device."""
        empty = torch.empty((0, self.batch_size), dtype=torch.int64)
        parts = [empty.to(self.examples.labels.device), *self._parts(start, stop)]
        return torch.cat(parts)

    def _parts(self, start: int, stop: int) -> Iterator[Tensor]:
        """The indices, epoch by epoch."""
        while start < stop:
            epoch, first = divmod(start, self.steps_per_epoch)
            last = min(self.steps_per_epoch, first + stop - start)
            order = self._order(epoch)[first * self.batch_size : last * self.batch_size]
            yield order.view(-1, self.batch_size)
            start += last - first

    def _order(self, epoch: int) -> Tensor:
        """Indices of the epoch, drawn on CPU so that every device sees the same order."""
        if self._latest is None or self._latest[0] != epoch:
            chance = generator(self.seed, "data", self.level, epoch)
            order = torch.randperm(len(self.examples), generator=chance)
            self._latest = epoch, order.to(self.examples.labels.device)
        return self._latest[1]
