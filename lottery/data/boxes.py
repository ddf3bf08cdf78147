"""Images with boxes as tensors: what a detector is trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lottery.data.images import Examples, form
from lottery.errors import DataError

COLUMNS = 6
"""Numbers of a box: class, left, top, right, bottom, difficult."""


@dataclass(frozen=True, eq=False)
class Scenes(Examples):
    """Images and the boxes of the objects in them, on one device.

    images: uint8 pixels, N×H×W×3. labels: boxes, float32, N×M×6: rows (class, x0, y0, x1, y1,
    difficult). Corners are fractions of width and height, 0 <= x0 < x1 <= 1; difficult is 0 or 1.
    Where an image has fewer than M objects its other rows are padding: class -1, the rest 0.
    Raises DataError when the tensors do not fit each other or a box makes no sense.
    """

    def _check_labels(self) -> None:
        images, boxes = self.images, self.labels
        if images.dtype != torch.uint8 or images.dim() != 4 or images.shape[3] != 3:
            raise DataError(f"images are {form(images)}; needed: uint8, N×H×W×3")
        if boxes.dtype != torch.float32 or boxes.dim() != 3 or boxes.shape[2] != COLUMNS:
            raise DataError(f"boxes are {form(boxes)}; needed: float32, N×M×{COLUMNS}")
        wrong = (~_sensible(boxes)).nonzero()
        if len(wrong):
            image, row = wrong[0].tolist()
            raise DataError(
                f"box {row} of image {image} is {boxes[image, row].tolist()}; needed: class, "
                "0 <= x0 < x1 <= 1, 0 <= y0 < y1 <= 1, difficult 0 or 1; or -1 and five zeros"
            )

    def check_classes(self, what: str, classes: int) -> None:  # noqa: D102 (as declared)
        found, difficult = self.labels[..., 0], self.labels[..., 5]
        if not bool(((found >= 0) & (difficult == 0)).any()):  # average precision would be none
            raise DataError(f"{what} images without a single box that is not difficult")
        if float(found.max()) >= classes:
            raise DataError(
                f"{what} boxes of class {int(found.max())} but {classes} classes: "
                f"0 to {classes - 1}"
            )


def stack(rows: Sequence[Tensor]) -> Tensor:
    """Boxes of several images, one (objects, 6) tensor each, padded to N×M×6; M is at least 1."""
    most = max([1, *(len(each) for each in rows)])
    boxes = torch.zeros(len(rows), most, COLUMNS)
    boxes[:, :, 0] = -1
    for image, each in zip(boxes, rows, strict=True):
        image[: len(each)] = each
    return boxes


def _sensible(boxes: Tensor) -> Tensor:
    """Whether each row is a box or padding: N×M. A number that is none compares as false."""
    label, corners, difficult = boxes[..., 0], boxes[..., 1:5], boxes[..., 5]
    inside = ((corners >= 0) & (corners <= 1)).all(dim=-1)
    upright = (corners[..., :2] < corners[..., 2:]).all(dim=-1)
    flagged = (difficult == 0) | (difficult == 1)
    whole = (label >= 0) & (label == label.floor())
    padding = (label == -1) & (boxes[..., 1:] == 0).all(dim=-1)
    return padding | (whole & inside & upright & flagged)
