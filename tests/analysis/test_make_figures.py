from functools import partial
from pathlib import Path

import pytest

from tests.analysis.synthetic import write_study

SMALL = {"seeds": [0], "levels": 1, "evaluations": 1, "draws": {"dense": 1}}


@pytest.fixture
def make_figures(program):
    return partial(program, "make_figures.py")


def test_every_study_is_drawn_unless_some_are_named(tmp_path, make_figures, places):
    for name in ("one", "two"):
        write_study(tmp_path / "results", name, **SMALL)
    status, _, _ = make_figures("two", *places)
    assert status == 0
    assert {path.name for path in (tmp_path / "plots").iterdir()} == {"two"}
    status, printed, _ = make_figures(*places)
    assert status == 0
    assert {path.name for path in (tmp_path / "plots").iterdir()} == {"one", "two"}
    written = [Path(line) for line in printed.splitlines()]
    assert sorted(written) == sorted((tmp_path / "plots").glob("*/*"))


def test_a_study_that_does_not_exist_is_one_line_and_status_2(tmp_path, make_figures, places):
    status, _, error = make_figures("nonesuch", *places)
    assert status == 2
    assert error.count("\n") == 1
    assert "nonesuch/levels.csv is missing" in error


def test_a_misspelt_study_is_answered_with_those_that_are_like_it(tmp_path, make_figures, places):
    for name in ("lenet", "lenet-quick", "other"):
        write_study(tmp_path / "results", name, **SMALL)
    missing = f"{tmp_path}/results/%s/levels.csv is missing; "
    _, _, error = make_figures("lenett", *places)
    assert error == missing % "lenett" + "did you mean lenet?\n"
    _, _, error = make_figures("nonesuch", *places)
    assert error == missing % "nonesuch" + "studies there: lenet, lenet-quick, other\n"
    _, _, error = make_figures("conv2", *places)
    assert error.startswith(
        missing % "conv2" + "make it with `python experiments/run_grid.py conv2"
    )


def test_no_study_at_all_is_one_line_and_status_2(tmp_path, make_figures, places):
    status, _, error = make_figures(*places)
    assert status == 2
    assert error.count("\n") == 1
    assert "run_grid.py" in error


def test_a_broken_study_does_not_keep_the_others_from_being_drawn(tmp_path, make_figures, places):
    for name in ("a_broken", "whole"):
        write_study(tmp_path / "results", name, **SMALL)
    (tmp_path / "results/a_broken/curves.parquet").write_bytes(b"half")
    status, _, error = make_figures(*places)
    assert status == 2
    assert "a_broken/curves.parquet cannot be read" in error
    assert (tmp_path / "plots/whole/accuracy_over_steps.pdf").is_file()


def test_a_plots_folder_that_cannot_be_made_is_one_line(tmp_path, make_figures, places):
    write_study(tmp_path / "results", "one", **SMALL)
    (tmp_path / "plots").write_text("a file")
    status, _, error = make_figures(*places)
    assert status == 2
    assert error.count("\n") == 1
    assert "cannot be written" in error


def test_help_names_every_option(make_figures, places):
    status, text, _ = make_figures("--help")
    assert status == 0
    for word in ("STUDY", "--results-dir", "--plots-dir", "default"):
        assert word in text


def test_an_unknown_option_is_status_2(make_figures, places):
    status, _, error = make_figures("--no-such-option")
    assert status == 2
    assert "--no-such-option" in error
