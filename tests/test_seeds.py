"""A stream is found by its address alone: not by what was drawn before, nor by the process."""

import os
import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lottery.seeds import derive, generator

addresses = st.lists(st.integers() | st.text(max_size=5), max_size=4).map(tuple)


def draw(*address: int | str) -> torch.Tensor:
    return torch.rand(1000, generator=generator(*address))


@pytest.mark.parametrize(
    ("address", "seed"),
    [
        ((0,), 3_456_079_177_858_693_020),
        ((0, "init", "fc1.weight"), 5_260_301_541_220_979_977),
        ((7, "data", 3, 12), 1_642_774_708_530_158_566),
    ],
)
def test_streams_of_published_results_stay_where_they_are(address, seed):
    assert derive(*address) == seed


def test_a_stream_is_the_same_in_another_process():
    program = "from lottery.seeds import derive; print(derive(3, 'init', 'conv1'))"
    environment = os.environ | {"PYTHONHASHSEED": "77", "PYTHONPATH": os.pathsep.join(sys.path)}
    printed = subprocess.check_output([sys.executable, "-c", program], env=environment)
    assert int(printed) == derive(3, "init", "conv1")


@given(st.integers(), addresses, st.integers(), addresses)
def test_different_addresses_never_meet(seed, address, other_seed, other):
    one, two = derive(seed, *address), derive(other_seed, *other)
    assert 0 <= one < 2**63
    assert (one == two) == ((seed, *address) == (other_seed, *other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((0, "ab"), (0, "a", "b")),
        ((1, 23), (12, 3)),
        ((0, "1"), (0, 1)),
        ((0, 1, "x"), (0, "x", 1)),
        ((0, "a"), (1, "a")),
        ((0, "a\x1f'b'"), (0, "a", "b")),
    ],
)
def test_neighbouring_addresses_are_independent(one, other):
    a, b = draw(*one), draw(*other)
    assert abs(torch.corrcoef(torch.stack([a, b]))[0, 1]) < 0.12
    assert not torch.equal(a, b)


def test_drawing_from_a_stream_uses_up_nothing():
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first = draw(0, "init", "fc1")
    draw(0, "init", "fc2")
    assert torch.equal(draw(0, "init", "fc1"), first)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(6)
    assert torch.equal(draw(0, "init", "fc1"), first)
