"""LeNet-300-100 and LeNet-5, the networks that papers on pruning try on MNIST."""

from collections import OrderedDict

from torch import nn

from lottery.errors import ConfigError
from lottery.models.widths import scaled


def lenet_300_100(
    inputs: int = 784, classes: int = 10, negative_slope: float = 0.0
) -> nn.Sequential:
    """Inputs-300-100-classes with ReLU: 266,200 weights on MNIST (Frankle & Carbin 2019, fig. 2).

    Images of any shape with `inputs` values -> logits (batch, classes). negative_slope: of a leaky
    ReLU in place of the ReLU.
    """

    def activation() -> nn.Module:
        return nn.LeakyReLU(negative_slope) if negative_slope else nn.ReLU()

    return nn.Sequential(
        OrderedDict(
            flatten=nn.Flatten(),
            fc1=nn.Linear(inputs, 300),
            relu1=activation(),
            fc2=nn.Linear(300, 100),
            relu2=activation(),
            fc3=nn.Linear(100, classes),
        )
    )


def lenet5(
    channels: int = 1, side: int = 28, classes: int = 10, width: float = 1.0
) -> nn.Sequential:
    """LeNet-5 as Caffe has it: 431,080 parameters (430,500 weights) on MNIST.

    Images (batch, channels, side, side) -> logits (batch, classes): 5×5 convolutions of 20 and 50
    filters without padding, each with 2×2 max pooling, then 500 hidden units. A ReLU follows every
    layer but the last, as in work on pruning (Han et al. 2015); Caffe's own has that of fc1 alone.
    channels=3, side=32 is the form for CIFAR-10. width: multiplies filters and hidden units.
    """
    last_side = ((side - 4) // 2 - 4) // 2
    if last_side < 1:
        raise ConfigError("model option side", side, "at least 16")
    first, second, hidden = scaled((20, 50, 500), width)
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(channels, first, 5),
            conv_relu1=nn.ReLU(),
            pool1=nn.MaxPool2d(2),
            conv2=nn.Conv2d(first, second, 5),
            conv_relu2=nn.ReLU(),
            pool2=nn.MaxPool2d(2),
            flatten=nn.Flatten(),
            fc1=nn.Linear(second * last_side**2, hidden),
            relu1=nn.ReLU(),
            fc2=nn.Linear(hidden, classes),
        )
    )
