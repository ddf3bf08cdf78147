import runpy

import pytest

from tests.tiny import ROOT


@pytest.fixture
def program(capsys):
    """Runs a program of experiments/ with some arguments: its status, output and error output."""

    def run(name, *arguments):
        main = runpy.run_path(str(ROOT / "experiments" / name))["main"]
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as leaving:
            status = leaving.code
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def places(tmp_path):
    """Where its tables are and its figures go."""
    return "--results-dir", tmp_path / "results", "--plots-dir", tmp_path / "plots"
