"""Networks of the study by name; a user's own `nn.Module` works everywhere a built-in one does."""

import torch
from torch import nn

from lottery.models.cifar_quick import cifar_quick
from lottery.models.conv import conv2, conv4, conv6
from lottery.models.lenet import lenet5, lenet_300_100
from lottery.models.resnet import resnet20, resnet56, wide_resnet
from lottery.models.vgg import vgg16_bn
from lottery.models.yolo import tiny_yolo_v2, yolo_v2
from lottery.registry import Registry
from lottery.seeds import derive

__all__ = [
    "MODELS",
    "build",
    "cifar_quick",
    "conv2",
    "conv4",
    "conv6",
    "lenet5",
    "lenet_300_100",
    "resnet20",
    "resnet56",
    "tiny_yolo_v2",
    "vgg16_bn",
    "wide_resnet",
    "yolo_v2",
]

MODELS = Registry("model")
for _network in (
    *(lenet_300_100, lenet5),
    *(conv2, conv4, conv6, cifar_quick),
    *(vgg16_bn, resnet20, resnet56, wide_resnet),
    *(yolo_v2, tiny_yolo_v2),
):
    MODELS.register(_network)


def build(spec: str, seed: int = 0) -> nn.Module:
    """The network a spec names: "lenet_300_100", "conv6(width=0.25)" or "module:function".

    What the constructor draws (an embedding, say) depends on `seed` alone, and the process's own
    random state is left as it was.
    """
    with torch.random.fork_rng():
        torch.manual_seed(derive(seed, "build"))
        return MODELS.resolve(spec)()
