"""Whole filters are pruned to exact counts, in the right layers, and counted once."""

import copy
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from lottery.errors import ConfigError, DivergedError, UsageError
from lottery.pruning.channels import ChannelGraph, trace
from lottery.pruning.criteria import Context, Layer
from lottery.pruning.criteria.trial import ranks_filters
from lottery.pruning.schedule import PruneConfig
from lottery.pruning.shrink import shrink, unit_masks
from lottery.pruning.units import (
    check_criterion,
    prune_units,
    removed_units,
    shuffle_units,
    unit_counts,
    unit_scores,
)


def chain(*sizes: int) -> nn.Sequential:
    """Linear layers of these sizes, with ReLUs."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def of_norms(*norms: list[float]) -> tuple[nn.Module, ChannelGraph]:
    """Hidden layers whose neurons have one weight above zero, of the given size, each."""
    sizes = [1, *map(len, norms), 2]
    model = chain(*sizes)
    with torch.no_grad():
        for index, values in enumerate(norms):
            weight = model[2 * index].weight
            weight.zero_()
            weight[:, 0] = torch.tensor(values)
    return model, trace(model, torch.zeros(1, 1))


def kept(graph: ChannelGraph, removed: Tensor) -> dict[str, list[int]]:
    """Positions of the filters kept, by layer."""
    return {
        name: (~removed[written]).nonzero().flatten().tolist()
        for name, written in graph.written.items()
    }


class Residual(nn.Module):
    """A stem whose filters a block's second convolution adds to; one in between is free."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.one, self.two = nn.Conv2d(4, 6, 3, padding=1), nn.Conv2d(6, 4, 3, padding=1)
        self.out = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.stem(x)))
        x = torch.relu(x + self.two(torch.relu(self.one(x))))
        return self.out(x.mean((2, 3)))


@pytest.fixture
def residual() -> tuple[Residual, ChannelGraph]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Residual()
    return model, trace(model, torch.zeros(1, 1, 6, 6))


def test_the_lowest_of_each_layer_go_and_the_outputs_stay():
    model, graph = of_norms([3, 1, 2, 4], [9, 8, 7])
    removed = prune_units(model, graph, {"0.weight": 2, "2.weight": 1}, criterion="l1")
    assert kept(graph, removed) == {"0.weight": [0, 3], "2.weight": [0], "4.weight": [0, 1]}
    assert prune_units(model, graph, 0.5, criterion="l1").sum() == 2 + 1


def test_layers_that_are_not_named_keep_all():
    model, graph = of_norms([3, 1, 2, 4], [9, 8, 7])
    removed = prune_units(model, graph, {"2.weight": 1}, criterion="l1")
    assert kept(graph, removed)["0.weight"] == [0, 1, 2, 3]


def test_over_all_layers_the_total_is_kept_and_some_in_each():
    model, graph = of_norms([3, 1, 2, 4], [9, 8, 7])
    keep = {"0.weight": 1, "2.weight": 2}
    removed = prune_units(model, graph, keep, criterion="l1", scope="global")
    assert kept(graph, removed) == {"0.weight": [3], "2.weight": [0, 1], "4.weight": [0, 1]}
    removed = prune_units(
        model, graph, keep, criterion="l1", scope="global", keep_at_least=2
    )  # fmt: skip
    assert kept(graph, removed) == {"0.weight": [0, 3], "2.weight": [0, 1], "4.weight": [0, 1]}


def test_a_layer_of_which_nothing_is_pruned_is_not_ranked_globally():
    model, graph = of_norms([3, 1, 2, 4], [9, 8, 7])
    keep = {"0.weight": 4, "2.weight": 1}
    removed = prune_units(model, graph, keep, criterion="l1", scope="global")
    assert kept(graph, removed)["0.weight"] == [0, 1, 2, 3]


@given(
    st.lists(st.integers(1, 20), min_size=1, max_size=3),
    st.floats(0, 1),
    st.sampled_from(["layer", "global"]),
    st.integers(1, 4),
    st.integers(1, 5),
)
@settings(deadline=None, max_examples=50)
def test_counts_are_exact_and_nest_in_any_number_of_iterations(
    sizes, share, scope, least, iterations
):
    model = chain(2, 2, *sizes, 2)  # a layer of one neuron is not prunable
    graph = trace(model, torch.zeros(1, 2))
    options = {"scope": scope, "keep_at_least": least, "iterations": iterations}
    first = prune_units(model, graph, (1 + share) / 2, **options)
    second = prune_units(model, graph, share, removed=first, **options)
    assert not bool((first & ~second).any()), "a removed filter came back"
    homes = {name: len(units) for name, units in graph.homes.items() if len(units)}
    wanted = {name: max(round(share * n), min(least, n)) for name, n in homes.items()}
    left = {name: len(positions) for name, positions in kept(graph, second).items()}
    if scope == "layer":
        assert {name: left[name] for name in homes} == wanted
    else:
        assert all(left[name] >= min(least, n) for name, n in homes.items())
    assert left[f"{2 * len(sizes) + 2}.weight"] == 2


@pytest.mark.parametrize(
    ("share", "expected"), [(1.0, 22), (0.95, 20), (0.6, 12), (0.45, 12), (0.05, 4)]
)
def test_counts_are_rounded_to_multiples(share, expected):
    """Of 22 filters in multiples of 4: 21, 13, 10 and 1 are rounded, half up and never to 0."""
    model, graph = of_norms(list(range(1, 23)))
    removed = prune_units(model, graph, share, multiple_of=4)
    assert len(kept(graph, removed)["0.weight"]) == expected


def test_a_layer_of_less_than_one_multiple_stays_whole():
    model, graph = of_norms([1, 2, 3])
    assert not prune_units(model, graph, 0.3, multiple_of=8).any()
    for scope in ("layer", "global"):
        model, graph = of_norms([1, 2, 3, 4, 5], list(range(10, 27)))
        removed = prune_units(model, graph, 0.5, multiple_of=4, scope=scope)
        counts = [len(positions) for positions in kept(graph, removed).values()]
        assert all(count % 4 == 0 for count in counts[:2])


@pytest.mark.parametrize(("least", "expected"), [(4, 4), (5, 8), (9, 10)])
def test_rounding_keeps_what_a_layer_keeps_in_any_case(least, expected):
    """Of 10 filters of which 2 were asked for."""
    model, graph = of_norms(list(range(1, 11)))
    removed = prune_units(model, graph, 0.2, multiple_of=4, keep_at_least=least)
    assert len(kept(graph, removed)["0.weight"]) == expected


def test_filters_that_stand_and_fall_together_have_the_sum_of_their_scores(residual):
    model, graph = residual
    with torch.no_grad():
        for layer, values in ((model.stem, [4, 1, 3, 2]), (model.two, [1, 8, 1, 2])):
            layer.weight.zero_()
            layer.weight[:, 0, 0, 0] = torch.tensor(values, dtype=torch.float32)
    removed = prune_units(model, graph, {"stem.weight": 1}, criterion="l1")
    assert kept(graph, removed)["stem.weight"] == kept(graph, removed)["two.weight"] == [1]
    assert kept(graph, removed)["one.weight"] == list(range(6))
    sizes = {name: len(units) for name, units in graph.homes.items() if len(units)}
    assert sizes == {"stem.weight": 4, "one.weight": 6}, "a unit is counted twice"


def test_a_criterion_sees_the_layer_that_removal_leaves(residual):
    """Of a filter's mean square, the values are those of its remaining inputs."""
    model, graph = residual
    seen: dict[str, Layer] = {}

    def look(layer: Layer, context: Context) -> Tensor:
        seen[layer.name] = layer
        return layer.weight.flatten(1).sum(1)

    removed = torch.zeros(graph.units, dtype=torch.bool)
    removed[graph.written["stem.weight"][1]] = True
    removed[graph.written["one.weight"][:2]] = True
    stream = torch.Generator()
    initial = {name: value + 1 for name, value in model.state_dict().items()}
    scores = unit_scores(model, graph, removed, initial, look, stream)
    assert seen["one.weight"].weight.shape == (4, 3, 3, 3)
    assert torch.equal(seen["two.weight"].weight, model.two.weight[[0, 2, 3], 2:])
    assert torch.equal(seen["two.weight"].initial, model.two.weight[[0, 2, 3], 2:] + 1)
    assert "out.weight" not in seen, "an output cannot be pruned"
    assert bool((scores[removed] == -torch.inf).all())
    assert bool((scores[graph.fixed] == torch.inf).all())


def test_scores_on_data_are_of_the_removed_network(residual):
    model, graph = residual
    removed = torch.zeros(graph.units, dtype=torch.bool)
    removed[graph.written["stem.weight"][:2]] = True
    images, labels = torch.randn(20, 1, 6, 6), torch.arange(20) % 3
    stream, state = torch.Generator(), model.state_dict()
    masked = copy.deepcopy(model)
    unit_masks(graph, model, removed).apply(masked)
    for spec in ("taylor", "taylor_weights", "mean_activation(normalise=none)"):
        scores = [
            unit_scores(network, graph, gone, state, spec, stream, (images, labels))
            for network, gone in ((model, removed), (masked, torch.zeros_like(removed)))
        ]
        alive = ~removed & ~graph.fixed
        torch.testing.assert_close(scores[0][alive], scores[1][alive], rtol=1e-4, atol=1e-9)
    found = unit_scores(
        model, graph, removed, state, "mean_activation(normalise=mean)", stream, (images, labels)
    )
    own = graph.written["one.weight"]
    torch.testing.assert_close(found[own].mean(), torch.tensor(1.0).double())


def test_norms_are_normalised_anew_in_every_iteration():
    """As removal goes on, what is left of a layer weighs more against others.

    ℓ2-normalised mean squares are 1/2 each in a layer of four equal filters, 0.78 and 0.62 in one
    of 5 and 4: ranked once, three of the first go. When two have gone, the others score 0.71.
    """
    layers = nn.ModuleDict({"a": nn.Linear(1, 4), "b": nn.Linear(1, 2), "c": nn.Linear(6, 2)})
    with torch.no_grad():
        layers["a"].weight.fill_(1)
        layers["b"].weight[:, 0] = torch.tensor([5.0, 4.0]).sqrt()

    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = layers

        def forward(self, x: Tensor) -> Tensor:
            joined = torch.cat([self.layers["a"](x), self.layers["b"](x)], dim=1)
            return self.layers["c"](torch.relu(joined))

    both = Both()
    graph = trace(both, torch.zeros(1, 1))
    counts = {}
    for iterations in (1, 3):
        removed = prune_units(
            both, graph, {"layers.a.weight": 2, "layers.b.weight": 1}, scope="global",
            iterations=iterations,
        )  # fmt: skip
        left = kept(graph, removed)
        counts[iterations] = len(left["layers.a.weight"]), len(left["layers.b.weight"])
    assert counts == {1: (1, 2), 3: (2, 1)}


def test_masks_say_again_what_was_removed(residual):
    model, graph = residual
    stream = torch.Generator().manual_seed(2)
    removed = prune_units(model, graph, 0.5, criterion="random_filters", generator=stream)
    assert torch.equal(removed_units(graph, unit_masks(graph, model, removed)), removed)
    shuffled = shuffle_units(graph, removed, stream)
    assert not torch.equal(shuffled, removed)
    for units in graph.homes.values():
        assert shuffled[units].sum() == removed[units].sum()
    assert not shuffled[graph.fixed].any()


def test_a_random_choice_is_decided_by_its_stream(residual):
    model, graph = residual

    def drawn(seed: int) -> Tensor:
        stream = torch.Generator().manual_seed(seed)
        return prune_units(model, graph, 0.5, criterion="random_filters", generator=stream)

    assert torch.equal(drawn(0), drawn(0))
    assert len({tuple(drawn(seed).tolist()) for seed in range(5)}) > 1


def test_what_cannot_be_asked_for_is_refused(residual):
    model, graph = residual
    with pytest.raises(ConfigError, match=r"keep is 'out\.weight'; allowed: .* prune: stem, one$"):
        prune_units(model, graph, {"out.weight": 1})
    with pytest.raises(ConfigError, match=r"keep is 1\.5; allowed: a fraction from 0 to 1"):
        prune_units(model, graph, 1.5)
    with pytest.raises(ConfigError, match="scope is 'net'"):
        prune_units(model, graph, 0.5, scope="net")
    with pytest.raises(ConfigError, match=r"of shape \(4,\) for filters of 'stem\.weight', not"):
        prune_units(model, graph, 0.5, criterion="magnitude")


def test_a_network_none_of_whose_filters_can_go_is_refused_with_the_reasons(residual):
    model, _ = residual
    graph = trace(model, torch.zeros(1, 1, 6, 6), fixed=["stem", "one.weight"])
    assert "one (one is listed as fixed); stem, two (stem is listed as fixed)" in repr(graph)
    with pytest.raises(UsageError, match=r"no filter of Residual can be .*out \(it is an out"):
        prune_units(model, graph, 0.5)


def test_layers_are_named_with_their_weight_or_without(residual):
    model, graph = residual
    removed = prune_units(model, graph, {"one": 2})
    assert removed.sum() == 4
    assert torch.equal(removed, prune_units(model, graph, {"one.weight": 2}))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"iterations": 0}, "iterations is 0; allowed: at least 1"),
        ({"keep_at_least": 0}, "keep_at_least is 0; allowed: at least 1"),
        ({"multiple_of": 0}, "multiple_of is 0; allowed: at least 1"),
        ({"multiple_of": -1}, "multiple_of is -1; allowed: at least 1"),
        ({"keep": {"one": 0.5}}, r"keep of one\.weight is 0\.5; allowed: a whole number of"),
        (
            {"keep": {"one.weight": -3}},
            r"keep of one\.weight is -3; allowed: .* from 0 to 6, or one",
        ),
        ({"keep": {"one.weight": 7}}, r"keep of one\.weight is 7; allowed: .* from 0 to 6"),
        ({"criterion": "taylor"}, r"criterion is 'taylor'; allowed: others, unless images.*batch="),
    ],
)
def test_counts_that_nothing_can_have_are_refused(settings, message, residual):
    model, graph = residual
    with pytest.raises(ConfigError, match=message):
        prune_units(model, graph, **({"keep": 0.5} | settings))


def test_scores_that_are_nan_are_named_with_the_criterion_and_its_layer(residual):
    model, graph = residual

    def undefined(layer, context):
        return torch.full((len(layer.weight),), torch.nan if layer.name == "one.weight" else 1.0)

    with pytest.raises(DivergedError, match=r"'undefined' gives NaN for filters of 'one\.weight'"):
        prune_units(model, graph, 0.5, criterion=undefined)


def test_levels_take_their_rates_of_filters(residual):
    model, graph = residual
    config = PruneConfig(criterion="l2", conv_rate=0.5)
    assert unit_counts(model, graph, config, 1) == {"stem.weight": 2, "one.weight": 3}
    assert unit_counts(model, graph, config, 2) == {"stem.weight": 1, "one.weight": 1}


def test_what_a_criterion_ranks_is_found_by_trying_it():
    for spec in ("l1", "l2(form=rms)", "geometric_median", "bn_scale", "taylor", "apoz"):
        assert ranks_filters(spec)
    assert ranks_filters("inverted(taylor_weights)")
    for spec in ("magnitude", "snip", "grasp", "synflow", "random", "inverted(magnitude)"):
        assert not ranks_filters(spec)
    with pytest.raises(ConfigError, match="shape"):
        ranks_filters(lambda layer, context: torch.zeros(3))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"criterion": "l2", "allocation": "erk"}, "prune.allocation is 'erk'; allowed: rates, as"),
        ({"criterion": "l2", "biases": True}, "prune.biases is True; allowed: false, as filters"),
        ({"keep_at_least": 3}, "prune.keep_at_least is 3; allowed: 1, unless the criterion"),
        ({"multiple_of": 8}, "prune.multiple_of is 8; allowed: 1, unless the criterion"),
    ],
)
def test_settings_that_do_nothing_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        check_criterion(PruneConfig(**settings))


def test_pruned_and_shrunk_networks_agree(residual):
    """The ten lines that a user writes."""
    model, graph = residual
    model.eval()
    removed = prune_units(model, graph, 0.5, scope="global")
    masked = copy.deepcopy(model)
    unit_masks(graph, model, removed).apply(masked)
    images = torch.randn(5, 1, 6, 6)
    small = shrink(model, removed, graph)
    torch.testing.assert_close(small(images), masked(images), rtol=0, atol=1e-5)
