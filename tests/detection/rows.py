"""Boxes and detections as the tables they come in, for the tests of detection."""

from collections.abc import Sequence

import torch
from torch import Tensor

Row = Sequence[float]
"""(class, x0, y0, x1, y1) and difficult (0 if left out) or score."""
PADDING = torch.tensor([-1.0, 0, 0, 0, 0, 0])


def table(*images: Sequence[Row]) -> Tensor:
    """(images, most rows + 1, 6): every image has padding."""
    rows = PADDING.repeat(len(images), 1 + max(map(len, images), default=0), 1)
    for own, image in zip(rows, images, strict=True):
        for place, row in enumerate(image):
            own[place, : len(row)] = torch.tensor(row)
    return rows


def random_boxes(seed: int, images: int, most: int, classes: int) -> Tensor:
    """Boxes of random classes, places and sizes, some of them difficult; with padding."""
    chance = torch.Generator().manual_seed(seed)
    rows = torch.rand(images, most, 6, generator=chance)
    size = 0.05 + 0.6 * rows[..., 3:5]
    rows[..., 1:3] *= 1 - size
    rows[..., 3:5] = rows[..., 1:3] + size
    rows[..., 0] = torch.randint(-1, classes, (images, most), generator=chance)
    rows[..., 5] = (rows[..., 5] < 0.2).float()
    return torch.where(rows[..., :1] < 0, PADDING, rows)
