"""VGG-16 with batch norm, in its form for CIFAR."""

from collections import OrderedDict

from torch import nn

from lottery.models.widths import scaled


def vgg16_bn(width: float = 1.0, classes: int = 10) -> nn.Sequential:
    """VGG-16 for CIFAR: 14.72 M parameters, 313 M multiply-accumulates of convolutions.

    Images (batch, 3, 32, 32) -> logits (batch, classes). The thirteen convolutions of Simonyan &
    Zisserman (2015, table 1, D) without biases, each with batch norm and ReLU, 2×2 max pooling
    after every group, and one linear layer (Liu et al. 2019). width: multiplies all channels.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    inputs, number = 3, 0
    groups = zip(scaled((64, 128, 256, 512, 512), width), (2, 2, 3, 3, 3), strict=True)
    for group, (outputs, depth) in enumerate(groups, start=1):
        for _ in range(depth):
            number += 1
            layers[f"conv{number}"] = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
            layers[f"norm{number}"] = nn.BatchNorm2d(outputs)
            layers[f"relu{number}"] = nn.ReLU()
            inputs = outputs
        layers[f"pool{group}"] = nn.MaxPool2d(2)
    layers["flatten"] = nn.Flatten()
    layers["fc"] = nn.Linear(inputs, classes)
    return nn.Sequential(layers)
