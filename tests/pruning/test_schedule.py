"""Counts follow the published ladders, to the weight."""

from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lottery.errors import ConfigError
from lottery.models import MODELS
from lottery.pruning.masks import Masks, prunable
from lottery.pruning.schedule import PruneConfig, keep_counts

LEVELS = [0, 1, 2, 3, 5, 7, 9, 10, 11, 12, 14, 15, 16, 18, 20, 24]
LADDERS = {
    "lenet_300_100": (
        "100 80.0 64.1 51.28 32.9 21.07 13.52 10.83 8.68 6.95 4.47 3.58 2.87 1.85 1.19 .50"
    ),
    "conv2": "100 80.1 64.2 51.4 33.0 21.2 13.7 11.0 8.81 7.08 4.57 3.68 2.97 1.93 1.26 .54",
    "conv4": "100 81.1 65.8 53.5 35.6 23.9 16.2 13.3 11.06 9.18 6.40 5.37 4.51 3.23 2.34 1.28",
    "conv6": "100 82.5 68.2 56.4 38.7 26.61 18.4 15.29 12.7 10.6 7.39 6.18 5.17 3.62 2.54 1.27",
}
"""Percent of weights remaining, as the layers and rates of Frankle & Carbin 2019 (fig. 2) give it.

The paper prints 26.4 and 15.1 for Conv-6 at levels 7 and 10, which its own layers cannot give."""

CONV_RATES = {"lenet_300_100": 0.2, "conv2": 0.1, "conv4": 0.1, "conv6": 0.15}


def layers(name: str) -> tuple[dict[str, int], dict[str, str]]:
    with torch.device("meta"):
        model = MODELS.resolve(name)()
    return Masks.ones(model).sizes, prunable(model)


@pytest.mark.parametrize("name", LADDERS)
def test_weights_remaining_follow_the_published_ladder(name):
    sizes, kinds = layers(name)
    config = PruneConfig(conv_rate=CONV_RATES[name])
    for level, printed in zip(LEVELS, LADDERS[name].split(), strict=True):
        kept = sum(keep_counts(sizes, kinds, config, level).values())
        digits = len(printed.partition(".")[2])
        percent = 100 * kept / sum(sizes.values())
        assert round(percent, digits) == float(printed), f"{name} at level {level}: {percent}"


@pytest.mark.parametrize("name", LADDERS)
def test_every_level_from_0_to_24_is_one_rounded_prune_further(name):
    sizes, kinds = layers(name)
    config = PruneConfig(conv_rate=CONV_RATES[name])
    rates = {"linear": "0.2", "output": "0.1", "conv": str(CONV_RATES[name])}
    expected = dict(sizes)
    for level in range(25):
        assert keep_counts(sizes, kinds, config, level) == expected
        for layer, count in expected.items():
            exact = Fraction(rates[kinds[layer]]) * count
            expected[layer] = count - (2 * exact.numerator + exact.denominator) // (
                2 * exact.denominator
            )


def test_the_output_layer_goes_at_half_rate_unless_told():
    def kept(**settings: float) -> int:
        return keep_counts({"w": 1000}, {"w": "output"}, PruneConfig(**settings), 1)["w"]

    assert kept() == 900
    assert kept(linear_rate=0.5) == 750
    assert kept(linear_rate=0.5, conv_rate=0.9) == 750
    assert kept(output_rate=0.3) == 700
    assert kept(output_rate=0.0) == 1000


def test_each_kind_has_its_own_rate():
    config = PruneConfig(conv_rate=0.1, linear_rate=0.4, output_rate=0.3)
    kinds = {"a": "conv", "b": "linear", "c": "output"}
    assert keep_counts(dict.fromkeys("abc", 100), kinds, config, 1) == {"a": 90, "b": 60, "c": 70}
    assert keep_counts(dict.fromkeys("abc", 100), kinds, config, 2) == {"a": 81, "b": 36, "c": 49}


@given(
    st.integers(0, 10**7),
    st.floats(0, 0.999),
    st.integers(0, 30),
    st.sampled_from(["conv", "linear", "output"]),
)
def test_a_prune_removes_the_rate_of_what_is_left_to_half_a_weight(size, rate, level, kind):
    config = PruneConfig(linear_rate=rate, conv_rate=rate, output_rate=rate)
    before = keep_counts({"w": size}, {"w": kind}, config, level)["w"]
    after = keep_counts({"w": size}, {"w": kind}, config, level + 1)["w"]
    assert 0 <= after <= before <= size
    assert abs((before - after) - rate * before) <= 0.5 + 1e-6


def test_counting_changes_nothing():
    sizes = {"w": 100}
    keep_counts(sizes, {"w": "conv"}, PruneConfig(), 5)
    assert sizes == {"w": 100}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"linear_rate": 1.0}, "prune.linear_rate is 1.0; allowed: a fraction of at least 0 below"),
        ({"conv_rate": -0.1}, "prune.conv_rate is -0.1"),
        ({"output_rate": 20}, "prune.output_rate is 20"),
        ({"linear_rate": float("nan")}, "prune.linear_rate is nan"),
        ({"scope": "layers"}, "prune.scope is 'layers'; allowed: layer, global"),
        ({"at": "start"}, "prune.at is 'start'; allowed: trained, initial"),
        ({"allocation": "even"}, "prune.allocation is 'even'; allowed: rates, uniform, erk, smart"),
        ({"allocation": "erk", "scope": "global"}, "prune.allocation is 'erk'; allowed: rates, un"),
        ({"allocation": "erk", "biases": True}, "prune.allocation is 'erk'; allowed: rates, unle"),
        ({"iterations": 0}, "prune.iterations is 0; allowed: at least 1"),
        ({"images": 0}, "prune.images is 0; allowed: at least 1"),
        ({"at": "initial", "iterative": False}, "prune.iterative is False; allowed: true where"),
    ],
)
def test_a_wrong_setting_is_named(settings, message):
    with pytest.raises(ConfigError, match=message):
        PruneConfig(**settings)
