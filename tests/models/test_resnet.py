"""Residual networks have the published sizes, and blocks add what they should."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from lottery.data.images import Examples
from lottery.errors import ConfigError
from lottery.models import build
from lottery.models.resnet import BasicBlock, WideBlock
from lottery.pruning.masks import Masks, prunable
from lottery.registry import parse_spec
from lottery.training.config import TrainConfig
from lottery.training.engines import choose_engine


def on_meta(spec: str) -> nn.Module:
    """A network of shapes alone, which takes no time to make."""
    with torch.device("meta"):
        return build(spec).eval()


def multiply_accumulates(model: nn.Module) -> float:
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 3, 32, 32))
    return counter.get_total_flops() / 2


PUBLISHED = {
    "resnet20": 0.27,
    "resnet56": 0.85,
    # Zagoruyko & Komodakis (2016), tables 4 and 5
    "wide_resnet(16, 8)": 11.0,
    "wide_resnet(22, 8)": 17.2,
    "wide_resnet(28, 10)": 36.5,
    "wide_resnet(40, 4)": 8.9,
}
"""Millions of parameters; those of ResNets from He et al. (2016), table 6."""


@pytest.mark.parametrize("spec", PUBLISHED)
def test_parameters_are_as_many_as_published(spec):
    total = sum(p.numel() for p in on_meta(spec).parameters()) / 1e6
    digits = len(str(PUBLISHED[spec]).partition(".")[2])
    assert round(total, digits) == PUBLISHED[spec]


def test_shortcuts_of_resnets_take_no_parameters():
    """With 1×1 convolutions in them ResNet-20 would have 272,474."""
    assert sum(p.numel() for p in on_meta("resnet20").parameters()) == 269_722
    assert not any(
        m.kernel_size == (1, 1) for m in on_meta("resnet20").modules() if isinstance(m, nn.Conv2d)
    )


@pytest.mark.parametrize(("spec", "millions"), [("resnet20", 40.55), ("resnet56", 125.49)])
def test_multiply_accumulates_are_those_of_the_soft_filter_pruning_script(spec, millions):
    assert round(multiply_accumulates(on_meta(spec)) / 1e6, 2) == millions


@pytest.mark.parametrize("spec", PUBLISHED)
def test_depth_counts_all_convolutions_and_in_resnets_the_linear_layer(spec):
    name, options, _ = parse_spec(spec)
    kinds = list(prunable(on_meta(spec)).values())
    if name == "wide_resnet":
        assert kinds.count("conv") == options[0]
    else:
        assert len(kinds) == int(name.removeprefix("resnet"))


@pytest.mark.parametrize(
    ("spec", "channels"),
    [("resnet20(width=0.25)", [4, 8, 16]), ("wide_resnet(10, 0.5)", [8, 16, 32])],
)
def test_stages_halve_the_side_and_double_the_channels(spec, channels):
    model, shapes = build(spec).eval(), {}
    for name, block in model.named_children():
        block.register_forward_hook(lambda *a, name=name: shapes.update({name[:6]: a[2].shape}))
    with torch.no_grad():
        assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
    found = [tuple(shapes[f"block{stage}"]) for stage in (1, 2, 3)]
    assert found == [(2, c, s, s) for c, s in zip(channels, (32, 16, 8), strict=True)]


def filled(block: nn.Module) -> nn.Module:
    """Random affine and running statistics, so that nothing cancels or passes unseen."""
    stream = torch.Generator().manual_seed(0)
    for module in block.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight.data, module.running_mean, module.running_var):
                tensor.copy_(torch.rand(tensor.shape, generator=stream) + 0.5)
            module.bias.data.copy_(torch.randn(module.bias.shape, generator=stream))
    return block.eval()


def normed(x: torch.Tensor, norm: nn.BatchNorm2d) -> torch.Tensor:
    """Batch norm by its formula."""

    def shaped(values):
        return values.view(1, -1, 1, 1)

    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    return (x - shaped(norm.running_mean)) * shaped(scale) + shaped(norm.bias)


@torch.no_grad()
@pytest.mark.parametrize(("inputs", "outputs", "stride"), [(4, 4, 1), (4, 8, 2), (4, 6, 1)])
def test_a_basic_block_adds_its_input_subsampled_and_filled_up_with_zeros(inputs, outputs, stride):
    block, x = filled(BasicBlock(inputs, outputs, stride)), torch.randn(2, inputs, 8, 8)
    inner = normed(F.conv2d(x, block.conv1.weight, stride=stride, padding=1), block.norm1).relu()
    expected = normed(F.conv2d(inner, block.conv2.weight, padding=1), block.norm2)
    expected[:, :inputs] += x[:, :, ::stride, ::stride]
    torch.testing.assert_close(block(x), expected.relu())


@torch.no_grad()
@pytest.mark.parametrize(("inputs", "outputs", "stride"), [(4, 4, 1), (4, 8, 2), (4, 6, 1)])
def test_a_wide_block_activates_before_it_convolves(inputs, outputs, stride):
    block, x = filled(WideBlock(inputs, outputs, stride)), torch.randn(2, inputs, 8, 8)
    active = normed(x, block.norm1).relu()
    inner = F.conv2d(active, block.conv1.weight, stride=stride, padding=1)
    change = F.conv2d(normed(inner, block.norm2).relu(), block.conv2.weight, padding=1)
    if inputs == outputs:
        assert block.shortcut is None
        torch.testing.assert_close(block(x), x + change)
    else:
        passed = F.conv2d(active, block.shortcut.weight, stride=stride)
        torch.testing.assert_close(block(x), passed + change)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("wide_resnet(27, 2)", r"model option depth is 27; allowed: 6n \+ 4 with n at least 1"),
        ("wide_resnet(4, 2)", "model option depth is 4"),
        ("resnet20(width=0.01)", "model option width is 0.01; allowed: at least 1 / 16"),
    ],
)
def test_an_impossible_size_is_named(spec, message):
    with pytest.raises(ConfigError, match=message):
        build(spec)


@pytest.mark.parametrize("spec", ["resnet20(width=0.25)", "wide_resnet(10, 0.5)"])
def test_graphs_can_be_traced(spec):
    model, x = build(spec).eval(), torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(torch.fx.symbolic_trace(model)(x), model(x))


def test_engine_auto_trains_batch_norm_on_the_reference_engine():
    model = build("resnet20(width=0.25)")
    images = Examples(torch.zeros(2, 3, 32, 32), torch.zeros(2, dtype=torch.int64))
    assert choose_engine("auto", model, Masks.ones(model), TrainConfig(), images) == "reference"
    with pytest.raises(ConfigError, match="it has state beside its parameters"):
        choose_engine("stacked", model, Masks.ones(model), TrainConfig(), images)
