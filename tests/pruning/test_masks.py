"""Masks count exactly, and what they prune stays zero whatever the optimiser remembers."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from lottery.errors import ConfigError
from lottery.pruning.masks import Masks, pack, prunable, shuffle_global, shuffle_layer, unpack
from lottery.training.config import TrainConfig
from lottery.training.level import snapshot
from lottery.training.loop import make_optimizer
from tests.segments import train_steps


def stream(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_masks(model: nn.Module, density: float = 0.5, biases: bool = False) -> Masks:
    ones = Masks.ones(model, biases)
    return Masks({n: torch.rand(m.shape, generator=stream(3)) < density for n, m in ones.items()})


def test_weights_of_layers_are_prunable_in_order_with_their_kind(own):
    assert list(prunable(own()).items()) == [
        ("stem.weight", "conv"),
        ("blocks.0.mix.weight", "conv"),
        ("blocks.1.mix.weight", "conv"),
        ("heads.classes.weight", "output"),
    ]


def test_biases_are_prunable_only_if_asked_and_batch_norm_never(noisy, own):
    assert list(prunable(noisy())) == ["0.weight", "4.weight", "8.weight"]
    assert prunable(noisy(), biases=True) == {
        "0.weight": "linear",
        "0.bias": "linear",
        "4.weight": "linear",
        "4.bias": "linear",
        "8.weight": "output",
        "8.bias": "output",
    }
    with_biases = prunable(own(), biases=True)
    assert [name for name in with_biases if "bias" in name] == ["stem.bias", "heads.classes.bias"]


def test_the_last_layer_is_the_output_whatever_its_type():
    fully_convolutional = nn.Sequential(nn.Linear(4, 4), nn.Conv1d(2, 3, 1), nn.BatchNorm1d(3))
    assert prunable(fully_convolutional) == {"0.weight": "linear", "1.weight": "output"}


def test_a_bare_layer_is_a_network_too():
    assert prunable(nn.Linear(2, 3), biases=True) == {"weight": "output", "bias": "output"}
    assert Masks.ones(nn.Linear(2, 3)).sizes == {"weight": 6}


def test_a_network_without_layers_is_refused():
    with pytest.raises(ConfigError, match="model is 'BatchNorm1d'"):
        prunable(nn.BatchNorm1d(3))


def test_masks_count_what_they_keep():
    masks = Masks(
        {"a": torch.tensor([[True, False], [False, False]]), "b": torch.ones(6, dtype=torch.bool)}
    )
    assert masks.sizes == {"a": 4, "b": 6}
    assert masks.remaining == {"a": 1, "b": 6}
    assert masks.densities == {"a": 0.25, "b": 1.0}
    assert masks.weights_remaining == 0.7
    assert repr(masks) == "Masks(70.00% of 10 weights remain)"


def test_masks_are_boolean():
    with pytest.raises(ConfigError, match="masks is 'b'; allowed: boolean tensors"):
        Masks({"a": torch.ones(2, dtype=torch.bool), "b": torch.ones(2)})


def test_masks_do_not_follow_later_changes_of_what_they_were_made_from():
    source = {"a": torch.ones(2, dtype=torch.bool)}
    masks = Masks(source)
    source["b"] = torch.ones(2, dtype=torch.bool)
    assert list(masks) == ["a"]


def test_within_means_every_kept_weight_was_kept_before():
    small, large = (Masks({"a": torch.tensor(m)}) for m in ([True, False], [True, True]))
    other = Masks({"a": torch.tensor([False, True])})
    assert small.is_within(large)
    assert small.is_within(small)
    assert not large.is_within(small)
    assert not other.is_within(small)


def test_applying_touches_pruned_values_alone(own):
    model = own()
    before, masks = snapshot(model), random_masks(model)
    masks.apply(model)
    for name, value in snapshot(model).items():
        expected = before[name].where(masks[name], 0) if name in masks else before[name]
        assert torch.equal(value, expected), name


OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, 0.05, momentum=0.9, weight_decay=0.01),
    "nesterov": lambda p: torch.optim.SGD(
        p, 0.05, momentum=0.9, weight_decay=0.01, nesterov=True, fused=True
    ),
    "adam": lambda p: torch.optim.Adam(p, 0.01),
    "adam and decay": lambda p: torch.optim.Adam(p, 0.01, weight_decay=0.01, fused=True),
    "amsgrad": lambda p: torch.optim.Adam(p, 0.01, weight_decay=0.01, amsgrad=True),
    "adamw": lambda p: torch.optim.AdamW(p, 0.01, weight_decay=0.01, foreach=True),
    "rmsprop": lambda p: torch.optim.RMSprop(p, 0.01, momentum=0.9, weight_decay=0.01),
}


def steps(model, masks, optimizer, examples, number) -> None:
    """A user's own loop, as the module's docstring tells them to write it."""
    model.train()
    for _ in range(number):
        optimizer.zero_grad()
        F.cross_entropy(model(examples.images), examples.labels).backward()
        masks.apply_to_gradients(model)
        optimizer.step()


@pytest.mark.parametrize("biases", [False, True])
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_pruned_weights_gradients_and_memory_are_exactly_zero_after_100_steps(
    kind, biases, noisy, data
):
    torch.manual_seed(0)
    model = noisy()
    optimizer = OPTIMIZERS[kind](model.parameters())
    steps(model, Masks.ones(model), optimizer, data.train, 20)  # what momentum remembers
    masks = random_masks(model, biases=biases)
    masks.apply(model, optimizer)
    before = snapshot(model)
    steps(model, masks, optimizer, data.train, 100)
    for name, mask in masks.items():
        parameter = model.get_parameter(name)
        assert not parameter[~mask].any()
        assert not parameter.grad[~mask].any()
        for memory in optimizer.state[parameter].values():
            if isinstance(memory, torch.Tensor) and memory.shape == mask.shape:
                assert not memory[~mask].any()
        assert (parameter != before[name])[mask].all(), "a kept weight was frozen"


@pytest.mark.parametrize(
    "settings",
    [
        {"optimizer": "sgd", "lr": 0.05, "momentum": 0.9, "weight_decay": 0.01},
        {"optimizer": "adam", "lr": 0.01},
        {"optimizer": "adam", "lr": 0.01, "weight_decay": 0.01},
    ],
)
def test_the_engine_keeps_pruned_weights_at_zero_for_100_steps(settings, noisy, data):
    from lottery.data.batches import Batches

    torch.manual_seed(0)
    model, config = noisy(), TrainConfig(batch_size=8, **settings)
    optimizer, batches = make_optimizer(model, config), Batches(data.train, 8, seed=0)
    train_steps(model, Masks.ones(model), optimizer, batches, lambda _: config.lr, 0, 20)
    masks = random_masks(model)
    masks.apply(model, optimizer)
    train_steps(model, masks, optimizer, batches, lambda _: config.lr, 20, 120)
    for name, mask in masks.items():
        parameter = model.get_parameter(name)
        memories = [m for m in optimizer.state[parameter].values() if m.shape == mask.shape]
        assert memories
        for values in (parameter, parameter.grad, *memories):
            assert not values[~mask].any()
            assert values[mask].any()


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_kept_negative_weights_train_like_positive_ones(kind, data):
    torch.manual_seed(0)
    model = nn.Linear(6, 3)
    with torch.no_grad():
        model.weight.copy_(torch.where(torch.rand(3, 6) < 0.5, -0.1, 0.1))
    masks = random_masks(model)
    masks.apply(model)
    before = model.weight.detach().clone()
    negative, positive = (before < 0), (before > 0)
    assert negative.any()
    assert positive.any()
    steps(model, masks, OPTIMIZERS[kind](model.parameters()), data.train, 1)
    moved = model.weight != before
    assert moved[negative].all()
    assert moved[positive].all()
    assert not moved[before == 0].any()


def test_applying_empties_the_optimisers_memory_of_pruned_weights_and_only_that(plain, data):
    torch.manual_seed(0)
    model = plain()
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    steps(model, Masks.ones(model), optimizer, data.train, 5)
    before = {p: {k: v.clone() for k, v in s.items()} for p, s in optimizer.state.items()}
    masks = random_masks(model)
    masks.apply(model, optimizer)
    for name, parameter in model.named_parameters():
        mask = masks[name] if name in masks else torch.ones_like(parameter, dtype=torch.bool)
        state = optimizer.state[parameter]
        assert state["step"] == 5
        for memory in ("exp_avg", "exp_avg_sq"):
            assert torch.equal(state[memory], before[parameter][memory].where(mask, 0))


def test_gradients_of_unused_parameters_may_be_missing(plain):
    model = plain()
    random_masks(model).apply_to_gradients(model)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_gradients_of_kept_weights_are_left_as_they_are(plain, data):
    model = plain()
    F.cross_entropy(model(data.train.images), data.train.labels).backward()
    before = {name: p.grad.clone() for name, p in model.named_parameters()}
    masks = random_masks(model)
    masks.apply_to_gradients(model)
    for name, parameter in model.named_parameters():
        mask = masks[name] if name in masks else torch.ones_like(parameter, dtype=torch.bool)
        assert torch.equal(parameter.grad, before[name].where(mask, 0))


shapes = st.dictionaries(
    st.text("abc.", min_size=1, max_size=4),
    st.lists(st.integers(1, 5), min_size=1, max_size=4).map(tuple),
    min_size=1,
    max_size=4,
)


@given(shapes, st.integers(0, 2**32))
def test_packing_and_unpacking_gives_the_masks_back(shapes, seed):
    chance = stream(seed)
    masks = Masks({n: torch.rand(shape, generator=chance) < 0.5 for n, shape in shapes.items()})
    packed = pack(masks)
    for name, shape in shapes.items():
        assert packed[name].dtype == torch.uint8
        assert packed[name].numel() == math.ceil(math.prod(shape) / 8)
    back = unpack(packed, shapes)
    assert list(back) == list(masks)
    assert all(torch.equal(back[name], mask) for name, mask in masks.items())


@pytest.fixture
def uneven() -> Masks:
    """Three tensors of densities 0.1, 0.5 and 1."""
    kept = {"a": (10, 10, 10), "b": (40, 5, 100), "c": (6, 6, 36)}
    return Masks(
        {
            name: (torch.arange(rows * columns) < count).view(rows, columns)
            for name, (rows, columns, count) in kept.items()
        }
    )


def test_shuffling_within_layers_moves_and_keeps_counts(uneven):
    before = {name: mask.clone() for name, mask in uneven.items()}
    shuffled = shuffle_layer(uneven, stream(0))
    assert shuffled.remaining == uneven.remaining
    assert {n: m.shape for n, m in shuffled.items()} == {n: m.shape for n, m in uneven.items()}
    for name in ("a", "b"):
        assert not torch.equal(shuffled[name], uneven[name])
    assert all(torch.equal(uneven[name], mask) for name, mask in before.items())


def test_shuffling_across_layers_moves_weights_between_layers(uneven):
    before = {name: mask.clone() for name, mask in uneven.items()}
    shuffled = shuffle_global(uneven, stream(0))
    assert sum(shuffled.remaining.values()) == sum(uneven.remaining.values())
    assert shuffled.remaining != uneven.remaining
    assert {n: m.shape for n, m in shuffled.items()} == {n: m.shape for n, m in uneven.items()}
    assert all(torch.equal(uneven[name], mask) for name, mask in before.items())


@pytest.mark.parametrize("shuffle", [shuffle_layer, shuffle_global])
def test_shuffles_follow_their_generator(shuffle, uneven):
    one, same, other = (shuffle(uneven, stream(seed)) for seed in (1, 1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


def test_a_shuffle_may_keep_any_position(uneven):
    draws, chance = 400, stream(0)
    layer = {name: torch.zeros(mask.shape) for name, mask in uneven.items()}
    across = {name: torch.zeros(mask.shape) for name, mask in uneven.items()}
    for _ in range(draws):
        for total, shuffled in (
            (layer, shuffle_layer(uneven, chance)),
            (across, shuffle_global(uneven, chance)),
        ):
            for name, mask in shuffled.items():
                total[name] += mask / draws
    bound = 4.5 * math.sqrt(0.25 / draws)
    for name, density in uneven.densities.items():
        assert (layer[name] - density).abs().max() < bound
        assert (across[name] - uneven.weights_remaining).abs().max() < bound


def test_a_shared_weight_is_one_parameter_to_prune():
    tied = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 4))
    tied[1].weight = tied[0].weight
    assert list(prunable(tied)) == ["0.weight"]
    assert Masks.ones(tied).sizes == {"0.weight": 16}
