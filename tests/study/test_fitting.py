"""A scheme fitted to tickets knows their weights, and studies of their seeds refuse it."""

import json

import pytest
import torch

from lottery import build
from lottery.errors import ConfigError, StoreError
from lottery.init import initialise
from lottery.init.ticket_informed import fit
from lottery.study import cells
from lottery.study.fitting import Tickets, fit_tickets
from lottery.study.store import StudyStore
from lottery.study.worker import repeatable
from tests import tiny

LAYERS = ["1.weight", "3.weight"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Where a study of two schemes and seeds 0 to 2 has been run."""
    place = tmp_path_factory.mktemp("results")
    assert not tiny.run_here(study(), place).failures
    return place


def study():
    return tiny.config(seeds=[0, 1, 2])


def ticket(place, seed, level, init="normal(0.3)"):
    (cell,) = [c for c in cells(study()) if (c.seed, c.init) == (seed, init)]
    return StudyStore(place, "tiny").cell(cell.name).ticket(level)


@pytest.mark.parametrize("values", ["initial", "trained"])
def test_the_fit_is_of_the_kept_weights_of_the_tickets_alone(place, values):
    found = fit_tickets(place / "tiny", Tickets(2, [0, 2], "normal(0.3)", values=values))
    expected = {name: [] for name in LAYERS}
    for seed in (0, 2):
        masks, trained = ticket(place, seed, 2)
        model = initialise(build("tests.tiny:net", seed), "normal(0.3)", seed)
        weights = trained if values == "trained" else dict(model.state_dict())
        for name in LAYERS:
            expected[name].append(weights[name][masks[name]])
    assert found.layers == fit({name: torch.cat(parts) for name, parts in expected.items()})
    assert found.layers["1.weight"].weights == 2 * int(masks["1.weight"].sum())
    assert found.seeds == [0, 2]


def test_the_source_says_where_it_came_from(place):
    source = fit_tickets(place / "tiny", Tickets(1, [1], "xavier_normal")).source
    (cell,) = [c for c in cells(study()) if (c.seed, c.init) == (1, "xavier_normal")]
    manifest = json.loads((place / "tiny" / "manifest.json").read_text())
    commit = manifest["runs"][0]["git_commit"]
    assert source == {
        "study": "tiny",
        "model": "tests.tiny:net",
        "data": "tests.tiny:images",
        "variant": "base",
        "init": "xavier_normal",
        "level": 1,
        "values": "initial",
        "cells": [cell.name],
        "commits": [commit] if commit else [],
    }


def test_tickets_whose_scheme_looks_at_images_are_drawn_again_with_them(tmp_path):
    init = "lsuv(images=30)"
    config = tiny.config(inits=[init], seeds=[4], levels=1)
    assert not tiny.run_here(config, tmp_path).failures
    found = fit_tickets(tmp_path / "tiny", Tickets(0, [4]))
    (cell,) = cells(config)
    layers = StudyStore(tmp_path, "tiny").cell(cell.name).record(0)["layers"]
    span = max(abs(q) for q in found.layers["1.weight"].quantiles) * found.layers["1.weight"].std
    assert span <= layers[0]["span"] * (1 + 1e-5), "the largest weight there was, or less"
    assert span > 0.1 * layers[0]["span"]


@pytest.mark.parametrize(
    ("tickets", "message"),
    [
        (Tickets(1, [0]), r"init is None; allowed: one of the study's: xavier_normal, normal"),
        (Tickets(1, [0], "he"), r"init is 'he'; allowed: one of the study's"),
        (Tickets(1, [0], "xavier_normal", "fast"), r"variant is 'fast'; allowed: .*base"),
        (Tickets(1, [0, 7], "xavier_normal"), r"seeds is \[7\]; allowed: some of 0, 1, 2"),
        (Tickets(1, [], "xavier_normal"), r"seeds is \[\]; allowed: some of 0, 1, 2"),
        (Tickets(3, [0], "xavier_normal"), r"level is 3; allowed: 0 to 2"),
    ],
)
def test_tickets_that_the_study_does_not_have_are_named(place, tickets, message):
    with pytest.raises(ConfigError, match=message):
        fit_tickets(place / "tiny", tickets)


def test_tickets_that_are_not_on_this_disk_are_named(place, tmp_path):
    with pytest.raises(StoreError, match="no study in"):
        fit_tickets(tmp_path / "none", Tickets(1, [0]))
    folder = tmp_path / "tiny"
    folder.mkdir()
    for name in ("study.yaml", "manifest.json"):
        (folder / name).write_text((place / "tiny" / name).read_text())
    with pytest.raises(StoreError, match="no masks of level 1"):
        fit_tickets(folder, Tickets(1, [0], "xavier_normal"))


def test_a_study_on_seeds_of_the_tickets_is_refused_before_it_trains(place, tmp_path):
    file = tmp_path / "fit.json"
    file.write_text(fit_tickets(place / "tiny", Tickets(1, [0, 1], "normal(0.3)")).to_json())
    inits = ["xavier_normal", f"by_layer(rest=ticket_informed({str(file)!r}))"]
    with pytest.raises(ConfigError, match=r"seeds is \[1\]; allowed: seeds other than \[0, 1\]"):
        tiny.run_here(tiny.config(inits=inits, seeds=[5, 1]), tmp_path)
    assert not (tmp_path / "tiny" / "cells").exists()
    result = tiny.run_here(tiny.config(inits=inits, seeds=[5, 6]), tmp_path)
    assert not result.failures
    assert set(result.levels["init"]) == set(tiny.config(inits=inits).inits)


def test_a_scheme_that_does_not_fit_the_network_is_found_before_training(tmp_path):
    inits = ["by_layer(rest=normal)"]
    with pytest.raises(ConfigError, match=r"init is .normal.; .* option std is missing"):
        tiny.run_here(tiny.config(inits=inits), tmp_path)


def test_schemes_of_networks_run_in_every_branch_and_resume_to_the_same_numbers(tmp_path):
    controls = {"reinit": 1, "shuffle_layer": 1, "dense": True}
    settings = {
        "inits": ["lsuv(images=30)", "data_aware_first(base=by_layer(rest=normal(0.3)))"],
        "seeds": [3],
        "controls": tiny.ControlsConfig(**controls),
    }
    config = tiny.config(**settings)
    assert not tiny.run_here(config, tmp_path / "one").failures
    fewer = tiny.config(**{**settings, "levels": 1})
    assert not tiny.run_here(fewer, tmp_path / "two").failures
    assert not tiny.run_here(config, tmp_path / "two").failures
    tiny.assert_same_tables(tmp_path / "one" / "tiny", tmp_path / "two" / "tiny")


def test_initial_weights_are_those_that_training_began_with(place):
    """The store keeps no initial weights: they are drawn again."""
    with repeatable("cpu"):
        (layer, _) = StudyStore(place, "tiny").cell(cells(study())[0].name).record(0)["layers"]
    found = fit_tickets(place / "tiny", Tickets(0, [0], "xavier_normal")).layers["1.weight"]
    assert found.weights == sum(layer["initial_histogram"]) == layer["weights"]
    positive = sum(layer["initial_histogram"][32:]) / layer["weights"]
    assert found.positive == pytest.approx(positive)
