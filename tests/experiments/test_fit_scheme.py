"""The command writes a file that a study can use, and never another one under its name."""

import json
import subprocess
import sys

import pytest

from experiments import fit_scheme
from tests import tiny


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("results")
    assert not tiny.run_here(tiny.config(), place).failures
    return place


def fitted(place, out, *more):
    arguments = ["tiny", "--level", "1", "--init", "normal( 0.3 )", "--out", str(out)]
    return fit_scheme.main([*arguments, "--results-dir", str(place), *more])


def test_a_file_is_made_and_a_study_of_other_seeds_uses_it(place, tmp_path, capsys):
    out = tmp_path / "schemes" / "tiny.json"
    assert fitted(place, out, "--seeds", "0,1") == 0
    assert capsys.readouterr().out.strip() == str(out)
    values = json.loads(out.read_text())
    assert (values["seeds"], values["source"]["init"]) == ([0, 1], "normal(0.3)")
    config = tiny.config(inits=[f"ticket_informed({str(out)!r}, scale=false)"], seeds=[2])
    assert not tiny.run_here(config, tmp_path).failures


def test_a_file_of_other_tickets_is_not_written_over(place, tmp_path, capsys):
    out = tmp_path / "tiny.json"
    assert fitted(place, out, "--seeds", "0") == fitted(place, out, "--seeds", "0") == 0
    before = out.read_text()
    assert fitted(place, out, "--seeds", "1") == 2
    assert "holds another scheme; write to a new file" in capsys.readouterr().err
    assert out.read_text() == before
    other = tmp_path / "trained.json"
    assert fitted(place, other, "--seeds", "0", "--values", "trained") == 0
    assert other.read_text() != before


def test_what_cannot_be_fitted_is_one_line(place, tmp_path, capsys):
    assert fitted(place, tmp_path / "tiny.json", "--seeds", "9") == 2
    assert capsys.readouterr().err == "fit_scheme.py: seeds is [9]; allowed: some of 0, 1\n"
    for text in ("a", "0,,1", ""):
        assert fitted(place, tmp_path / "tiny.json", "--seeds", text) == 2
        allowed = f"--seeds is {text!r}; allowed: whole numbers, as 0,1,2\n"
        assert capsys.readouterr().err == f"fit_scheme.py: {allowed}"
    assert not (tmp_path / "tiny.json").exists()


def test_help_shows_an_example():
    command = [sys.executable, "experiments/fit_scheme.py", "--help"]
    found = subprocess.run(
        command, cwd=tiny.ROOT, env=tiny.environment(), capture_output=True, text=True
    )
    assert found.returncode == 0
    assert "--out experiments/schemes/lenet.json" in found.stdout
