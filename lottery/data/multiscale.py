"""Training at several input sizes, so that a detector copes with all of them.

YOLOv2 draws a new size every ten batches (Redmon & Farhadi 2017, section 2).
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from lottery.seeds import generator

EVERY = 10
"""Steps at the same size."""


def size_at(step: int, sizes: Sequence[int], *, seed: int, level: int = 0) -> int:
    """The size of a step (counted from the level's first as 0): any of `sizes`, equally likely.

    It follows from (seed, level, step) alone, so it is the same whether or not training was
    interrupted before.
    """
    chance = generator(seed, "size", level, step // EVERY)
    return sizes[int(torch.randint(len(sizes), (), generator=chance))]


def resize(images: Tensor, size: int) -> Tensor:
    """Network inputs at size × size; their boxes are fractions, and stay.

    images: (batch, channels, height, width) -> (batch, channels, size, size), in the same memory
    order.
    """
    if images.shape[2:] == (size, size):
        return images
    return F.interpolate(images, size=(size, size), mode="bilinear", antialias=True)
