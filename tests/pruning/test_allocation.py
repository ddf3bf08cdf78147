"""Layers share a total exactly, by published ratios, and never grow as it falls."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lottery.errors import ConfigError
from lottery.models import MODELS
from lottery.pruning.allocation import ALLOCATIONS, allocate
from lottery.pruning.masks import Masks, prunable
from lottery.pruning.schedule import PruneConfig, keep_counts

NAMES = ["uniform", "erk", "smart", "smart_vgg"]


def shapes_of(name: str) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        return Masks.ones(MODELS.resolve(name)()).shapes


def sizes_of(shapes) -> dict[str, int]:
    return {name: math.prod(shape) for name, shape in shapes.items()}


def erk_densities(shapes, density: float) -> dict[str, float]:
    """One more layer made dense at a time, as the authors describe it, in floating point."""
    dense: set[str] = set()
    raw = {name: sum(shape) / math.prod(shape) for name, shape in shapes.items()}
    while True:
        sizes = sizes_of(shapes)
        left = density * sum(sizes.values()) - sum(sizes[n] for n in dense)
        epsilon = left / sum(raw[n] * sizes[n] for n in shapes if n not in dense)
        top = max((n for n in shapes if n not in dense), key=lambda n: raw[n])
        if epsilon * raw[top] <= 1:
            return {n: 1.0 if n in dense else epsilon * raw[n] for n in shapes}
        dense.add(top)


@pytest.mark.parametrize("model", ["lenet_300_100", "conv6"])
@pytest.mark.parametrize("density", [0.8, 0.3, 0.05, 0.01])
def test_erk_is_the_authors_procedure_and_meets_its_total(model, density):
    shapes = shapes_of(model)
    sizes = sizes_of(shapes)
    total = round(density * sum(sizes.values()))
    counts = allocate("erk", shapes, total)
    assert sum(counts.values()) == total
    expected = erk_densities(shapes, total / sum(sizes.values()))
    for name, size in sizes.items():
        assert abs(counts[name] - expected[name] * size) < 1 + 1e-6


def test_erk_keeps_layers_whole_that_would_overflow_and_gives_the_rest_to_others():
    shapes = {"a": (10, 10), "b": (2, 4), "c": (1, 2)}
    # 30 in parts of 20, 6 and 3: c would have 3.1 of 2; then 28 in parts of 20 and 6.
    assert allocate("erk", shapes, 30) == {"a": 22, "b": 6, "c": 2}
    # 60: c is whole, then b, which would have 13.4 of 8; all else is left to a.
    assert allocate("erk", shapes, 60) == {"a": 50, "b": 8, "c": 2}


def test_erk_counts_the_sides_of_kernels():
    """Densities of two layers without overflow are as (4 + 8 + 3 + 3) / 288 to (8 + 10) / 80."""
    counts = allocate("erk", {"conv": (8, 4, 3, 3), "fc": (10, 8)}, 36)
    assert counts == {"conv": 18, "fc": 18}


def test_uniform_gives_every_layer_one_density():
    shapes = shapes_of("conv6")
    sizes = sizes_of(shapes)
    counts = allocate("uniform", shapes, round(0.1 * sum(sizes.values())))
    assert all(abs(counts[name] - 0.1 * size) < 1 for name, size in sizes.items())


def test_smart_ratios_are_those_of_a_worked_example():
    """Four layers of 1,000 weights; 20 + 12 + 6 parts of what the output's 30 % leave."""
    shapes = dict.fromkeys("abcd", (10, 100))
    assert allocate("smart", shapes, 680) == {"a": 200, "b": 120, "c": 60, "d": 300}
    vgg = allocate("smart_vgg", shapes, 300 + 71)  # 20, 12 / 4 and 6 / 9 parts
    assert vgg == {"a": 60, "b": 9, "c": 2, "d": 300}


def test_what_exceeds_a_layer_goes_to_the_next():
    shapes = dict.fromkeys("abcd", (10, 100))
    # 2,200 in parts of 20, 12, 6: 1,157.9 + 694.7 + 347.4
    counts = allocate("smart", shapes, 2500)
    assert counts == {"a": 1000, "b": 853, "c": 347, "d": 300}
    # 3,000: 1,578.9 + 947.4 + 473.7: a's excess fills b, b's goes on to c
    assert allocate("smart", shapes, 3300) == {"a": 1000, "b": 1000, "c": 1000, "d": 300}
    assert allocate("smart", shapes, 3700) == {"a": 1000, "b": 1000, "c": 1000, "d": 700}


def test_smart_ratios_below_the_outputs_share_leave_other_layers_empty():
    """Nothing is moved in secret to keep a layer alive."""
    shapes = dict.fromkeys("abcd", (10, 100))
    assert allocate("smart", shapes, 250) == {"a": 0, "b": 0, "c": 0, "d": 250}


def test_a_single_layer_gets_everything():
    for name in NAMES:
        assert allocate(name, {"only": (5, 4)}, 13) == {"only": 13}


layer_shapes = st.lists(st.lists(st.integers(1, 6), min_size=2, max_size=4), min_size=1, max_size=6)


@given(st.sampled_from(NAMES), layer_shapes, st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_totals_are_exact_and_no_layer_ever_grows(allocation, shapes, fractions):
    named = {str(index): shape for index, shape in enumerate(shapes)}
    sizes = sizes_of(named)
    most, total = sizes, sum(sizes.values())
    for fraction in fractions:
        total = round(fraction * total)
        counts = allocate(allocation, named, total, most)
        assert sum(counts.values()) == total
        assert all(0 <= counts[name] <= most[name] for name in named)
        most = counts
    for share, size in zip(
        ALLOCATIONS[allocation](named, total).values(), sizes.values(), strict=True
    ):
        assert 0 <= share <= size


def test_a_layer_does_not_gain_the_weight_that_rounding_would_give_it():
    """The Alabama paradox: by largest remainders alone the smallest of these gains as all lose."""
    shapes = {"a": (2, 3), "b": (2, 3), "c": (2, 1)}
    eleven = allocate("uniform", shapes, 11)
    assert eleven == {"a": 5, "b": 5, "c": 1}
    assert allocate("uniform", shapes, 10) == {"a": 4, "b": 4, "c": 2}
    assert allocate("uniform", shapes, 10, eleven) == {"a": 5, "b": 4, "c": 1}


@given(st.sampled_from(NAMES), layer_shapes, st.floats(0, 1))
def test_counts_are_the_shares_up_to_one_weight(allocation, shapes, fraction):
    named = {str(index): shape for index, shape in enumerate(shapes)}
    total = round(fraction * sum(sizes_of(named).values()))
    shares = ALLOCATIONS[allocation](named, total)
    assert sum(shares.values()) == total
    for name, count in allocate(allocation, named, total).items():
        assert abs(count - shares[name]) < 1


def test_a_total_that_is_not_there_is_refused():
    with pytest.raises(ConfigError, match="weights to keep is 21; allowed: 0 to the 20"):
        allocate("erk", {"a": (5, 4)}, 21)


@pytest.mark.parametrize("model", ["lenet_300_100", "conv6"])
@pytest.mark.parametrize("allocation", NAMES)
def test_every_level_has_the_total_of_the_rates(model, allocation):
    shapes, rates = shapes_of(model), PruneConfig(conv_rate=0.15)
    config = PruneConfig(conv_rate=0.15, allocation=allocation)
    with torch.device("meta"):
        kinds = prunable(MODELS.resolve(model)())
    sizes = sizes_of(shapes)
    before = sizes
    for level in range(26):
        counts = keep_counts(sizes, kinds, config, level, shapes)
        assert sum(counts.values()) == sum(keep_counts(sizes, kinds, rates, level).values())
        assert all(counts[name] <= before[name] for name in sizes), f"level {level} grew"
        before = counts
    with pytest.raises(ConfigError, match=r"prune\.allocation is .*rates without shapes"):
        keep_counts(sizes, kinds, config, 1)
