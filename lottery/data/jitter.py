"""Random changes of images with boxes, as of darknet's detectors: crop, mirror, colours.

As `lottery.data.augmentation` does, what is to be done is drawn for a whole epoch by one addressed
generator, and done to a batch where the batch is. torchvision.transforms.v2 draws from the global
generator, so only its kernels are used, and its transforms in the tests, to compare with.
"""

from typing import Literal

import torch
from torch import Generator, Tensor
from torchvision.transforms.v2 import functional as kernels

Jitter = Literal["none", "jitter", "jitter_flip"]
"""Nothing; crop and colours; and mirrored too, which is not for digits."""

CROP = 0.3
"""Part of width and height by which each edge of an image is moved at most, in or out."""
HUE = 0.1
"""Part of a full turn by which colours are turned at most."""
SCALE = 1.5
"""Factor by which saturation and exposure are raised or lowered at most."""
LEAST = 0.2
"""Part of a box's area that has to stay in the image for the box to stay."""

LUMA = (0.299, 0.587, 0.114)
"""Of red, green and blue in how bright a colour is (ITU-R BT.601)."""


def draw(jitter: Jitter, images: int, chance: Generator) -> Tensor:
    """How each of so many images is to be changed: (images, numbers), float32, on the CPU.

    Of "none" no numbers. Else eight: how far left, top, right and bottom edge move, as parts of
    width or height (-CROP to CROP; to the right and down are positive); whether to mirror (0 or 1);
    turn of hue (-HUE to HUE); factors of saturation and exposure (uniform from 1 to SCALE or, as
    often, the inverse of such a number, as by darknet's rand_scale).
    """
    if jitter == "none":
        return torch.empty(images, 0)
    edges = (torch.rand(images, 4, generator=chance) * 2 - 1) * CROP
    mirrored = torch.randint(2, (images, 1), generator=chance).float()
    hue = (torch.rand(images, 1, generator=chance) * 2 - 1) * HUE
    factors = 1 + torch.rand(images, 2, generator=chance) * (SCALE - 1)
    lowered = torch.randint(2, (images, 2), generator=chance).bool()
    factors = torch.where(lowered, 1 / factors, factors)
    if jitter == "jitter":
        mirrored = torch.zeros_like(mirrored)
    return torch.cat([edges, mirrored, hue, factors], dim=1)


def augment(images: Tensor, boxes: Tensor, choices: Tensor) -> tuple[Tensor, Tensor]:
    """Network inputs and their boxes changed as `draw` chose, one row of it for each.

    images: (batch, 3, height, width), 0 to 1, in steps of 1/255; boxes: (batch, M, 6) as of
    `Scenes`; both of the same shape when they come back, images in channels-last memory. The crop
    is stretched to the old size; beyond the image's edge its last pixels go on, as in darknet. A
    box is clipped to what is left of the image, and becomes padding when less than LEAST of its
    area is.
    """
    if choices.shape[1] == 0:
        return images, boxes
    window = _windows(choices, *images.shape[2:])
    mirrored = choices[:, 4].bool()
    changed = _recoloured(_cropped(images, window, mirrored), choices[:, 5:])
    return changed, _moved(boxes, window, mirrored, *images.shape[2:])


def _windows(choices: Tensor, height: int, width: int) -> Tensor:
    """Left, top, right and bottom edge of each crop in whole pixels: int64, (batch, 4)."""
    sides = choices.new_tensor([width, height, width, height])
    edges = (choices[:, :4] * sides).round() + sides * choices.new_tensor([0, 0, 1, 1])
    return edges.long()


def _cropped(images: Tensor, windows: Tensor, mirrored: Tensor) -> Tensor:
    """The windows, stretched to the images' size; uint8 on the way.

    As bytes, one image after the other, the kernel is many times as fast on a CPU as it, or one for
    the whole batch at once (grid_sample), is on floats.
    """
    height, width = images.shape[2:]
    pixels = (images * 255).round_().to(torch.uint8)
    changed = torch.empty_like(pixels)
    for image, into, window, flip in zip(
        pixels, changed, windows.tolist(), mirrored.tolist(), strict=True
    ):
        left, top, right, bottom = window
        rows = torch.arange(top, bottom, device=images.device).clamp_(0, height - 1)
        columns = torch.arange(left, right, device=images.device).clamp_(0, width - 1)
        columns = columns.flip(0) if flip else columns
        crop = image.permute(1, 2, 0).index_select(0, rows).index_select(1, columns)
        into.copy_(kernels.resize(crop.permute(2, 0, 1), [height, width], antialias=True))
    return changed


def _recoloured(pixels: Tensor, choices: Tensor) -> Tensor:
    """Pixels from 0 to 1 with hue, saturation and exposure changed by choices: (batch, 3).

    All three are linear: one 3×3 matrix for each image. Hue turns colours about the axis of greys
    (at equal luma), saturation moves them from their grey, exposure multiplies them; darknet does
    the like in HSV.
    """
    turn, saturation, exposure = choices.unbind(1)
    identity = torch.eye(3, device=pixels.device)
    grey = identity.new_tensor(LUMA).expand(3, 3)
    angle = 2 * torch.pi * turn.view(-1, 1, 1)
    axis = identity.new_tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / 3**0.5
    rotation = angle.cos() * identity + (1 - angle.cos()) / 3 + angle.sin() * axis
    chroma = (identity - grey) @ rotation @ (identity - grey)
    matrix = exposure.view(-1, 1, 1) * (grey + saturation.view(-1, 1, 1) * chroma)
    flat = pixels.permute(0, 2, 3, 1).flatten(1, 2).float().div_(255)
    changed = torch.bmm(flat, matrix.transpose(1, 2)).clamp_(0, 1)
    return changed.view(pixels.permute(0, 2, 3, 1).shape).permute(0, 3, 1, 2)


def _moved(boxes: Tensor, windows: Tensor, mirrored: Tensor, height: int, width: int) -> Tensor:
    """Boxes as they lie in the windows."""
    sides = boxes.new_tensor([width, height])
    windows = windows.to(boxes).view(-1, 1, 4)
    label, corners, difficult = boxes[..., :1], boxes[..., 1:5], boxes[..., 5:]
    start, extent = windows[..., :2], windows[..., 2:] - windows[..., :2]
    low, high = ((corner * sides - start) / extent for corner in corners.split(2, dim=-1))
    seen_low, seen_high = low.clamp(0, 1), high.clamp(0, 1)
    left, right = seen_low[..., :1], seen_high[..., :1]
    flip = mirrored.view(-1, 1, 1)
    left, right = torch.where(flip, 1 - right, left), torch.where(flip, 1 - left, right)
    area, seen = ((b - a).prod(-1, keepdim=True) for a, b in ((low, high), (seen_low, seen_high)))
    stays = (label >= 0) & (seen > 0) & (seen >= LEAST * area)
    top, bottom = seen_low[..., 1:], seen_high[..., 1:]
    moved = torch.cat([label, left, top, right, bottom, difficult], dim=-1)
    padding = moved.new_tensor([-1.0, 0, 0, 0, 0, 0])
    return torch.where(stays, moved, padding)
