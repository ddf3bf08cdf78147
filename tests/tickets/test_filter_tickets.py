"""Tickets of whole filters: what is masked is what removal takes away, at every level."""

import copy
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import nn

from lottery.errors import ConfigError
from lottery.init import NetworkDraw, layers, network_scheme
from lottery.models import build
from lottery.pruning.channels import trace
from lottery.pruning.masks import State
from lottery.pruning.schedule import PruneConfig
from lottery.pruning.shrink import shrink, unit_masks
from lottery.pruning.units import removed_units
from lottery.tickets import RewindConfig, find_tickets, run_control
from lottery.tickets.level import Level

FILTERS = PruneConfig(criterion="l2", linear_rate=0.3)
EXAMPLE = torch.zeros(1, 6)


def tickets(model: nn.Module, data, quick, levels: int = 3, **options) -> list[Level]:
    options = {"prune": FILTERS, "train": quick} | options
    return list(find_tickets(model, data, levels=levels, **options))


def kept(model: nn.Module, level: Level) -> dict[str, int]:
    """Units that each layer keeps."""
    graph = trace(model, EXAMPLE)
    removed = removed_units(graph, level.masks)
    expected = unit_masks(graph, model, removed)
    assert set(level.masks) == set(expected) == {name for name, _ in model.named_parameters()}
    for name, mask in level.masks.items():
        assert torch.equal(mask, expected[name]), f"{name} is not masked as removal would have it"
    return {n: int((~removed[units]).sum()) for n, units in graph.homes.items() if len(units)}


@pytest.mark.parametrize(
    "prune",
    [
        {},
        {"criterion": "geometric_median(exact=true)"},
        {"criterion": "bn_scale", "scope": "global"},
        {"criterion": "taylor(batches=4)", "iterations": 3},
        {"criterion": "apoz", "iterative": False},
        {"criterion": "inverted(l1)", "at": "initial"},
        {"criterion": "random_filters", "at": "initial"},
    ],
)
def test_levels_keep_whole_filters_at_their_rates(prune, noisy, data, quick):
    settings = {"criterion": "l2", "linear_rate": 0.3, "images": 20} | prune
    model = noisy()
    levels = tickets(model, data, quick, prune=PruneConfig(**settings))
    counts = [kept(model, level) for level in levels]
    assert [sum(count.values()) for count in counts] == [18, 7 + 6, 5 + 4, 3 + 3]
    if "scope" not in prune:
        assert counts[1] == {"0.weight": 7, "4.weight": 6}
    if "iterative" not in prune:
        for before, after in pairwise(levels):
            assert after.masks.is_within(before.masks)
    for level in levels:
        for name, mask in level.masks.items():
            assert not level.trained[name][~mask].any(), "a pruned filter was trained"
    assert levels[0].weights_remaining == 1


def test_what_remains_is_the_share_of_parameters_after_removal(noisy, data, quick):
    model = noisy()
    graph = trace(model, EXAMPLE)
    for level in tickets(model, data, quick):
        model.load_state_dict(level.trained)
        small = shrink(copy.deepcopy(model), removed_units(graph, level.masks), graph)
        numbers = [sum(p.numel() for p in network.parameters()) for network in (small, model)]
        assert level.weights_remaining == numbers[0] / numbers[1]
        one, two = kept(model, level).values()
        assert level.size.parameters == numbers[0]
        assert level.size.macs == 6 * one + one * two + 3 * two
        images = data.test.images
        outputs = [network.eval()(images) for network in (small, model)]
        torch.testing.assert_close(*outputs, rtol=0, atol=1e-5)
        accuracy = float((outputs[0].argmax(1) == data.test.labels).float().mean())
        assert accuracy == pytest.approx(level.test.accuracy)


def test_layer_kinds_tell_norms_apart(noisy, data, quick):
    kinds = tickets(noisy(), data, quick, levels=0)[0].kinds
    assert kinds["0.weight"] == kinds["0.bias"] == "linear"
    assert kinds["1.weight"] == kinds["5.bias"] == "norm"
    assert kinds["8.weight"] == "output"


@pytest.mark.parametrize(
    "rewind",
    [
        {"to": "3it"},
        {"to": "3it", "optimizer": "rewound"},
        {"mode": "learning_rate"},
        {"mode": "none"},
        {"optimizer": "kept"},
        {"rescale": "unit"},
        {"init": "kaiming_normal"},
    ],
)
def test_filters_are_pruned_in_every_way_of_going_on(rewind, noisy, data, quick):
    model = noisy()
    for level in tickets(model, data, quick, levels=2, rewind=RewindConfig(**rewind)):
        kept(model, level)


def test_a_ticket_of_filters_starts_from_its_initial_weights(noisy, data, quick, spy):
    levels = tickets(noisy(), data, quick, levels=2, engine="spy")
    for level, call in zip(levels, spy[::3], strict=True):
        for name, mask in level.masks.items():
            assert torch.equal(call.before[name], levels[0].initial[name] * mask)


def test_masked_and_removed_networks_train_alike(noisy, data, quick):
    """A level of the masked network is a training of the smaller one, but for rounding."""
    model = noisy()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0  # which draws another pattern for another width
    # Adam would scale up the rounding that is the gradient of biases before batch norm.
    quick = replace(quick, data_order="same", optimizer="sgd", momentum=0.9, lr=0.05)
    level = tickets(model, data, quick, levels=1)[1]
    graph, whole = trace(model, EXAMPLE), copy.deepcopy(model)
    removed = removed_units(graph, level.masks)
    whole.load_state_dict(level.initial)
    small = shrink(whole, removed, graph)
    state = {name: value.clone() for name, value in small.state_dict().items()}
    alone = tickets(small, data, quick, levels=0, init=f"{__name__}:as_given")[0]
    assert all(torch.equal(alone.initial[name], value) for name, value in state.items())
    model.load_state_dict(level.trained)
    expected = shrink(model, removed, graph).state_dict()
    for name, value in expected.items():
        torch.testing.assert_close(alone.trained[name], value, rtol=1e-4, atol=1e-5)


@network_scheme
def as_given(network: NetworkDraw) -> State:
    """A scheme that leaves the weights as they are."""
    return {name: module.weight for name, module in layers(network.model).items()}


def test_branches_of_a_selective_network_lose_filters_alone(data, quick):
    """What they are added to keeps all of its channels, in training as when they are removed."""
    model = build("resnet20(width=0.25, classes=3, selective=true)")
    stream = torch.Generator().manual_seed(0)
    colored = {}
    for part in ("train", "val", "test"):
        points = getattr(data, part)
        images = torch.rand(len(points), 3, 8, 8, generator=stream)
        colored[part] = replace(points, images=images)
    prune, images = PruneConfig(criterion="l2", conv_rate=0.5), colored["test"].images
    level = tickets(model, replace(data, **colored), quick, levels=1, prune=prune)[1]
    graph = trace(model, images[:1])
    removed = removed_units(graph, level.masks)
    homes = {
        name: int((~removed[units]).sum()) for name, units in graph.homes.items() if len(units)
    }
    assert homes == {name: len(model.get_parameter(name)) // 2 for name in homes}
    assert sum(name.endswith("conv2.weight") for name in homes) == 9
    model.load_state_dict(level.trained)
    model.eval()
    small = shrink(copy.deepcopy(model), removed, graph)
    torch.testing.assert_close(small(images), model(images))


def test_the_fast_engine_agrees_where_whole_rows_are_gone(plain, data, quick):
    """Few weights are left, so that layers run in CSR, some of whose rows and columns are empty."""
    prune = PruneConfig(criterion="l1", linear_rate=0.6)
    runs = [tickets(plain(), data, quick, prune=prune, engine=e) for e in ("sparse", "reference")]
    for fast, plain_ in zip(*runs, strict=True):
        assert min(fast.masks.densities.values()) < 0.2 or fast.level < 2
        for name, value in plain_.trained.items():
            torch.testing.assert_close(fast.trained[name], value, rtol=1e-4, atol=1e-5)
            if name in fast.masks:
                assert not fast.trained[name][~fast.masks[name]].any()


@pytest.mark.parametrize(
    "control", ["reinit", "shuffle_layer", "random", "magnitude_at_init", "one_shot", "retrain"]
)
def test_controls_are_of_whole_filters_too(control, noisy, data, quick):
    model = noisy()
    found = tickets(model, data, quick)

    def ticket_at(level: int):
        return found[level].masks, found[level].trained

    records = list(
        run_control(
            control,
            model,
            data,
            ticket_at,
            levels=[1, 2, 3],
            train=quick,
            prune=PruneConfig(criterion="l2"),
            draw=1,
        )
    )
    same = control in ("reinit", "retrain")
    for record in records:
        ticket = found[record.level]
        assert kept(model, record) == kept(model, ticket)
        assert record.size == ticket.size
        equal = all(torch.equal(mask, ticket.masks[name]) for name, mask in record.masks.items())
        assert equal == same or control in ("magnitude_at_init", "one_shot")
    if control in ("random", "one_shot", "magnitude_at_init"):
        for before, after in pairwise(records):
            assert after.masks.is_within(before.masks)
    if control == "one_shot":
        norms = found[0].trained["0.weight"].square().sum(1)
        best = norms.argsort(descending=True)[: kept(model, records[-1])["0.weight"]]
        assert set(best.tolist()) == set(
            records[-1].masks["0.weight"].any(1).nonzero()[:, 0].tolist()
        )


def test_filters_are_not_shuffled_over_layers(noisy, data, quick):
    found = tickets(noisy(), data, quick, levels=1)
    walk = run_control(
        "shuffle_global", noisy(), data, lambda level: (found[level].masks, found[level].trained),
        levels=[1], train=quick, prune=PruneConfig(criterion="l2"),
    )  # fmt: skip
    with pytest.raises(ConfigError, match="shuffled within their layers only"):
        next(walk)


def test_a_ticket_of_weights_has_no_smaller_size(noisy, data, quick):
    assert tickets(noisy(), data, quick, levels=1, prune=PruneConfig())[1].size is None


def test_filters_are_not_rescaled_by_the_density_of_layers(noisy, data, quick):
    """It counts rows that are gone: the others would be scaled for too few inputs."""
    with pytest.raises(ConfigError, match=r"rewind.rescale is 'layer'; allowed: unit, which"):
        tickets(noisy(), data, quick, rewind=RewindConfig(rescale="layer"))


def test_least_numbers_and_multiples_hold_at_every_level(noisy, data, quick):
    model = noisy()
    prune = PruneConfig(criterion="l2", linear_rate=0.4, keep_at_least=3, multiple_of=2)
    counts = [kept(model, level) for level in tickets(model, data, quick, prune=prune)]
    assert [count["0.weight"] for count in counts] == [10, 6, 4, 4]
    assert [count["4.weight"] for count in counts] == [8, 6, 4, 4]
