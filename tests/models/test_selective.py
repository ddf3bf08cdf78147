"""A residual branch with fewer channels adds what the full one would with the others at zero."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import lottery
from lottery.errors import ConfigError
from lottery.limutils import relative_reduce_layer, shrink_layer
from lottery.models import build
from lottery.models.resnet import BasicBlock, WideBlock
from lottery.models.selective import SelectiveAddition

CHANNELS = 6


def tensors(*channels: int) -> list[torch.Tensor]:
    stream = torch.Generator().manual_seed(0)
    return [torch.randn(2, c, 3, 3, generator=stream) for c in channels]


def test_at_first_it_is_a_plain_sum_and_nothing_in_the_state():
    x, change = tensors(4, 4)
    add = SelectiveAddition()
    assert torch.equal(add(x, change), x + change)
    assert not add.state_dict()


def test_what_remains_is_added_where_it_was_and_the_input_is_left_alone():
    x, change = tensors(4, 2)
    before, add = x.clone(), SelectiveAddition()
    add.cut_change(torch.tensor([1, 3]), channels=4)
    y = add(x, change)
    assert torch.equal(x, before)
    assert torch.equal(y[:, [0, 2]], x[:, [0, 2]])
    assert torch.equal(y[:, [1, 3]], x[:, [1, 3]] + change)


@st.composite
def cuts(draw):
    """Subsets, each of what the last one left."""
    found, left = [], CHANNELS
    for _ in range(draw(st.integers(1, 4))):
        found.append(sorted(draw(st.sets(st.integers(0, left - 1), min_size=1))))
        left = len(found[-1])
    return [torch.tensor(keep) for keep in found]


@given(cuts(), st.sets(st.integers(0, CHANNELS - 1), min_size=1).map(sorted))
def test_repeated_cuts_of_branch_and_input_equal_a_full_sum_of_zeros(keeps, input_keep):
    x, change = tensors(CHANNELS, CHANNELS)
    add, kept, small = SelectiveAddition(), torch.arange(CHANNELS), change
    for keep in keeps:
        add.cut_change(keep, CHANNELS)
        kept, small = kept[keep], small[:, keep]
    zeros = torch.zeros_like(change)
    zeros[:, kept] = change[:, kept]
    torch.testing.assert_close(add(x, small), x + zeros)
    input_keep = torch.tensor(input_keep)
    left = add.cut_input(input_keep, CHANNELS)
    expected = (x + zeros)[:, input_keep]
    torch.testing.assert_close(add(x[:, input_keep], small[:, left]), expected)


@pytest.mark.parametrize("keep", [[4], [-1, 2]])
def test_channels_that_the_change_does_not_have_are_refused(keep):
    with pytest.raises(ConfigError, match=r"keep is .*; allowed: channels of the change: 0 to 3"):
        SelectiveAddition().cut_change(torch.tensor(keep), channels=4)


def filled(model: nn.Module) -> nn.Module:
    stream = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight.data, module.bias.data, module.running_mean):
                tensor.copy_(torch.randn(tensor.shape, generator=stream))
    return model.eval()


@torch.no_grad()
@pytest.mark.parametrize("spec", ["resnet20(width=0.5)", "wide_resnet(10, 0.5)"])
def test_blocks_that_lose_output_filters_equal_the_full_ones_with_these_at_zero(spec):
    """Every block by the relative threshold; inner filters of the block stay."""
    full, small = filled(build(spec, seed=0)), filled(build(spec, seed=0))
    images, total = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1)), 0
    for ours, theirs in zip(small.children(), full.children(), strict=True):
        if not isinstance(ours, (BasicBlock, WideBlock)):
            continue
        relative_reduce_layer(theirs.conv2, 0.95)
        keep = relative_reduce_layer(ours.conv2, 0.95)
        if isinstance(ours, BasicBlock):  # its batch norm comes after
            gone = torch.ones(len(theirs.norm2.bias), dtype=torch.bool)
            gone[keep] = False
            theirs.norm2.weight[gone], theirs.norm2.bias[gone] = 0.0, 0.0
            shrink_layer(ours.norm2, keep_indexes_output=keep)
        ours.add.cut_change(keep, ours.conv2.out_channels)
        total += ours.conv2.out_channels - len(keep)
        shrink_layer(ours.conv2, keep_indexes_output=keep)
    assert total > 20
    torch.testing.assert_close(small(images), full(images), atol=1e-4, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize(
    "spec", ["resnet20(width=0.25, selective=true)", "wide_resnet(10, 0.5, selective=true)"]
)
def test_removal_takes_filters_of_a_branch_and_leaves_the_sum_whole(spec):
    full = filled(build(spec, seed=0))
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    branches = [b for b in full.children() if isinstance(b, (BasicBlock, WideBlock))]
    graph = lottery.trace(full, images[:1])
    block = next(name for name, b in full.named_children() if b is branches[-1])
    assert len(graph.homes[f"{block}.conv2.weight"]) == len(branches[-1].conv2.weight)
    remove = lottery.prune_units(full, graph, 0.5, criterion="random_filters")
    small = lottery.shrink(copy.deepcopy(full), remove, graph)
    lottery.unit_masks(graph, full, remove).apply(full)
    torch.testing.assert_close(small(images), full(images), atol=1e-5, rtol=1e-5)
    left, again = ~remove, lottery.trace(small, images[:1])
    name, last = f"{block}.conv2.weight", small.get_submodule(block)
    assert last.add.kept.tolist() == left[graph.written[name]].nonzero().flatten().tolist()
    assert len(again.homes[name]) == len(last.conv2.weight), "the smaller one cannot be cut again"
