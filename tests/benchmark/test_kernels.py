"""Single layers: both ways compute the same, and the crossing is where they cost the same."""

import pytest
import torch

from lottery.benchmark import kernels
from lottery.benchmark.kernels import crossing, measure_kernels
from lottery.benchmark.layers import Shape, layer_step, linear_shapes
from lottery.training.head import has_csr_kernels

needs_csr = pytest.mark.skipif(not has_csr_kernels(), reason="this PyTorch has no CSR kernels")


@needs_csr
@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("density", [0.5, 0.1])
def test_dense_and_csr_steps_compute_the_same_and_go_on_alike(density, first):
    shape = Shape(40, 30, first=first)
    dense, sparse = (layer_step(shape, density, 8, csr=csr) for csr in (False, True))
    for _ in range(3):
        output, gradient, back = dense()
        output_of_csr, gradient_of_csr, back_of_csr = sparse()
        torch.testing.assert_close(output_of_csr, output)
        torch.testing.assert_close(gradient_of_csr, gradient[gradient != 0])
        assert 0.7 * density < len(gradient_of_csr) / gradient.numel() < 1.3 * density
        if first:
            assert back is None
            assert back_of_csr is None
        else:
            torch.testing.assert_close(back_of_csr, back)


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
    monkeypatch.setattr(kernels, "has_csr_kernels", lambda: False)
    assert measure_kernels([Shape(20, 10, first=False)], [0.5], 4, 1) == []
