"""README's Python is run as it stands, on small random data under the name of MNIST."""

import re
import runpy
import shlex
import shutil
import sys
from pathlib import Path

import pytest
import torch
import yaml

from lottery import Dataset, Examples, PruneConfig, TrainConfig
from lottery.analysis.report import write
from lottery.data import DATASETS
from lottery.data.boxes import Scenes
from lottery.detection import Detection
from lottery.study import StudyConfig, run_study

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
TYPED = [line for line in README.replace("\\\n", "").splitlines() if line.startswith("    ")]
COMMANDS = re.findall(r"python (experiments/[^&\n]+)", "\n".join(TYPED))
BLOCKS = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def small_mnist(data_dir: object) -> Dataset:
    """5,600 training and 100 test images of 28 × 28 random pixels."""
    generator = torch.Generator().manual_seed(0)

    def examples(n: int) -> Examples:
        pixels = torch.randint(0, 256, (n, 28, 28), dtype=torch.uint8, generator=generator)
        return Examples(pixels, torch.arange(n) % 10)

    return Dataset("mnist", examples(5600), examples(100), classes=10)


def small_scenes(
    data_dir: object,
    folder: str = "",
    size: int = 160,
    classes: str = "ten",
    train: int = 0,
    val: int = 0,
    test: int = 0,
    drop_broken: bool = False,
) -> Dataset:
    """20 dark pictures a part with one box, of three classes in a folder of one's own, or ten."""
    names = ("red", "white", "platelets") if folder else tuple("0123456789")
    objective = Detection(names, torch.rand(5, 2))
    pictures = torch.zeros(20, size, size, 3, dtype=torch.uint8)
    scenes = Scenes(pictures, torch.tensor([[[0, 0.1, 0.1, 0.5, 0.5, 0]]] * 20), objective)
    return Dataset("scenes", scenes, scenes, classes=len(names), val=scenes)


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


def test_readme_data_set_is_found_by_reference(somewhere: Path) -> None:
    block = next(block for block in BLOCKS if "def digits" in block)
    (somewhere / "mine.py").write_text(block)
    assert "data: mine:digits" in README
    assert "--data mine:digits" in README
    parts = {"train": 300, "test": 50}
    images = {f"{part}_images": torch.rand(n, 28, 28) for part, n in parts.items()}
    labels = {f"{part}_labels": torch.arange(n) % 10 for part, n in parts.items()}
    torch.save(images | labels, somewhere / "digits.pt")
    config = StudyConfig.from_dict(
        yaml.safe_load("{name: digits, data: mine:digits, validation: 50, levels: 0, seeds: [0]}")
        | {"inits": ["xavier_normal"], "train": {"duration": "1ep"}}
    )
    result = run_study(config, data_dir=somewhere, workers=0, quiet=True)
    sys.modules.pop("mine", None)
    assert not result.failures
    assert list(result.levels["steps"]) == [(300 - 50) // 60]


@pytest.mark.parametrize("command", sorted(set(COMMANDS)))
def test_readme_command_is_one_that_can_be_typed(
    command: str, somewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Studies are planned, without measuring or trying how these few images are pruned; of other
    programs the arguments are parsed."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr("lottery.study.plan._seconds_of_level", lambda *_: 1.0)
    monkeypatch.setattr("lottery.study.program.check", lambda *_: None)
    monkeypatch.setattr("lottery.study.detector_program.problems", lambda *_: [])
    for name in ("digit_scenes", "voc"):
        monkeypatch.setitem(DATASETS._functions, name, small_scenes)
    asked: list[str] = []
    monkeypatch.setattr(
        "lottery.analysis.command_line.for_each_study",
        lambda make, options, configs: asked.extend(options.study) or 0,
    )
    (somewhere / "mine.py").write_text(next(block for block in BLOCKS if "half_xavier" in block))
    found = re.search(r"^```yaml\n(model:.*?)^```", README, re.MULTILINE | re.DOTALL)
    assert found, "README's study of one's own"
    for name in ("mine", "my_study"):
        (somewhere / f"{name}.yaml").write_text(found[1])
    program, *arguments = shlex.split(command, comments=True)
    names = runpy.run_path(str(ROOT / program))
    if "PROGRAM" in names:
        assert names["PROGRAM"].main([*arguments, "--dry-run"]) == 0
    elif "for_each_study" in names:
        assert names["main"](arguments) == 0
    elif "make_parser" in names:
        names["make_parser"]().parse_args(arguments)
    else:
        pytest.fail(f"{program} has nothing that its arguments could be tried on")
    sys.modules.pop("mine", None)
    shipped = {path.stem for path in (ROOT / "experiments" / "configs").glob("*.yaml")}
    assert set(asked) <= {"mine", *shipped}


def test_readme_has_a_command_of_every_kind() -> None:
    block = README.partition("## Commands\n")[2].partition("\n`--help`")[0]
    inside = [line for line in block.splitlines() if line.startswith("    python ")]
    assert len(inside) == block.count("python ") == 7
    assert {line.strip().removeprefix("python ") for line in inside} <= set(COMMANDS)


def test_readme_names_every_study() -> None:
    for config in (ROOT / "experiments" / "configs").glob("*.yaml"):
        assert f"`{config.stem}`" in README


def test_readme_shows_figures_that_exist() -> None:
    images = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", README)
    assert images
    for image in images:
        assert (ROOT / image).is_file()
