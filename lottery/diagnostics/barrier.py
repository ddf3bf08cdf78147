"""The loss barrier between two trained networks, on the straight line that joins them."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from lottery.data.images import Examples
from lottery.objectives import Metrics
from lottery.pruning.masks import State
from lottery.training.loop import evaluate, in_batches


def barriers(
    model: nn.Module,
    one: State,
    other: State,
    sets: dict[str, Examples],
    points: int,
) -> dict[str, float]:
    """loss_barrier and error_barrier on each set of examples, as loss_barrier_test.

    The highest value among `points` networks α·one + (1 − α)·other, evenly spaced from end to end,
    less the mean of the two ends (Frankle et al. 2020, 1912.05671, who took 30 points). Error is a
    fraction. Where there is batch norm its statistics are estimated anew at each point, on the
    first set. model: changed.
    """
    found: dict[str, list[Metrics]] = {name: [] for name in sets}
    for state in line(one, other, points):
        model.load_state_dict(state)
        _estimate_statistics(model, next(iter(sets.values())))
        for name, examples in sets.items():
            found[name].append(evaluate(model, examples))
    heights = {}
    for name, metrics in found.items():
        heights[f"loss_barrier_{name}"] = _height([m.loss for m in metrics])
        heights[f"error_barrier_{name}"] = _height([1 - m.accuracy for m in metrics])
    return heights


def line(one: State, other: State, points: int) -> Iterator[State]:
    """States evenly spaced from `other` to `one`, ends included; counts are those of `one`."""
    for alpha in np.linspace(0.0, 1.0, points):
        yield {
            name: torch.lerp(other[name], tensor, float(alpha))
            if tensor.is_floating_point()
            else tensor
            for name, tensor in one.items()
        }


@torch.no_grad()
def _estimate_statistics(model: nn.Module, examples: Examples) -> None:
    """Batch norm's means and variances of the weights as they are; all else in eval mode."""
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    model.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all batches
        norm.train()
    if norms:
        for images, _ in in_batches(examples):
            model(images)


def _height(values: list[float]) -> float:
    return max(values) - (values[0] + values[-1]) / 2
