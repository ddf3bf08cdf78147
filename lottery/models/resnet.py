"""Residual networks for CIFAR: those of He et al. (2016), and wide ones (Zagoruyko & Komodakis).

Both have three stages of 32×32, 16×16 and 8×8 positions; the first block of a later stage halves
the side. Convolutions have no biases, as batch norm follows or precedes each.
"""

from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lottery.errors import ConfigError
from lottery.models.selective import SelectiveAddition
from lottery.models.widths import scaled

Block = Callable[[int, int, int], nn.Module]
"""A residual block: input channels, output channels, stride of its first convolution."""


def resnet20(width: float = 1.0, classes: int = 10, selective: bool = False) -> nn.Sequential:
    """ResNet-20: 0.27 M parameters, 40.55 M multiply-accumulates (He et al. 2016, table 6).

    selective: residual sums let filters of a branch go alone (`SelectiveAddition`).
    """
    return _resnet(20, width, classes, selective)


def resnet56(width: float = 1.0, classes: int = 10, selective: bool = False) -> nn.Sequential:
    """ResNet-56: 0.85 M parameters, 125.49 M multiply-accumulates (He et al. 2016, table 6).

    selective: as of `resnet20`.
    """
    return _resnet(56, width, classes, selective)


def wide_resnet(
    depth: int = 28, width: float = 10, classes: int = 10, selective: bool = False
) -> nn.Sequential:
    """WRN-depth-width of pre-activation blocks, without dropout (Zagoruyko & Komodakis 2016).

    Images (batch, 3, 32, 32) -> logits (batch, classes). depth: 6n + 4 convolutions, those of
    shortcuts included. width: multiplies the 16, 32 and 64 channels of the stages, not the first
    convolution's 16. selective: as of `resnet20`.
    """
    sizes = scaled((16, 32, 64), width)
    layers: OrderedDict[str, nn.Module] = OrderedDict(conv=_conv(3, 16))
    layers |= _stages(16, sizes, _blocks(depth, 4), WideBlock)
    layers |= OrderedDict(norm=nn.BatchNorm2d(sizes[-1]), relu=nn.ReLU())
    return _network(layers | _head(sizes[-1], classes), selective)


def _resnet(depth: int, width: float, classes: int, selective: bool) -> nn.Sequential:
    """Images (batch, 3, 32, 32) -> logits; 16, 32 and 64 channels times `width`."""
    sizes = scaled((16, 32, 64), width)
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv=_conv(3, sizes[0]), norm=nn.BatchNorm2d(sizes[0]), relu=nn.ReLU()
    )
    layers |= _stages(sizes[0], sizes, _blocks(depth, 2), BasicBlock)
    return _network(layers | _head(sizes[-1], classes), selective)


def _network(layers: OrderedDict[str, nn.Module], selective: bool) -> nn.Sequential:
    model = nn.Sequential(layers)
    for block in model.children():
        if selective and isinstance(block, BasicBlock | WideBlock):
            channels = len(block.conv2.weight)
            block.add.cut_change(torch.arange(channels), channels)  # all, so that none are tied
    return model


def _blocks(depth: int, others: int) -> int:
    """Blocks per stage of two convolutions each; `others`: layers outside of the stages."""
    blocks, rest = divmod(depth - others, 6)
    if blocks < 1 or rest:
        raise ConfigError("model option depth", depth, f"6n + {others} with n at least 1")
    return blocks


def _stages(
    inputs: int, sizes: list[int], blocks: int, block: Block
) -> OrderedDict[str, nn.Module]:
    """All blocks by name: block2_1 is the first of the second stage. inputs: its channels."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for stage, outputs in enumerate(sizes, start=1):
        for number in range(1, blocks + 1):
            stride = 2 if stage > 1 and number == 1 else 1
            layers[f"block{stage}_{number}"] = block(inputs, outputs, stride)
            inputs = outputs
    return layers


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)


def _head(channels: int, classes: int) -> OrderedDict[str, nn.Module]:
    return OrderedDict(
        pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), fc=nn.Linear(channels, classes)
    )


class BasicBlock(nn.Module):
    """Two 3×3 convolutions, added to their input (He et al. 2016, sections 3.3 and 4.2).

    Where shapes differ, the input is subsampled and further channels are zero (option A), which
    takes no parameters.
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.stride, self.extra = stride, outputs - inputs
        self.conv1 = _conv(inputs, outputs, stride)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.relu1 = nn.ReLU()
        self.conv2 = _conv(outputs, outputs)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.add = SelectiveAddition()
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """(batch, inputs, side, side) -> (batch, outputs, side / stride, side / stride)."""
        change = self.norm2(self.conv2(self.relu1(self.norm1(self.conv1(x)))))
        if self.stride > 1:
            x = x[:, :, :: self.stride, :: self.stride]
        if self.extra:
            x = F.pad(x, (0, 0, 0, 0, 0, self.extra))
        return self.relu2(self.add(x, change))


class WideBlock(nn.Module):
    """Batch norm, ReLU and 3×3 convolution, twice, added to the input.

    Where shapes differ, a 1×1 convolution of the activated input takes the input's place.
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.relu1 = nn.ReLU()
        self.conv1 = _conv(inputs, outputs, stride)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.relu2 = nn.ReLU()
        self.conv2 = _conv(outputs, outputs)
        same = inputs == outputs and stride == 1
        self.shortcut = None if same else nn.Conv2d(inputs, outputs, 1, stride, bias=False)
        self.add = SelectiveAddition()

    def forward(self, x: Tensor) -> Tensor:
        """(batch, inputs, side, side) -> (batch, outputs, side / stride, side / stride)."""
        active = self.relu1(self.norm1(x))
        change = self.conv2(self.relu2(self.norm2(self.conv1(active))))
        return self.add(x if self.shortcut is None else self.shortcut(active), change)
