"""A data set, networks and schemes small enough to run whole studies in tests.

Studies name them as `tests.tiny:images`; worker processes find them because multiprocessing hands
them this process's path, commands because `environment` puts the repository on theirs.
"""

import dataclasses
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import yaml
from pandas.testing import assert_frame_equal
from torch import Generator, Size, Tensor, nn

from lottery.data.images import Dataset, Examples
from lottery.init import Fans, xavier_normal
from lottery.study import ControlsConfig, StudyConfig, StudyResult, run_study
from lottery.study.store import TABLES
from lottery.training.config import TrainConfig

ROOT = Path(__file__).resolve().parents[1]
RUN_GRID = ROOT / "experiments" / "run_grid.py"


def images(data_dir: Path, side: int = 4, train: int = 200, test: int = 90) -> Dataset:
    """Three classes of noisy grey images: each class has a bright row of its own."""
    stream = torch.Generator().manual_seed(1)

    def some(count: int) -> Examples:
        labels = torch.arange(count) % 3
        pixels = torch.rand((count, side, side), generator=stream) * 200
        pixels[torch.arange(count), labels] += 50
        return Examples(pixels.to(torch.uint8), labels)

    return Dataset("tiny", some(train), some(test), classes=3)


def net(inputs: int = 16, hidden: int = 12) -> nn.Module:
    """A linear network with one hidden layer."""
    return nn.Sequential(nn.Flatten(), nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, 3))


def conv_net() -> nn.Module:
    """A convolution, batch norm, dropout and a linear output."""
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(64, 3),
    )


def broken(shape: Size, fans: Fans, generator: Generator) -> Tensor:
    """A scheme that works on the small layer of the check and fails on every real one."""
    if len(shape) == 2 and shape[0] == shape[1] == 4:
        return xavier_normal(shape, fans, generator)
    raise ValueError("no weights [/for] you today")


def killed(shape: Size, fans: Fans, generator: Generator) -> Tensor:
    """A scheme that kills its process, as a lack of memory would."""
    if len(shape) == 2 and shape[0] == shape[1] == 4:
        return xavier_normal(shape, fans, generator)
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("unreachable")


def warned(shape: Size, fans: Fans, generator: Generator) -> Tensor:
    """A scheme that fails, and tells whether its process shows warnings of data."""
    if len(shape) == 2 and shape[0] == shape[1] == 4:
        return xavier_normal(shape, fans, generator)
    raise ValueError(f"heard: {logging.getLogger('lottery.data').isEnabledFor(logging.WARNING)}")


def config(**settings: Any) -> StudyConfig:
    """Two seeds, two schemes, levels 0 to 2 of 20 steps with 3 evaluations each."""
    defaults: dict[str, Any] = {
        "name": "tiny",
        "model": "tests.tiny:net",
        "data": "tests.tiny:images",
        "validation": 50,
        "inits": ["xavier_normal", "normal(0.3)"],
        "seeds": [0, 1],
        "levels": 2,
        "train": TrainConfig(duration="20it", batch_size=30, eval_every="8it", lr=0.01),
    }
    return StudyConfig(**{**defaults, **settings})


def with_controls(**settings: Any) -> StudyConfig:
    """A dense baseline and one reinitialisation beside each ticket."""
    return config(**{"controls": ControlsConfig(dense=True, reinit=1), **settings})


def train(**settings: Any) -> TrainConfig:
    """The training of `config` with some settings changed."""
    return dataclasses.replace(config().train, **settings)


YAML = """\
model: tests.tiny:net
data: tests.tiny:images
validation: 50
inits: [xavier_normal, normal(0.3)]
seeds: [0, 1]
levels: 2
train: {duration: 20it, batch_size: 30, eval_every: 8it, lr: 0.01}
"""
"""What `config` says, as a user writes it."""


def yaml_of(config: StudyConfig) -> str:
    """A configuration as a study's file."""
    return yaml.safe_dump(config.to_dict())


def environment(*path: Path) -> dict[str, str]:
    """Environment of a command that finds this module, and what is in the folders of `path`."""
    return os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (*path, ROOT)))}


def run_in_a_group(config: StudyConfig, place: Path) -> None:
    """Body of a process that leads a group of its own and runs a study with one worker."""
    os.setsid()
    run_study(config, results_dir=place, workers=1, quiet=True)


def start_grid(*arguments: object, path: tuple[Path, ...] = ()) -> subprocess.Popen[str]:
    """`python experiments/run_grid.py` with these arguments, in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, str(RUN_GRID), *map(str, arguments)],
        env=environment(*path),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def alive(group: int) -> list[int]:
    """Processes of a group that still run."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, process_group = status.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(process_group) == group and state != "Z":
            found.append(int(status.parent.name))
    return found


def wait_until(condition: Callable[[], object], seconds: float = 60.0) -> bool:
    """Whether the condition comes to hold within the time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return bool(condition())


def tables(folder: Path) -> list[pd.DataFrame]:
    """All three tables of a study, without the time."""
    levels = pd.read_csv(folder / "levels.csv").drop(columns="seconds")
    return [levels, *(pd.read_parquet(folder / name) for name in TABLES[1:])]


def assert_same_tables(one: Path, other: Path) -> None:
    """Number for number."""
    for left, right in zip(tables(one), tables(other), strict=True):
        assert_frame_equal(left, right, check_exact=True)


def run_here(config: StudyConfig, place: Path | str, **options: Any) -> StudyResult:
    """Run a study in this process, without a display."""
    return run_study(config, results_dir=place, **{"workers": 0, "quiet": True, **options})
