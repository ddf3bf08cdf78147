"""The shrinkage operator by hand, by its laws, and as the proximal step that it is."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import minimize

from lottery.pruning.shrinkage import factors, group_norms, relative_threshold, scale

VALUES = st.floats(-10, 10, width=32)
WEIGHTS = arrays(np.float32, st.tuples(st.integers(1, 5), st.integers(1, 6)), elements=VALUES)


def shrunk(weight, threshold, dim=0, groups=None):
    """The weights after one application, and the norm left of each group."""
    norms = group_norms(weight, dim, groups)
    by, small = factors(norms, threshold), weight.clone()
    scale(small, by, dim, groups)
    return small, norms * by


def test_a_layer_by_hand():
    weight = torch.tensor([[3.0, 4.0], [0.6, 0.8], [0.0, 0.0], [0.0, -2.0]])
    assert group_norms(weight).tolist() == pytest.approx([5.0, 1.0, 0.0, 2.0])
    small, left = shrunk(weight, 1.0)
    expected = torch.tensor([[2.4, 3.2], [0.0, 0.0], [0.0, 0.0], [0.0, -1.0]])
    torch.testing.assert_close(small, expected)
    assert left.tolist() == pytest.approx([4.0, 0.0, 0.0, 1.0], abs=1e-6)


def test_inputs_behind_a_flatten_are_shrunk_in_blocks_of_a_channels_columns():
    """Two channels of two positions each: norms 5 and 13, where single columns have 3, 4, 5, 12."""
    weight = torch.tensor([[3.0, 0.0, 5.0, 0.0], [0.0, 4.0, 0.0, 12.0]])
    groups = torch.tensor([0, 0, 1, 1])
    assert group_norms(weight, 1, groups).tolist() == pytest.approx([5.0, 13.0])
    small, left = shrunk(weight, 6.5, dim=1, groups=groups)
    torch.testing.assert_close(small, torch.tensor([[0, 0, 2.5, 0], [0, 0, 0, 6.0]]))
    assert left.tolist() == pytest.approx([0.0, 6.5])


def test_filters_have_the_frobenius_norm_and_inputs_that_of_all_filters_slices():
    weight = torch.randn(3, 2, 5, 5, generator=torch.Generator().manual_seed(0))
    by_output = [np.linalg.norm(weight[j].numpy().ravel()) for j in range(3)]
    by_input = [np.linalg.norm(weight[:, i].numpy().ravel()) for i in range(2)]
    np.testing.assert_allclose(group_norms(weight), by_output, rtol=1e-6)
    np.testing.assert_allclose(group_norms(weight, 1), by_input, rtol=1e-6)


@given(WEIGHTS, st.floats(0, 20))
def test_norms_fall_by_the_threshold_and_directions_stay(values, threshold):
    weight = torch.from_numpy(values)
    before = group_norms(weight)
    small, left = shrunk(weight, threshold)
    expected = (before - threshold).clamp(min=0)
    torch.testing.assert_close(left, expected, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(group_norms(small), expected, atol=1e-5, rtol=1e-5)
    assert not bool(small[left == 0].any())
    # Same direction: scaled back to its old norm each row is what it was.
    rows = left > 1e-3
    back = small[rows].double() * (before / left)[rows].unsqueeze(1)
    torch.testing.assert_close(back, weight[rows].double(), atol=1e-2, rtol=1e-2)


@given(WEIGHTS, st.floats(0, 0.999999))
def test_a_relative_threshold_never_takes_the_largest(values, ratio):
    norms = group_norms(torch.from_numpy(values))
    left = factors(norms, relative_threshold(norms, ratio))
    assert bool((left > 0).any()) == bool((norms > 0).any())
    assert bool((left <= 1).all())


@given(WEIGHTS, st.floats(0, 0.99), st.sampled_from([0.125, 2.0, 64.0]))
def test_a_relative_threshold_does_not_depend_on_scale(values, ratio, times):
    norms = group_norms(torch.from_numpy(values))
    one, other = (factors(n, relative_threshold(n, ratio)) for n in (norms, norms * times))
    torch.testing.assert_close(one, other)


@pytest.mark.parametrize("threshold", [0.5, 2.0, 4.0])
def test_it_is_the_proximal_step_of_the_group_lasso(threshold):
    """The minimum of ½‖x − w‖² + τ‖x‖, found by a general method."""
    w = np.array([1.0, -2.0, 2.0])
    found = minimize(
        lambda x: ((x - w) ** 2).sum() / 2 + threshold * np.sqrt((x**2).sum()),
        x0=w / 3,
        method="Nelder-Mead",
        options={"xatol": 1e-8, "fatol": 1e-12, "maxiter": 4000},
    )
    small, _ = shrunk(torch.tensor(w).unsqueeze(0), threshold)
    np.testing.assert_allclose(small[0], found.x, atol=1e-4)
