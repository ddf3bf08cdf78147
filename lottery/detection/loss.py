"""The region loss of YOLOv2 (Redmon & Farhadi 2017; what it is in detail, darknet's code defines).

One prediction is responsible for a box of an image: that of the cell where the box's centre is, and
of the anchor that fits its size best. The loss of an image is

    ½ Σ_boxes coord (2 - w h) [(σ(tx) - x)² + (σ(ty) - y)² + (tw - ln w/p)² + (th - ln h/q)²]
    + ½ Σ_boxes object (σ(to) - IoU)² + ½ Σ_others noobject σ(to)² + Σ_boxes classes cross-entropy

with x and y in fractions of the cell, w, h and the anchor's p, q in those of the image. IoU, of the
box predicted and the true one, is a target: no gradient goes through it. Others that overlap any
box by an IoU above 0.6 are left alone, as they have found an object.

An anchor is so many pixels, in whatever size images are shown: of images enlarged to twice their
sides p and q are half the fractions. What a network sees around a cell then asks for the same tw
and th at all sizes; a network of convolutions cannot know how large the image is.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from lottery.detection.decoding import Grid, read
from lottery.detection.iou import box_iou, size_iou

PRIOR_IMAGES = 12_800
"""Of darknet's training, with its prior."""


@dataclass(frozen=True, eq=False)
class RegionLoss:
    """The loss of a detector with these anchors; weights are darknet's for VOC."""

    anchors: Tensor
    """(width, height) as fractions of the image, in its own size: (anchors, 2)."""
    coord: float = 1.0
    """Weight of place and size; it counts twice for the smallest boxes, once for the largest."""
    object: float = 5.0
    """Weight of objectness of predictions responsible for a box."""
    noobject: float = 1.0
    """Weight of objectness of all others."""
    classes: float = 1.0
    """Weight of the class."""
    overlap: float = 0.6
    """IoU with a box above which others are left alone."""
    prior: float = 0.01
    """At first, all others are drawn with this weight to their anchor in the middle of their cell:
    ½ Σ_others prior [(σ(tx) - ½)² + (σ(ty) - ½)² + tw² + th²]."""
    prior_images: int = PRIOR_IMAGES
    """For how many images of training that is so."""

    def __call__(
        self, output: Tensor, boxes: Tensor, seen: int, scale: tuple[float, float] = (1.0, 1.0)
    ) -> Tensor:
        """The mean over images, a scalar in float32 (float64 where the output is).

        output: (batch, anchors × (5 + classes), rows, columns). boxes: (batch, most boxes, 6), rows
        (class, x0, y0, x1, y1, difficult) with a width and a height above 0; those of class -1 are
        padding. seen: images of training before this batch. scale: width and height of the images
        shown, as multiples of their own. A prediction that would be responsible for several boxes
        is so for the last. None is for a difficult box, as in darknet's training on VOC, but what
        overlaps one is left alone: the evaluation ignores them too.
        """
        anchors = self.anchors / self.anchors.new_tensor(scale)
        grid = read(output, anchors)
        corners, real = boxes[..., 1:5].to(grid.boxes), boxes[..., 0] >= 0
        matches = _match(grid, anchors.to(corners), corners, real & (boxes[..., 5] == 0))
        with torch.no_grad():
            overlaps = box_iou(grid.boxes[:, :, None], corners[:, None]) > self.overlap
            found = (overlaps & real[:, None]).any(dim=2)
        loss = self.noobject / 2 * _sum(grid.objectness.square(), ~matches.taken & ~found)
        if seen < self.prior_images:
            change = (grid.place - 0.5).square() + grid.change.square()
            loss = loss + self.prior / 2 * _sum(change.sum(dim=2), ~matches.taken)
        loss = loss + self._of_boxes(grid, matches, corners, boxes[..., 0])
        return loss / len(output)

    def _of_boxes(self, grid: Grid, matches: "_Matches", corners: Tensor, labels: Tensor) -> Tensor:
        """The sum over all boxes, each against the prediction responsible for it."""

        def own(values: Tensor) -> Tensor:
            return values.gather(1, matches.prediction[..., None].expand(-1, -1, values.shape[2]))

        place, change = own(grid.place) - matches.place, own(grid.change) - matches.change
        errors = (place.square() + change.square()).sum(dim=2)
        loss = self.coord / 2 * _sum((2 - matches.area) * errors, matches.valid)
        with torch.no_grad():
            iou = box_iou(own(grid.boxes), corners)
        objectness = grid.objectness.gather(1, matches.prediction)
        loss = loss + self.object / 2 * _sum((objectness - iou).square(), matches.valid)
        logits, target = own(grid.logits), labels.long().clamp(min=0)
        surprise = F.cross_entropy(logits.flatten(0, 1), target.flatten(), reduction="none")
        return loss + self.classes * _sum(surprise, matches.valid.flatten())


@dataclass(frozen=True, eq=False)
class _Matches:
    """Which prediction is responsible for which box.

    All shapes are known beforehand, so that no step of training waits for a GPU.
    """

    prediction: Tensor
    """Its number, of N: (batch, boxes), int64."""
    valid: Tensor
    """Whether it is responsible indeed: (batch, boxes), bool."""
    taken: Tensor
    """Which predictions are responsible for a box: (batch, N), bool."""
    place: Tensor
    """Targets of σ(tx), σ(ty): (batch, boxes, 2)."""
    change: Tensor
    """Targets of tw, th: (batch, boxes, 2)."""
    area: Tensor
    """As a fraction of the image: (batch, boxes)."""


def _match(grid: Grid, anchors: Tensor, corners: Tensor, asked: Tensor) -> _Matches:
    """corners: (batch, boxes, 4). asked: those to be learnt, (batch, boxes)."""
    sizes = torch.where(asked[..., None], corners[..., 2:] - corners[..., :2], 1.0)
    cells = corners.new_tensor([grid.columns, grid.rows])
    at = (corners[..., :2] + corners[..., 2:]) / 2 * cells
    cell = torch.minimum(at.floor(), cells - 1)  # a centre may lie on the image's edge
    anchor = size_iou(sizes, anchors).argmax(dim=2)
    column, row = cell.long().unbind(dim=2)
    prediction = (anchor * grid.rows + row) * grid.columns + column
    order = torch.arange(corners.shape[1], device=corners.device).expand_as(prediction)
    latest = torch.full_like(grid.objectness, -1, dtype=torch.int64, requires_grad=False)
    latest = latest.scatter_reduce(1, prediction, torch.where(asked, order, -1), "amax")
    return _Matches(
        prediction=prediction,
        valid=asked & (latest.gather(1, prediction) == order),
        taken=latest >= 0,
        place=at - cell,
        change=(sizes / anchors[anchor]).log(),
        area=sizes.prod(dim=2),
    )


def _sum(values: Tensor, where: Tensor) -> Tensor:
    return torch.where(where, values, 0.0).sum()
