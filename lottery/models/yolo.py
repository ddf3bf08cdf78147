"""YOLOv2 and Tiny YOLOv2: detectors of one stage (Redmon & Farhadi 2017, arXiv 1612.08242).

Images (batch, 3, height, width), pixels from 0 to 1, become (batch, anchors × (5 + classes),
height / stride, width / stride): for each anchor in turn tx, ty, tw, th, to and the classes'
logits, which `lottery.detection` decodes. Height and width are any multiples of the stride.

Convolutions have no biases, as batch norm follows each, and leaky ReLUs of slope 0.1; the head is
linear and has biases. `bn_momentum` is the share of a batch in the running statistics: 0.01 is
darknet's, made for trainings of 80,000 steps. The statistics lag 1 / bn_momentum steps behind the
weights, so trainings of some hundred steps, as pruning in rounds has them, want 0.1.
"""

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from lottery.errors import ConfigError
from lottery.models.widths import scaled

Layers = OrderedDict[str, nn.Module]


class YoloV2(nn.Module):
    """Darknet-19, whose last features at stride 16 are shown to the head beside those at 32."""

    def __init__(self, width: float, outputs: int, bn_momentum: float) -> None:
        super().__init__()
        narrow, small, middle, large, wide, widest = scaled((32, 64, 128, 256, 512, 1024), width)
        groups = [
            [narrow],
            [small],
            [middle, small, middle],
            [large, middle, large],
            [wide, large, wide, large, wide],
        ]
        self.fine = nn.Sequential(_groups(1, 3, groups, bn_momentum))
        """conv1 to conv13, stride 16."""
        coarse = Layers(pool5=nn.MaxPool2d(2))
        coarse |= _group(14, wide, [widest, wide, widest, wide, widest], bn_momentum)
        for number in (19, 20):
            coarse |= _group(number, widest, [widest], bn_momentum)
        self.coarse = nn.Sequential(coarse)
        """conv14 to conv20, stride 32."""
        passthrough = _convolution(21, wide, small, 1, bn_momentum)
        # Darknet's own reorganisation mixes channels, so that none could be removed.
        self.passthrough = nn.Sequential(passthrough | Layers(unshuffle=nn.PixelUnshuffle(2)))
        """Features at stride 16 as four times as many at stride 32."""
        self.joint = nn.Sequential(_convolution(22, 4 * small + widest, widest, 3, bn_momentum))
        self.head = nn.Conv2d(widest, outputs, 1)

    def forward(self, images: Tensor) -> Tensor:
        """(batch, 3, height, width) -> (batch, outputs, height / 32, width / 32)."""
        fine = self.fine(images)
        coarse = self.coarse(fine)
        return self.head(self.joint(torch.cat([self.passthrough(fine), coarse], dim=1)))


def yolo_v2(
    width: float = 1.0, classes: int = 20, anchors: int = 5, bn_momentum: float = 0.01
) -> YoloV2:
    """YOLOv2: 50.63 M weights, 14.68 G multiply-accumulates on 416×416 images of 20 classes.

    width: multiplies the filters of all layers but the head. At width 1 it is darknet's yolov2-voc,
    but that features at stride 16 are rearranged as `nn.PixelUnshuffle` does: each 2×2 positions
    of a channel become four channels.
    """
    return YoloV2(width, _outputs(classes, anchors), bn_momentum)


def tiny_yolo_v2(
    width: float = 1.0,
    classes: int = 20,
    anchors: int = 5,
    stride: int = 32,
    bn_momentum: float = 0.01,
) -> nn.Sequential:
    """Tiny YOLOv2: 15.86 M weights, 3.49 G multiply-accumulates on 416×416 images of 20 classes.

    width: multiplies the filters of all layers but the head. stride: 32 is darknet's; 16 leaves the
    fifth pooling out, for small images, which would otherwise have few cells: 10×10 instead of 5×5
    at 160×160, with the same weights.
    """
    if stride not in (16, 32):
        raise ConfigError("model option stride", stride, "16, 32")
    filters = scaled((16, 32, 64, 128, 256, 512, 1024, 1024), width)
    first, rest = [[size] for size in filters[:5]], filters[5:]
    layers = _groups(1, 3, first, bn_momentum)
    if stride == 32:
        layers["pool5"] = nn.MaxPool2d(2)
    layers |= _convolution(6, filters[4], filters[5], 3, bn_momentum)
    # A sixth pooling, of stride 1, keeps the size: the last row and column are repeated.
    layers |= Layers(pad6=nn.ReplicationPad2d((0, 1, 0, 1)), pool6=nn.MaxPool2d(2, stride=1))
    for number, (inputs, outputs) in enumerate(pairwise(rest), start=7):
        layers |= _convolution(number, inputs, outputs, 3, bn_momentum)
    layers["head"] = nn.Conv2d(filters[-1], _outputs(classes, anchors), 1)
    return nn.Sequential(layers)


def _outputs(classes: int, anchors: int) -> int:
    for name, value in (("classes", classes), ("anchors", anchors)):
        if value < 1:
            raise ConfigError(f"model option {name}", value, "at least 1")
    return anchors * (5 + classes)


def _groups(first: int, inputs: int, groups: Sequence[Sequence[int]], bn_momentum: float) -> Layers:
    """Groups of convolutions, with 2×2 max pooling between them."""
    layers, number = Layers(), first
    for position, filters in enumerate(groups, start=1):
        layers |= _group(number, inputs, filters, bn_momentum)
        inputs, number = filters[-1], number + len(filters)
        if position < len(groups):
            layers[f"pool{position}"] = nn.MaxPool2d(2)
    return layers


def _group(first: int, inputs: int, filters: Sequence[int], bn_momentum: float) -> Layers:
    """Convolutions numbered from `first`, of 3×3 and 1×1 in turn."""
    layers = Layers()
    for position, outputs in enumerate(filters):
        size = 1 if position % 2 else 3
        layers |= _convolution(first + position, inputs, outputs, size, bn_momentum)
        inputs = outputs
    return layers


def _convolution(number: int, inputs: int, outputs: int, size: int, bn_momentum: float) -> Layers:
    """A convolution that keeps the size of the image, its batch norm and its leaky ReLU."""
    return Layers(
        {
            f"conv{number}": nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=False),
            f"norm{number}": nn.BatchNorm2d(outputs, momentum=bn_momentum),
            f"leaky{number}": nn.LeakyReLU(0.1),
        }
    )
