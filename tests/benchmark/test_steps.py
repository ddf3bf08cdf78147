"""What is timed as a step is a segment of that engine, at that density, from the same start."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from lottery.benchmark import convolutions, steps
from lottery.benchmark.steps import Case, cases, measure_steps, segment, usable_engines
from lottery.data.images import split
from lottery.errors import ConfigError
from lottery.training.engines import ENGINES
from lottery.training.loop import run_reference
from tests import tiny


@pytest.fixture
def config():
    return tiny.config()


@pytest.fixture
def tiny_data(tmp_path):
    return split(tiny.images(tmp_path), 50, seed=0)


@pytest.fixture
def called(monkeypatch):
    """What engines "spy" and "stacked" were given: name, segments, mode."""
    seen = []

    def spy(segments):
        seen.append(("spy", segments, None))
        return run_reference(segments)

    def stacked(segments, mode="vmap"):
        seen.append(("stacked", segments, mode))
        return run_reference(segments)

    monkeypatch.setitem(ENGINES, "spy", spy)
    monkeypatch.setitem(ENGINES, "stacked", stacked)
    return seen


def test_an_engine_goes_on_with_a_whole_segment_after_a_short_one(called, config, tiny_data):
    steps.seconds_per_step(config, tiny_data, Case("spy", 0.5), 20)
    (warm_up,), (whole,) = (segments for _, segments, _ in called)
    assert (warm_up.start, warm_up.stop) == (0, 1)
    assert (whole.start, whole.stop) == (1, 21)
    assert whole.engine == "spy"
    assert whole.examples == ()
    assert warm_up.model is whole.model, "a stack is captured for the networks it has trained"


def test_a_segment_starts_at_the_initial_weights_under_its_masks(config, tiny_data):
    part = segment(config, tiny_data, Case("reference", 0.3), 0, 5)
    dense = segment(config, tiny_data, Case("reference", 1.0), 0, 5)
    assert part.masks.weights_remaining == pytest.approx(0.3, abs=0.01)
    for name, mask in part.masks.items():
        weight, whole = part.model.get_parameter(name), dense.model.get_parameter(name)
        assert torch.equal(weight, whole * mask)
    assert part.learning_rate(0) == config.train.lr


def test_only_stacks_have_replicas_and_modes(called):
    found = cases(["reference", "stacked"], [1.0], [1, 5])
    assert found == [
        Case("reference", 1.0),
        Case("stacked", 1.0, 1, "vmap"),
        Case("stacked", 1.0, 1, "streams"),
        Case("stacked", 1.0, 5, "vmap"),
        Case("stacked", 1.0, 5, "streams"),
    ]
    assert cases(["stacked"], [1.0], [1]) == [Case("stacked", 1.0)]


def test_a_stack_is_timed_per_replica(called, config, tiny_data, monkeypatch):
    def clocked(work, device):
        work()
        return 6.0

    monkeypatch.setattr(steps, "clocked", clocked)
    assert steps.seconds_per_step(config, tiny_data, Case("stacked", 1.0, 3, "streams"), 2) == 1.0
    _, segments, mode = called[-1]
    assert (len(segments), mode) == (3, "streams")
    first = [part.model.get_parameter("1.weight") for part in segments]
    assert not any(torch.equal(one, other) for one, other in pairwise(first))


def test_ratios_are_to_the_floor_and_the_reference_of_the_same_run(config, tiny_data, called):
    todo = cases(["reference", "spy"], [1.0, 0.2], [1])
    rows = measure_steps(config, tiny_data, todo, 3, rounds=2)
    assert [row["engine"] for row in rows] == ["floor", "reference", "spy", "reference", "spy"]
    assert {row["seconds"]["n"] for row in rows} == {2}
    floor, dense, _, reference, other = (row["seconds"]["median"] for row in rows)
    assert rows[0]["weights_remaining"] is None
    assert rows[4]["weights_remaining"] == pytest.approx(0.2, abs=0.01)
    assert rows[4]["to_floor"] == pytest.approx(other / floor)
    assert rows[4]["to_reference"] == pytest.approx(other / reference)
    assert rows[4]["to_dense_reference"] == pytest.approx(other / dense)


def test_without_the_reference_there_is_no_ratio_to_it(config, tiny_data, called):
    rows = measure_steps(config, tiny_data, cases(["spy"], [1.0], [1]), 2, rounds=1)
    assert [row["to_reference"] for row in rows] == [None, None]
    assert rows[1]["to_floor"] is not None


def test_engines_that_cannot_train_the_network_are_left_out(config, called, monkeypatch):
    def choose(name, *_):
        if name == "spy":
            raise ConfigError("engine", name, "another network")
        return name

    monkeypatch.setattr(steps, "choose_engine", choose)
    found = usable_engines(config, "cpu")
    assert "reference" in found
    assert "stacked" in found
    assert "spy" not in found
    assert usable_engines(config, "cpu", ["stacked"]) == ["stacked"]
    with pytest.raises(ConfigError, match="engines is 'fast'"):
        usable_engines(config, "cpu", ["fast"])


def test_options_of_convolutions_run_as_they_say(monkeypatch, tiny_data, config):
    seen = {}

    def watch(segments):
        (part,) = segments
        image = next(part.batches.steps(0, 1))[0]
        hook = next(iter(part.model._forward_pre_hooks.values()))
        (laid_out,) = hook(part.model, (image.expand(-1, 3, -1, -1),))
        layout = laid_out.is_contiguous(memory_format=torch.channels_last)
        weights = part.model[0].weight.is_contiguous(memory_format=torch.channels_last)
        seen[part.precision, layout, weights] = part.stop
        return run_reference(segments)

    monkeypatch.setattr(convolutions, "run_reference", watch)
    conv = replace(config, model="conv2(width=0.0625)")
    few = tiny.images(None, side=32)
    few = replace(
        few, train=replace(few.train, images=few.train.images.unsqueeze(3).repeat(1, 1, 1, 3))
    )
    data = replace(tiny_data, train=few.train)
    rows = convolutions.measure_options(conv, data, 2, 1)
    assert [row["option"] for row in rows] == list(convolutions.OPTIONS)
    assert rows[0]["to_usual"] == 1.0
    assert seen == {
        ("float32", True, False): 2,
        ("float32", False, False): 2,
        ("float32", True, True): 2,
        ("bfloat16", True, False): 2,
        ("bfloat16", False, False): 2,
    }
