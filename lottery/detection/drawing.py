"""Pictures with boxes drawn into them."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.utils import draw_bounding_boxes, make_grid

from lottery.detection.decoding import detections
from lottery.detection.objective import Detection

SURE = 0.25
"""Score from which on a detection is shown to people."""
SHOWN = 4
"""Pictures in which detections are shown."""
COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb")
"""Of classes, in turn (Tol's bright scheme, which the colour-blind can tell apart)."""


def draw(image: Tensor, found: Tensor, names: Sequence[str]) -> Tensor:
    """A copy of a picture, uint8 (3, height, width), with boxes, their classes and scores.

    found: (n, 6), rows (class, x0, y0, x1, y1, score), corners as fractions of the picture; those
    of class -1 are padding.
    """
    height, width = image.shape[1:]
    found = found[found[:, 0] >= 0].cpu()
    if not len(found):
        return image.clone()
    labels = found[:, 0].long().tolist()
    return draw_bounding_boxes(
        image,
        found[:, 1:5] * found.new_tensor([width, height, width, height]),
        [f"{names[n]} {score:.2f}" for n, score in zip(labels, found[:, 5].tolist(), strict=True)],
        [COLOURS[label % len(COLOURS)] for label in labels],
        width=max(1, round(min(height, width) / 200)),
        label_colors="white",
        fill_labels=True,
    )


def enlarged(images: Tensor, least: int) -> Tensor:
    """Pictures (n, 3, height, width), float32, a whole number of times larger if they are small.

    So that what is written in them can be read: to a shorter side of about `least` pixels.
    """
    return F.interpolate(images, scale_factor=max(1, round(least / min(images.shape[2:]))))


@torch.no_grad()
def panel(model: nn.Module, inputs: Tensor, objective: Detection) -> Tensor:
    """What a detector, in eval mode, finds in a few pictures: uint8, (3, height, width).

    inputs: (pictures, 3, height, width), 0 to 1, on the CPU. Small ones are enlarged.
    """
    found = detections(model(inputs), objective.anchors, SURE)
    pictures = (enlarged(inputs, 480) * 255).round().to(torch.uint8)
    drawn = [draw(p, rows, objective.names) for p, rows in zip(pictures, found, strict=True)]
    return make_grid(drawn, nrow=2)
