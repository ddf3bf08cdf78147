"""Where schemes lie on the axis of widths."""

import pytest

from lottery.analysis.widths import FIRST, MIXED, REST, is_axis, widths
from tests.analysis.planted import levels

ORTHOGONAL = (
    "by_layer(first=orthogonal(gain=1.202703), rest=orthogonal(gain=1.2247449), "
    "output=orthogonal(gain=1.3483997))"
)
# LeNet's fans are 784, 300, 100 and 10; σ² is 2 / (in + out) for Xavier and 2 / in for Kaiming.
KAIMING = ((1084 / 784) * (400 / 300) * (110 / 100)) ** (1 / 6)


def place(init, model="lenet_300_100"):
    return widths(levels(inits=[init], seeds=[0], last=0, model=model)).get(init)


@pytest.mark.parametrize(
    ("init", "group", "ratio"),
    [
        ("xavier_normal", "normal", 1),
        ("xavier_uniform(gain=0.25)", "uniform", 0.25),
        ("kaiming_normal", "Kaiming normal", KAIMING),
        ("sign_constant(gain=2, mode=fan_avg)", "sign constant", 2),
        ("truncated_normal", "truncated normal", 1),
        (ORTHOGONAL, "orthogonal", 1),
        ("by_layer(first=xavier_normal(gain=0.5), rest=xavier_normal)", FIRST, 0.5),
        ("by_layer(first=xavier_normal, rest=xavier_normal(gain=2))", REST, 2),
        ("by_layer(first=xavier_normal, rest=xavier_uniform(gain=8))", MIXED, 4),
    ],
)
def test_a_scheme_lies_where_its_formula_puts_it(init, group, ratio):
    found = place(init)
    assert found.group == group
    assert found.ratio == pytest.approx(ratio, rel=1e-5)


@pytest.mark.parametrize("init", ["lsuv", "mine:half", "by_layer(first=lsuv, rest=xavier_normal)"])
def test_what_no_formula_knows_has_no_place(init):
    assert place(init) is None


def test_a_network_that_is_not_here_has_no_widths():
    assert place("xavier_normal", model="absent:network") is None


def test_three_widths_of_a_group_are_an_axis():
    gains = [f"xavier_normal(gain={gain})" for gain in (0.5, 2.0)]
    others = ["kaiming_normal", "xavier_uniform", "sign_constant(gain=4, mode=fan_avg)"]
    assert not is_axis(widths(levels(inits=gains + others, seeds=[0], last=0)))
    assert is_axis(widths(levels(inits=[*gains, "xavier_normal"], seeds=[0], last=0)))
