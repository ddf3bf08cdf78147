"""Keeping the highest of scores, to an exact count: what weights and filters have in common."""

import torch
from torch import Generator, Tensor

from lottery.errors import ConfigError


def highest(scores: Tensor, alive: Tensor, count: int, generator: Generator) -> Tensor:
    """Mask of the `count` highest scores among those alive; ties fall in random, seeded order.

    scores, alive: of one shape, which is the mask's. No score of what is alive is NaN.
    """
    candidates = alive.flatten().nonzero().flatten()
    if not 0 <= count <= len(candidates):
        raise ConfigError("weights to keep", count, f"0 to the {len(candidates)} that remain")
    shuffled = candidates[torch.randperm(len(candidates), generator=generator).to(alive.device)]
    values = scores.detach().flatten()[shuffled]
    kept = torch.zeros(alive.numel(), dtype=torch.bool, device=alive.device)
    if count:
        # A tenth of the time of sorting: all above the lowest kept, and as many of its ties as fit.
        lowest = values.topk(count, sorted=False).values.min()
        above = values > lowest
        kept[shuffled[above]] = True
        kept[shuffled[values == lowest][: count - int(above.sum())]] = True
    return kept.view(alive.shape)


def in_steps(alive: int, keep: int, iterations: int) -> list[int]:
    """How many to keep after each iteration: from `alive` down by equal factors to `keep`.

    >>> in_steps(100, 25, 2)
    [50, 25]
    """
    share = keep / alive if alive else 0.0
    counts = [round(alive * share ** (k / iterations)) for k in range(1, iterations)]
    return [*counts, keep]
