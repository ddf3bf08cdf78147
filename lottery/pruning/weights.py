"""Pruning single weights by a criterion, to an exact count.

masks = prune(masks, weights, initial, keep, criterion="movement", scope="global")
"""

from collections.abc import Mapping

import torch
from torch import Generator, Tensor

from lottery.errors import ConfigError
from lottery.pruning.criteria import CRITERIA, Context, Criterion, Layer
from lottery.pruning.criteria.base import check_numbers, check_scores
from lottery.pruning.masks import Masks, split_like
from lottery.pruning.network import Network
from lottery.pruning.selection import highest, in_steps


def prune(
    masks: Masks,
    weights: Mapping[str, Tensor],
    initial: Mapping[str, Tensor],
    keep: Mapping[str, int],
    *,
    criterion: str | Criterion = "magnitude",
    scope: str = "layer",
    iterations: int = 1,
    generator: Generator | None = None,
    network: Network | None = None,
) -> Masks:
    """Masks within `masks` that keep exactly the highest-scoring weights.

    weights, initial: trained and initial values by parameter name. keep: weights to keep per
    parameter; with scope "global" their sum is kept, ranked over all layers with anything to
    prune together. iterations: rankings, each of what the last one kept and each keeping the same
    share (Tanaka et al. 2020, alg. 1). generator: draws scores of random criteria and the order
    among ties. network: what criteria on gradients need, in the state of `weights`.
    """
    if scope not in ("layer", "global"):
        raise ConfigError("scope", scope, "layer, global")
    generator = generator or torch.Generator().manual_seed(0)
    pools = [[name] for name in masks]
    if scope == "global":
        pools = [[name for name in masks if keep[name] < masks[name].numel()]]
    targets = {
        pool[0]: in_steps(
            sum(masks.remaining[name] for name in pool), sum(keep[n] for n in pool), iterations
        )
        for pool in pools
        if pool
    }
    for iteration in range(iterations):
        context = Context(generator, network.under(masks) if network else None)
        scores = _scores(masks, weights, initial, criterion, context)
        found = dict(masks)
        for pool in filter(None, pools):
            joined = highest(
                torch.cat([scores[name].flatten() for name in pool]),
                torch.cat([masks[name].flatten() for name in pool]),
                targets[pool[0]][iteration],
                generator,
            )
            found |= split_like(joined, {name: masks[name] for name in pool})
        masks = Masks(found)
    return masks


def _scores(
    masks: Masks,
    weights: Mapping[str, Tensor],
    initial: Mapping[str, Tensor],
    criterion: str | Criterion,
    context: Context,
) -> dict[str, Tensor]:
    """Scores of all weights, each layer's of its own shape."""
    score = CRITERIA.resolve(criterion)
    scores = {}
    for name, mask in masks.items():
        found = score(Layer(name, weights[name], initial[name]), context)
        check_scores(criterion, f"weights of {name!r}", found, mask.shape)
        scores[name] = found.to(mask.device)
        check_numbers(criterion, f"weights of {name!r}", scores[name][mask])
    return scores
