"""The σ that a scheme is said to give is the σ that it gives."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some
from torch import nn

from lottery import build
from lottery.init import SCHEMES, initialise, is_network_scheme, stds
from lottery.init.stds import FORMULAS

SPECS = [
    *("xavier_normal", "xavier_uniform(gain=0.25)", "kaiming_normal(gain=1, mode=fan_out)"),
    *("kaiming_uniform", "sign_constant", "sign_constant(gain=1, mode=fan_avg)"),
    *("truncated_normal", "truncated_normal(2, mode=fan_in)", "orthogonal", "orthogonal(gain=1)"),
    *("delta_orthogonal", "delta_orthogonal(0.5)", "normal(0.1)", "uniform(0.2)", "torch_default"),
]


def network() -> nn.Module:
    """Layers of many weights, so that their σ is well known; fans that differ between layers."""
    convolutions = nn.Conv2d(6, 90, 3), nn.Conv2d(90, 60, (3, 5), groups=3)
    return nn.Sequential(*convolutions, nn.ConvTranspose2d(60, 80, 3), nn.Linear(300, 110))


def drawn(model: nn.Module, spec: str) -> dict[str, float]:
    initialise(model, spec, seed=1)
    return {
        n: float(p.detach().square().mean().sqrt())
        for n, p in model.named_parameters()
        if p.dim() > 1
    }


@pytest.mark.parametrize("spec", SPECS)
def test_the_formula_is_what_is_drawn(spec):
    model = network()
    expected = stds(model, spec)
    found = drawn(model, spec)
    assert list(found) == list(expected)
    for name, std in found.items():
        n = model.get_parameter(name).numel()
        assert std == pytest.approx(expected[name], rel=4 / math.sqrt(2 * n)), name


def test_every_scheme_of_a_layer_has_a_formula_that_is_tested():
    of_layers = {name for name in SCHEMES if not is_network_scheme(SCHEMES._functions[name])}
    assert set(FORMULAS) == of_layers == {spec.partition("(")[0] for spec in SPECS}


def test_schemes_of_other_shapes_meet_at_one_deviation():
    model = build("conv2")
    for family in (
        [
            *("xavier_normal", "xavier_uniform", "truncated_normal"),
            "sign_constant(gain=1, mode=fan_avg)",
        ],
        [
            *("kaiming_normal", "kaiming_uniform", "sign_constant"),
            f"truncated_normal(gain={math.sqrt(2)!r}, mode=fan_in)",
        ],
        ["normal(0.3)", f"uniform({0.3 * math.sqrt(3)!r})"],
    ):
        first = stds(model, family[0])
        for other in family[1:]:
            assert stds(model, other) == pytest.approx(first, rel=1e-12), other


def test_lenets_deviations_are_the_published_ones():
    model = build("lenet_300_100")
    rounded = {
        spec: [round(std, 4) for std in stds(model, spec).values()]
        for spec in ("xavier_normal", "kaiming_normal", "torch_default")
    }
    assert rounded == {
        "xavier_normal": [0.0430, 0.0707, 0.1348],
        "kaiming_normal": [0.0505, 0.0816, 0.1414],
        "torch_default": [0.0206, 0.0333, 0.0577],
    }


@given(
    family=some.sampled_from(["xavier_normal", "xavier_uniform", "kaiming_normal"]),
    gain=some.floats(0.25, 4),
)
def test_the_deviation_is_proportional_to_the_gain(family, gain):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Linear(9, 5))
    one, scaled = stds(model, f"{family}(gain=1)"), stds(model, f"{family}(gain={gain!r})")
    assert scaled == pytest.approx({name: gain * std for name, std in one.items()})


def test_each_layer_of_by_layer_has_its_own_formula():
    model = build("lenet_300_100")
    spec = "by_layer(first=normal(0.5), rest=xavier_normal(gain=2), output=sign_constant)"
    found = stds(model, spec)
    assert found["fc1.weight"] == 0.5
    assert found["fc2.weight"] == pytest.approx(2 * math.sqrt(2 / 400))
    assert found["fc3.weight"] == pytest.approx(math.sqrt(2 / 100))


def test_a_scheme_without_formula_is_measured(plain):
    def halves(shape, fans, generator):
        return torch.full(shape, 0.5)

    assert stds(plain(), halves) == dict.fromkeys(["0.weight", "2.weight", "4.weight"], 0.5)
