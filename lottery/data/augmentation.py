"""Random changes of training images, on the device and addressed as the order of images is."""

from typing import Literal

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

Augmentation = Literal["none", "flip_shift"]

SHIFT = 4
"""Pixels by which an image is moved at most, in each direction."""


def draw(augmentation: Augmentation, images: int, chance: Generator) -> Tensor:
    """How each of so many images is to be changed: (images, numbers), uint8, on the CPU.

    Of "none" no numbers; of "flip_shift" whether to mirror (0 or 1), and the row and column of a
    crop's corner (0 to 2·SHIFT).
    """
    if augmentation == "none":
        return torch.empty((images, 0), dtype=torch.uint8)
    highest = ((1, 1), (2 * SHIFT, 2))
    drawn = [torch.randint(most + 1, (images, n), generator=chance) for most, n in highest]
    return torch.cat(drawn, dim=1).to(torch.uint8)


def augment(images: Tensor, choices: Tensor) -> Tensor:
    """Network inputs changed as `draw` chose, one row of it for each; on the same device.

    flip_shift mirrors an image left to right or not, and moves it by up to SHIFT pixels: a crop of
    the old size from the image padded with SHIFT zeros on every side (He et al. 2016, section 4.2,
    who pad images less their mean; here 0 is black). images: (batch, channels, height, width) ->
    the same shape, in the same memory order.
    """
    if choices.shape[1] == 0:
        return images
    batch, _, height, width = images.shape
    mirrored, top, left = choices.unsqueeze(2).unbind(1)  # (batch, 1) each
    rows = torch.arange(height, device=images.device) + top
    columns = torch.arange(width, device=images.device) + left
    columns = torch.where(mirrored.bool(), width + 2 * SHIFT - 1 - columns, columns)
    padded = F.pad(images, (SHIFT,) * 4).permute(0, 2, 3, 1)
    each = torch.arange(batch, device=images.device).view(-1, 1, 1)
    moved = padded[each, rows.unsqueeze(2), columns.unsqueeze(1)].permute(0, 3, 1, 2)
    return torch.empty_like(images).copy_(moved)
