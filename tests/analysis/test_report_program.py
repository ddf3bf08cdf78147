from functools import partial
from pathlib import Path

import pytest

from lottery.analysis.choice import Choice
from tests.analysis.synthetic import write_study

SMALL = {"seeds": [0, 1], "levels": 1, "evaluations": 1, "draws": {"ticket": 1}}


@pytest.fixture
def report(program):
    return partial(program, "report.py")


def test_every_study_has_a_report_and_a_second_run_changes_no_byte(tmp_path, report, places):
    for name in ("one", "two"):
        write_study(tmp_path / "results", name, **SMALL)
    status, printed, _ = report(*places)
    assert status == 0
    written = [Path(line) for line in printed.splitlines()]
    assert sorted(written) == sorted((tmp_path / "results").glob("*/report.*"))
    assert len(written) == 4
    before = [path.read_bytes() for path in written]
    assert report("one", *places)[0] == 0
    assert [path.read_bytes() for path in written] == before


def test_a_report_shows_the_figures_that_it_drew(tmp_path, report, places):
    folder = write_study(tmp_path / "results", "one", **SMALL)
    assert report("one", *places)[0] == 0
    assert "](../../plots/one/accuracy_by_weights.png)" in (folder / "report.md").read_text()
    assert (tmp_path / "plots/one/accuracy_by_weights.png").is_file()
    assert (folder / "report.html").read_text().count("data:image/png;base64,") >= 4


def test_a_choice_is_spoken_of_where_it_is_judged(tmp_path, report, places):
    inits = ["xavier_normal", "orthogonal"]
    folder = write_study(tmp_path / "results", "one", inits=inits, **SMALL)
    file = tmp_path / "chosen.yaml"
    file.write_text(Choice("orthogonal", "xavier_normal", "screen", [], [7], []).to_yaml())
    assert report("one", "--choice", file, *places)[0] == 0
    assert "## A custom initialisation" in (folder / "report.md").read_text()
    file.write_text("chosen: 3")
    status, _, error = report("one", "--choice", file, *places)
    assert (status, error.count("\n")) == (2, 1)


def test_a_choice_that_is_not_there_is_an_error_and_none_by_default(
    tmp_path, report, places, monkeypatch
):
    folder = write_study(tmp_path / "results", "one", **SMALL)
    status, printed, error = report("one", "--choice", tmp_path / "absent.yaml", *places)
    assert (status, printed, error.count("\n")) == (2, "", 1)
    assert error.startswith(f"{tmp_path}/absent.yaml is no file of experiments/choose_scheme.py (")
    assert not (folder / "report.md").exists()
    monkeypatch.chdir(tmp_path)
    assert report("one", *places)[0] == 0
    assert "## A custom initialisation" not in (folder / "report.md").read_text()


def test_a_study_that_does_not_exist_is_one_line_and_status_2(tmp_path, report, places):
    status, printed, error = report("nonesuch", *places)
    assert (status, printed) == (2, "")
    assert error.count("\n") == 1
    assert "nonesuch/levels.csv is missing" in error


def test_a_misspelt_study_is_answered_with_those_that_are_like_it(tmp_path, report, places):
    for name in ("lenet", "lenet-quick", "other"):
        write_study(tmp_path / "results", name, **SMALL)
    missing = f"{tmp_path}/results/%s/levels.csv is missing; "
    _, _, error = report("lenett", *places)
    assert error == missing % "lenett" + "did you mean lenet?\n"
    _, _, error = report("nonesuch", *places)
    assert error == missing % "nonesuch" + "studies there: lenet, lenet-quick, other\n"
    _, _, error = report("conv2", *places)
    assert error.startswith(
        missing % "conv2" + "make it with `python experiments/run_grid.py conv2"
    )


def test_no_study_at_all_is_one_line_and_status_2(tmp_path, report, places):
    status, _, error = report(*places)
    assert status == 2
    assert error.count("\n") == 1
    assert "run_grid.py" in error


@pytest.mark.parametrize(
    ("name", "text"), [("study.yaml", "a: ["), ("manifest.json", "{"), ("levels.csv", "study\n")]
)
def test_a_broken_study_is_named_and_does_not_keep_the_others_back(
    tmp_path, report, name, text, places
):
    for study in ("a_broken", "whole"):
        write_study(tmp_path / "results", study, **{**SMALL, "draws": {"dense": 1}})
    (tmp_path / "results/a_broken" / name).write_text(text)
    status, _, error = report(*places)
    assert status == 2
    assert error.count("\n") == 1
    assert f"a_broken/{name} cannot be read" in error
    assert (tmp_path / "results/whole/report.html").is_file()


def test_a_report_that_cannot_be_written_is_one_line(tmp_path, report, places):
    folder = write_study(tmp_path / "results", "one", **SMALL)
    (folder / "report.md").mkdir()
    status, _, error = report("one", *places)
    assert status == 2
    assert error.count("\n") == 1
    assert "report.md cannot be written" in error


def test_help_names_every_option(report, places):
    status, text, _ = report("--help")
    assert status == 0
    for word in ("STUDY", "--results-dir", "--plots-dir", "default"):
        assert word in text
