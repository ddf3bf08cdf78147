"""Pictures of coloured squares, which even a small detector soon finds.

Studies name them as `tests.squares:squares`, as they do `tests.tiny:images`.
"""

from pathlib import Path
from typing import Any

import torch

from lottery.data.boxes import Scenes, stack
from lottery.data.images import Dataset
from lottery.detection import Detection
from lottery.pruning.schedule import PruneConfig
from lottery.study import StudyConfig
from lottery.tickets.imp import RewindConfig
from lottery.training.config import TrainConfig

NAMES = ("red", "green")
SIDE, EDGE = 32, 12
MODEL = "tiny_yolo_v2(width=0.125, classes=2, anchors=1, stride=16, bn_momentum=0.1)"


def squares(data_dir: Path, train: int = 240, val: int = 10, test: int = 12) -> Dataset:
    """One square on each dark picture: red, or green; every fifth is difficult."""
    stream = torch.Generator().manual_seed(1)
    objective = Detection(NAMES, torch.tensor([[EDGE / SIDE, EDGE / SIDE]]))

    def some(count: int) -> Scenes:
        images = torch.randint(40, (count, SIDE, SIDE, 3), generator=stream, dtype=torch.uint8)
        rows = []
        for number in range(count):
            x, y = torch.randint(SIDE - EDGE + 1, (2,), generator=stream).tolist()
            label = number % 2
            images[number, y : y + EDGE, x : x + EDGE, label] = 220
            corners = [value / SIDE for value in (x, y, x + EDGE, y + EDGE)]
            rows.append(torch.tensor([[label, *corners, float(number % 5 == 4)]]))
        return Scenes(images, stack(rows), objective)

    return Dataset("squares", some(train), some(test), classes=2, val=some(val))


def config(**settings: Any) -> StudyConfig:
    """One seed, one scheme, level 0 of 300 steps and 1 of 100; a quarter of all filters go."""
    defaults: dict[str, Any] = {
        "name": "squares",
        "model": MODEL,
        "data": "tests.squares:squares",
        "inits": ["kaiming_normal"],
        "seeds": [0],
        "levels": 1,
        "train": TrainConfig(
            duration="300it", batch_size=20, eval_every="300it", lr=3e-3, lr_schedule="cosine"
        ),
        "prune": PruneConfig(criterion="l2", conv_rate=0.25, scope="global"),
        "rewind": RewindConfig(mode="learning_rate", to="200it"),
    }
    return StudyConfig(**{**defaults, **settings})
