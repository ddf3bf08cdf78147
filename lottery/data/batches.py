"""Epochs of batches, drawn on the examples' device and addressable by step."""

from collections.abc import Iterator, Sequence

import torch
from torch import Generator, Tensor

from lottery.data import augmentation as of_images
from lottery.data import jitter as of_boxes
from lottery.data.augmentation import Augmentation
from lottery.data.boxes import Scenes
from lottery.data.images import Examples
from lottery.data.jitter import Jitter
from lottery.data.multiscale import resize, size_at
from lottery.errors import ConfigError
from lottery.seeds import generator


class Batches:
    """The order in which training sees its examples: each epoch is one fresh permutation.

    The permutation of an epoch, and how each of its images is changed, follow from (seed, level,
    epoch) alone, so the batch of any step can be had without those before it. The examples left
    over when the batch size does not divide their number sit an epoch out (others the next time),
    which makes all steps alike.

    >>> from lottery.data.images import Examples
    >>> examples = Examples(torch.rand(10, 4), torch.arange(10))
    >>> [len(labels) for _, labels in Batches(examples, 4, seed=0).steps(0, 3)]
    [4, 4, 4]
    """

    def __init__(
        self,
        examples: Examples,
        batch_size: int,
        *,
        seed: int,
        level: int = 0,
        augmentation: Augmentation | Jitter = "none",
        sizes: Sequence[int] | None = None,
    ) -> None:
        """augmentation: "flip_shift" mirrors and moves every image anew, "jitter" and "jitter_flip"
        change images with their boxes; see `augment` of `augmentation` and `jitter`. sizes: sides
        of the images, of which one is drawn every ten steps; see `multiscale`.
        """
        if not 1 <= batch_size <= len(examples):
            raise ConfigError("train.batch_size", batch_size, f"1 to {len(examples)}")
        shown = examples.batch(slice(0, 1))[0].shape[1:]
        moves_boxes = augmentation in ("jitter", "jitter_flip")
        if augmentation != "none" and len(shown) != 3:
            allowed = f"none with inputs of shape {tuple(shown)}, which are no images"
            raise ConfigError("train.augmentation", augmentation, allowed)
        if augmentation != "none" and moves_boxes != isinstance(examples, Scenes):
            allowed = "none or flip_shift without boxes; none, jitter or jitter_flip with them"
            raise ConfigError("train.augmentation", augmentation, allowed)
        if sizes and len(shown) != 3:
            allowed = f"nothing with inputs of shape {tuple(shown)}, which are no images"
            raise ConfigError("train.sizes", list(sizes), allowed)
        self.examples = examples
        self.batch_size = batch_size
        self.seed = seed
        self.level = level
        self.augmentation = augmentation
        self.sizes = sizes
        self._shown = shown
        self._moves_boxes = moves_boxes
        self._latest: tuple[int, Tensor, Tensor] | None = None  # epoch and what is drawn for it
        self.steps_per_epoch = len(examples) // batch_size

    def steps(self, start: int, stop: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Input and labels of steps start to stop - 1, counted from the level's first step as 0."""
        step = start
        for indices, choices in self._parts(start, stop):
            for index, choice in zip(indices.unbind(), choices.unbind(), strict=True):
                images, labels = self.examples.batch(index)
                if choice.shape[1] or self.sizes:
                    images, labels = self._changed(images, labels, choice, step)
                yield images, labels
                step += 1

    def _changed(
        self, images: Tensor, labels: Tensor, choice: Tensor, step: int
    ) -> tuple[Tensor, Tensor]:
        """Without autocast: images are the same in whatever precision a network is trained."""
        with torch.autocast(images.device.type, enabled=False):
            if self._moves_boxes:
                images, labels = of_boxes.augment(images, labels, choice)
            else:
                images = of_images.augment(images, choice)
            if self.sizes:
                size = size_at(step, self.sizes, seed=self.seed, level=self.level)
                images = resize(images, size)
        return images, labels

    def scale(self, images: Tensor) -> tuple[float, float]:
        """Width and height of a step's input, as multiples of the examples' own."""
        if not self.sizes:
            return 1.0, 1.0
        height, width = self._shown[1:]
        return images.shape[3] / width, images.shape[2] / height

    def drawn(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """Which examples those steps see, and the choices of how each is changed.

        On the examples' device: int64, steps × batch size, and uint8 (float32 where boxes move),
        steps × batch size × numbers per choice, of which there are none without augmentation.
        """
        indices, choices = zip(*self._parts(start, stop), strict=True)
        return torch.cat(indices), torch.cat(choices)

    def _parts(self, start: int, stop: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The same epoch by epoch; for no steps, one empty part."""
        while True:
            epoch, first = divmod(start, self.steps_per_epoch)
            last = min(self.steps_per_epoch, first + stop - start)
            order, choices = self._epoch(epoch)
            part = slice(first * self.batch_size, last * self.batch_size)
            yield (
                order[part].view(-1, self.batch_size),
                choices[part].view(last - first, self.batch_size, choices.shape[1]),
            )
            start += last - first
            if start == stop:
                return

    def _epoch(self, epoch: int) -> tuple[Tensor, Tensor]:
        """Order and choices of an epoch, drawn on CPU so that every device sees the same."""
        if self._latest is None or self._latest[0] != epoch:
            total, device = len(self.examples), self.examples.device
            chance = generator(self.seed, "data", self.level, epoch)
            order = torch.randperm(total, generator=chance)
            chance = generator(self.seed, "augmentation", self.level, epoch)
            choices = self._choices(total, chance)
            self._latest = epoch, order.to(device), choices.to(device)
        return self._latest[1:]

    def _choices(self, total: int, chance: Generator) -> Tensor:
        if self.augmentation == "jitter" or self.augmentation == "jitter_flip":
            return of_boxes.draw(self.augmentation, total, chance)
        return of_images.draw(self.augmentation, total, chance)
