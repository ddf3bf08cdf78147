"""Conv-2, Conv-4 and Conv-6: scaled-down VGGs for CIFAR-10 (Frankle & Carbin 2019, fig. 2).

Pairs of 3×3 convolutions with `same` padding, each pair followed by 2×2 max pooling, then three
linear layers; ReLU, no batch norm. Weights: 4,300,992, 2,425,024 and 2,261,184. The paper prints
1.7 M for Conv-6, which its stated layers cannot give; compare on percentages.
"""

from collections import OrderedDict

from torch import nn

from lottery.models.widths import scaled


def conv2(width: float = 1.0, classes: int = 10) -> nn.Sequential:
    """Images (batch, 3, 32, 32) -> logits; convolutions of 64, 64 channels at width 1."""
    return _conv_net((64, 64), width, classes)


def conv4(width: float = 1.0, classes: int = 10) -> nn.Sequential:
    """Images (batch, 3, 32, 32) -> logits; convolutions of 64, 64, 128, 128 channels at width 1."""
    return _conv_net((64, 64, 128, 128), width, classes)


def conv6(width: float = 1.0, classes: int = 10) -> nn.Sequential:
    """Images (batch, 3, 32, 32) -> logits; 64, 64, 128, 128, 256, 256 channels at width 1."""
    return _conv_net((64, 64, 128, 128, 256, 256), width, classes)


def _conv_net(channels: tuple[int, ...], width: float, classes: int) -> nn.Sequential:
    """`width` multiplies the number of channels and of hidden units."""
    *filters, hidden = scaled((*channels, 256), width)
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    inputs, side = 3, 32
    for number, outputs in enumerate(filters, start=1):
        layers[f"conv{number}"] = nn.Conv2d(inputs, outputs, 3, padding=1)
        layers[f"conv_relu{number}"] = nn.ReLU()
        if number % 2 == 0:
            layers[f"pool{number // 2}"] = nn.MaxPool2d(2)
            side //= 2
        inputs = outputs
    layers["flatten"] = nn.Flatten()
    layers["fc1"] = nn.Linear(inputs * side * side, hidden)
    layers["relu1"] = nn.ReLU()
    layers["fc2"] = nn.Linear(hidden, hidden)
    layers["relu2"] = nn.ReLU()
    layers["fc3"] = nn.Linear(hidden, classes)
    return nn.Sequential(layers)
