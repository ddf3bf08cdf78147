"""What a detector is trained for: the region loss, and mean average precision."""

from dataclasses import dataclass

import torch
from torch import Tensor

from lottery.detection.decoding import detections
from lottery.detection.loss import PRIOR_IMAGES, RegionLoss
from lottery.detection.precision import AveragePrecision, Rule, average_precision
from lottery.objectives import Metrics, Predictions


@dataclass(frozen=True, eq=False)
class Detection:
    """Finding objects of named classes, with these anchors.

    output: as of `lottery.models.yolo_v2`. labels: boxes, (batch, most boxes, 6), rows (class, x0,
    y0, x1, y1, difficult); those of class -1 are padding.
    """

    names: tuple[str, ...]
    """What class 0, 1, ... is called."""
    anchors: Tensor
    """(width, height) as fractions of the image, in its own size: (anchors, 2). For VOC darknet's
    are `lottery.detection.VOC_ANCHORS`; shipped data sets look for their own."""
    prior_images: int = PRIOR_IMAGES
    """For how many images of training the loss has its prior: fewer suit trainings that are short
    beside darknet's 5 million."""

    @property
    def metric(self) -> str:
        """Mean average precision."""
        return "mean AP"

    def loss(
        self,
        output: Tensor,
        labels: Tensor,
        seen: int | None = None,
        scale: tuple[float, float] = (1.0, 1.0),
    ) -> Tensor:
        """The region loss; with its prior while `seen` says that training has just begun."""
        region = RegionLoss(self.anchors, prior_images=self.prior_images)
        return region(output, labels, self.prior_images if seen is None else seen, scale)

    def measure(self, predictions: Predictions) -> Metrics:
        """Mean region loss; as accuracy, mean average precision at an IoU of ½, by the area."""
        loss, found, there = 0.0, [], []
        for output, boxes in predictions:
            loss += float(self.loss(output, boxes).double()) * len(boxes)
            found.append(detections(output, self.anchors))
            there.append(boxes)
        boxes = torch.cat(there)
        precision = self.precision(torch.cat(found), boxes, "area")
        return Metrics(loss / len(boxes), precision.mean)

    def precision(self, found: Tensor, boxes: Tensor, rule: Rule) -> AveragePrecision:
        """Average precision of detections, by class. found: as `lottery.detection.detections`."""
        return average_precision(found, boxes, len(self.names), rule)

    def check(self, output: Tensor, classes: int, images: Tensor) -> None:
        """There have to be five numbers and a logit per class for each anchor, in each cell.

        And cells have to cover the images, (batch, channels, height, width), to their edges: else
        boxes would be found beside their places.
        """
        wanted = len(self.anchors) * (5 + classes)
        if output.dim() != 4 or output.shape[1] != wanted:
            raise ValueError(
                f"its output is {tuple(output.shape)} for {len(output)} images; a detector of "
                f"{classes} classes with {len(self.anchors)} anchors has {wanted} channels"
            )
        (height, width), (rows, columns) = images.shape[2:], output.shape[2:]
        if height % rows or width % columns:
            raise ValueError(
                f"its {rows} × {columns} cells do not divide images of {height} × {width} pixels"
            )
