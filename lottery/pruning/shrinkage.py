"""The shrinkage operator of "Less is more" (Zhou, Alvarez & Porikli 2016; Idiap-RR-03-2018).

Applied to a layer's weights w_g of a group g (what one neuron or filter writes, or what reads it):
w_g ← max(‖w_g‖ − τ, 0) · w_g / ‖w_g‖, the proximal step of a group lasso. It does not normalise:
every surviving group is shorter by τ after each application. Biases are no part of the norms.
"""

import torch
from torch import Tensor


def group_norms(weight: Tensor, dim: int = 0, groups: Tensor | None = None) -> Tensor:
    """Euclidean (of filters, Frobenius) norm of each group of slices, float64.

    dim: slices are those along it: 0 for outputs (rows, filters), 1 for inputs (columns).
    groups: number of the group of each slice, from 0; by default each is its own.
    """
    slices = weight.detach().double().movedim(dim, 0).flatten(1)
    squares = slices.square().sum(dim=1)
    if groups is None:
        return squares.sqrt()
    groups = groups.to(weight.device)
    total = int(groups.max()) + 1
    return squares.new_zeros(total).index_add_(0, groups, squares).sqrt()


def relative_threshold(norms: Tensor, ratio: float) -> float:
    """τ as a fraction of the largest norm in the layer, under which that group cannot vanish."""
    return ratio * float(norms.max())


def factors(norms: Tensor, threshold: float) -> Tensor:
    """What shrinkage multiplies groups of these norms by: max(1 − τ/‖w‖, 0), and 0 for ‖w‖ = 0.

    >>> factors(torch.tensor([5.0, 2.0, 0.0]), threshold=2.0)
    tensor([0.6000, 0.0000, 0.0000])
    """
    return torch.where(norms > threshold, 1 - threshold / norms, torch.zeros_like(norms))


@torch.no_grad()
def scale(weight: Tensor, by: Tensor, dim: int = 0, groups: Tensor | None = None) -> None:
    """Multiply the slices of each group by its factor, in place. dim, groups: see `group_norms`."""
    by_slice = by if groups is None else by[groups.to(weight.device)]
    sizes = [1] * weight.dim()
    sizes[dim] = -1
    weight.mul_(by_slice.view(sizes).to(weight.dtype))
