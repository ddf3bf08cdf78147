"""README's Python is run as it stands, on small random data under the name of MNIST."""

import re
import shutil
import sys
from pathlib import Path

import pytest
import torch
import yaml

from lottery import Dataset, Examples, PruneConfig, TrainConfig
from lottery.analysis.report import write
from lottery.data import DATASETS
from lottery.study import StudyConfig, run_study

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def small_mnist(data_dir: object) -> Dataset:
    """5,600 training and 100 test images of 28 × 28 random pixels."""
    generator = torch.Generator().manual_seed(0)

    def examples(n: int) -> Examples:
        pixels = torch.randint(0, 256, (n, 28, 28), dtype=torch.uint8, generator=generator)
        return Examples(pixels, torch.arange(n) % 10)

    return Dataset("mnist", examples(5600), examples(100), classes=10)


@pytest.fixture
def somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder with the committed tables of `lenet`, and small data."""
    shutil.copytree(ROOT / "results" / "lenet", tmp_path / "results" / "lenet")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(DATASETS._functions, "mnist", small_mnist)
    return tmp_path


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_readme_block_runs(block: str, somewhere: Path) -> None:
    exec(compile(block, "README.md", "exec"), {})


def test_readme_extensions_are_found_by_reference(somewhere: Path) -> None:
    block = next(block for block in BLOCKS if "def half_xavier" in block)
    (somewhere / "mine.py").write_text(block)
    command = re.search(r"--name mine .*?movement$", README, re.MULTILINE | re.DOTALL)
    assert command, "README's command for one's own functions"
    for option in ('"mine:mlp(hidden=100)"', "mine:half_xavier(factor=0.25)", "mine:movement"):
        assert option in command[0]
    config = StudyConfig(
        name="mine",
        model="mine:mlp(hidden=100)",
        inits=["xavier_normal", "mine:half_xavier(factor=0.25)"],
        seeds=[0],
        levels=1,
        train=TrainConfig(duration="1ep"),
        prune=PruneConfig(criterion="mine:movement"),
    )
    result = run_study(config, workers=0, quiet=True)
    sys.modules.pop("mine", None)
    assert not result.failures
    assert result.levels["weights_remaining"].min() == pytest.approx(0.8, abs=0.01)


def test_readme_compares_own_schemes_and_criteria_with_the_built_in_ones(
    somewhere: Path,
) -> None:
    block = next(block for block in BLOCKS if "def half_xavier" in block)
    (somewhere / "mine.py").write_text(block)
    found = re.search(r"^```yaml\n(model:.*?mine:.*?)^```", README, re.MULTILINE | re.DOTALL)
    assert found, "README's study of one's own"
    settings = yaml.safe_load(found[1])
    assert len(found[1].splitlines()) <= 10
    quick = {"name": "mine", "seeds": [0], "levels": 1, "train": {"duration": "5it"}}
    config = StudyConfig.from_dict(settings | quick)
    result = run_study(config, workers=0, quiet=True)
    report, _ = write("mine")
    sys.modules.pop("mine", None)
    assert not result.failures
    text = report.read_text()
    assert "mine:half_xavier(factor=0.25)" in text
    assert "scheme_by_method.png" in text
    assert "## Travel of weights" in text


def test_readme_names_every_study() -> None:
    for config in (ROOT / "experiments" / "configs").glob("*.yaml"):
        assert f"`{config.stem}`" in README


def test_readme_shows_figures_that_exist() -> None:
    images = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", README)
    assert images
    for image in images:
        assert (ROOT / image).is_file()
