"""Images that stand for MNIST: small in number, each one different, all of one digit alike."""

from collections.abc import Callable

import torch
from torch import Tensor


def digit_images(total: int, offset: int = 0) -> tuple[Tensor, Tensor]:
    """Digit d is a bar of 6 + d by 20 pixels; the image's number, plus `offset`, is its shade."""
    labels = torch.arange(total) % 10
    images = torch.zeros(total, 28, 28, dtype=torch.uint8)
    for number, label in enumerate(labels.tolist()):
        images[number, 4:24, 5 : 11 + label] = 100 + offset + number
    return images, labels


def frames_and_strokes(total: int, offset: int = 0) -> tuple[Tensor, Tensor]:
    """A 5 is a square frame, every other digit an upright stroke, in shades as above."""
    labels = torch.arange(total) % 10
    images = torch.zeros(total, 28, 28, dtype=torch.uint8)
    for number, label in enumerate(labels.tolist()):
        shade = 100 + offset + number
        if label == 5:
            images[number, 4:24, 4:24] = shade
            images[number, 9:19, 9:19] = 0
        else:
            images[number, 4:24, 12:16] = shade
    return images, labels


def mnist_arrays(
    draw: Callable[[int, int], tuple[Tensor, Tensor]] = digit_images,
) -> dict[str, Tensor]:
    """120 training images in shades from 100, and 30 test images in shades from 220."""
    arrays = {}
    for part, total, offset in (("train", 120, 0), ("test", 30, 120)):
        images, labels = draw(total, offset)
        arrays[f"{part}_images"], arrays[f"{part}_labels"] = images, labels.to(torch.uint8)
    return arrays
