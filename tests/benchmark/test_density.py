"""Random masks of a wanted density."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lottery.benchmark.density import counts_at, emptied, masks_at
from lottery.errors import ConfigError
from lottery.models import build
from lottery.pruning.masks import Masks, prunable
from lottery.pruning.schedule import PruneConfig, keep_counts

LENET = build("lenet_300_100")
RATES = PruneConfig(conv_rate=0.15)
TENTHS = [1.0, 0.5, 0.2, 0.1, 0.05, 0.036, 0.02, 0.01]


@pytest.mark.parametrize("spec", ["lenet_300_100", "conv6(width=0.25)"])
@pytest.mark.parametrize("density", TENTHS)
def test_masks_have_the_density_to_within_one_weight_per_layer(spec, density):
    model = build(spec)
    masks = masks_at(model, density, RATES)
    wanted = density * sum(masks.sizes.values())
    assert abs(sum(masks.remaining.values()) - wanted) <= len(masks)
    assert masks.remaining == counts_at(model, density, RATES)


@given(density=st.floats(0.001, 1.0))
def test_any_density_is_hit_and_all_layers_stand_at_one_level(density):
    counts = counts_at(LENET, density, RATES)
    sizes = Masks.ones(LENET).sizes
    assert abs(sum(counts.values()) - density * sum(sizes.values())) <= len(sizes)
    hidden, output = (counts[f"fc{n}.weight"] / sizes[f"fc{n}.weight"] for n in (1, 3))
    assert hidden == pytest.approx(output ** (math.log(0.8) / math.log(0.9)), abs=2e-3)


@pytest.mark.parametrize("level", [1, 5, 12])
def test_at_a_whole_level_layers_keep_what_pruning_keeps(level):
    sizes = Masks.ones(LENET).sizes
    expected = keep_counts(sizes, prunable(LENET), PruneConfig(), level)
    found = counts_at(LENET, sum(expected.values()) / sum(sizes.values()), PruneConfig())
    for name, count in expected.items():
        assert abs(found[name] - count) <= level  # pruning rounds at every level


@pytest.mark.parametrize("density", [0.0, -0.1, 1.1])
def test_a_density_that_is_none_is_refused(density):
    with pytest.raises(ConfigError, match="density"):
        counts_at(LENET, density, RATES)


def test_a_density_that_pruning_never_reaches_is_refused():
    with pytest.raises(ConfigError, match="pruning rates"):
        counts_at(LENET, 0.5, PruneConfig(linear_rate=0.0))


def test_whole_filters_and_input_channels_without_a_weight_are_counted():
    one, two = torch.ones(3, 2, 1, 1, dtype=torch.bool), torch.ones(4, 3, 1, 1, dtype=torch.bool)
    one[1] = False
    two[:, 0] = False
    two[2:] = False
    masks = Masks({"a": one, "b": two, "linear": torch.zeros(5, 7, dtype=torch.bool)})
    assert emptied(masks) == {
        "filters": 7,
        "emptied_filters": 3,
        "inputs": 5,
        "emptied_inputs": 1,
    }
