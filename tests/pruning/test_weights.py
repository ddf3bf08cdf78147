"""Pruning keeps exactly the best, to the weight, whatever the ties."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import prune as torch_prune

from lottery.errors import ConfigError, DivergedError
from lottery.pruning.criteria import CRITERIA
from lottery.pruning.masks import Masks, prunable
from lottery.pruning.network import Network
from lottery.pruning.schedule import PruneConfig, keep_counts
from lottery.pruning.weights import prune


def stream(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def full(weights: dict[str, Tensor]) -> Masks:
    return Masks({name: torch.ones_like(w, dtype=torch.bool) for name, w in weights.items()})


def random_weights(seed: int = 0) -> dict[str, Tensor]:
    chance = stream(seed)
    shapes = {"a": (7, 11), "b": (4, 3, 3), "c": (5, 6)}
    return {name: torch.randn(shape, generator=chance) for name, shape in shapes.items()}


def same(one: Masks, other: Masks) -> bool:
    return all(torch.equal(mask, other[name]) for name, mask in one.items())


@pytest.mark.parametrize("value", [0.0, 0.3, -0.3])
@pytest.mark.parametrize("keep", [0, 1, 37, 99, 100])
def test_a_layer_of_equal_weights_keeps_exactly_its_count(value, keep):
    weights = {"a": torch.full((10, 10), value)}
    for scope in ("layer", "global"):
        assert (
            prune(full(weights), weights, weights, {"a": keep}, scope=scope).remaining["a"] == keep
        )


def test_ties_fall_at_random_but_by_the_generator():
    weights = {"a": torch.ones(1000)}
    one, again, other = (
        prune(full(weights), weights, weights, {"a": 500}, generator=stream(seed))["a"]
        for seed in (1, 1, 2)
    )
    assert torch.equal(one, again)
    assert 200 < int((one & other).sum()) < 300
    assert 200 < int(one[:500].sum()) < 300, "ties in index order"
    assert 200 < int(one[::2].sum()) < 300


def test_every_tied_weight_has_the_same_chance():
    weights, chance = {"a": torch.tensor([2.0, -1.0, 1.0, 1.0, -1.0, 0.5])}, stream(0)
    counts = torch.zeros(6)
    for _ in range(1000):
        counts += prune(full(weights), weights, weights, {"a": 3}, generator=chance)["a"]
    assert counts[0] == 1000
    assert counts[5] == 0
    assert (counts[1:5] - 500).abs().max() < 70


def test_without_a_generator_ties_are_still_the_same_every_time():
    weights = {"a": torch.ones(50)}
    torch.manual_seed(1)
    one = prune(full(weights), weights, weights, {"a": 20})
    torch.manual_seed(2)
    assert same(one, prune(full(weights), weights, weights, {"a": 20}))


def test_the_largest_magnitudes_stay_whatever_their_sign():
    weights = {"a": torch.tensor([[-4.0, 3.0], [-2.0, 1.0]])}
    for keep, expected in ((3, [[1, 1], [1, 0]]), (2, [[1, 1], [0, 0]]), (1, [[1, 0], [0, 0]])):
        mask = prune(full(weights), weights, weights, {"a": keep})["a"]
        assert mask.int().tolist() == expected


def test_layerwise_masks_equal_torchs_over_several_levels(plain):
    torch.manual_seed(0)
    model = plain()
    weights = {name: model.get_parameter(name).detach().clone() for name in prunable(model)}
    masks, kinds = full(weights), prunable(model)
    for level in range(1, 6):
        keep = keep_counts(masks.sizes, kinds, PruneConfig(linear_rate=0.3), level)
        amounts = {name: masks.remaining[name] - keep[name] for name in masks}
        masks = prune(masks, weights, weights, keep, generator=stream(level))
        for name, amount in amounts.items():
            layer = model.get_submodule(name.removesuffix(".weight"))
            torch_prune.l1_unstructured(layer, "weight", amount)
            assert torch.equal(layer.weight_mask.bool(), masks[name])


def test_global_masks_equal_torchs_over_several_levels(plain):
    torch.manual_seed(0)
    model = plain()
    names = list(prunable(model))
    weights = {name: model.get_parameter(name).detach().clone() for name in names}
    masks = full(weights)
    layers = [(model.get_submodule(name.removesuffix(".weight")), "weight") for name in names]
    for level in range(1, 6):
        keep = keep_counts(masks.sizes, prunable(model), PruneConfig(), level)
        amount = sum(masks.remaining.values()) - sum(keep.values())
        masks = prune(masks, weights, weights, keep, scope="global", generator=stream(level))
        torch_prune.global_unstructured(layers, torch_prune.L1Unstructured, amount=amount)
        for (layer, _), name in zip(layers, names, strict=True):
            assert torch.equal(layer.weight_mask.bool(), masks[name])


def test_global_keeps_the_total_of_the_layers_ranked_together():
    weights = random_weights()
    weights["b"] *= 0.01
    keep = {"a": 40, "b": 20, "c": 15}
    masks = prune(full(weights), weights, weights, keep, scope="global")
    assert sum(masks.remaining.values()) == 75
    assert masks.remaining["b"] == 0, "ranked within layers"
    pooled = torch.cat([weights[name].abs().flatten() for name in masks])
    kept = torch.cat([mask.flatten() for mask in masks.values()])
    assert pooled[kept].min() > pooled[~kept].max()


def test_a_layer_with_nothing_to_prune_stays_out_of_the_global_ranking():
    weights = random_weights()
    weights["b"] *= 0.01
    masks = prune(full(weights), weights, weights, {"a": 40, "b": 36, "c": 15}, scope="global")
    assert masks.remaining["b"] == 36
    assert masks.remaining["a"] + masks.remaining["c"] == 55
    untouched = {name: weight.numel() for name, weight in weights.items()}
    assert same(prune(full(weights), weights, weights, untouched, scope="global"), full(weights))


few_values = st.lists(st.sampled_from([0.0, 0.5, -0.5, 1.0, -2.0]), min_size=1, max_size=30)


@given(
    st.lists(few_values, min_size=1, max_size=4),
    st.lists(st.floats(0, 0.9), min_size=1, max_size=5),
    st.sampled_from(["layer", "global"]),
    st.integers(0, 1000),
)
def test_masks_nest_with_exact_counts_at_every_level(values, rates, scope, seed):
    """Also among ties and zeros: what is pruned is remembered, not read off the weights."""
    weights = {str(index): torch.tensor(layer) for index, layer in enumerate(values)}
    masks, keep = full(weights), {name: w.numel() for name, w in weights.items()}
    for level, rate in enumerate(rates):
        keep = {name: count - round(rate * count) for name, count in keep.items()}
        earlier = masks
        masks = prune(masks, weights, weights, keep, scope=scope, generator=stream(seed + level))
        assert masks.is_within(earlier)
        assert sum(masks.remaining.values()) == sum(keep.values())
        if scope == "layer":
            assert masks.remaining == keep
        weights = {name: w.where(masks[name], torch.tensor(0.0)) for name, w in weights.items()}


def test_pruning_makes_new_masks():
    weights = random_weights()
    masks = full(weights)
    prune(masks, weights, weights, {"a": 1, "b": 1, "c": 1})
    assert masks.weights_remaining == 1


def test_magnitude_at_init_ranks_the_initial_weights():
    trained, initial = random_weights(0), random_weights(1)
    keep = {"a": 30, "b": 10, "c": 20}
    masks = prune(full(trained), trained, initial, keep, criterion="magnitude_at_init")
    for name, mask in masks.items():
        assert initial[name][mask].abs().min() > initial[name][~mask].abs().max()
        assert not trained[name][mask].abs().min() > trained[name][~mask].abs().max()


def test_random_ignores_the_weights_and_follows_the_generator():
    weights, others = random_weights(0), random_weights(1)
    keep = {"a": 30, "b": 10, "c": 20}

    def drawn(weights: dict[str, Tensor], seed: int) -> Masks:
        return prune(
            full(weights), weights, weights, keep, criterion="random", generator=stream(seed)
        )

    assert same(drawn(weights, 1), drawn(others, 1))
    assert not same(drawn(weights, 1), drawn(weights, 2))


def test_random_gives_every_weight_the_same_chance():
    weights, chance, counts = {"a": torch.arange(20.0)}, stream(0), torch.zeros(20)
    for _ in range(1000):
        counts += prune(
            full(weights), weights, weights, {"a": 5}, criterion="random", generator=chance
        )["a"]
    assert (counts - 250).abs().max() < 60


def movement(layer, context, power=1):
    return (layer.weight - layer.initial).abs() ** power


@pytest.mark.parametrize("criterion", [movement, f"{__name__}:movement(power=2)"])
def test_a_users_function_is_a_criterion(criterion):
    trained, initial = random_weights(0), random_weights(1)
    masks = prune(full(trained), trained, initial, {"a": 30, "b": 10, "c": 20}, criterion=criterion)
    for name, mask in masks.items():
        moved = (trained[name] - initial[name]).abs()
        assert moved[mask].min() > moved[~mask].max()


def test_a_criterion_knows_its_layers_name_and_may_score_below_zero():
    weights = random_weights()

    def by_name(layer, context):
        return -torch.arange(layer.weight.numel()).view(layer.weight.shape) - 100.0 * ord(
            layer.name
        )

    masks = prune(full(weights), weights, weights, {"a": 30, "b": 10, "c": 20}, criterion=by_name)
    assert masks["a"].flatten().int().tolist() == [1] * 30 + [0] * 47
    together = prune(
        full(weights),
        weights,
        weights,
        {"a": 30, "b": 10, "c": 20},
        criterion=by_name,
        scope="global",
    )
    assert together.remaining == {"a": 60, "b": 0, "c": 0}


@pytest.mark.parametrize(
    ("returned", "wrong"),
    [(torch.tensor(1.0), "one of shape ()"), (None, "None"), ([1.0], "an object of type list")],
)
def test_a_criterion_that_returns_no_scores_is_named_with_the_layer(returned, wrong):
    def mine(layer, context):
        return returned

    weights = random_weights()
    with pytest.raises(ConfigError) as error:
        prune(full(weights), weights, weights, {"a": 1, "b": 1, "c": 1}, criterion=mine)
    assert str(error.value) == (
        "criterion is 'mine'; allowed: one that returns a tensor of scores of shape (7, 11) for "
        f"weights of 'a', not {wrong}"
    )


def test_impossible_counts_are_refused():
    weights = random_weights()
    masks = prune(full(weights), weights, weights, {"a": 10, "b": 36, "c": 30})
    with pytest.raises(ConfigError, match="weights to keep is 11; allowed: 0 to the 10"):
        prune(masks, weights, weights, {"a": 11, "b": 36, "c": 30})
    with pytest.raises(ConfigError, match="weights to keep is -1"):
        prune(masks, weights, weights, {"a": -1, "b": 36, "c": 30})


def test_weights_that_are_not_numbers_are_refused_unless_pruned():
    weights = {"a": torch.tensor([1.0, float("nan"), 3.0])}
    for scope in ("layer", "global"):
        message = "criterion 'magnitude' gives NaN for weights of 'a': it or the training diverged"
        with pytest.raises(DivergedError, match=message):
            prune(full(weights), weights, weights, {"a": 2}, scope=scope)
    masks = Masks({"a": torch.tensor([True, False, True])})
    assert prune(masks, weights, weights, {"a": 1})["a"].tolist() == [False, False, True]


def test_names_are_checked():
    weights = random_weights()
    keep = dict.fromkeys(weights, 1)
    with pytest.raises(
        ConfigError, match="criterion is 'magnitud'; allowed: apoz, bn_scale, diff_sign, "
    ):
        prune(full(weights), weights, weights, keep, criterion="magnitud")
    with pytest.raises(ConfigError, match="scope is 'globally'; allowed: layer, global"):
        prune(full(weights), weights, weights, keep, scope="globally")
    assert {"magnitude", "magnitude_at_init", "random"} < set(CRITERIA)


@given(
    st.lists(few_values, min_size=1, max_size=4),
    st.floats(0, 1),
    st.sampled_from(["layer", "global"]),
    st.integers(1, 12),
)
def test_counts_are_exact_and_masks_nest_in_any_number_of_iterations(values, share, scope, number):
    weights = {str(index): torch.tensor(layer) for index, layer in enumerate(values)}
    half = {name: -(-w.numel() // 2) for name, w in weights.items()}
    earlier = prune(full(weights), weights, weights, half)
    keep = {name: round(share * count) for name, count in half.items()}
    options = {"scope": scope, "criterion": "random", "iterations": number}
    masks = prune(earlier, weights, weights, keep, **options)
    assert masks.is_within(earlier)
    assert sum(masks.remaining.values()) == sum(keep.values())
    if scope == "layer":
        assert masks.remaining == keep


@pytest.mark.parametrize(
    ("iterations", "expected"), [(1, [1000]), (2, [1000, 32]), (3, [1000, 100, 10])]
)
def test_iterations_keep_equal_shares_of_what_is_left(iterations, expected, monkeypatch):
    """Down to 1 of 1,000 weights; each ranks what the last one kept."""
    seen, under = [], Network.under

    def told(network: Network, masks: Masks) -> Network:
        seen.append(masks.remaining["weight"])
        return under(network, masks)

    monkeypatch.setattr(Network, "under", told)
    model = nn.Linear(1000, 1, bias=False)
    state = {"weight": torch.rand(1, 1000)}
    network = Network(model, state, torch.ones(1, 1000), torch.zeros(1, dtype=torch.int64))
    options = {"criterion": "synflow", "iterations": iterations, "network": network}
    masks = prune(Masks.ones(model), state, state, {"weight": 1}, **options)
    assert seen == expected
    assert masks["weight"].nonzero().tolist() == [[0, int(state["weight"].argmax())]]


def test_a_whole_network_is_pruned_to_its_counts_and_nothing_else(noisy):
    torch.manual_seed(0)
    model = noisy()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    masks = Masks.ones(model)
    keep = keep_counts(masks.sizes, prunable(model), PruneConfig(), 3)
    masks = prune(masks, state, state, keep)
    assert masks.remaining == keep == {"0.weight": 30, "4.weight": 41, "8.weight": 18}
    masks.apply(model)
    for name, value in model.state_dict().items():
        expected = state[name].where(masks[name], 0) if name in masks else state[name]
        assert torch.equal(value, expected), name


def test_biases_are_pruned_at_their_layers_rate_if_asked():
    model = nn.Sequential(nn.Linear(10, 20), nn.Linear(20, 10))
    masks = Masks.ones(model, biases=True)
    keep = keep_counts(masks.sizes, prunable(model, biases=True), PruneConfig(biases=True), 1)
    assert keep == {"0.weight": 160, "0.bias": 16, "1.weight": 180, "1.bias": 9}
    weights = {name: p.detach() for name, p in model.named_parameters()}
    assert prune(masks, weights, weights, keep).remaining == keep
