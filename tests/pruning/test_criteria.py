"""Criteria on values score what their papers say, ties and zeros included."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lottery.errors import ConfigError
from lottery.pruning.criteria import CRITERIA, Context, Layer, deconstructed, values
from lottery.pruning.masks import Masks
from lottery.pruning.weights import prune


def score(spec: str, final: Tensor, initial: Tensor) -> Tensor:
    context = Context(torch.Generator().manual_seed(0))
    return CRITERIA.resolve(spec)(Layer("layer", final, initial), context)


FINAL, INITIAL = torch.tensor([3.0, -0.5, 1.0, -2.0]), torch.tensor([1.0, -2.0, -1.5, -2.5])
LOWEST = -math.inf


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("magnitude", [3, 0.5, 1, 2]),
        ("magnitude_at_init", [1, 2, 1.5, 2.5]),
        ("small_final", [-3, -0.5, -1, -2]),
        ("small_init", [-1, -2, -1.5, -2.5]),
        ("large_init_large_final", [1, 0.5, 1, 2]),
        ("large_init_large_final(alpha=10)", [1, 2, 1.5, 2.5]),
        ("small_init_small_final", [-3, -2, -1.5, -2.5]),
        ("small_init_small_final(alpha=0.1)", [-1, -2, -1.5, -2.5]),
        ("magnitude_increase", [2, -1.5, -0.5, -0.5]),
        ("movement", [2, 1.5, 2.5, 0.5]),
        ("same_sign", [3, 0.5, LOWEST, 2]),
        ("diff_sign", [LOWEST, LOWEST, 1, LOWEST]),
        ("same_sign(of=magnitude_increase)", [2, -1.5, LOWEST, -0.5]),
        ("diff_sign(of=movement)", [LOWEST, LOWEST, 2.5, LOWEST]),
        ("same_sign(of='large_init_large_final(alpha=10)')", [1, 2, LOWEST, 2.5]),
        ("lamp", [9 / 9, 0.25 / 14.25, 1 / 14, 4 / 13]),
    ],
)
def test_scores_are_those_of_a_worked_example(spec, expected):
    torch.testing.assert_close(
        score(spec, FINAL, INITIAL), torch.tensor(expected), check_dtype=False
    )


def test_weights_that_training_left_at_zero_have_no_sign():
    final, initial = torch.tensor([0.0, 1.0, 1.0]), torch.tensor([1.0, 0.0, 1.0])
    assert score("same_sign", final, initial).tolist() == [LOWEST, LOWEST, 1]
    assert score("diff_sign", final, initial).tolist() == [LOWEST] * 3


def test_more_weights_than_have_the_sign_can_still_be_kept():
    masks = Masks({"a": torch.ones(4, dtype=torch.bool)})
    kept = prune(masks, {"a": FINAL}, {"a": INITIAL}, {"a": 2}, criterion="diff_sign")["a"]
    assert kept[2]
    assert int(kept.sum()) == 2


def test_a_sign_of_an_unknown_criterion_is_refused():
    with pytest.raises(ConfigError, match="criterion is 'magnitud'"):
        score("same_sign(of=magnitud)", FINAL, INITIAL)


def test_magnitude_over_std_compares_layers_of_other_scales():
    """Twice the scale of all weights changes nothing; the spread of trained weights is no part."""
    stream = torch.Generator().manual_seed(0)
    initial = {"a": torch.randn(50, generator=stream), "b": torch.randn(80, generator=stream)}
    final = {n: w + 0.1 * torch.randn(w.shape, generator=stream) for n, w in initial.items()}
    masks = Masks({name: torch.ones_like(w, dtype=torch.bool) for name, w in initial.items()})

    def kept(scale: float, criterion: str) -> Masks:
        scaled = [{"a": scale * x["a"], "b": x["b"]} for x in (final, initial)]
        return prune(masks, *scaled, {"a": 20, "b": 30}, criterion=criterion, scope="global")

    one, other = (kept(scale, "magnitude_over_std") for scale in (1, 64))
    assert all(torch.equal(mask, other[name]) for name, mask in one.items())
    assert kept(64, "magnitude").remaining["a"] > one.remaining["a"] + 10
    std = math.sqrt(sum((x - 2.5) ** 2 for x in (1, 2, 3, 4)) / 4)
    scores = score("magnitude_over_std", torch.ones(4), torch.tensor([1.0, 2, 3, 4]))
    torch.testing.assert_close(scores, torch.full((4,), 1 / std))


def test_magnitude_over_std_refuses_a_layer_that_starts_equal():
    with pytest.raises(ConfigError, match="initial weights of layer do not vary"):
        score("magnitude_over_std", torch.ones(4), torch.zeros(4))


ELEMENTWISE = [module.__name__ for module in (deconstructed, values)]

few = st.lists(st.sampled_from([0.0, 0.5, -0.5, 1.0, -2.0, 3.0]), min_size=1, max_size=25)


@given(few)
def test_lamp_is_its_formula_also_among_ties(values):
    for value, found in zip(
        values, score("lamp", torch.tensor(values), torch.ones(1)), strict=True
    ):
        below = sum(v * v for v in values if abs(v) >= abs(value))
        assert float(found) == pytest.approx(value * value / below if value else 0.0, rel=1e-12)


def test_lamp_keeps_the_order_of_magnitudes_and_the_largest_of_every_layer():
    stream = torch.Generator().manual_seed(0)
    weights = {
        "a": torch.randn(40, generator=stream),
        "b": 1e-4 * torch.randn(60, generator=stream),
    }
    scores = {name: score("lamp", weight, weight) for name, weight in weights.items()}
    for name, weight in weights.items():
        assert torch.equal(scores[name].argsort(), weight.abs().argsort())
        assert float(scores[name].max()) == 1
    masks = Masks({name: torch.ones_like(w, dtype=torch.bool) for name, w in weights.items()})
    kept = prune(masks, weights, weights, {"a": 1, "b": 1}, criterion="lamp", scope="global")
    assert kept.remaining == {"a": 1, "b": 1}


def test_lamp_tells_weights_apart_in_a_layer_as_large_as_those_of_networks():
    """In float32 the sum over 10^6 weights drowns what single ones add."""
    weights = torch.rand(1_000_000, generator=torch.Generator().manual_seed(0)) + 0.5
    scores = score("lamp", weights, weights)
    ascending = scores[weights.argsort()]
    values = weights.sort().values
    assert bool((ascending.diff()[values.diff() > 0] > 0).all())


@pytest.mark.parametrize(
    "spec",
    [
        spec
        for spec in CRITERIA
        if CRITERIA.resolve(spec).__module__ in ELEMENTWISE
        and spec not in ("random", "magnitude_over_std")
    ],
)
@given(
    st.permutations(range(8)),
    st.lists(st.floats(-2, 2, width=16), min_size=8, max_size=8),
    st.lists(st.floats(-2, 2, width=16), min_size=8, max_size=8),
)
def test_scores_move_with_their_weights(spec, order, final, initial):
    one, other = torch.tensor(final), torch.tensor(initial)
    scores = score(spec, one, other)
    assert torch.equal(score(spec, one[order], other[order]), scores[order])
    square = score(spec, one.view(2, 4), other.view(2, 4))
    assert torch.equal(square, scores.view(2, 4)), "the shape of a layer matters"
