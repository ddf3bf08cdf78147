"""Criteria on whole filters that their weights alone decide, and the opposite of others.

A filter is a row of the layer's weight: W[j] of shape (inputs, k, k) in a convolution, (inputs,) in
a linear layer, where it is a neuron. Scores are (filters,); the highest are kept. Filters pruned
earlier, and inputs from pruned filters, are not in the layer that a criterion is given.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from lottery.errors import ConfigError
from lottery.pruning.criteria.base import CRITERIA, Context, Layer

NORMALISERS: dict[str, Callable[[Tensor], Tensor]] = {
    "l2": lambda scores: scores.square().sum().sqrt(),
    "mean": lambda scores: scores.mean(),
    "max": lambda scores: scores.abs().amax(),
    "none": lambda scores: scores.new_ones(()),
}
"""What a layer's scores are divided by, so that layers can be ranked together."""


def over_layer(scores: Tensor, by: str) -> Tensor:
    """Scores of one layer over their ℓ2 norm, mean or maximum; zeros stay zeros.

    Divided by its ℓ2 norm a layer of n like filters scores 1 / √n each, so that in a global ranking
    wide layers lose more; divided by their mean or maximum they score 1 in any layer.
    """
    if by not in NORMALISERS:
        raise ConfigError("criterion option normalise", by, ", ".join(NORMALISERS))
    divisor = NORMALISERS[by](scores)
    return torch.where(divisor == 0, scores, scores / divisor)


@CRITERIA.register
def l1(layer: Layer, context: Context, normalise: str = "none") -> Tensor:
    """Σ|w| (Li et al. 2017, 1608.08710, sec. 3.1)."""
    return over_layer(_filters(layer).abs().sum(dim=1), normalise)


@CRITERIA.register
def l2(layer: Layer, context: Context, form: str = "mean", normalise: str = "l2") -> Tensor:
    """Mean square (1/|w|) Σw², over the ℓ2 norm of the layer's scores.

    The minimum weight criterion of Molchanov et al. 2017 (1611.06440, sec. 2.2) and its layer-wise
    normalisation. form: mean; rms, ‖w‖ / √|w|; plain, ‖w‖. All rank alike within a layer;
    how layers compare depends on it. normalise: l2, mean, max, none.
    """
    filters = _filters(layer)
    squares = filters.square().sum(dim=1)
    forms = {
        "mean": lambda: squares / filters.shape[1],
        "rms": lambda: (squares / filters.shape[1]).sqrt(),
        "plain": squares.sqrt,
    }
    if form not in forms:
        raise ConfigError("criterion l2's option form", form, ", ".join(forms))
    return over_layer(forms[form](), normalise)


@CRITERIA.register
def geometric_median(
    layer: Layer, context: Context, exact: bool = False, normalise: str = "none"
) -> Tensor:
    """Distance to the filters' geometric median; the nearest are the most replaceable.

    Filter pruning via geometric median (FPGM; He et al. 2019, 1811.00250). Relaxed, as the paper
    and its authors' code compute it: the sum of a filter's distances to all others. exact: the
    distance to the median itself, which minimises the sum of distances. Filters that are zero score
    0, and count in no distance: among several of them each would look replaceable.
    """
    filters = _filters(layer)
    alive = filters.any(dim=1)
    points = filters[alive]
    scores = torch.zeros_like(filters[:, 0])
    if exact and len(points):
        scores[alive] = (points - weiszfeld(points)).norm(dim=1)
    elif len(points):
        scores[alive] = _distances(points, points).sum(dim=1)
    return over_layer(scores, normalise)


def weiszfeld(points: Tensor, tolerance: float = 1e-6, steps: int = 1000) -> Tensor:
    """The point x that minimises Σ‖x − pᵢ‖, of points (n, d) in float64: (d,).

    A point that is itself the median is found by its optimality: the unit vectors from it to all
    others add up to no more than the number of points that it is. Towards it, iterations would only
    creep. Otherwise Weiszfeld's iteration from the mean, with the step of Vardi & Zhang (2000, PNAS
    97) at an x that is one of the points, where Weiszfeld's divides by 0. tolerance: of a step, in
    units of the points' spread; it stops after `steps` in any case.
    """
    pulls, inverse, equal = _pulls(points, points)
    excess = pulls.norm(dim=1) - equal
    if float(excess.min()) <= 0:
        return points[int(excess.argmin())]
    x = points.mean(dim=0, keepdim=True)
    spread = float((points - x).norm(dim=1).max())
    for _ in range(steps):
        pulls, inverse, equal = _pulls(x, points)
        pull = float(pulls.norm())
        free = max(0.0, 1 - float(equal) / pull) if pull else 0.0
        step = free * pulls / inverse.sum()
        x = x + step
        if float(step.norm()) <= tolerance * spread:
            break
    return x[0]


def _pulls(places: Tensor, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of places (m, d): the sum of unit vectors to the points elsewhere (m, d), the inverse
    distances to these (m, n), 0 to others, and how many points are there (m,)."""
    distances = _distances(places, points)
    inverse = torch.where(distances == 0, 0.0, 1 / distances)
    pulls = inverse @ points - inverse.sum(dim=1, keepdim=True) * places
    return pulls, inverse, (distances == 0).sum(dim=1)


def _distances(one: Tensor, other: Tensor) -> Tensor:
    """Between rows; by way of matrix products equal rows would not be at distance 0."""
    return torch.cdist(one, other, compute_mode="donot_use_mm_for_euclid_dist")


@CRITERIA.register
def random_filters(layer: Layer, context: Context) -> Tensor:
    """Uniform scores: every filter is as good as any other."""
    return torch.rand(len(layer.weight), generator=context.generator).to(layer.weight.device)


@CRITERIA.register
def inverted(layer: Layer, context: Context, of: str = "l2") -> Tensor:
    """What the criterion `of` would keep goes first: a control for what criteria matter."""
    scores: Tensor = CRITERIA.resolve(of)(layer, context)
    return -scores


def _filters(layer: Layer) -> Tensor:
    """Filters as rows (filters, values), in float64."""
    return layer.weight.detach().double().flatten(1)
