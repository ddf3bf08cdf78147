"""The quick network of cuda-convnet."""

from collections import OrderedDict

from torch import nn

from lottery.models.widths import scaled


def cifar_quick(width: float = 1.0, classes: int = 10) -> nn.Sequential:
    """The quick CIFAR-10 network of cuda-convnet and Caffe: 145,578 parameters.

    Images (batch, 3, 32, 32) -> logits (batch, classes): 5×5 convolutions of 32, 32 and 64 filters,
    3×3 pooling with stride 2 after each, first of maxima, then of means, and 64 hidden units. A
    ReLU follows these too, where Caffe has none. width: multiplies filters and hidden units.
    """
    first, second, third, hidden = scaled((32, 32, 64, 64), width)
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(3, first, 5, padding=2),
            pool1=nn.MaxPool2d(3, 2, ceil_mode=True),
            conv_relu1=nn.ReLU(),
            conv2=nn.Conv2d(first, second, 5, padding=2),
            conv_relu2=nn.ReLU(),
            pool2=nn.AvgPool2d(3, 2, ceil_mode=True),
            conv3=nn.Conv2d(second, third, 5, padding=2),
            conv_relu3=nn.ReLU(),
            pool3=nn.AvgPool2d(3, 2, ceil_mode=True),
            flatten=nn.Flatten(),
            fc1=nn.Linear(third * 4 * 4, hidden),
            relu1=nn.ReLU(),
            fc2=nn.Linear(hidden, classes),
        )
    )
