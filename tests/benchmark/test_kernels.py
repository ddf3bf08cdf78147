"""Single layers: both ways compute the same, and the crossing is where they cost the same."""

import pytest
import torch

from lottery.benchmark import kernels
from lottery.benchmark.kernels import crossing, measure_kernels
from lottery.benchmark.layers import Shape, csr_step, csr_works, dense_step, linear_shapes

needs_csr = pytest.mark.skipif(not csr_works(), reason="this PyTorch has no CSR kernels")


@needs_csr
@pytest.mark.parametrize("density", [0.5, 0.1])
def test_dense_and_csr_steps_compute_the_same_and_go_on_alike(density):
    shape = Shape(40, 30, first=False)
    dense, sparse = dense_step(shape, density, 8), csr_step(shape, density, 8)
    for _ in range(3):
        output, back, gradient = dense()
        output_of_csr, back_of_csr, gradient_of_csr = sparse()
        torch.testing.assert_close(output_of_csr, output.t())
        torch.testing.assert_close(back_of_csr, back.t())
        torch.testing.assert_close(gradient_of_csr.to_dense(), gradient)


@needs_csr
def test_the_first_layer_has_no_input_gradient():
    shape = Shape(6, 5, first=True)
    assert dense_step(shape, 0.5, 2)()[1] is None
    assert csr_step(shape, 0.5, 2)()[1] is None


def test_every_shape_of_the_networks_is_measured_once():
    shapes = linear_shapes(["lenet_300_100", "conv2(width=0.25)", "conv4(width=0.25)"])
    assert list(map(str, shapes)) == [
        *("784×300 (first)", "300×100", "100×10"),
        *("4096×64", "64×64", "64×10", "2048×64"),
    ]


@pytest.mark.parametrize(
    ("ratios", "expected"),
    [
        ({0.4: 2.0, 0.2: 1.0, 0.1: 0.5}, 0.2),
        ({0.4: 4.0, 0.1: 0.25}, 0.2),
        ({0.4: 0.9, 0.1: 0.3}, 0.4),
        ({0.4: 3.0, 0.1: 1.1}, None),
        ({0.4: 0.9, 0.2: 1.25, 0.1: 0.8}, 0.141),
    ],
)
def test_the_crossing_is_the_density_below_which_csr_always_wins(ratios, expected):
    assert crossing(ratios) == pytest.approx(expected, abs=1e-3)


@needs_csr
def test_a_row_has_both_sides_and_their_ratio():
    (row,) = measure_kernels([Shape(20, 10, first=False)], [0.5, 0.1], 4, 2, seconds=1e-4)
    assert row["layer"] == "20×10"
    assert row["dense_seconds"]["n"] == 2
    assert [cell["density"] for cell in row["csr"]] == [0.5, 0.1]
    for cell in row["csr"]:
        ratio = cell["seconds"]["median"] / row["dense_seconds"]["median"]
        assert cell["to_dense"] == pytest.approx(ratio)


def test_a_pytorch_without_the_kernels_is_no_error(monkeypatch):
    monkeypatch.setattr(kernels, "csr_works", lambda: False)
    assert measure_kernels([Shape(20, 10, first=False)], [0.5], 4, 1) == []
