"""A study that prunes the networks of an earlier one does not train them again."""

from dataclasses import replace

import pytest
import torch

from lottery.analysis import frames
from lottery.errors import ConfigError
from lottery.pruning.schedule import PruneConfig
from lottery.study import ControlsConfig, StudyConfig, cells, plan_study, run_study
from lottery.study.store import StudyStore
from lottery.tickets.imp import RewindConfig
from tests import tiny

GO_ON = RewindConfig(mode="none", to="10it")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Results with a study of unpruned networks alone, called first."""
    place = tmp_path_factory.mktemp("results")
    config = tiny.config(name="first", levels=0, inits=["xavier_normal"], seeds=[0, 1])
    run_study(config, results_dir=place, workers=0, quiet=True)
    return place


def second(**changes) -> StudyConfig:
    settings = {
        "name": "second",
        "levels": 1,
        "inits": ["xavier_normal"],
        "seeds": [0, 1],
        "start": "first",
        "rewind": GO_ON,
    }
    return tiny.config(**(settings | changes))


def weights(place, config, level=0):
    return {
        cell.seed: StudyStore(place, config.name).cell(cell.name).ticket(level)[1]
        for cell in cells(config)
    }


def test_each_seed_prunes_its_own_network_of_the_earlier_study(trained, tmp_path):
    config = second(start=str(trained / "first"))
    result = run_study(config, results_dir=tmp_path, workers=0, quiet=True)
    assert not result.failures
    first = StudyStore(trained, "first")
    before, after = weights(trained, first.config()), weights(tmp_path, config)
    for seed in (0, 1):
        assert all(torch.equal(before[seed][name], after[seed][name]) for name in before[seed])
    rows = result.levels.set_index(["seed", "level"])
    assert not torch.equal(*(after[seed]["1.weight"] for seed in (0, 1)))
    assert (rows.xs(1, level="level")["steps"] == 10).all(), "from step 10 to step 20"


def test_what_is_taken_is_what_would_have_been_trained(trained, tmp_path):
    own = replace(second(start=None), name="own")
    run_study(own, results_dir=tmp_path, workers=0, quiet=True)
    run_study(second(start=str(trained / "first")), results_dir=tmp_path, workers=0, quiet=True)
    tables = [frames.levels(name, tmp_path) for name in ("own", "second")]
    columns = ["seed", "level", "test_accuracy", "test_loss", "weights_remaining"]
    assert tables[0][columns].equals(tables[1][columns])


@pytest.mark.parametrize("filters", [False, True])
def test_the_baseline_goes_on_from_the_earlier_study_with_a_fresh_optimiser(
    filters, trained, tmp_path
):
    """As a ticket does from which nothing is taken; its own level 0 is not trained either."""
    prune = PruneConfig(criterion="l2") if filters else PruneConfig()
    settings = {"name": "first", "levels": 0, "inits": ["xavier_normal"], "seeds": [0, 1]}
    run_study(tiny.config(prune=prune, **settings), results_dir=tmp_path, workers=0, quiet=True)
    kept = replace(prune, linear_rate=0.0, conv_rate=0.0)
    config = second(
        controls=ControlsConfig(dense=True),
        rewind=RewindConfig(mode="learning_rate"),
        prune=prune,
        variants={"pruned": {}, "kept": {"prune": {"linear_rate": 0.0, "conv_rate": 0.0}}},
    )
    assert config.variant("kept").prune == kept
    assert plan_study(config, results_dir=tmp_path).levels == 6, "level 1 of three for each seed"
    result = run_study(config, results_dir=tmp_path, workers=0, quiet=True)
    assert not result.failures
    table = result.levels.set_index(["branch", "variant", "seed", "level"]).sort_index()
    columns = ["test_accuracy", "test_loss", "weights_remaining", "steps"]
    dense, ticket = (table.loc[where] for where in (("dense", "kept"), ("ticket", "kept")))
    assert dense[columns].equals(ticket[columns])
    assert not dense["test_loss"].equals(table.loc[("ticket", "pruned"), "test_loss"])


def test_a_plan_does_not_count_what_is_taken(trained):
    plan = plan_study(second(), results_dir=trained)
    assert (len(plan.unfinished), plan.levels) == (2, 2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"start": "none"}, "start is 'none'; allowed: a study's folder or name .no study in"),
        ({"seeds": [0, 7]}, "an unpruned network of xavier_normal, seed 7, in .*first/cells"),
        ({"inits": ["kaiming_normal"]}, "an unpruned network of kaiming_normal, seed 0"),
        ({"model": "tests.tiny:net(hidden=20)"}, r"a study of tests.tiny:net\(hidden=20\) on"),
        ({"prune": PruneConfig(biases=True)}, "whose weights are to be pruned"),
        ({"prune": PruneConfig(criterion="l2")}, "whose filters are to be pruned"),
    ],
)
def test_networks_that_are_not_there_are_named_before_anything_is_done(changes, message, trained):
    config = second(**({"start": "first"} | changes))
    for function in (plan_study, run_study):
        with pytest.raises(ConfigError, match=message):
            function(config, results_dir=trained)
    folder = trained / "second"
    assert not folder.exists() or not (folder / "cells").exists()


@pytest.mark.parametrize(
    ("changes", "setting"),
    [
        ({"rewind": RewindConfig(mode="weights", to="10it")}, "rewind"),
        ({"rewind": replace(GO_ON, optimizer="kept")}, "rewind"),
        ({"prune": PruneConfig(criterion="bn_scale", during="slimming")}, "prune.during"),
    ],
)
def test_what_needs_more_than_weights_is_refused(changes, setting):
    with pytest.raises(ConfigError, match=f"^{setting} is .*start"):
        second(**changes)
