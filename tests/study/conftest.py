import pytest

from lottery.study import run_study
from tests import tiny


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A finished study, to be read or copied: tickets, dense baselines and reinitialisations."""
    place = tmp_path_factory.mktemp("finished")
    return run_study(tiny.with_controls(), results_dir=place, workers=0, quiet=True)


@pytest.fixture(scope="session")
def finished_config():
    return tiny.with_controls()
