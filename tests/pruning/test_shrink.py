"""Removed equals masked: outputs, training on, and counts; on random networks and by hand."""

import copy
from collections.abc import Callable, Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.optim import SGD, Adam, Optimizer

from lottery.errors import ConfigError, UsageError
from lottery.pruning.channels import trace
from lottery.pruning.shrink import shrink, unit_masks
from tests.pruning.graphs import SIDE, RandomNet, some_units

seeds = st.integers(0, 2**31)


def batches(count: int) -> Iterator[tuple[Tensor, Tensor]]:
    chance = torch.Generator().manual_seed(count)
    for _ in range(count):
        images = torch.randn(8, 3, SIDE, SIDE, generator=chance, dtype=torch.float64)
        yield images, torch.randint(3, (8,), generator=chance)


@settings(max_examples=40, deadline=None)
@given(seeds, seeds)
def test_removed_network_computes_what_the_masked_one_does(seed: int, units: int) -> None:
    model = RandomNet(seed).eval()
    graph = trace(model, torch.zeros(1, 3, SIDE, SIDE))
    remove = some_units(graph, units)
    masks = unit_masks(graph, model, remove)
    small = shrink(copy.deepcopy(model), remove, graph)
    masks.apply(model)
    images = torch.randn(4, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(small(images), model(images), rtol=1e-5, atol=1e-5)
    assert sum(masks.remaining.values()) == sum(p.numel() for p in small.parameters())


def make_sgd(parameters: list[nn.Parameter]) -> Optimizer:
    return SGD(parameters, lr=0.02, momentum=0.9, weight_decay=1e-3, nesterov=True)


def make_adam(parameters: list[nn.Parameter]) -> Optimizer:
    # A bias before batch norm has no gradient but rounding, which a small eps would make steps of.
    return Adam(parameters, lr=0.01, eps=1e-4)


@pytest.mark.parametrize("make", [make_sgd, make_adam])
@settings(max_examples=12, deadline=None)
@given(seed=seeds, units=seeds)
def test_training_goes_on_as_that_of_the_masked_network(
    make: Callable[[list[nn.Parameter]], Optimizer], seed: int, units: int
) -> None:
    model = RandomNet(seed).double()
    graph = trace(model, torch.zeros(1, 3, SIDE, SIDE, dtype=torch.float64))
    optimizer = make(list(model.parameters()))
    for images, labels in batches(3):
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
        optimizer.zero_grad()
    remove = some_units(graph, units)
    masks = unit_masks(graph, model, remove)
    small, cut_optimizer = copy.deepcopy((model, optimizer))
    shrink(small, remove, graph, cut_optimizer)
    masks.apply(model, optimizer)
    for images, labels in batches(3):
        for network, its_optimizer in ((model, optimizer), (small, cut_optimizer)):
            its_optimizer.zero_grad()
            nn.functional.cross_entropy(network(images), labels).backward()
            if network is model:
                masks.apply_to_gradients(model)
            its_optimizer.step()
    model.eval()
    small.eval()
    images, _ = next(batches(1))
    torch.testing.assert_close(small(images), model(images), rtol=1e-7, atol=1e-7)
    for name, parameter in small.named_parameters():
        whole = model.get_parameter(name)
        torch.testing.assert_close(
            parameter.flatten(), whole[masks[name]], rtol=1e-7, atol=1e-7, msg=name
        )


def removing(model: nn.Module, example: Tensor, layer: str, filters: list[int]) -> nn.Module:
    graph = trace(model, example)
    remove = torch.zeros(graph.units, dtype=torch.bool)
    remove[graph.written[f"{layer}.weight"][filters]] = True
    return shrink(model, remove, graph)


def test_pixel_unshuffle_takes_its_block_of_channels_along() -> None:
    """8 filters, 2 removed, unshuffled by 2: what reads them has 6 × 4 = 24 inputs, not 30."""
    model = nn.Sequential(nn.Conv2d(3, 8, 1), nn.PixelUnshuffle(2), nn.Conv2d(32, 5, 1))
    whole = copy.deepcopy(model)
    small = removing(model, torch.zeros(1, 3, 4, 4), "0", [1, 6])
    kept = [c * 4 + k for c in (0, 2, 3, 4, 5, 7) for k in range(4)]
    assert small[2].in_channels == 24
    assert torch.equal(small[2].weight, whole[2].weight[:, kept])


def test_flatten_takes_the_channels_positions_along() -> None:
    model = nn.Sequential(nn.Conv2d(1, 3, 1), nn.Flatten(), nn.Linear(12, 2))
    whole = copy.deepcopy(model)
    small = removing(model, torch.zeros(1, 1, 2, 2), "0", [1])
    assert small[2].in_features == 8
    assert torch.equal(small[2].weight, whole[2].weight[:, [0, 1, 2, 3, 8, 9, 10, 11]])


def test_batch_norm_is_cut_with_its_statistics() -> None:
    model = nn.Sequential(nn.Conv2d(1, 3, 1), nn.BatchNorm2d(3), nn.Conv2d(3, 2, 1))
    model[1].running_mean.copy_(torch.tensor([1.0, 2.0, 3.0]))
    small = removing(model, torch.zeros(1, 1, 2, 2), "0", [1])
    assert small[1].num_features == 2
    assert small[1].running_mean.tolist() == [1.0, 3.0]


def test_depthwise_convolution_has_as_many_groups_as_channels_left() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 8, 3, groups=4), nn.Conv2d(8, 2, 1))
    small = removing(model, torch.zeros(1, 3, 4, 4), "0", [2])
    assert (small[1].groups, small[1].in_channels, small[1].out_channels) == (3, 3, 6)
    assert small[2].in_channels == 6
    small(torch.zeros(1, 3, 4, 4))


def test_masks_are_false_exactly_on_rows_entries_and_columns() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))
    graph = trace(model, torch.zeros(2, 2))
    remove = torch.zeros(graph.units, dtype=torch.bool)
    remove[graph.homes["0.weight"][1]] = True
    masks = unit_masks(graph, model, remove)
    found = {name: mask.int().tolist() for name, mask in masks.items()}
    assert found == {
        "0.weight": [[1, 1], [0, 0], [1, 1]],
        "0.bias": [1, 0, 1],
        "1.weight": [1, 0, 1],
        "1.bias": [1, 0, 1],
        "2.weight": [[1, 0, 1], [1, 0, 1]],
        "2.bias": [1, 1],
    }


def test_gradients_and_optimiser_state_are_cut_and_groups_stay() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2))
    optimizer = SGD(
        [{"params": model[0].parameters(), "lr": 0.5}, {"params": model[1].parameters()}],
        lr=0.1,
        momentum=0.9,
    )
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    gradient = model[1].weight.grad.clone()
    momentum = optimizer.state[model[1].weight]["momentum_buffer"].clone()
    graph = trace(model, torch.zeros(1, 2))
    remove = torch.zeros(graph.units, dtype=torch.bool)
    remove[1] = True
    shrink(model, remove, graph, optimizer)
    assert torch.equal(model[1].weight.grad, gradient[:, [0, 2]])
    assert torch.equal(optimizer.state[model[1].weight]["momentum_buffer"], momentum[:, [0, 2]])
    assert [group["lr"] for group in optimizer.param_groups] == [0.5, 0.1]
    grouped = [p for group in optimizer.param_groups for p in group["params"]]
    assert all(a is b for a, b in zip(grouped, model.parameters(), strict=True))
    assert set(optimizer.state) == set(model.parameters())


def test_what_cannot_be_removed_is_named_and_nothing_is_cut() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2))
    graph = trace(model, torch.zeros(1, 2))
    nothing = torch.zeros(graph.units, dtype=torch.bool)
    with pytest.raises(ConfigError, match="all 3 filters of 0"):
        shrink(model, nothing.index_fill(0, graph.homes["0.weight"], True), graph)
    with pytest.raises(ConfigError, match=r"of 2.*output of the network"):
        shrink(model, nothing.index_fill(0, graph.written["2.weight"][:1], True), graph)
    with pytest.raises(ConfigError, match=r"bool tensor of shape \(5,\)"):
        shrink(model, nothing[1:], graph)
    assert model[0].weight.shape == (3, 2)
    shrink(model, nothing.index_fill(0, graph.homes["0.weight"][:1], True), graph)
    with pytest.raises(UsageError, match="trace it again"):
        shrink(model, nothing, graph)


def test_an_optimizer_of_another_network_is_refused_and_nothing_is_cut():
    """It would train the larger network on, and the smaller one never, without a word."""
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))
    copied = copy.deepcopy(model)
    graph = trace(model, torch.rand(1, 4))
    remove = torch.zeros(graph.units, dtype=torch.bool)
    remove[graph.homes["0.weight"][:2]] = True
    optimizer = torch.optim.Adam(model.parameters())
    with pytest.raises(ConfigError, match="optimizer is 'one that trains no parameter"):
        shrink(copied, remove, graph, optimizer)
    assert copied[0].weight.shape == (6, 4)
    assert shrink(model, remove, graph, optimizer)[0].weight.shape == (4, 4)
