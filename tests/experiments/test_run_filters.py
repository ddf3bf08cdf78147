"""The program of filter studies: the same as that of grids, with studies and a table of its own."""

import dataclasses
import runpy
import shutil
import sys

import pandas as pd
import pytest
import yaml
from scipy.stats import qmc

from tests import tiny

PLACE = tiny.ROOT / "experiments"
SHIPPED = sorted(path.stem for path in (PLACE / "configs").glob("*.yaml"))
OURS = [name for name in SHIPPED if name.startswith(("filters-", "lim-"))]

STUDY = """\
model: tests.tiny:conv_net
data: tests.tiny:images
validation: 50
inits: [xavier_normal]
seeds: [0, 1]
levels: 1
train: {duration: 10it, batch_size: 30, lr: 0.01}
rewind: {mode: learning_rate}
prune: {criterion: l2, conv_rate: 0.25, iterative: false}
variants:
  hard: {}
  soft: {prune: {during: "soft(every=5it)"}}
  weights: {prune: {criterion: magnitude}}
"""


@pytest.fixture
def run_filters(tmp_path, capsys, monkeypatch):
    """Run the program in this process; its exit status, output and error output."""
    program = runpy.run_path(str(PLACE / "run_filters.py"))["PROGRAM"]
    monkeypatch.setattr(sys, "argv", ["experiments/run_filters.py"])
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr("lottery.study.program.console._width", 100)

    def run(*arguments, configs=program.configs, results=tmp_path / "results"):
        place = ["--results-dir", results, "--workers", "0"]
        own = dataclasses.replace(program, configs=configs)
        status = own.main([str(a) for a in (*arguments, *place)])
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def study(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(STUDY)
    return path


def test_help_lists_the_studies_of_filters_alone(run_filters, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    with pytest.raises(SystemExit) as leaving:
        run_filters("--help")
    assert leaving.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert f"or one of: {', '.join(OURS)} " in text
    assert "(default: filters-lenet5)" in text
    assert {"filters-lenet5", "filters-cifar", "filters-cifar-small", "lim-lenet5"} <= set(OURS)


def test_an_unknown_study_lists_those_of_filters(run_filters):
    status, _, error = run_filters("lim-lenet6")
    assert status == 2
    assert error.startswith("run_filters.py: STUDY is 'lim-lenet6'; allowed: a path to a YAML file")
    assert error.endswith(f"or one of: {', '.join(OURS)}\n")


def test_any_study_can_be_run(run_filters, study):
    status, printed, _ = run_filters(study, "--dry-run", "--seeds", "0")
    assert status == 0
    assert "6 levels to train: 60 steps" in printed


def test_accuracy_is_shown_by_the_parameters_left(run_filters, study, tmp_path):
    """4 filters of 9 weights, a bias and 2 entries of batch norm, each read by 48; 3 biases."""
    status, printed, error = run_filters(study)
    assert (status, error.count("failed")) == (0, 0)
    levels = pd.read_csv(tmp_path / "results" / "small" / "levels.csv")
    assert len(levels) == 3 * 2 * 2
    tables = " ".join(printed.split()).split("Test accuracy of tickets")
    assert len(tables) == 4
    for variant, table in zip(("hard", "soft"), tables[1:3], strict=True):
        assert "parameters ┃ ┃ ┃ ┃ ┃ left ┃ parameters ┃ MACs ┃ xavier_normal ┃" in table
        one = levels[(levels["variant"] == variant) & (levels["level"] == 1)]["test_accuracy"]
        mean = f"{100 * one.mean():.2f}"
        assert f"│ 75.31% │ 183 │ 576 │ {mean} ±" in table
    assert "weights ┃ ┃ ┃ remaining ┃ xavier_normal ┃" in tables[3]


def test_a_finished_study_is_not_run_again(run_filters, study):
    run_filters(study, "--seeds", "0")
    status, printed, error = run_filters(study, "--seeds", "0")
    assert (status, error) == (0, "3 of 3 cells were finished before\n")
    assert "0 cells computed now" in printed


def test_the_factorial_is_the_design_that_its_file_says():
    """50 points of Sobol's sequence: E and I in steps, P a ratio; all of them differ."""
    study = yaml.safe_load((PLACE / "configs" / "lim-lenet5-factorial.yaml").read_text())
    with pytest.warns(UserWarning, match="power of 2"):
        points = qmc.Sobol(3, scramble=False).random(51)[1:]
    points = qmc.scale(points, [1072, 0.15, 107], [4290, 0.25, 214])
    assert len(study["variants"]) == 50
    for (length, ratio, every), run in zip(points, study["variants"].values(), strict=True):
        shrinkage = f"shrinkage(ratio={ratio:.4f}, every={round(every)}it, free=107it)"
        assert run == {
            "train": {"duration": f"{round(length)}it"},
            "prune": {"during": shrinkage},
        }


@pytest.fixture
def shipped(tmp_path):
    """Two shipped studies, the second of which prunes the networks of the first."""
    folder = tmp_path / "configs"
    folder.mkdir()
    alone = STUDY.partition("variants")[0].replace("levels: 1", "levels: 0")
    (folder / "lim-unpruned.yaml").write_text(alone)
    filters = STUDY.partition("  weights:")[0]
    (folder / "lim-small.yaml").write_text(filters + "start: lim-unpruned\n")
    return folder


def test_networks_that_are_pruned_are_trained_first_and_once(run_filters, shipped, tmp_path):
    status, _, error = run_filters("lim-small", "--seeds", "1", configs=shipped)
    assert status == 0, error
    first = pd.read_csv(tmp_path / "results" / "lim-unpruned" / "levels.csv")
    assert first["seed"].tolist() == [1], "seeds that were not asked for are trained"
    levels = pd.read_csv(tmp_path / "results" / "lim-small" / "levels.csv")
    unpruned = levels.loc[levels["level"] == 0, "test_accuracy"]
    assert unpruned.tolist() == [first["test_accuracy"][0]] * 2


def test_networks_are_not_trained_for_a_study_that_is_finished(run_filters, shipped, tmp_path):
    """Its tables may be committed, and those of the networks it pruned not."""
    assert run_filters("lim-small", "--seeds", "1", configs=shipped)[0] == 0
    shutil.rmtree(tmp_path / "results" / "lim-unpruned")
    status, _, error = run_filters("lim-small", "--seeds", "1", configs=shipped)
    assert status == 0, error
    assert not (tmp_path / "results" / "lim-unpruned").exists()
    status, _, error = run_filters("lim-small", configs=shipped)
    assert status == 0, error
    first = pd.read_csv(tmp_path / "results" / "lim-unpruned" / "levels.csv")
    assert first["seed"].tolist() == [0], "more is trained than what is left to prune"


def test_networks_whose_tables_alone_are_here_are_trained_again(run_filters, shipped, tmp_path):
    """As in a clone of a repository that has the tables, but not the networks."""
    assert run_filters("lim-unpruned", "--seeds", "1", configs=shipped)[0] == 0
    place = tmp_path / "results" / "lim-unpruned"
    before = pd.read_csv(place / "levels.csv")
    shutil.rmtree(place / "cells")
    status, printed, _ = run_filters("lim-small", "--seeds", "1", "--dry-run", configs=shipped)
    assert status == 0
    assert "see its plan once they exist" in printed
    status, _, error = run_filters("lim-small", "--seeds", "1", configs=shipped)
    assert status == 0, error
    again = pd.read_csv(place / "levels.csv")
    assert again["test_accuracy"].tolist() == before["test_accuracy"].tolist()
    assert len(list((place / "cells").iterdir())) == 1


def test_a_dry_run_shows_the_plan_of_what_is_trained_first(run_filters, shipped, tmp_path):
    status, printed, _ = run_filters("lim-small", "--dry-run", configs=shipped)
    assert status == 0
    assert "lim-unpruned: tests.tiny:conv_net" in printed
    assert "lim-small prunes these networks; see its plan once they exist" in printed
    assert not (tmp_path / "results").exists()


def test_networks_that_cannot_be_pruned_are_not_trained_first(run_filters, shipped, tmp_path):
    status, _, error = run_filters("lim-small", "--model", "lenet5", configs=shipped)
    assert status == 2
    assert "start is 'lim-unpruned'; allowed: a study of lenet5 on" in error
    assert not (tmp_path / "results").exists()


def test_a_study_that_starts_from_another_is_not_run_into_a_url(run_filters, shipped):
    status, _, error = run_filters("lim-small", configs=shipped, results="memory://lim")
    assert status == 2
    assert "start is 'lim-unpruned'; allowed: none where results go to a URL" in error


def test_a_study_of_many_levels_is_not_run_for_its_unpruned_networks(
    run_filters, shipped, tmp_path
):
    """It may take hours, and who asks for its networks has it."""
    (shipped / "lim-unpruned.yaml").write_text(STUDY)
    status, _, error = run_filters("lim-small", configs=shipped)
    assert status == 2
    assert "start is 'lim-unpruned'; allowed: a study's folder or name" in error
    assert not (tmp_path / "results" / "lim-unpruned").exists()
