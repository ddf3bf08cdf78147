"""LIMutils' functions by hand-worked examples, and against networks that are masked instead."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lottery.errors import ConfigError
from lottery.limutils import (
    absolute_reduce,
    relative_reduce,
    relative_reduce_1D,
    relative_reduce_2D,
    relative_reduce_layer,
    shrink_layer,
    shrink_tensor,
    shrink_vector,
)


def rows() -> torch.Tensor:
    """Norms 5, 1, 2 and 0."""
    return torch.tensor([[3.0, 4.0], [0.6, 0.8], [0.0, -2.0], [0.0, 0.0]])


def test_absolute_reduce_by_hand_works_in_place_and_keeps_what_is_above():
    weights = rows()
    assert absolute_reduce(weights, 2.0, weights.norm(dim=1)).tolist() == [0]
    torch.testing.assert_close(weights, torch.tensor([[1.8, 2.4], [0, 0], [0, 0], [0, 0]]))
    assert absolute_reduce(weights, 9.0, weights.norm(dim=1)).tolist() == []


def test_relative_reduce_by_hand_takes_the_threshold_from_the_largest():
    weights = rows()
    assert relative_reduce(weights, 0.3, weights.norm(dim=1)).tolist() == [0, 2]
    torch.testing.assert_close(weights[[0, 2]], torch.tensor([[2.1, 2.8], [0.0, -0.5]]))


def test_survivors_shrink_at_every_application():
    """At ratio 0.8 the largest keeps a fifth of its norm each time; nothing is normalised."""
    weights = rows()
    for power in (1, 2):
        assert relative_reduce_1D(weights, 0.8).tolist() == [0]
        assert float(weights[0].norm()) == pytest.approx(5 * 0.2**power)


def test_filters_are_reduced_by_their_whole_norm_and_biases_are_left():
    conv = nn.Conv2d(2, 3, 2)
    with torch.no_grad():
        conv.weight.zero_()[:, 0, 0, 0] = torch.tensor([3.0, 1.0, 0.5])
        conv.weight[:, 1, 1, 1] = torch.tensor([4.0, 0.0, 0.0])
        conv.bias.fill_(7.0)
    reference = copy.deepcopy(conv)
    assert relative_reduce_layer(conv, 0.15).tolist() == [0, 1]  # τ = 0.75
    assert relative_reduce_2D(reference.weight, 0.15).tolist() == [0, 1]
    assert torch.equal(conv.weight, reference.weight)
    assert conv.weight[1].norm().item() == pytest.approx(0.25)
    assert conv.bias.tolist() == [7.0] * 3


@given(st.floats(0, 0.9999999), st.integers(0, 1000))
def test_a_relative_reduction_never_empties_a_layer(ratio, seed):
    layer = nn.Linear(3, 4)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(4, 3, generator=torch.Generator().manual_seed(seed)))
    largest = int(layer.weight.norm(dim=1).argmax())
    assert largest in relative_reduce_layer(layer, ratio).tolist()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: relative_reduce_1D(rows(), 1.0), "threshold_ratio is 1.0; allowed: at least 0"),
        (lambda: absolute_reduce(rows(), -1, torch.ones(4)), "threshold is -1; allowed: a number"),
        (lambda: absolute_reduce(rows(), 1, torch.ones(2)), r"norm's shape is \(2,\)"),
        (lambda: relative_reduce_2D(rows(), 0.1), r"weights' shape is \(4, 2\); allowed: 4 dim"),
        (lambda: relative_reduce_layer(nn.ReLU(), 0.1), "layer is 'ReLU'; allowed: Linear or"),
        (lambda: shrink_layer(nn.PReLU(4), torch.tensor([0])), "layer is 'PReLU'; allowed: Linear"),
        (
            lambda: shrink_layer(nn.Conv2d(4, 4, 1, groups=2), torch.tensor([0])),
            "layer's groups is 2; allowed: 1, or as many .* lottery.shrink",
        ),
        (
            lambda: shrink_layer(nn.BatchNorm1d(4), torch.tensor([0]), torch.tensor([0])),
            r"keep_indexes_output is \[0\]; allowed: None",
        ),
        (lambda: shrink_vector(torch.ones(4), torch.tensor([0]), 3), "unfold_factor is 3"),
        (lambda: shrink_tensor(rows(), torch.tensor([0]), unfold_factor=0), "unfold_factor is 0"),
        (lambda: shrink_tensor(rows(), torch.tensor([], dtype=torch.int64)), r"is \[\]; allowed"),
        (lambda: shrink_tensor(rows(), torch.tensor([1, 0])), r"\[1, 0\]; .* 0 to 1, ascending"),
        (lambda: shrink_tensor(rows(), None, torch.tensor([0, 4])), r"\[0, 4\]; .* of 0 to 3"),
        (lambda: shrink_tensor(rows(), None, torch.tensor([-1, 2])), r"\[-1, 2\]"),
        (lambda: shrink_vector(torch.ones(4), torch.tensor([1, 1])), r"\[1, 1\]"),
        (lambda: shrink_vector(torch.ones(4), torch.tensor([True, False])), "int64"),
    ],
)
def test_what_cannot_be_is_refused_by_name(call, message):
    with pytest.raises(ConfigError, match=message):
        call()


def test_vectors_and_tensors_by_hand_with_blocks_of_inputs():
    vector = torch.arange(6.0)
    assert shrink_vector(vector, torch.tensor([0, 2])).tolist() == [0, 2]
    assert shrink_vector(vector, torch.tensor([0, 2]), 2).tolist() == [0, 1, 4, 5]
    weights = torch.arange(12.0).view(2, 6)
    small = shrink_tensor(weights, torch.tensor([1]), torch.tensor([1]), unfold_factor=3)
    assert small.tolist() == [[9, 10, 11]]
    whole = shrink_tensor(weights)
    whole.zero_()
    assert float(weights.sum()) == 66


def chain() -> nn.Sequential:
    """Convolution, pixel unshuffle, convolution, flatten and linear layers, with batch norm."""
    torch.manual_seed(0)
    model = nn.Sequential(
        *(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.PixelUnshuffle(2)),
        *(nn.Conv2d(16, 5, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
        *(nn.Linear(5 * 4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3)),
    )
    with torch.no_grad():
        for tensor in (*model.parameters(), model[1].running_mean, model[9].running_mean):
            tensor.add_(torch.randn_like(tensor) * 0.2)
    return model


@given(
    st.sets(st.integers(0, 3), min_size=1),
    st.sets(st.integers(0, 4), min_size=1),
    st.sets(st.integers(0, 5), min_size=1),
)
@torch.no_grad()
def test_a_shrunk_network_computes_what_the_masked_one_does(first, second, third):
    images = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    model, masked = chain().eval(), chain().eval()
    keeps = {n: torch.tensor(sorted(k)) for n, k in ((0, first), (4, second), (8, third))}
    for number, keep in keeps.items():
        gone = torch.ones(masked[number].weight.shape[0], dtype=torch.bool)
        gone[keep] = False
        for layer in (masked[number], masked[number + 1]):
            for parameter in layer.parameters():  # of batch norm too
                parameter[gone] = 0.0
    shrink_layer(model[0], keep_indexes_output=keeps[0])
    shrink_layer(model[1], keep_indexes_output=keeps[0])
    shrink_layer(model[4], keeps[0], keeps[4], unfold_factor=4)
    shrink_layer(model[8], keeps[4], keeps[8], unfold_factor=4)
    shrink_layer(model[9], keep_indexes_input=keeps[8])
    assert shrink_layer(model[11], keeps[8]) is model[11]
    torch.testing.assert_close(model(images), masked(images), atol=1e-5, rtol=1e-5)
    assert model[8].in_features == 4 * len(second)
    assert model[9].num_features == len(third)


def test_depthwise_convolutions_lose_channels_as_a_whole():
    torch.manual_seed(0)
    layer, x, keep = nn.Conv2d(4, 4, 3, groups=4), torch.randn(1, 4, 5, 5), torch.tensor([1, 3])
    expected = layer(x)[:, keep]
    torch.testing.assert_close(shrink_layer(layer, keep)(x[:, keep]), expected)
    assert (layer.groups, layer.in_channels, layer.out_channels) == (2, 2, 2)


def test_training_goes_on_with_the_same_optimiser():
    """Momentum and Adam's moments have the new shapes; without surgery the step would fail."""
    layer, images = nn.Linear(4, 6), torch.randn(5, 4)
    optimizer = torch.optim.Adam(layer.parameters(), 0.01)
    for _ in range(3):
        optimizer.zero_grad()
        layer(images).square().sum().backward()
        optimizer.step()
        shrink_layer(
            layer,
            keep_indexes_output=torch.arange(layer.out_features - 1),
            optimizer=optimizer,
        )
    state = optimizer.state[layer.weight]
    assert state["exp_avg"].shape == layer.weight.shape == (3, 4)
    assert int(state["step"]) == 3
