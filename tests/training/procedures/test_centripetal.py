"""Filters of a cluster are drawn together by the paper's law, and merging them loses nothing."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lottery.errors import ConfigError, UsageError
from lottery.models import build
from lottery.pruning.channels import trace
from lottery.pruning.schedule import PruneConfig
from lottery.pruning.shrink import shrink, unit_masks
from lottery.training.config import TrainConfig
from lottery.training.procedures.base import Acting
from lottery.training.procedures.centripetal import Centripetal, assign, merge, spread
from tests.pruning.graphs import SIDE, RandomNet, some_clusters
from tests.training.procedures.scenes import EXAMPLE, Scaled, everything, network, scene, step


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_one_update_is_the_papers_formula(momentum):
    model, tau, eta, epsilon = network(), 0.1, 0.01, 0.3
    other = copy.deepcopy(model)
    at = scene(model, tau, momentum, eta)
    acting = Acting(Centripetal(strength=epsilon, clusters="even"), at, everything(model), None, 0)
    clusters = acting.state["clusters"].tolist()
    step(at, 0)
    plain = scene(other, tau, momentum, eta)
    plain.optimizer.step = lambda: None  # gradients alone
    step(plain, 0)
    graph = at.graph
    for (name, dim), units in graph.axes.items():
        if dim != 0 or name not in dict(other.named_parameters()):
            continue
        before, gradient = other.get_parameter(name), other.get_parameter(name).grad
        for row, unit in enumerate(units.tolist()):
            alike = [r for r, u in enumerate(units.tolist()) if clusters[u] == clusters[unit]]
            mean_gradient = sum(gradient[r] for r in alike) / len(alike)
            mean = sum(before[r] for r in alike) / len(alike)
            change = -mean_gradient - eta * before[row] + epsilon * (mean - before[row])
            found = model.get_parameter(name)[row]
            assert torch.allclose(found, before[row] + tau * change, atol=1e-6), name


def test_differences_within_a_cluster_shrink_by_the_same_factor_whatever_the_loss():
    tau, eta, epsilon = 0.1, 0.01, 0.7
    model = network().double()
    at = scene(model, tau, 0.0, eta)
    Acting(Centripetal(strength=epsilon, clusters="even"), at, everything(model), None, 0)
    weight = model[0].weight  # 6 filters, even in 3 clusters: 0 with 3, 1 with 4, 2 with 5
    for number in range(5):
        before = (weight[:3] - weight[3:]).detach().clone()
        apart = (weight[0] - weight[1]).detach().clone()
        chance = torch.Generator().manual_seed(number)
        images = torch.randn(8, 1, 4, 4, generator=chance, dtype=torch.float64)
        at.optimizer.zero_grad()
        model(images).square().sum().backward()
        at.optimizer.step()
        factor = 1 - tau * (eta + epsilon)
        assert torch.allclose(weight[:3] - weight[3:], factor * before, rtol=1e-9, atol=1e-12)
        assert not torch.allclose(weight[0] - weight[1], factor * apart, rtol=1e-2)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_the_default_strength_makes_the_merge_lossless_within_the_level(momentum):
    # Behind them are batch norm's running statistics, by 0.9 a step, and momentum, by 0.95 or so.
    model, steps = network(), 400
    at = scene(model, 0.05, momentum, 1e-4, steps)
    acting = Acting(Centripetal(clusters="even"), at, everything(model), None, 0)
    for number in range(steps):
        step(at, number)
    images = torch.randn(20, 1, 4, 4)
    before = model.eval()(images)
    masks = acting.act(steps, everything(model))
    assert (model.eval()(images) - before).abs().max() < 1e-4
    assert masks["0.weight"].flatten(1).any(dim=1).sum() == 3
    assert masks["3.weight"].flatten(1).any(dim=1).sum() == 2
    assert masks["6.weight"].any(dim=1).sum() == 3
    assert masks["8.weight"].any(dim=1).all()
    found = acting.findings()["cluster_spread"]
    assert set(found) == {"0.weight", "3.weight", "6.weight", "8.weight"}
    assert max(found.values()) < 1e-6


def test_filters_that_are_alike_are_merged_without_loss_through_a_flatten():
    model = network()
    graph = trace(model, EXAMPLE)
    clusters = torch.arange(graph.units)
    first, second = graph.homes["0.weight"], graph.homes["3.weight"]
    clusters[first[[1, 4, 5]]] = first[1]
    clusters[second[[0, 3]]] = second[0]
    with torch.no_grad():
        for tensor in model[0].weight, model[0].bias, *model[1].state_dict().values():
            if tensor.dim():
                tensor[[4, 5]] = tensor[1].clone()
        model[3].weight[3], model[3].bias[3] = model[3].weight[0], model[3].bias[0]
    images = torch.randn(20, 1, 4, 4)
    before = model.eval()(images)
    gone = merge(model, graph, clusters)
    assert (model(images) - before).abs().max() < 1e-5
    assert gone.nonzero().flatten().tolist() == [*first[[4, 5]].tolist(), int(second[3])]
    unit_masks(graph, model, gone).apply(model)
    assert (model(images) - before).abs().max() < 1e-5
    small = shrink(model, gone, graph)
    assert small[0].out_channels == 4 and small[6].in_features == 48
    assert (small(images) - before).abs().max() < 1e-5


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000))
def test_filters_that_are_alike_are_merged_without_loss_in_any_network(seed):
    """Through residual sums, concatenation, depthwise layers, gates, scales and shifts."""
    model = RandomNet(seed).double().eval()
    graph = trace(model, torch.zeros(1, 3, SIDE, SIDE, dtype=torch.float64))
    clusters = some_clusters(model, graph, seed)
    images = torch.randn(4, 3, SIDE, SIDE, dtype=torch.float64)
    before = model(images)
    gone = merge(model, graph, clusters)
    assert int(gone.sum()) == graph.units - len(clusters.unique())
    torch.testing.assert_close(model(images), before, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(shrink(model, gone, graph)(images), before, rtol=1e-9, atol=1e-9)


def test_a_scale_and_a_shift_of_ones_own_are_drawn_together_with_their_filters():
    model, steps = Scaled(), 400
    at = scene(model, 0.05, 0.0, 1e-4, steps)
    acting = Acting(Centripetal(clusters="even"), at, everything(model), None, 0)
    for number in range(steps):
        step(at, number)
    images = torch.randn(20, 1, 4, 4)
    before = model.eval()(images)
    acting.act(steps, everything(model))
    torch.testing.assert_close(model(images), before, rtol=0, atol=1e-4)


def test_filters_that_are_added_to_channels_by_number_are_not_merged():
    model, image = build("resnet20(width=0.25)"), torch.zeros(1, 3, 32, 32)
    block = model.block1_1
    block.add.cut_change(torch.arange(4), channels=4)
    graph = trace(model, image)
    clusters = torch.arange(graph.units)
    clusters[graph.homes["block1_1.conv2.weight"][:2]] = graph.homes["block1_1.conv2.weight"][0]
    with pytest.raises(UsageError, match=r"block1_1\.conv2 cannot be merged: block1_1\.add\.kept"):
        merge(model, graph, clusters)


def test_the_spread_of_a_hand_worked_layer():
    model = nn.Sequential(nn.Linear(1, 3), nn.ReLU(), nn.Linear(3, 2))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0], [3.0], [5.0]]))
    graph = trace(model, torch.zeros(1, 1))
    clusters = torch.tensor([0, 0, 2, 3, 4])
    # 1 and 3 are 1 away from 2; the sum of squares is 1 + 9 + 25.
    assert spread(model, graph, clusters)["0.weight"] == pytest.approx(2 / 35)


def test_kmeans_finds_planted_clusters_by_its_seed_and_leaves_none_empty():
    pytest.importorskip("sklearn")
    chance = torch.Generator().manual_seed(0)
    planted = torch.arange(12) % 3
    filters = torch.randn(3, 5, generator=chance)[planted] * 10
    filters += 0.01 * torch.randn(12, 5, generator=chance)
    found = assign(filters, 3, "kmeans", 7)
    assert len({tuple(pair) for pair in torch.stack([found, planted], 1).tolist()}) == 3
    assert torch.equal(found, assign(filters, 3, "kmeans", 7))
    same = assign(torch.ones(6, 4), 4, "kmeans", 0)
    assert set(same.tolist()) == {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("procedure", "train", "prune", "named"),
    [
        ({"strength": 0.0}, {}, {}, "strength"),
        ({"clusters": "odd"}, {}, {}, "clusters"),
        ({}, {"optimizer": "adam"}, {}, "train.optimizer"),
        ({}, {}, {"scope": "global"}, r"prune\.scope"),
        ({}, {}, {"multiple_of": 8}, r"prune\.multiple_of"),
        ({}, {}, {"criterion": "magnitude"}, r"prune\.criterion.*ranks filters, such as l2"),
    ],
)
def test_what_does_not_go_with_it_is_named(procedure, train, prune, named):
    train = TrainConfig(**{"optimizer": "sgd", **train})
    with pytest.raises(ConfigError, match=named):
        Centripetal(**procedure).check(
            train, PruneConfig(**({"criterion": "l2"} | prune)), weights_go_back=True
        )


def test_a_strength_that_would_overshoot_is_refused_with_the_bound():
    model = network()
    with pytest.raises(ConfigError, match=r"strength is '30'; allowed: at most 9\.99"):
        Acting(Centripetal(strength=30.0), scene(model), everything(model), None, 0)
