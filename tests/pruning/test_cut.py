"""Cut tensors train on as if they had always been that small."""

import copy

import pytest
import torch
from torch import nn

from lottery.pruning.cut import cut, update_sizes

OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, weight_decay=1e-3),
    "fused adam": lambda p: torch.optim.Adam(p, 0.01, fused=True),
    "two groups": lambda p: torch.optim.Adam([{"params": [q], "lr": 0.01} for q in p], lr=0.1),
}


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))


def step(model: nn.Module, optimizer: torch.optim.Optimizer, seed: int) -> torch.Tensor:
    images = torch.randn(5, 4, generator=torch.Generator().manual_seed(seed))
    loss = model(images).square().sum()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss


KEEP = torch.tensor([0, 2, 5])
GONE = [1, 3, 4]
AXES = {"0.weight": {0: KEEP}, "0.bias": {0: KEEP}, "2.weight": {1: KEEP}}


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_training_goes_on_as_with_the_same_units_held_at_zero(kind):
    """A loss that is still alive must not remember old shapes; momentum must come along."""
    small, large = net(), net()
    optimizers = [OPTIMIZERS[kind](list(model.parameters())) for model in (small, large)]
    losses = [
        step(m, o, seed)
        for seed in range(3)
        for m, o in zip((small, large), optimizers, strict=True)
    ]
    for name, keep in AXES.items():
        cut(small, name, keep, optimizers[0])
    for seed in range(3, 7):
        losses.append(step(small, optimizers[0], seed))
        with torch.no_grad():  # units without input, bias or output, whatever was learnt before
            large[0].weight[GONE], large[0].bias[GONE], large[2].weight[:, GONE] = 0.0, 0.0, 0.0
        step(large, optimizers[1], seed)
    torch.testing.assert_close(small[0].weight, large[0].weight[KEEP])
    torch.testing.assert_close(small[0].bias, large[0].bias[KEEP])
    torch.testing.assert_close(small[2].weight, large[2].weight[:, KEEP])


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_the_optimiser_trains_and_remembers_the_new_parameters_alone(kind):
    model = net()
    optimizer = OPTIMIZERS[kind](list(model.parameters()))
    step(model, optimizer, 0)
    before = copy.deepcopy(optimizer.state_dict())
    gradient = model[0].weight.grad.clone()
    for name, keep in AXES.items():
        cut(model, name, keep, optimizer)
    assert torch.equal(model[0].weight.grad, gradient[KEEP])
    trained = [p for group in optimizer.param_groups for p in group["params"]]
    assert [id(p) for p in trained] == [id(p) for p in model.parameters()]
    assert set(map(id, optimizer.state)) == set(map(id, trained))
    after = optimizer.state_dict()
    assert [g["lr"] for g in after["param_groups"]] == [g["lr"] for g in before["param_groups"]]
    for number, keep in enumerate(AXES.values()):
        (dim, index), *_ = keep.items()
        for item, value in before["state"][number].items():
            expected = value.index_select(dim, index) if value.dim() else value
            assert torch.equal(after["state"][number][item], expected)


def test_an_optimiser_that_has_not_stepped_has_nothing_to_cut():
    model = net()
    optimizer = torch.optim.Adam(model.parameters())
    cut(model, "0.bias", {0: KEEP}, optimizer)
    assert not optimizer.state
    assert model[0].bias.grad is None
    assert optimizer.param_groups[0]["params"][1] is model[0].bias


def test_shared_and_frozen_parameters_stay_so():
    model = nn.ModuleDict({"one": nn.Linear(3, 4), "other": nn.Linear(3, 4)})
    model["other"].weight = model["one"].weight
    model["one"].weight.requires_grad_(False)
    cut(model, "other.weight", {0: torch.tensor([1, 3]), 1: torch.tensor([0, 2])})
    assert model["one"].weight is model["other"].weight
    assert model["one"].weight.shape == (2, 2)
    assert not model["one"].weight.requires_grad


def test_buffers_and_double_precision_are_cut_and_stay_in_the_state():
    norm = nn.BatchNorm1d(4).double()
    norm.running_mean.copy_(torch.arange(4.0))
    cut(norm, "running_mean", {0: torch.tensor([1, 3])})
    assert norm.state_dict()["running_mean"].tolist() == [1.0, 3.0]
    assert norm.running_mean.dtype == torch.float64


@pytest.mark.parametrize(
    ("layer", "axes", "sizes"),
    [
        (nn.Linear(5, 4), {0: [0, 1], 1: [2]}, {"out_features": 2, "in_features": 1}),
        (nn.Conv2d(5, 4, 3), {0: [0], 1: [1, 2]}, {"out_channels": 1, "in_channels": 2}),
        (
            nn.Conv2d(4, 8, 3, groups=4),  # depthwise, two filters for each channel
            {0: [0, 1, 4, 5]},
            {"out_channels": 4, "in_channels": 2, "groups": 2},
        ),
        (
            nn.Conv2d(4, 8, 3, groups=2),
            {1: [1]},
            {"out_channels": 8, "in_channels": 2, "groups": 2},
        ),
        (nn.ConvTranspose2d(5, 4, 3), {0: [0], 1: [1, 2]}, {"in_channels": 1, "out_channels": 2}),
        (
            nn.ConvTranspose1d(4, 8, 3, groups=4),
            {0: [1, 2, 3]},
            {"out_channels": 6, "in_channels": 3, "groups": 3},
        ),
        (nn.BatchNorm2d(5), {0: [1, 4]}, {"num_features": 2}),
    ],
)
def test_layers_say_what_sizes_they_have(layer, axes, sizes):
    cut(layer, "weight", {dim: torch.tensor(index) for dim, index in axes.items()})
    update_sizes(layer)
    assert {name: getattr(layer, name) for name in sizes} == sizes


def test_the_size_of_norms_without_affine_is_that_of_their_statistics():
    norm = nn.BatchNorm1d(5, affine=False)
    cut(norm, "running_mean", {0: torch.tensor([0, 1])})
    update_sizes(norm)
    assert norm.num_features == 2
