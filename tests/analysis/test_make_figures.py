import subprocess
import sys
from pathlib import Path

from synthetic import write_study

ROOT = Path(__file__).parents[2]


def make_figures(*arguments):
    command = [sys.executable, "experiments/make_figures.py", *map(str, arguments)]
    environment = {"PYTHONPATH": str(ROOT), "PATH": ""}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


def places(folder):
    return "--results-dir", folder / "results", "--plots-dir", folder / "plots"


def test_every_study_is_drawn_unless_some_are_named(tmp_path):
    for name in ("one", "two"):
        write_study(tmp_path / "results", name, seeds=[0], levels=1, evaluations=1)
    named = make_figures("two", *places(tmp_path))
    assert named.returncode == 0
    assert {path.name for path in (tmp_path / "plots").iterdir()} == {"two"}
    every = make_figures(*places(tmp_path))
    assert every.returncode == 0
    assert {path.name for path in (tmp_path / "plots").iterdir()} == {"one", "two"}
    written = [Path(printed) for printed in every.stdout.splitlines()]
    assert sorted(written) == sorted((tmp_path / "plots").glob("*/*"))


def test_a_study_that_does_not_exist_is_one_line_and_status_2(tmp_path):
    done = make_figures("nonesuch", *places(tmp_path))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "nonesuch/levels.csv is missing" in done.stderr


def test_no_study_at_all_is_one_line_and_status_2(tmp_path):
    done = make_figures(*places(tmp_path))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "run_grid.py" in done.stderr


def test_a_broken_study_does_not_keep_the_others_from_being_drawn(tmp_path):
    for name in ("a_broken", "whole"):
        write_study(tmp_path / "results", name, seeds=[0], levels=1, evaluations=1)
    (tmp_path / "results/a_broken/curves.parquet").write_bytes(b"half")
    done = make_figures(*places(tmp_path))
    assert done.returncode == 2
    assert "a_broken/curves.parquet cannot be read" in done.stderr
    assert (tmp_path / "plots/whole/accuracy_by_weights.pdf").is_file()


def test_a_plots_folder_that_cannot_be_made_is_one_line(tmp_path):
    write_study(tmp_path / "results", "one", seeds=[0], levels=1, evaluations=1)
    (tmp_path / "plots").write_text("a file")
    done = make_figures(*places(tmp_path))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "cannot be written" in done.stderr


def test_help_names_every_option():
    text = make_figures("--help").stdout
    for word in ("STUDY", "--results-dir", "--plots-dir", "default"):
        assert word in text
