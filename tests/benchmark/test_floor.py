"""The floor does a training step's products, all of them and nothing else."""

import pytest
import torch
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from lottery.benchmark.floor import floor, layer_uses
from lottery.models import build
from lottery.training.level import snapshot
from tests.conftest import OwnNetwork

MNIST, CIFAR = (6, 1, 28, 28), (6, 3, 32, 32)
NETWORKS = [
    (lambda: build("lenet_300_100"), MNIST),
    (lambda: build("conv2(width=0.125)"), CIFAR),
    (lambda: build("conv6(width=0.125)"), CIFAR),
    (OwnNetwork, (6, 6)),
]


def operations(work) -> int:
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


@pytest.mark.parametrize(("make", "shape"), NETWORKS)
def test_the_floor_has_as_many_operations_as_a_training_step(make, shape):
    model, images = make(), torch.randn(shape)

    def step():
        F.cross_entropy(model(images), torch.zeros(len(images), dtype=torch.int64)).backward()

    expected = operations(step)
    assert expected > 0
    assert operations(floor(model, images)) == expected


@pytest.mark.parametrize(("make", "shape"), NETWORKS)
def test_every_replica_has_products_of_its_own(make, shape):
    model, images = make(), torch.randn(shape)
    assert operations(floor(model, images, 3)) == 3 * operations(floor(model, images))


def test_layers_are_found_in_order_with_the_shapes_that_pass_them():
    uses = layer_uses(build("lenet_300_100"), torch.randn(MNIST))
    assert [tuple(use.input.shape) for use in uses] == [(6, 784), (6, 300), (6, 100)]
    assert [tuple(use.output.shape) for use in uses] == [(6, 300), (6, 100), (6, 10)]
    assert [use.first for use in uses] == [True, False, False]


def test_convolutions_keep_the_layout_of_the_images():
    images = torch.randn(CIFAR).contiguous(memory_format=torch.channels_last)
    use = layer_uses(build("conv2(width=0.125)"), images)[1]
    assert use.input.is_contiguous(memory_format=torch.channels_last)
    assert use.output.is_contiguous(memory_format=torch.channels_last)


def test_looking_leaves_the_network_as_it_was():
    model = build("lenet_300_100")
    before = snapshot(model)
    floor(model, torch.randn(MNIST))()
    assert all(torch.equal(before[name], now) for name, now in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())
