"""A trained detector by itself: all that is needed to find objects in any picture."""

from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor, nn

from lottery.data.images import as_input
from lottery.data.voc_tensors import pixels
from lottery.detection.decoding import detections
from lottery.detection.drawing import SURE
from lottery.detection.objective import Detection


@dataclass(frozen=True, eq=False)
class Detector:
    """A network, possibly with filters removed, and what its output means."""

    model: nn.Module
    """In eval mode, on the CPU."""
    spec: str
    """What `lottery.build` makes the network of, before filters are removed: tiny_yolo_v2, ..."""
    objective: Detection
    """Names of the classes, and anchors."""
    size: int
    """Side of the pictures that it was trained on, in pixels."""

    @torch.no_grad()
    def find(self, picture: Image.Image, threshold: float = SURE) -> Tensor:
        """What is in a picture: (n, 6), rows (class, x0, y0, x1, y1, score), best first.

        A picture of any size is stretched to the detector's; corners are fractions of both sides.
        """
        image = as_input(pixels(picture.convert("RGB"), self.size).unsqueeze(0))
        found = detections(self.model(image), self.objective.anchors, threshold)[0]
        return found[found[:, 0] >= 0]
