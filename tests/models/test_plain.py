"""LeNet-5, cifar-quick and VGG-16 have the published layers and sizes."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from lottery.errors import ConfigError
from lottery.models import build
from lottery.pruning.masks import Masks

SHAPES = {
    "lenet5": (1, 28, 28),
    "lenet5(channels=3, side=32)": (3, 32, 32),
    "cifar_quick": (3, 32, 32),
    "vgg16_bn(width=0.125)": (3, 32, 32),
}


def sizes(spec: str) -> list[int]:
    """Weights per layer."""
    return list(Masks.ones(build(spec)).sizes.values())


def total(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def test_lenet5_has_the_weights_of_han_et_al():
    """Han et al. (2015) list 0.5K, 25K, 400K and 5K; 431K parameters in all."""
    assert sizes("lenet5") == [500, 25_000, 400_000, 5_000]
    assert total(build("lenet5")) == 431_080


def test_lenet5_for_cifar_sees_25_positions_after_its_convolutions():
    model = build("lenet5(channels=3, side=32)")
    assert (model.conv1.in_channels, model.fc1.in_features) == (3, 50 * 5 * 5)


def test_cifar_quick_has_the_layers_of_caffe():
    assert sizes("cifar_quick") == [2_400, 25_600, 51_200, 65_536, 640]
    assert total(build("cifar_quick")) == 145_578


def test_cifar_quick_pools_incomplete_windows_too():
    """Caffe rounds sizes up: 32 to 16, 8 and 4, where rounding down gives 15, 7 and 3."""
    model, sides = build("cifar_quick"), []
    for pool in (model.pool1, model.pool2, model.pool3):
        pool.register_forward_hook(lambda *a: sides.append(a[2].shape[-1]))
    with torch.no_grad():
        model(torch.zeros(1, 3, 32, 32))
    assert sides == [16, 8, 4]


def test_vgg16_has_the_thirteen_published_convolutions():
    with torch.device("meta"):
        model = build("vgg16_bn").eval()
        convs = [module for module in model if isinstance(module, nn.Conv2d)]
        with FlopCounterMode(display=False) as counter:
            assert model(torch.zeros(1, 3, 32, 32)).shape == (1, 10)
    assert [conv.out_channels for conv in convs] == [64] * 2 + [128] * 2 + [256] * 3 + [512] * 6
    assert total(model) == 14_724_042
    # Li et al. (2016), table 1: 3.13e8 multiply-accumulates
    assert f"{counter.get_total_flops() / 2:.2e}" == "3.13e+08"


@pytest.mark.parametrize("spec", SHAPES)
def test_every_layer_but_the_last_is_followed_by_relu(spec):
    ignored = (nn.Flatten, nn.MaxPool2d, nn.AvgPool2d, nn.BatchNorm2d)
    layers = [module for module in build(spec) if not isinstance(module, ignored)]
    assert all(isinstance(layer, nn.ReLU) for layer in layers[1::2])
    assert all(isinstance(layer, (nn.Linear, nn.Conv2d)) for layer in layers[::2])
    assert len(layers) % 2 == 1


@pytest.mark.parametrize("spec", SHAPES)
def test_images_become_logits_and_graphs_can_be_traced(spec):
    model, x = build(spec).eval(), torch.rand(2, *SHAPES[spec])
    with torch.no_grad():
        logits = model(x)
        assert logits.shape == (2, 10)
        assert torch.equal(torch.fx.symbolic_trace(model)(x), logits)


def test_options_change_classes_and_width():
    half = build("lenet5(width=0.5, classes=7)")
    assert [m.out_channels for m in half if isinstance(m, nn.Conv2d)] == [10, 25]
    assert (half.fc1.out_features, half.fc2.out_features) == (250, 7)
    assert build("cifar_quick(width=0.25)").fc1.in_features == 16 * 4 * 4
    assert build("vgg16_bn(width=0.125, classes=3)").fc.weight.shape == (3, 64)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("lenet5(side=15)", "model option side is 15; allowed: at least 16"),
        ("lenet5(width=0.01)", "model option width is 0.01; allowed: at least 1 / 20"),
    ],
)
def test_an_impossible_size_is_named(spec, message):
    with pytest.raises(ConfigError, match=message):
        build(spec)
