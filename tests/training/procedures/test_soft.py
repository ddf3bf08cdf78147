"""Softly pruned filters are zero, come back while the level lasts, and are gone at its end."""

import dataclasses

import pytest
import torch

from lottery.errors import ConfigError
from lottery.pruning.masks import Masks
from lottery.pruning.schedule import PruneConfig
from lottery.pruning.shrink import unit_masks
from lottery.training.config import TrainConfig
from lottery.training.procedures.base import Acting
from lottery.training.procedures.soft import Soft
from lottery.training.procedures.units import silence
from tests.training.procedures.scenes import Scaled, everything, network, scene, step


@pytest.fixture
def at():
    """A level whose criterion always takes filters 1 and 2 of the first layer."""
    found = scene(network(), momentum=0.9)
    gone = torch.zeros(found.graph.units, dtype=torch.bool)
    gone[found.graph.homes["0.weight"][[1, 2]]] = True
    return dataclasses.replace(found, choose=lambda model: unit_masks(found.graph, model, gone))


def filters(model):
    """What belongs to the filters of the first layer."""
    return model[0].weight, model[0].bias, model[1].weight, model[1].bias


def test_zeroed_filters_output_nothing_and_what_reads_them_stays(at):
    acting, masks = Acting(Soft(), at, everything(at.model), None, 0), everything(at.model)
    reads = at.model[3].weight.detach().clone()
    assert acting.act(10, masks) is masks
    for values in filters(at.model):
        assert not values[[1, 2]].any()
        assert values[[0, 3, 4, 5]].all()
    assert torch.equal(at.model[3].weight, reads)
    assert not at.model[:3].eval()(torch.randn(4, 1, 4, 4))[:, [1, 2]].any()


def test_a_scale_and_a_shift_of_ones_own_are_zeroed_with_their_filters():
    model = Scaled()
    graph = scene(model).graph
    silence(model, graph, torch.arange(graph.units) == graph.homes["conv.weight"][2])
    channels = model.channels(torch.randn(4, 1, 4, 4)).flatten(2)
    assert channels.any(dim=2).any(dim=0).tolist() == [True, True, False, True, True, True]


def test_zeroed_filters_come_back_by_momentum(at):
    masks = everything(at.model)
    acting = Acting(Soft(), at, masks, None, 0)
    step(at, 0)
    acting.act(10, masks)
    step(at, 1)
    for values in filters(at.model):
        assert values[[1, 2]].all()


def test_at_the_levels_end_they_are_gone_with_what_reads_them(at):
    acting = Acting(Soft(), at, everything(at.model), None, 0)
    assert acting.steps == {10, 20}
    step(at, 0)
    acting.act(10, everything(at.model))
    step(at, 1)
    masks = acting.act(20, everything(at.model))
    for values in (*filters(at.model), at.model[3].weight.transpose(0, 1)):
        assert not values[[1, 2]].any()
        memory = at.optimizer.state[at.model[3].weight]["momentum_buffer"]
        assert not memory[:, [1, 2]].any()
    assert torch.equal(masks["0.weight"], at.choose(at.model)["0.weight"])


def test_single_weights_are_zeroed_where_the_criterion_ranks_them(at):
    chosen = Masks({"0.weight": torch.arange(54).view(6, 1, 3, 3) % 2 == 0})
    at = dataclasses.replace(at, choose=lambda model: chosen, prune=PruneConfig())
    masks = Masks.ones(at.model)
    assert Acting(Soft(every="4it"), at, masks, None, 0).act(4, masks) is masks
    assert torch.equal(at.model[0].weight != 0, chosen["0.weight"])


def test_the_periods_end_is_one_with_the_levels_and_what_is_done_is_not_done_again(at):
    assert Acting(Soft(every="8it"), at, everything(at.model), None, 0).steps == {8, 16, 20}
    assert Acting(Soft(every="8it"), at, everything(at.model), {}, 8).steps == {16, 20}
    later = dataclasses.replace(at, start=10)
    assert Acting(Soft(), later, everything(at.model), None, 10).steps == {20}


def test_without_memory_weights_must_go_back():
    train, prune = TrainConfig(), PruneConfig()
    Soft().check(train, prune, weights_go_back=True)
    Soft(cumulative=True).check(train, prune, weights_go_back=False)
    Soft().check(train, PruneConfig(iterative=False), weights_go_back=False)
    with pytest.raises(ConfigError, match="cumulative is False; allowed: true, unless"):
        Soft().check(train, prune, weights_go_back=False)
