"""LeNet-300-100, the fully connected network of the lottery-ticket papers."""

from collections import OrderedDict

from torch import nn


def lenet_300_100(inputs: int = 784, classes: int = 10) -> nn.Sequential:
    """Inputs-300-100-classes with ReLU: 266,200 weights on MNIST (Frankle & Carbin 2019, fig. 2).

    Images of any shape with `inputs` values -> logits (batch, classes).
    """
    return nn.Sequential(
        OrderedDict(
            flatten=nn.Flatten(),
            fc1=nn.Linear(inputs, 300),
            relu1=nn.ReLU(),
            fc2=nn.Linear(300, 100),
            relu2=nn.ReLU(),
            fc3=nn.Linear(100, classes),
        )
    )
