"""Average precision as the Pascal VOC challenges define it (Everingham et al. 2010, section 4.2).

Over all images, detections of a class are taken from best to worst. Each goes with the box of the
class that it overlaps most. It is right if their IoU is 0.5 or more and no better detection had the
box; wrong if one had it, or the IoU is less; and does not count at all if the box is difficult.
Precision and recall after each detection make a curve, of which precision is taken as the best that
some higher recall has:

    voc2007: mean of the precision at recalls 0, 0.1, ..., 1
    area: area under the curve, as from 2010 on

Unlike the challenges' program, a box is not one pixel wider and higher than its corners say.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from lottery.detection.iou import box_iou
from lottery.errors import ConfigError

Rule = Literal["voc2007", "area"]
RECALLS = tuple(percent / 100 for percent in range(101))
"""Where curves are read off to be drawn."""
_AT_ONCE = 256
"""Images whose overlaps are computed together: their detections × their boxes take memory."""


@dataclass(frozen=True, eq=False)
class Curve:
    """Precision and recall of a class, after each detection that counts, from best to worst."""

    recall: Tensor
    """float64, (detections,)."""
    precision: Tensor
    """float64, (detections,); without the interpolation that the rules apply."""
    scores: Tensor
    """(detections,)."""

    def at(self, recalls: Sequence[float]) -> Tensor:
        """The best precision at each of these recalls or above; 0 where none is reached."""
        # 29 of 100 boxes are a recall of 0.29, which as a float may lie a little below.
        wanted = torch.tensor(recalls, dtype=torch.float64) - 1e-9
        return F.pad(_interpolated(self.precision), (0, 1))[torch.searchsorted(self.recall, wanted)]


@dataclass(frozen=True, eq=False)
class AveragePrecision:
    """How well a detector does on a set of images."""

    by_class: Tensor
    """Average precision of each class, float64; NaN for those of which there is nothing to find."""
    curves: tuple[Curve, ...]
    """By class; empty where there is nothing to find."""

    @property
    def mean(self) -> float:
        """mAP: the mean over the classes of which there is something to find; NaN if of none."""
        return float(self.by_class.nanmean())


def average_precision(
    detections: Tensor, boxes: Tensor, classes: int, rule: Rule = "voc2007", iou: float = 0.5
) -> AveragePrecision:
    """Average precision of each class, and their mean.

    detections: (images, most detections, 6), rows (class, x0, y0, x1, y1, score). boxes: those that
    there are, (images, most boxes, 6), rows (class, x0, y0, x1, y1, difficult). Rows of class -1
    are padding. Where scores are equal, detections of earlier images and rows count as better.
    iou: the least that is right.
    """
    if rule not in get_args(Rule):
        raise ConfigError("rule", rule, ", ".join(get_args(Rule)))
    if len(detections) != len(boxes):
        raise ConfigError("boxes", f"of {len(boxes)} images", f"of {len(detections)}, as detected")
    detections, boxes = (table.detach().cpu().double() for table in (detections, boxes))
    boxes = F.pad(boxes, (0, 0, 0, 1), value=-1)  # so that there is a best box in any case
    order = detections[..., 5].flatten().argsort(descending=True, stable=True)
    labels, scores = (detections[..., column].flatten()[order] for column in (0, 5))
    target, overlap = (values[order] for values in _targets(detections, boxes))
    hit = overlap >= iou
    right = hit & _first(target, hit, boxes[..., 0].numel())
    difficult = boxes[..., 5].flatten() > 0
    counted = ~(hit & difficult[target])
    wanted = boxes[..., 0].flatten()[~difficult]
    curves, values = [], []
    for label in range(classes):
        total = int((wanted == label).sum())
        own = (labels == label) & counted & (total > 0)
        found = right[own].cumsum(0)
        precision = found / torch.arange(1, len(found) + 1, dtype=torch.float64)
        curves.append(Curve(found.double() / max(total, 1), precision, scores[own]))
        values.append(_average(found, precision, total, rule))
    return AveragePrecision(torch.tensor(values, dtype=torch.float64), tuple(curves))


def _targets(detections: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """The box that each detection goes with, by its number among all, and their IoU: flat.

    The IoU is -1 if the image has no box of the class.
    """
    overlaps, targets = [], []
    for found, there in zip(detections.split(_AT_ONCE), boxes.split(_AT_ONCE), strict=True):
        found, there = found[:, :, None], there[:, None]
        iou = box_iou(found[..., 1:5], there[..., 1:5])
        same = found[..., 0] == there[..., 0]
        overlap, target = torch.where(same, iou, -1.0).max(dim=2)
        overlaps.append(overlap)
        targets.append(target)
    first = torch.arange(len(boxes))[:, None] * boxes.shape[1]
    return (torch.cat(targets) + first).flatten(), torch.cat(overlaps).flatten()


def _first(target: Tensor, hit: Tensor, boxes: int) -> Tensor:
    """Which detections are the first to hit their box: bool, where `hit` is."""
    place = torch.arange(len(target))
    first = torch.full((boxes,), len(target))
    first = first.scatter_reduce(0, target[hit], place[hit], "amin")
    return first[target] == place


def _interpolated(precision: Tensor) -> Tensor:
    """The best precision from each detection on, which the recall there or a higher one has."""
    return precision.flip(0).cummax(0).values.flip(0)


def _average(found: Tensor, precision: Tensor, total: int, rule: Rule) -> float:
    """found: how many of the `total` boxes are found after each detection, int64."""
    if total == 0:
        return float("nan")
    best = _interpolated(precision)
    if rule == "area":
        return float(best[found.diff(prepend=found.new_zeros(1)) > 0].sum() / total)
    # Recall found / total has reached j / 10, in whole numbers, as 3 / 10 is no float.
    reached = torch.searchsorted(10 * found, torch.arange(11) * total)
    return float(F.pad(best, (0, 1))[reached].mean())
