"""Trying a criterion on a small layer: whether it works, and what it ranks."""

import torch
from torch import Tensor, nn

from lottery.pruning.criteria.base import CRITERIA, Context, Criterion, Layer, check_scores
from lottery.pruning.network import Network

SIDE, IMAGES = 4, 40
TRIAL = f"a linear layer of {SIDE} neurons"


def trial(criterion: str | Criterion, trained: bool = False, images: int = IMAGES) -> Tensor:
    """Scores of the weight of a linear layer of 4 neurons and 4 inputs, followed by batch norm.

    (4, 4), or (4,) if it ranks filters. Weights are random; trained: they are not the initial ones.
    images: as many as it will have, as it may want more mini-batches than fewer give. Raises what
    the criterion raises, and ConfigError for scores of another shape.
    """
    chance = torch.Generator().manual_seed(0)
    model = nn.Sequential(
        nn.utils.skip_init(nn.Linear, SIDE, SIDE, bias=False), nn.BatchNorm1d(SIDE)
    )
    weight = torch.randn(SIDE, SIDE, generator=chance)
    state = model.state_dict() | {"0.weight": weight}
    batch = torch.rand(images, SIDE, generator=chance), torch.arange(images) % SIDE
    context = Context(chance, Network(model, state, *batch))
    initial = torch.randn(SIDE, SIDE, generator=chance) if trained else weight
    scores: Tensor = CRITERIA.resolve(criterion)(Layer("0.weight", weight, initial), context)
    check_scores(criterion, TRIAL, scores, weight.shape, weight.shape[:1])
    return scores


def ranks_filters(criterion: str | Criterion, images: int = IMAGES) -> bool:
    """Whether a criterion scores whole filters, and not single weights."""
    return trial(criterion, images=images).dim() == 1
