"""Data: published image data sets verified and cached, splits, device-resident batches."""

from lottery.data.batches import Batches
from lottery.data.images import DATASETS, Dataset, Examples, Splits, load, split
from lottery.data.sources import data_dir

__all__ = ["DATASETS", "Batches", "Dataset", "Examples", "Splits", "data_dir", "load", "split"]
