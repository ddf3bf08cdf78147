"""Images with boxes as tensors: what a detector is trained on, as `Examples` are for classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lottery.data.images import as_input
from lottery.errors import DataError

COLUMNS = 6
"""Numbers of a box: class, left, top, right, bottom, difficult."""


@dataclass(frozen=True, eq=False)
class Scenes:
    """Images and the boxes of the objects in them, on one device.

    Raises DataError when the tensors do not fit each other or a box makes no sense.
    """

    images: Tensor
    """uint8 pixels, N×H×W×3."""
    boxes: Tensor
    """float32, N×M×6: rows (class, x0, y0, x1, y1, difficult). Corners are fractions of width and
    height, 0 <= x0 < x1 <= 1; difficult is 0 or 1. Where an image has fewer than M objects its
    other rows are padding: class -1, the rest 0."""

    def __post_init__(self) -> None:
        """Refuse what would fail, or train on nonsense, much later."""
        images, boxes = self.images, self.boxes
        if images.dtype != torch.uint8 or images.dim() != 4 or images.shape[3] != 3:
            raise DataError(f"images are {_form(images)}; needed: uint8, N×H×W×3")
        if boxes.dtype != torch.float32 or boxes.dim() != 3 or boxes.shape[2] != COLUMNS:
            raise DataError(f"boxes are {_form(boxes)}; needed: float32, N×M×{COLUMNS}")
        if len(images) != len(boxes):
            raise DataError(f"there are {len(images)} images but boxes for {len(boxes)}")
        wrong = (~_sensible(boxes)).nonzero()
        if len(wrong):
            image, row = wrong[0].tolist()
            raise DataError(
                f"box {row} of image {image} is {boxes[image, row].tolist()}; needed: class, "
                "0 <= x0 < x1 <= 1, 0 <= y0 < y1 <= 1, difficult 0 or 1; or -1 and five zeros"
            )

    def __len__(self) -> int:
        """Number of images."""
        return len(self.images)

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.images.device

    def to(self, device: torch.device | str) -> Scenes:
        """The same scenes on `device`."""
        return Scenes(self.images.to(device), self.boxes.to(device))

    def subset(self, index: Tensor) -> Scenes:
        """The scenes at `index` (int64, on any device), in its order."""
        images, boxes = self._at(index.to(self.device))
        return Scenes(images, boxes)

    def batch(self, index: Tensor | slice) -> tuple[Tensor, Tensor]:
        """Network input and boxes of the scenes at `index` (int64, on the same device).

        Pixels become float32 from 0 to 1, B×3×H×W in channels-last memory; boxes are B×M×6.
        """
        images, boxes = self._at(index)
        return as_input(images), boxes

    def _at(self, index: Tensor | slice) -> tuple[Tensor, Tensor]:
        if isinstance(index, slice):
            return self.images[index], self.boxes[index]
        return self.images.index_select(0, index), self.boxes.index_select(0, index)


@dataclass(frozen=True, eq=False)
class SceneParts:
    """A data set for detectors as it comes: its parts and the names of its classes."""

    name: str
    train: Scenes
    val: Scenes | None
    """None where the data set has no part for it besides the test images."""
    test: Scenes
    names: tuple[str, ...]
    """What class 0, 1, ... is called."""


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


def _form(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} of shape {tuple(tensor.shape)}"
