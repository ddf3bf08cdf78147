"""What training did to kept weights, by hand and against scipy."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from lottery.diagnostics import weights
from lottery.diagnostics.quantities import ratios
from lottery.pruning.masks import Masks

MASKS = Masks(
    {
        "a.weight": torch.tensor([[True, True, False], [True, False, True]]),
        "b.weight": torch.tensor([[True, True]]),
    }
)
INITIAL = {
    "a.weight": torch.tensor([[1.0, -2.0, 9.0], [2.0, -9.0, -4.0]]),
    "a.bias": torch.tensor([5.0, 5.0]),
    "b.weight": torch.tensor([[3.0, 4.0]]),
}
TRAINED = {
    "a.weight": torch.tensor([[1.0, 2.0, 0.0], [5.0, 0.0, -4.0]]),
    "a.bias": torch.tensor([-7.0, 5.0]),
    "b.weight": torch.tensor([[-0.0, -4.0]]),
}


def test_ratios_of_the_whole_are_of_sums_and_not_means_of_layers():
    found = ratios({"a": (1, 4), "b": (1, 1), "c": (0, 0)})
    assert (found["a"], found["b"], found["all"]) == (0.25, 1.0, 0.4)
    assert math.isnan(found["c"])


def test_sign_flips_count_kept_weights_whose_sign_is_the_opposite():
    # -2 -> 2 of four in a; 4 -> -4 of two in b, where 3 -> 0 has lost its sign and not changed it.
    # Pruned weights and biases do not count.
    assert weights.sign_flips(MASKS, INITIAL, TRAINED) == {
        "a.weight": 1 / 4,
        "b.weight": 1 / 2,
        "all": 2 / 6,
    }


def test_relative_travel_is_of_kept_weights():
    # a: moved by (0, 4, 3, 0) from (1, -2, 2, -4); b: by (-3, -8) from (3, 4).
    found = weights.relative_travel(MASKS, INITIAL, TRAINED)
    assert found == pytest.approx(
        {
            "a.weight": 5 / 5,
            "b.weight": math.sqrt(73) / 5,
            "all": math.sqrt((25 + 73) / (25 + 25)),
        }
    )


def test_relative_travel_from_nothing_is_unknown():
    masks = Masks({"a": torch.ones(2, dtype=torch.bool)})
    found = weights.relative_travel(masks, {"a": torch.zeros(2)}, {"a": torch.ones(2)})
    assert math.isnan(found["a"])


def test_init_memory_ranks_magnitudes_of_kept_weights():
    # a: |1, -2, 2, -4| has ranks 1, 2.5, 2.5, 4 and |1, 2, 5, -4| has 1, 2, 4, 3.
    one = np.array([1, 2.5, 2.5, 4]) - 2.5
    other = np.array([1, 2, 4, 3]) - 2.5
    rho = (one @ other) / math.sqrt((one @ one) * (other @ other))
    found = weights.init_memory(MASKS, INITIAL, TRAINED)
    assert found["a.weight"] == pytest.approx(rho)
    assert found["b.weight"] == pytest.approx(1.0)
    assert found["all"] == pytest.approx((4 * rho + 2 * 1.0) / 6)


def test_init_memory_of_constant_magnitudes_is_unknown_and_left_out_of_the_mean():
    initial = INITIAL | {"b.weight": torch.tensor([[0.5, -0.5]])}
    found = weights.init_memory(MASKS, initial, TRAINED)
    assert math.isnan(found["b.weight"])
    assert found["all"] == pytest.approx(found["a.weight"])
    both = weights.init_memory(MASKS, {n: v.sign() for n, v in INITIAL.items()}, TRAINED)
    assert math.isnan(both["all"])


def test_init_memory_of_layers_with_one_weight_or_none_is_unknown():
    masks = Masks({"a": torch.tensor([True, False]), "b": torch.tensor([False])})
    state = {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([1.0])}
    assert all(math.isnan(v) for v in weights.init_memory(masks, state, state).values())


@given(
    arrays(np.float32, (2, 30), elements=st.sampled_from([0.0, 0.5, 1.0, 1.5, 2.0, 7.0])),
)
def test_spearman_is_scipys_with_ties(values):
    one, other = values
    ours = weights.spearman(one, other)
    if len(set(one)) == 1 or len(set(other)) == 1:
        assert math.isnan(ours)
    else:
        assert ours == pytest.approx(stats.spearmanr(one, other).statistic, abs=1e-12)


def test_jaccard_is_shared_over_either():
    one = Masks({"a": torch.tensor([True, True, False, False]), "b": torch.tensor([True, False])})
    other = Masks({"a": torch.tensor([True, False, True, False]), "b": torch.tensor([True, False])})
    assert weights.jaccard(one, other) == {"a": 1 / 3, "b": 1.0, "all": 2 / 4}
    assert set(weights.jaccard(one, one).values()) == {1.0}


def test_overlap_with_the_largest_initial_weights():
    # a keeps four; the largest four of |1 2 9 2 9 4| are 9, 9, 4 and one of the two 2s, which are
    # both kept: 4 and on average one 2 of two are in both, so 2 of 6 in either.
    # b keeps all.
    found = weights.overlap_magnitude_at_init(MASKS, INITIAL)
    assert found == pytest.approx({"a.weight": 2 / 6, "b.weight": 1.0, "all": 4 / 8})


def test_overlap_with_magnitude_at_init_is_chance_where_all_magnitudes_are_equal():
    torch.manual_seed(0)
    masks = Masks({"a": torch.rand(40, 30) < 0.3, "b": torch.rand(20, 5) < 0.7})
    state = {name: torch.randn(mask.shape).sign() for name, mask in masks.items()}
    assert weights.overlap_magnitude_at_init(masks, state) == pytest.approx(
        weights.overlap_chance(masks)
    )


def test_overlap_of_a_mask_of_the_largest_initial_weights_is_whole():
    initial = {"a": torch.randn(50, generator=torch.Generator().manual_seed(0))}
    masks = Masks({"a": initial["a"].abs() >= initial["a"].abs().sort().values[37]})
    assert weights.overlap_magnitude_at_init(masks, initial) == {"a": 1.0, "all": 1.0}


def test_overlap_of_layers_without_weights_is_unknown():
    masks = Masks({"a": torch.tensor([False, False])})
    found = weights.overlap_magnitude_at_init(masks, {"a": torch.ones(2)})
    assert all(math.isnan(value) for value in found.values())


def test_chance_is_what_random_masks_overlap_by():
    stream = torch.Generator().manual_seed(0)

    def some() -> Masks:
        orders = {"a": torch.randperm(400, generator=stream) < 80}
        return Masks(orders | {"b": torch.randperm(100, generator=stream) < 70})

    expected = weights.overlap_chance(some())
    assert expected["a"] == pytest.approx(0.2 / 1.8)
    assert expected["b"] == pytest.approx(0.7 / 1.3)
    found = [weights.jaccard(some(), some()) for _ in range(300)]
    for layer, value in expected.items():
        assert np.mean([one[layer] for one in found]) == pytest.approx(value, abs=0.004)
