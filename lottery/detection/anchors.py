"""Anchors: typical sizes of boxes, (width, height) as fractions of the image in its own size.

A detector predicts every box as a change of an anchor (Redmon & Farhadi 2017, section 2).
"""

import torch
from torch import Generator, Tensor

from lottery.detection.iou import size_iou
from lottery.errors import ConfigError, check_whole
from lottery.seeds import generator

_CELLS = 13
"""Of a side at 416×416, in which darknet gives its anchors."""
VOC_ANCHORS = (
    torch.tensor(
        [
            (1.3221, 1.73145),
            (3.19275, 4.00944),
            (5.05587, 8.09892),
            (9.47112, 4.84053),
            (11.2364, 10.0071),
        ]
    )
    / _CELLS
)
"""Of darknet's yolov2-voc, 5×2."""
TINY_VOC_ANCHORS = (
    torch.tensor([(1.08, 1.19), (3.42, 4.41), (6.63, 11.38), (9.42, 5.11), (16.62, 10.52)]) / _CELLS
)
"""Of darknet's yolov2-tiny-voc, 5×2."""


def box_sizes(boxes: Tensor) -> Tensor:
    """(width, height) of all boxes of a data set that are not padding.

    boxes: (..., 6), rows (class, x0, y0, x1, y1, difficult) -> sizes: (n, 2).
    """
    real = boxes[boxes[..., 0] >= 0]
    return real[:, 3:5] - real[:, 1:3]


def mean_iou(sizes: Tensor, anchors: Tensor) -> float:
    """How well anchors fit: the mean over boxes of the IoU with the best anchor (their table 1).

    sizes: (n, 2), anchors: (k, 2).
    """
    return float(size_iou(sizes.double(), anchors.double()).amax(dim=1).mean())


def cluster_anchors(sizes: Tensor, count: int = 5, seed: int = 0, starts: int = 10) -> Tensor:
    """Anchors for boxes of these sizes, by k-means with distance 1 - IoU (their section 2).

    sizes: (n, 2) -> (count, 2), float32, in order of area. The best of several starts by the mean
    distance. Raises ConfigError where there are fewer different sizes than anchors, or one is not
    above 0.
    """
    if not bool((sizes > 0).all()):
        raise ConfigError("sizes", sizes.min().item(), "widths and heights above 0")
    exact = sizes.double().cpu()
    different = len(exact.unique(dim=0))
    check_whole("anchors", count, 1, "sizes")
    if count > different:
        raise ConfigError("anchors", count, f"1 to {different}, as there are so many sizes of box")
    chance = generator(seed, "anchors")
    found = [_k_means(exact, _spread(exact, count, chance)) for _ in range(starts)]
    best = max(found, key=lambda anchors: mean_iou(exact, anchors))
    return best[best.prod(dim=1).argsort(stable=True)].float()


def _spread(sizes: Tensor, count: int, chance: Generator) -> Tensor:
    """First centres, drawn from the boxes by their squared distance to those drawn before.

    That is k-means++ (Arthur & Vassilvitskii 2007): no two are the same.
    """
    centres = sizes[torch.randint(len(sizes), (1,), generator=chance)]
    while len(centres) < count:
        distance = (1 - size_iou(sizes, centres).amax(dim=1)).clamp(min=0)
        # A size that is a centre has distance 0 but for rounding, and is not to be drawn again.
        weight = torch.where(distance > 1e-12, distance.square(), 0.0)
        drawn = sizes[torch.multinomial(weight, 1, generator=chance)]
        centres = torch.cat([centres, drawn])
    return centres


def _k_means(sizes: Tensor, centres: Tensor) -> Tensor:
    """Lloyd's iteration until it stands still: (count, 2).

    Of a cluster's mean, its median and the centre it has, that with the greatest mean IoU is its
    next centre: the mean alone, which is the best centre under squared distances, may be worse
    under this one, and the iteration might not end.
    """
    while True:
        nearest = _fill(sizes, centres, size_iou(sizes, centres).argmax(dim=1))
        moved = torch.stack(
            [_centre(sizes[nearest == k], centre) for k, centre in enumerate(centres)]
        )
        if mean_iou(sizes, moved) <= mean_iou(sizes, centres):
            return centres
        centres = moved


def _fill(sizes: Tensor, centres: Tensor, nearest: Tensor) -> Tensor:
    """Empty clusters take the box that fits its centre worst; those of one box keep it."""
    nearest = nearest.clone()
    for empty in range(len(centres)):
        members = nearest.bincount(minlength=len(centres))
        if members[empty] == 0:
            fit = size_iou(sizes, centres).gather(1, nearest[:, None]).squeeze(1)
            fit[members[nearest] == 1] = torch.inf
            nearest[fit.argmin()] = empty
    return nearest


def _centre(members: Tensor, centre: Tensor) -> Tensor:
    candidates = torch.stack([centre, members.mean(dim=0), members.median(dim=0).values])
    return candidates[size_iou(members, candidates).mean(dim=0).argmax()]
