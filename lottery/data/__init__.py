"""Data: published image data sets verified and cached, splits, device-resident batches."""

from lottery.data import detection as _registered  # noqa: F401 (its data sets by name)
from lottery.data.batches import Batches
from lottery.data.boxes import Scenes
from lottery.data.images import DATASETS, Dataset, Examples, Splits, load, split
from lottery.data.sources import data_dir

__all__ = [
    "DATASETS",
    "Batches",
    "Dataset",
    "Examples",
    "Scenes",
    "Splits",
    "data_dir",
    "load",
    "split",
]
