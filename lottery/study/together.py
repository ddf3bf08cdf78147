"""How many cells are run side by side in one process."""

from collections.abc import Callable

from lottery.data.images import Dataset
from lottery.models import build
from lottery.pruning.masks import Masks
from lottery.study.config import StudyConfig
from lottery.training.engines import choose_engine
from lottery.training.procedures import NONE
from lottery.training.replicas import replicas_that_fit


def cells_together(
    config: StudyConfig, device: str, seeds: int, dataset: Callable[[], Dataset]
) -> int:
    """As many cells as train as one on the stacked engine, one on any other.

    seeds: different ones among the cells. dataset: loads the study's data onto the device.
    """
    if config.engine != "stacked" and (config.engine, device) != ("auto", "cuda"):
        return 1
    train = dataset().train
    images, _ = train.batch(slice(config.train.batch_size))
    model = build(config.model).to(device)
    during = config.prune.during != NONE
    masks = Masks.ones(model)
    engine = choose_engine(config.engine, model, masks, config.train, train, procedure=during)
    if engine != "stacked":
        return 1
    # Each seed has its own split, of which a stack holds another copy.
    data_bytes = 2 * seeds * train.images.numel() * train.images.element_size()
    return replicas_that_fit(model, images, config.train.precision, data_bytes)
