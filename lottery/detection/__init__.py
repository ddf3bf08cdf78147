"""Detection of objects: anchors, what a detector's output means, its loss, and its precision.

Boxes are corners (x0, y0, x1, y1) as fractions of the image's width and height. Those of a data set
come as float32 images × most boxes × 6, rows (class, x0, y0, x1, y1, difficult); detections have
their score in the place of `difficult`, and in either rows of class -1 are padding.
"""

from lottery.detection.anchors import (
    TINY_VOC_ANCHORS,
    VOC_ANCHORS,
    box_sizes,
    cluster_anchors,
    mean_iou,
)
from lottery.detection.decoding import decode, detections
from lottery.detection.loss import RegionLoss
from lottery.detection.objective import Detection
from lottery.detection.precision import AveragePrecision, Curve, average_precision

__all__ = [
    "TINY_VOC_ANCHORS",
    "VOC_ANCHORS",
    "AveragePrecision",
    "Curve",
    "Detection",
    "RegionLoss",
    "average_precision",
    "box_sizes",
    "cluster_anchors",
    "decode",
    "detections",
    "mean_iou",
]
