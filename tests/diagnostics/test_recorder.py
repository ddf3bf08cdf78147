"""Diagnostics of levels: computed from where a level began and ended, and from nothing else."""

import copy
import dataclasses
import math

import pytest
import torch

from lottery.diagnostics import DiagnosticsConfig, Recorder
from lottery.diagnostics.signals import dead_units, signals_at_start
from lottery.errors import ConfigError
from lottery.pruning.masks import Masks
from lottery.tickets import Memory, RewindConfig, find_dense, find_tickets, run_control
from lottery.training.config import TrainConfig

ON = DiagnosticsConfig(record=True, images=20, barrier_points=5)
EVERY = {
    "gradient_norm",
    "gradient_flow",
    "activation_variance",
    "start_dead_units",
    "dead_units",
    "effective_density",
    "sign_flips",
    "relative_travel",
    "init_memory",
    "overlap_magnitude_at_init",
    "overlap_chance",
}
BARRIERS = {f"{what}_barrier_{where}" for what in ("loss", "error") for where in ("train", "test")}


@pytest.fixture
def tickets(plain, data, quick):
    return list(find_tickets(plain(), data, levels=2, train=quick, diagnostics=ON))


def test_every_level_has_every_quantity(tickets):
    for ticket in tickets:
        assert ticket.diagnostics.keys() == EVERY
        for quantity, values in ticket.diagnostics.items():
            assert set(values) <= {*ticket.masks, "all"}
            assert all(map(math.isfinite, values.values())), quantity


def test_nothing_is_computed_unless_asked_for(plain, data, quick, monkeypatch):
    monkeypatch.setattr(Recorder, "__init__", lambda *given: pytest.fail("computed"))
    tickets = list(find_tickets(plain(), data, levels=1, train=quick))
    assert [ticket.diagnostics for ticket in tickets] == [{}, {}]


def test_recording_changes_no_result(noisy, data, quick):
    with_it, without = (
        list(find_tickets(noisy(), data, levels=2, train=quick, diagnostics=config))
        for config in (ON, DiagnosticsConfig())
    )
    for one, other in zip(with_it, without, strict=True):
        assert one.evaluations == other.evaluations
        assert all(torch.equal(one.trained[name], other.trained[name]) for name in one.trained)


def test_chance_outside_is_left_as_it_was(noisy, data):
    model = noisy()
    state, full = copy.deepcopy(model.state_dict()), Masks.ones(model)
    before = torch.get_rng_state()
    recorder = Recorder(ON, data, seed=0)
    recorder.level(model, full, state, state, state)
    recorder.barriers(model, state, state)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in state.items())


@pytest.mark.parametrize("to", ["0it", "3it"])
def test_the_start_is_where_training_starts_from(plain, data, quick, spy, to):
    """Masked weights at the step rewound to, not the initial ones and not the trained ones."""
    rewind = RewindConfig(to=to)
    tickets = list(
        find_tickets(
            plain(), data, levels=1, train=quick, rewind=rewind, diagnostics=ON, engine="spy"
        )
    )
    call = next(call for call in spy if call.level == 1)
    model, masks = plain(), tickets[1].masks
    sample = Recorder(ON, data, seed=0).sample
    model.load_state_dict(call.before)
    expected = signals_at_start(model, masks, sample)
    model.load_state_dict(tickets[1].trained)
    expected["dead_units"] = dead_units(model, masks, sample)
    found = tickets[1].diagnostics
    assert {name: found[name] for name in expected} == expected


def test_the_sample_is_the_seeds_and_the_training_images(data):
    def sample(seed, images=20):
        config = dataclasses.replace(ON, images=images)
        return Recorder(config, data, seed).sample

    assert torch.equal(sample(0).images, sample(0).images)
    assert not torch.equal(sample(0).images, sample(1).images)
    assert len(sample(0)) == 20
    assert len(sample(0, 10_000)) == len(data.train)
    known = {tuple(image.tolist()) for image in data.train.images}
    assert {tuple(image.tolist()) for image in sample(0).images} <= known


class Shelf(Memory):
    """Keeps levels."""

    def __init__(self) -> None:
        super().__init__()
        self.levels = {}

    def load_level(self, level, initial):
        return self.levels.get(level)

    def save_level(self, level):
        self.levels[level.level] = level


@pytest.mark.parametrize("at", [1, 3, 4])
def test_diagnostics_do_not_show_where_a_run_was_interrupted(at, noisy, data, quick):
    def run(memory, watch):
        return list(
            find_tickets(
                noisy(),
                data,
                levels=2,
                train=quick,
                rewind=RewindConfig(to="3it"),
                diagnostics=ON,
                memory=memory,
                watch=watch,
            )
        )

    left = [at]

    def killer(*told):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt

    whole = run(Shelf(), lambda *told: None)
    memory = Shelf()
    with pytest.raises(KeyboardInterrupt):
        run(memory, killer)
    again = run(memory, lambda *told: None)
    assert [level.diagnostics for level in again] == [level.diagnostics for level in whole]


def test_barriers_are_between_a_ticket_and_its_retrain(plain, data, quick, tickets):
    def run(control, diagnostics=ON):
        return list(
            run_control(
                control,
                plain(),
                data,
                lambda level: (tickets[level].masks, tickets[level].trained),
                levels=[1, 2],
                train=quick,
                diagnostics=diagnostics,
            )
        )

    for record in run("retrain"):
        trained = tickets[record.level].trained
        found = {name: record.diagnostics[name] for name in BARRIERS}
        recorder = Recorder(ON, data, seed=0)
        assert found == recorder.barriers(plain(), record.trained, trained)
        assert found["loss_barrier_train"]["all"] != 0
    assert not BARRIERS & run("reinit")[0].diagnostics.keys()
    assert run("retrain", DiagnosticsConfig())[0].diagnostics == {}


def test_the_dense_baseline_has_them_too(plain, data, quick):
    for level in find_dense(plain(), data, levels=1, train=quick, diagnostics=ON):
        assert level.diagnostics.keys() == EVERY
        assert level.diagnostics["effective_density"]["all"] == 1.0
        assert level.diagnostics["overlap_chance"]["all"] == 1.0


def test_networks_of_ones_own_have_all_but_paths(own, data):
    train = TrainConfig(duration="6it", batch_size=8, eval_every="6it")
    (level,) = find_tickets(own(), data, levels=0, train=train, diagnostics=ON)
    assert level.diagnostics.keys() == EVERY - {"effective_density"}


@pytest.mark.parametrize("setting, value", [("images", 0), ("barrier_points", 2)])
def test_impossible_settings_are_named(setting, value):
    with pytest.raises(ConfigError, match=f"diagnostics.{setting} is {value}"):
        DiagnosticsConfig(**{setting: value})
