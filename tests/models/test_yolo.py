"""YOLOv2 and its tiny form have the published layers and counts, and lose filters exactly."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lottery
from lottery.errors import ConfigError
from lottery.models import build
from lottery.models.yolo import tiny_yolo_v2, yolo_v2
from tests.pruning.graphs import some_units

SMALL = ["yolo_v2(width=0.125, classes=3)", "tiny_yolo_v2(width=0.25, classes=1, stride=16)"]


def convolutions(model: nn.Module) -> dict[str, nn.Conv2d]:
    return {n: m for n, m in model.named_modules() if isinstance(m, nn.Conv2d)}


def randomised(spec: str) -> nn.Module:
    """In eval mode, with statistics and entries of batch norm that are not 0 and 1."""
    model, chance = build(spec).eval(), torch.Generator().manual_seed(0)
    for norm in (m for m in model.modules() if isinstance(m, nn.BatchNorm2d)):
        for tensor in (norm.weight.data, norm.running_var):
            tensor.uniform_(0.5, 1.5, generator=chance)
        for tensor in (norm.bias.data, norm.running_mean):
            tensor.normal_(0, 0.3, generator=chance)
    return model


@pytest.mark.parametrize(
    ("spec", "weights", "flop", "layers"),
    [("yolo_v2", 50.63e6, 29.36e9, 23), ("tiny_yolo_v2", 15.86e6, 6.97e9, 9)],
)
def test_counts_are_those_published_for_voc_at_416(
    spec: str, weights: float, flop: float, layers: int
) -> None:
    """All layers are convolutions of `same` size: at 32 operations are 13 × 13 times fewer."""
    found = lottery.cost(build(spec), torch.zeros(1, 3, 32, 32))
    assert len(found.layers) == layers
    assert sum(layer.weights for layer in found.layers) == pytest.approx(weights, abs=0.005e6)
    assert 2 * found.macs * 13**2 == pytest.approx(flop, abs=0.005e9)


def test_layers_of_yolo_v2_are_those_of_darknets_configuration() -> None:
    with torch.device("meta"):
        model = yolo_v2()
        sides: dict[str, int] = {}
        for name, conv in convolutions(model).items():
            conv.register_forward_hook(lambda *a, n=name: sides.update({n: a[2].shape[-1]}))
        assert model.eval()(torch.zeros(1, 3, 416, 416)).shape == (1, 125, 13, 13)
    found = [(c.out_channels, c.kernel_size[0]) for c in convolutions(model).values()]
    three, one = [f for f, k in found if k == 3], [f for f, k in found if k == 1]
    assert three == [32, 64, *[128] * 2, *[256] * 2, *[512] * 3, *[1024] * 3, 1024, 1024, 1024]
    assert one == [64, 128, 256, 256, 512, 512, 64, 125]
    assert list(sides.values()) == (
        [416, 208, *[104] * 3, *[52] * 3, *[26] * 5, *[13] * 5, 13, 13, 26, 13, 13]
    )


def test_reorganised_features_come_first_and_are_those_at_stride_16() -> None:
    model = randomised(SMALL[0])
    images = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        fine = model.fine(images)
        assert fine.shape == (2, 64, 4, 6)
        shown = model.passthrough[:3](fine)
        blocks = [shown[:, :, y::2, x::2] for y in (0, 1) for x in (0, 1)]
        first = torch.stack(blocks, dim=2).flatten(1, 2)
        joined = torch.cat([first, model.coarse(fine)], dim=1)
        assert torch.equal(model(images), model.head(model.joint(joined)))


@pytest.mark.parametrize("spec", SMALL)
def test_only_the_head_has_a_bias_and_only_it_lacks_norm_and_leaky_relu(spec: str) -> None:
    model = build(spec)
    kinds = [type(m) for m in model.modules() if not list(m.children())]
    kinds = [kind for kind in kinds if kind in (nn.Conv2d, nn.BatchNorm2d, nn.LeakyReLU)]
    assert kinds == [nn.Conv2d, nn.BatchNorm2d, nn.LeakyReLU] * (len(kinds) // 3) + [nn.Conv2d]
    assert [n for n, conv in convolutions(model).items() if conv.bias is not None] == ["head"]
    assert {m.negative_slope for m in model.modules() if isinstance(m, nn.LeakyReLU)} == {0.1}


def test_norms_take_darknets_share_of_a_batch_unless_told_otherwise() -> None:
    for model, share in ((yolo_v2(0.125), 0.01), (tiny_yolo_v2(0.25, bn_momentum=0.1), 0.1)):
        assert {m.momentum for m in model.modules() if isinstance(m, nn.BatchNorm2d)} == {share}


@pytest.mark.parametrize(("stride", "cells"), [(32, 5), (16, 10)])
def test_tiny_at_stride_16_has_more_cells_and_the_same_weights(stride: int, cells: int) -> None:
    model = tiny_yolo_v2(width=0.25, classes=10, anchors=4, stride=stride).eval()
    assert model(torch.zeros(1, 3, 160, 160)).shape == (1, 60, cells, cells)
    other = tiny_yolo_v2(width=0.25, classes=10, anchors=4)
    assert {n: p.shape for n, p in model.named_parameters()} == {
        n: p.shape for n, p in other.named_parameters()
    }


def test_the_pooling_of_stride_1_keeps_the_size_and_looks_right_and_down() -> None:
    model = tiny_yolo_v2(width=0.25)
    values = torch.rand(1, 2, 3, 4, generator=torch.Generator().manual_seed(0))
    beyond = F.pad(values, (0, 1, 0, 1), value=-torch.inf)  # as darknet has it
    assert torch.equal(model.pool6(model.pad6(values)), F.max_pool2d(beyond, 2, stride=1))


@pytest.mark.parametrize("spec", SMALL)
@pytest.mark.parametrize("seed", range(3))
def test_removing_random_filters_leaves_what_masking_them_does(spec: str, seed: int) -> None:
    check_removal(spec, lambda graph: some_units(graph, seed))


@pytest.mark.parametrize(
    ("spec", "layer", "columns"),
    [
        # The last layer at stride 16 is read at stride 32 and by the passthrough.
        (SMALL[0], "fine.conv13", {"coarse.conv14": 1, "passthrough.conv21": 1}),
        # Each filter of the passthrough becomes four channels, before those of the trunk.
        (SMALL[0], "passthrough.conv21", {"joint.conv22": 4}),
        (SMALL[0], "coarse.conv20", {"joint.conv22": 1}),
        (SMALL[0], "joint.conv22", {"head": 1}),
        (SMALL[1], "conv5", {"conv6": 1}),
        (SMALL[1], "conv8", {"head": 1}),
    ],
)
def test_a_removed_filter_takes_along_what_reads_it(
    spec: str, layer: str, columns: dict[str, int]
) -> None:
    def one_and_last(graph: lottery.ChannelGraph) -> torch.Tensor:
        remove = torch.zeros(graph.units, dtype=torch.bool)
        remove[graph.homes[f"{layer}.weight"][[1, -1]]] = True
        return remove

    small, whole = check_removal(spec, one_and_last)
    for name, conv in convolutions(whole).items():
        less = conv.out_channels - convolutions(small)[name].out_channels
        assert less == (2 if name == layer else 0)
        less = conv.in_channels - convolutions(small)[name].in_channels
        assert less == 2 * columns.get(name, 0)


def check_removal(spec: str, choose) -> tuple[nn.Module, nn.Module]:
    """The smaller network, whose outputs and parameters are those of the masked one; and that."""
    model = randomised(spec)
    graph = lottery.trace(model, torch.zeros(1, 3, 64, 64))
    assert sum(len(units) for units in graph.homes.values()) == sum(
        conv.out_channels for name, conv in convolutions(model).items() if name != "head"
    )
    remove = choose(graph)
    small = lottery.shrink(copy.deepcopy(model), remove, graph)
    masks = lottery.unit_masks(graph, model, remove)
    whole = copy.deepcopy(model)
    masks.apply(model)
    # Another size than it was traced with, and one that 32 divides and 64 does not.
    images = torch.rand(2, 3, 96, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(small(images), model(images), rtol=1e-5, atol=1e-5)
    assert sum(masks.remaining.values()) == sum(p.numel() for p in small.parameters())
    return small, whole


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: build("tiny_yolo_v2(stride=8)"), "stride is 8; allowed: 16, 32"),
        (lambda: build("yolo_v2(classes=0)"), "classes is 0; allowed: at least 1"),
        (lambda: build("yolo_v2(anchors=0, width=0.125)"), "anchors is 0; allowed: at least 1"),
        (lambda: build("tiny_yolo_v2(width=0.01)"), "width is 0.01"),
    ],
)
def test_options_out_of_range_are_named(make, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()
