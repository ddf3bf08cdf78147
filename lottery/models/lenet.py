"""LeNet-300-100, the fully connected network of the lottery-ticket papers."""

from collections import OrderedDict

from torch import nn


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
