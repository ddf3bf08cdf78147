import json
import os
import runpy
import sys

import pytest

from lottery.benchmark import run as benchmark_run
from tests import tiny

PROGRAM = tiny.ROOT / "experiments" / "benchmark.py"
CONV = tiny.YAML.replace("tests.tiny:net", "tests.tiny:conv_net")


@pytest.fixture
def benchmark(tmp_path, capsys, monkeypatch):
    """Run the program on tiny studies in an empty folder; its status, output and error output."""
    monkeypatch.setattr(sys, "argv", ["experiments/benchmark.py"])
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(benchmark_run, "MORE_LAYERS", ())
    (tmp_path / "tiny.yaml").write_text(tiny.YAML)
    (tmp_path / "conv.yaml").write_text(CONV)
    program = runpy.run_path(str(PROGRAM))

    def run(*arguments):
        studies = ["--step-studies", "tiny.yaml", "conv.yaml", "--study", "tiny.yaml"]
        try:
            argv = [*map(str, arguments), *studies, "--grid", "tiny.yaml"]
            status = program["main"](argv)
        except SystemExit as leaving:
            status = leaving.code
        return status, *capsys.readouterr()

    return run


def test_a_quick_run_measures_everything_and_keeps_it(benchmark, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    status, printed, error = benchmark("--quick", "--engines", "reference")
    assert status == 0, error
    (path,) = (tmp_path / "results" / "benchmark").iterdir()
    assert path.name.endswith("-2-cores-quick.json")
    found = json.loads(path.read_text())
    assert set(found) == {"machine", "settings", "step", "study", "grid", "seconds"}
    assert found["machine"]["threads"] >= 1
    steps = {(row["network"], row["engine"]) for row in found["step"]["rows"]}
    networks = ("tests.tiny:net", "tests.tiny:conv_net")
    assert steps == {(net, engine) for net in networks for engine in ("floor", "reference")}
    assert {row["network"] for row in found["step"]["options"]} == {"tests.tiny:conv_net"}
    assert [row["layer"] for row in found["step"]["kernels"]] == ["16×12 (first)", "12×3", "64×3"]
    assert [row["engine"] for row in found["study"]["rows"]] == ["reference", "the usual way"]
    assert [row["workers"] for row in found["grid"]["rows"]] == [1, 2]
    usual = found["study"]["rows"][1]["steps_per_second"]
    for row in found["grid"]["rows"]:
        ratio = row["steps_per_second"] / usual
        assert row["speed_up_over_usual"] == pytest.approx(ratio, rel=1e-4)
    assert str(path.name) in printed
    assert "too short to quote" in printed

    status, again, _ = benchmark("--show", path)
    assert status == 0
    assert again.split() == printed[: printed.index("Written to")].split()


def test_a_part_alone_is_kept_under_its_name(benchmark, tmp_path):
    status, _, error = benchmark("--quick", "--parts", "study", "--levels", "1", "--epochs", "1")
    assert status == 0, error
    (path,) = (tmp_path / "results" / "benchmark").iterdir()
    assert path.name.endswith("-study-quick.json"), "it would replace the whole benchmark"
    found = json.loads(path.read_text())
    assert "step" not in found
    assert (found["study"]["levels"], found["study"]["steps_per_level"]) == (2, 5)
    assert benchmark("--quick", "--parts", "study", "--out", "here.json")[0] == 0
    assert (tmp_path / "here.json").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--parts", "steps"], "invalid choice: 'steps'"),
        (["--repeats", "0"], "'0' is not a whole number of at least 1"),
        (["--repeats", "few"], "'few' is not a whole number of at least 1"),
        (["--engines", "fast"], "engines is 'fast'; allowed: reference"),
        (["--device", "tpu"], "device is 'tpu'; allowed: auto, cpu, cuda"),
        (["--no-such-option"], "--no-such-option"),
    ],
)
def test_bad_arguments_are_told_with_status_2(benchmark, arguments, message):
    status, _, error = benchmark("--quick", *arguments)
    assert status == 2
    assert message in error
    assert "Traceback" not in error


def test_a_file_that_is_not_there_is_a_line_and_status_1(benchmark):
    status, _, error = benchmark("--show", "nowhere.json")
    assert status == 1
    assert "nowhere.json cannot be read" in error
    assert error.count("\n") == 1


def test_help_names_the_parts(benchmark):
    status, text, _ = benchmark("--help")
    assert status == 0
    for word in ("--parts", "--quick", "--show", "step", "study", "grid", "--usual-levels"):
        assert word in text
