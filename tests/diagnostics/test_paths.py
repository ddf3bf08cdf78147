"""Effective density against a walk over all paths."""

from itertools import pairwise, product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lottery.diagnostics.paths import effective_density
from lottery.models import conv6, lenet_300_100
from lottery.pruning.masks import Masks


def on_paths(masks: list[torch.Tensor]) -> list[torch.Tensor]:
    """Weights that some path takes: every choice of a unit per layer is tried."""
    sizes = [masks[0].shape[1], *(len(mask) for mask in masks)]
    used = [torch.zeros_like(mask) for mask in masks]
    for units in product(*(range(size) for size in sizes)):
        steps = list(zip(masks, units[1:], units[:-1], strict=True))
        if all(bool(mask[to, source]) for mask, to, source in steps):
            for one, (_, to, source) in zip(used, steps, strict=True):
                one[to, source] = True
    return used


def mlp(sizes: list[int]) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Flatten()]
    for source, to in pairwise(sizes):
        layers += [nn.Linear(source, to), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_it_is_the_share_of_weights_that_some_path_takes(data):
    sizes = data.draw(st.lists(st.integers(1, 4), min_size=3, max_size=5))
    model = mlp(sizes)
    bits = st.booleans()
    masks = Masks(
        {
            name: torch.tensor(data.draw(st.lists(bits, min_size=m.numel(), max_size=m.numel())))
            .bool()
            .view(m.shape)
            for name, m in Masks.ones(model).items()
        }
    )
    found = effective_density(model, masks, torch.rand(1, sizes[0]))
    used = on_paths(list(masks.values()))
    for name, one in zip(masks, used, strict=True):
        assert found[name] == int(one.sum()) / one.numel()
    total = sum(int(one.sum()) for one in used) / sum(masks.sizes.values())
    assert found["all"] == pytest.approx(total)


def test_weights_behind_a_unit_that_sees_nothing_do_not_count():
    # Unit 1 has no input but a bias, unit 2 no output: of 3 + 3 weights 1 + 1 are on the path.
    model = nn.Sequential(nn.Linear(1, 3), nn.ReLU(), nn.Linear(3, 1))
    masks = Masks(
        {
            "0.weight": torch.tensor([[True], [False], [True]]),
            "2.weight": torch.tensor([[True, True, False]]),
        }
    )
    assert effective_density(model, masks, torch.zeros(1, 1)) == {
        "0.weight": 1 / 3,
        "2.weight": 1 / 3,
        "all": 2 / 6,
    }


def test_masked_biases_are_no_path_and_do_not_count():
    model = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 1))
    masks = Masks.ones(model, biases=True)
    kept = dict(masks) | {"0.weight": torch.tensor([[True], [False]])}
    found = effective_density(model, Masks(kept), torch.zeros(1, 1))
    assert found == {"0.weight": 1 / 2, "2.weight": 1 / 2, "all": 2 / 4}


def test_channels_pooling_and_flattening():
    # Channel 1 is cut off at the input; a 4 × 4 image is pooled to 2 × 2, so fc has 4 inputs of
    # each channel, of which fc sees one of channel 0.
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8, 1)
    )
    conv = torch.zeros(2, 1, 3, 3, dtype=torch.bool)
    conv[0, 0, 1, :] = True
    linear = torch.tensor([[True, False, False, False, True, True, True, True]])
    masks = Masks({"0.weight": conv, "4.weight": linear})
    found = effective_density(model, masks, torch.zeros(1, 1, 4, 4))
    assert found == {"0.weight": 3 / 18, "4.weight": 1 / 8, "all": 4 / 26}


def test_a_tap_that_sees_nothing_but_padding_is_on_no_path():
    model = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.Flatten(), nn.Linear(1, 1))
    found = effective_density(model, Masks.ones(model), torch.zeros(1, 1, 1, 1))
    assert found == {"0.weight": 1 / 9, "2.weight": 1.0, "all": 2 / 10}


@pytest.mark.parametrize("make, shape", [(lenet_300_100, (1, 28, 28)), (conv6, (3, 32, 32))])
def test_all_of_an_unpruned_network_is_effective(make, shape):
    model = make()
    found = effective_density(model, Masks.ones(model), torch.zeros(1, *shape))
    assert set(found.values()) == {1.0}


def test_layers_used_twice_and_nested_are_found_where_they_are_run():
    shared = nn.Linear(2, 2)
    model = nn.Sequential(nn.Sequential(shared, nn.ReLU()), shared, nn.Linear(2, 1))
    masks = Masks(
        {
            "0.0.weight": torch.tensor([[True, False], [False, False]]),
            "2.weight": torch.tensor([[True, True]]),
        }
    )
    found = effective_density(model, masks, torch.zeros(1, 2))
    assert found == {"0.0.weight": 1 / 4, "2.weight": 1 / 2, "all": 2 / 6}


def test_nothing_is_said_of_networks_whose_paths_are_unknown(own):
    class Skip(nn.Sequential):
        def forward(self, x):
            return x + super().forward(x)

    class Odd(nn.Linear):
        def forward(self, x):
            return super().forward(x.flip(1))

    for model in (
        own(),
        Skip(nn.Linear(2, 2)),
        nn.Sequential(Odd(2, 2)),
        nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2)),
        nn.Sequential(nn.Linear(2, 2), Skip(nn.Linear(2, 2))),
        nn.Sequential(nn.Conv1d(1, 1, 3, padding=1, padding_mode="circular"), nn.Flatten()),
    ):
        assert effective_density(model, Masks.ones(model), torch.zeros(1, 2)) is None


def test_masked_norms_are_no_path_and_do_not_count():
    """As where whole filters are pruned, with all that is theirs."""
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.ReLU(), nn.Linear(2, 1))
    masks = {name: torch.ones_like(p, dtype=torch.bool) for name, p in model.named_parameters()}
    masks["0.weight"][1], masks["1.weight"][1], masks["3.weight"][:, 1] = False, False, False
    found = effective_density(model, Masks(masks), torch.zeros(1, 2))
    assert found == {"0.weight": 0.5, "3.weight": 0.5, "all": 0.5}
