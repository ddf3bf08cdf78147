import shutil
from dataclasses import replace

import pytest

from lottery.errors import ConfigError
from lottery.study import ControlsConfig, cells, plan_study, run_study
from lottery.training.segment import Outcome
from tests import tiny


def test_a_plan_of_nothing_done_yet_has_everything_and_writes_nothing(tmp_path):
    config = tiny.with_controls()
    plan = plan_study(config, results_dir=tmp_path / "results", workers=3)
    assert plan.cells == plan.unfinished == cells(config)
    assert plan.levels == 4 * (3 + 3 + 2)
    assert plan.workers == 3
    assert (plan.steps_per_level, plan.evaluations_per_level) == ({"base": 20}, {"base": 3})
    assert 0 < plan.seconds < 60
    assert list(tmp_path.iterdir()) == []


def test_lengths_in_epochs_are_those_of_the_training_set(tmp_path):
    config = tiny.config(train=tiny.train(duration="2ep", eval_every="1ep"))
    plan = plan_study(config, results_dir=tmp_path)
    assert plan.steps_per_level == {"base": 2 * (150 // 30)}
    assert plan.evaluations_per_level == {"base": 2}


@pytest.mark.parametrize("fresh", [False, True])
def test_the_baseline_that_variants_share_is_planned_once(fresh, tmp_path):
    variants = {"base": {}, "half": {"prune": {"output_rate": 0.4}}}
    controls = ControlsConfig(dense=True)
    config = tiny.config(variants=variants, controls=controls, seeds=[0], inits=["xavier_normal"])
    plan = plan_study(config, results_dir=tmp_path, fresh=fresh)
    assert [cell.branch for cell in plan.unfinished] == ["ticket", "ticket", "dense"]
    assert (plan.levels, plan.steps) == (9, 180)


def test_a_finished_study_has_nothing_to_do(finished, finished_config):
    plan = plan_study(finished_config, results_dir=finished.folder.parent)
    assert (plan.unfinished, plan.levels, plan.seconds) == ([], 0, 0.0)


def test_fresh_plans_all_of_it_and_removes_nothing(finished, finished_config):
    plan = plan_study(finished_config, results_dir=finished.folder.parent, fresh=True)
    assert plan.unfinished == cells(finished_config)
    assert plan.levels == 32
    assert (finished.folder / "levels.csv").exists()


def test_levels_that_are_finished_are_not_planned_again(finished, finished_config, tmp_path):
    shutil.copytree(finished.folder, tmp_path / "tiny")
    more = replace(finished_config, levels=3)
    assert plan_study(more, results_dir=tmp_path).levels == 12


def test_the_plan_is_refused_where_the_run_would_be(finished, finished_config, tmp_path):
    other = replace(finished_config, train=tiny.train(lr=0.5))
    with pytest.raises(ConfigError, match=r"train\.lr is 0\.5; allowed: 0\.01"):
        plan_study(other, results_dir=finished.folder.parent)
    with pytest.raises(ConfigError, match="workers is -1"):
        plan_study(finished_config, results_dir=tmp_path, workers=-1)
    with pytest.raises(ConfigError, match="model is 'lenet_300_100'"):
        plan_study(replace(finished_config, model="lenet_300_100"), results_dir=tmp_path)


def test_a_plan_leaves_the_run_as_it_would_have_been(finished, finished_config, tmp_path):
    config = replace(finished_config, inits=["xavier_normal"], seeds=[0])
    plan_study(config, results_dir=tmp_path)
    result = run_study(config, results_dir=tmp_path, workers=0, quiet=True)
    mine = finished.levels.merge(result.levels[["cell", "level"]]).drop(columns="seconds")
    assert mine.equals(result.levels.drop(columns="seconds").reset_index(drop=True))


def test_a_stack_counts_as_so_many_cells_at_once_but_in_one_process_only(tmp_path):
    config = tiny.config(engine="stacked", seeds=[0, 1, 2])
    todo = len(cells(config))
    here = plan_study(config, results_dir=tmp_path, workers=0)
    assert here.workers == min(todo, 8)
    assert 0 < here.seconds < 60
    assert plan_study(config, results_dir=tmp_path, workers=2).workers == 2
    assert plan_study(replace(config, engine="auto"), results_dir=tmp_path, workers=0).workers == 1


def test_time_counts_what_a_procedure_evaluates_and_runs_on_its_engine(tmp_path, monkeypatch):
    """The action of every step is evaluated before and after; a run without it has one a level."""
    timed = []

    def run(segments):
        timed.append((segments[0].engine, segments[0].masks.weights_remaining))
        return [Outcome([], 1.0 if segments[0].stop == 0 else 1e-9)]

    monkeypatch.setattr("lottery.study.plan.engines.run", run)
    train = tiny.train(eval_every="20it")
    settings = {"model": "tests.tiny:conv_net", "train": train, "levels": 1, "engine": "auto"}
    prune = {"criterion": "l2", "conv_rate": 0.5, "iterative": False}
    variants = {"hard": {"prune": prune}, "soft": {"prune": prune | {"during": "soft(every=1it)"}}}
    seconds = {}
    for name, changes in variants.items():
        config = tiny.config(**settings, inits=["normal(0.3)"], seeds=[0], variants={name: changes})
        seconds[name] = plan_study(config, results_dir=tmp_path, workers=1).seconds
        parameters = 2 * (9 + 1 + 2 + 3 * 16) + 3
        assert timed[-1] == ("reference", parameters / (4 * 60 + 3))
    # Evaluated are 90 test, 50 validation and 50 training images, and at last all 150; each 1/90 s.
    assert seconds["hard"] == pytest.approx(2 * (190 + 150) / 90, rel=1e-5)
    assert seconds["soft"] == pytest.approx((2 * (190 + 150) + 39 * 190) / 90, rel=1e-5)
