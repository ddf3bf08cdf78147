"""The networks are those of the paper, and building one leaves no trace."""

import pytest
import torch
from torch import nn

from lottery.errors import ConfigError
from lottery.models import MODELS, build
from lottery.pruning.masks import Masks, prunable

WEIGHTS = {
    "lenet_300_100": (0, 266_200),
    "conv2": (38_592, 4_300_992),
    "conv4": (259_776, 2_425_024),
    "conv6": (1_144_512, 2_261_184),
}
"""Of convolutions, and of all."""


@pytest.mark.parametrize("name", WEIGHTS)
def test_weight_counts_are_those_of_the_published_layers(name):
    model = build(name)
    sizes, kinds = Masks.ones(model).sizes, prunable(model)
    conv = sum(size for layer, size in sizes.items() if kinds[layer] == "conv")
    assert (conv, sum(sizes.values())) == WEIGHTS[name]


def test_lenet_layers_have_235200_30000_and_1000_weights():
    model = build("lenet_300_100")
    assert list(Masks.ones(model).sizes.values()) == [235_200, 30_000, 1_000]
    assert sum(p.numel() for p in model.parameters()) == 266_610


@pytest.mark.parametrize(
    ("name", "channels", "flat"),
    [
        ("conv2", [64, 64], 16_384),
        ("conv4", [64, 64, 128, 128], 8_192),
        ("conv6", [64, 64, 128, 128, 256, 256], 4_096),
    ],
)
def test_conv_networks_pool_after_every_pair_of_padded_convolutions(name, channels, flat):
    model = build(name)
    convs = [module for module in model if isinstance(module, nn.Conv2d)]
    assert [conv.out_channels for conv in convs] == channels
    sides = []
    hooks = [conv.register_forward_hook(lambda *a: sides.append(a[2].shape[-1])) for conv in convs]
    with torch.no_grad():
        assert model(torch.zeros(1, 3, 32, 32)).shape == (1, 10)
    for hook in hooks:
        hook.remove()
    assert sides == [32 // 2 ** (number // 2) for number in range(len(channels))]
    assert [m.in_features for m in model if isinstance(m, nn.Linear)] == [flat, 256, 256]


@pytest.mark.parametrize("name", WEIGHTS)
def test_every_layer_but_the_last_is_followed_by_relu_and_nothing_else_learns(name):
    modules = [m for m in build(name) if not isinstance(m, (nn.Flatten, nn.MaxPool2d))]
    assert all(isinstance(module, nn.ReLU) for module in modules[1::2])
    assert all(isinstance(module, (nn.Linear, nn.Conv2d)) for module in modules[::2])
    assert len(modules) % 2 == 1
    assert not list(build(name).buffers())


def test_lenet_takes_images_of_28_by_28():
    assert build("lenet_300_100")(torch.zeros(2, 1, 28, 28)).shape == (2, 10)


def test_options_change_inputs_classes_and_width():
    assert build("lenet_300_100(inputs=6, classes=3)")(torch.zeros(2, 6)).shape == (2, 3)
    small = build("conv2(width=0.125, classes=7)")
    assert small(torch.zeros(2, 3, 32, 32)).shape == (2, 7)
    assert [m.out_channels for m in small if isinstance(m, nn.Conv2d)] == [8, 8]
    assert small.fc1.out_features == 32


def test_building_depends_on_the_seed_alone_and_leaves_the_random_state():
    torch.manual_seed(1)
    one = build("lenet_300_100(inputs=6)", seed=3)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    same, other = (build("lenet_300_100(inputs=6)", seed=seed) for seed in (3, 4))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(one.fc1.weight, same.fc1.weight)
    assert not torch.equal(one.fc1.weight, other.fc1.weight)


def embedding_net(classes: int = 2) -> nn.Module:
    return nn.Sequential(nn.Embedding(5, 4), nn.Flatten(), nn.Linear(8, classes))


def test_a_users_network_is_built_by_reference():
    model = build(f"{__name__}:embedding_net(classes=3)", seed=0)
    assert model(torch.tensor([[0, 1]])).shape == (1, 3)
    assert torch.equal(model[0].weight, build(f"{__name__}:embedding_net", seed=0)[0].weight)


def test_an_unknown_network_lists_the_known_ones():
    assert list(MODELS) == [
        *("cifar_quick", "conv2", "conv4", "conv6", "lenet5", "lenet_300_100"),
        *("resnet20", "resnet56", "tiny_yolo_v2", "vgg16_bn", "wide_resnet", "yolo_v2"),
    ]
    with pytest.raises(ConfigError, match="model is 'lenet'; allowed: cifar_quick, conv2, conv4"):
        build("lenet")
