"""What the output of a detector means: boxes, objectness and classes, and the detections.

For each cell and anchor a detector gives tx, ty, tw, th, to and logits of the classes (Redmon &
Farhadi 2017, section 2). The box's centre lies at (σ(tx), σ(ty)) within the cell, its size is the
anchor's times (exp tw, exp th), and its score for a class is σ(to) × softmax(logits).
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.ops import batched_nms

from lottery.errors import ConfigError

CANDIDATES = 1000
"""Pairs of box and class of an image, by score, among which duplicates are looked for: all that are
above the threshold, but of a detector that has learnt little, which may have 845 × 20 at 416."""


@dataclass(frozen=True, eq=False)
class Grid:
    """Raw output by anchor and cell: N = anchors × rows × columns predictions, in this order.

    In float32, or float64 where the output is.
    """

    place: Tensor
    """σ(tx), σ(ty): (batch, N, 2)."""
    change: Tensor
    """tw, th: (batch, N, 2)."""
    objectness: Tensor
    """σ(to): (batch, N)."""
    logits: Tensor
    """(batch, N, classes)."""
    boxes: Tensor
    """Corners: (batch, N, 4)."""
    rows: int
    columns: int


def read(output: Tensor, anchors: Tensor) -> Grid:
    """Tell the numbers apart that a detector gives.

    output: (batch, anchors × (5 + classes), rows, columns). anchors: (anchors, 2), on any device,
    as fractions of the images shown.
    """
    batch, channels, rows, columns = output.shape
    per_anchor, rest = divmod(channels, len(anchors))
    if rest or per_anchor < 6:
        allowed = f"a number that divides the {channels} channels of the output into 5 + classes"
        raise ConfigError("number of anchors", len(anchors), allowed)
    values = output.to(torch.promote_types(output.dtype, torch.float32))
    values = values.reshape(batch, len(anchors), per_anchor, rows * columns).transpose(2, 3)
    values = values.reshape(batch, -1, per_anchor)
    place, change = values[..., 0:2].sigmoid(), values[..., 2:4]
    cell = torch.arange(rows * columns, device=output.device)
    corner = torch.stack([cell % columns, cell // columns], dim=1).repeat(len(anchors), 1)
    cells = torch.tensor([columns, rows], dtype=values.dtype, device=output.device)
    centre = (place + corner) / cells
    prior = anchors.to(values).repeat_interleave(rows * columns, dim=0)
    half = change.exp() * prior / 2
    return Grid(
        place=place,
        change=change,
        objectness=values[..., 4].sigmoid(),
        logits=values[..., 5:],
        boxes=torch.cat([centre - half, centre + half], dim=-1),
        rows=rows,
        columns=columns,
    )


def decode(output: Tensor, anchors: Tensor) -> tuple[Tensor, Tensor]:
    """Boxes, cut off at the image's edges, and their scores for each class.

    output: (batch, anchors × (5 + classes), rows, columns), anchors: (anchors, 2)
    -> (batch, N, 4) and (batch, N, classes), N = anchors × rows × columns.
    """
    grid = read(output, anchors)
    scores = grid.objectness[..., None] * grid.logits.softmax(dim=-1)
    return grid.boxes.clamp(0, 1), scores


@torch.no_grad()
def detections(
    output: Tensor,
    anchors: Tensor,
    threshold: float = 0.005,
    nms: float = 0.45,
    limit: int = 100,
) -> Tensor:
    """The boxes to report, best first: (batch, limit, 6), rows (class, x0, y0, x1, y1, score).

    Rows that are not needed are padding, of class -1 and zeros. A box is reported for every class
    for which its score is above `threshold`, unless it overlaps a better one of the class by an IoU
    above `nms`. The defaults are darknet's for average precision; to look at, 0.25 and more is a
    better threshold.
    """
    boxes, scores = decode(output, anchors)
    batch, _, classes = scores.shape
    best, index = scores.flatten(1).topk(min(CANDIDATES, scores[0].numel()))
    image, rank = (best > threshold).nonzero(as_tuple=True)
    index, best = index[image, rank], best[image, rank]
    label = index % classes
    found = boxes[image, index // classes]
    kept = batched_nms(found, best, image * classes + label, nms)
    kept = kept[image[kept].argsort(stable=True)]  # by image, within it by score still
    image, label, found, best = image[kept], label[kept], found[kept], best[kept]
    counts = image.bincount(minlength=batch)
    place = torch.arange(len(image), device=image.device) - (counts.cumsum(0) - counts)[image]
    rows = torch.cat([label[:, None].to(found), found, best[:, None]], dim=1)
    report = torch.zeros(batch, limit, 6, dtype=rows.dtype, device=rows.device)
    report[..., 0] = -1
    shown = place < limit
    report[image[shown], place[shown]] = rows[shown]
    return report
