"""Intersection over union: of boxes where they are, and of their sizes alone."""

import torch
from torch import Tensor


def box_iou(first: Tensor, second: Tensor) -> Tensor:
    """Of boxes (x0, y0, x1, y1), each with each that broadcasting has it meet: (..., 4) -> (...).

    Of all pairs it is box_iou(first[:, None], second). 0 where both have no area.
    """
    low = torch.maximum(first[..., :2], second[..., :2])
    high = torch.minimum(first[..., 2:], second[..., 2:])
    shared = _area((high - low).clamp(min=0))
    areas = _area(first[..., 2:] - first[..., :2]) + _area(second[..., 2:] - second[..., :2])
    return shared / (areas - shared).clamp(min=torch.finfo(areas.dtype).tiny)


def size_iou(sizes: Tensor, anchors: Tensor) -> Tensor:
    """Of boxes (width, height) and anchors with one centre: (..., 2) and (k, 2) -> (..., k)."""
    sizes = sizes[..., None, :]
    shared = _area(torch.minimum(sizes, anchors))
    return shared / (_area(sizes) + _area(anchors) - shared)


def _area(sizes: Tensor) -> Tensor:
    return sizes[..., 0] * sizes[..., 1]
