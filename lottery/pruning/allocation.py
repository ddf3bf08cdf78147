"""How many weights each layer keeps of a given total: uniform, Erdős–Rényi-kernel, smart ratios.

An allocation is a function (sizes, shapes, total) -> shares: exact fractions of weights per layer,
at most its size, that sum to the total and do not grow in any layer as the total falls.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction

from lottery.errors import ConfigError

Shapes = Mapping[str, Sequence[int]]
"""Shapes of weights by name, in the order of the network: the last is the output layer's."""
Shares = dict[str, Fraction]

OUTPUT_DENSITY = Fraction(3, 10)
"""Density of the output layer under smart ratios, as in the authors' code."""


def uniform(shapes: Shapes, total: int) -> Shares:
    """The same density in every layer."""
    sizes = _sizes(shapes)
    return {name: Fraction(total * size, sum(sizes.values())) for name, size in sizes.items()}


def erk(shapes: Shapes, total: int) -> Shares:
    """Density in proportion to (n_in + n_out + k_h + k_w) / (n_in · n_out · k_h · k_w).

    Erdős–Rényi-kernel (Evci et al. 2020, 1911.11134, sec. 3 and app.). Layers whose density would
    exceed 1 are kept whole, and the factor of the others is solved again until none exceeds it.
    """
    sizes = _sizes(shapes)
    whole: set[str] = set()
    while True:
        rest = [name for name in sizes if name not in whole]
        left = total - sum(sizes[name] for name in whole)
        shares = {name: Fraction(sizes[name]) for name in sizes}
        shares |= {
            name: Fraction(left * sum(shapes[name]), sum(sum(shapes[n]) for n in rest))
            for name in rest
        }
        over = {name for name in rest if shares[name] > sizes[name]}
        if not over:
            return shares
        whole |= over


def smart(shapes: Shapes, total: int) -> Shares:
    """Density of layer l of L in proportion to (L − l + 1)² + (L − l + 1); 0.3 in the output layer.

    Smart ratios (Su et al. 2020, 2009.11094, sec. 4.1). What exceeds a layer goes to the next, from
    front to back, and to the output layer when all others are whole. The authors' code fixes every
    linear layer, of which its networks have one; here it is the output layer alone.
    """
    return _smart(shapes, total, lambda position: Fraction(1))


def smart_vgg(shapes: Shapes, total: int) -> Shares:
    """`smart` with densities further divided by l², as the authors do for VGG."""
    return _smart(shapes, total, lambda position: Fraction(1, position**2))


def _smart(shapes: Shapes, total: int, factor: Callable[[int], Fraction]) -> Shares:
    sizes = _sizes(shapes)
    *front, output = sizes
    count = len(sizes)
    wanted = {}
    for position, name in enumerate(front, start=1):
        height = count - position + 1
        wanted[name] = (height**2 + height) * factor(position) * sizes[name]
    shares = {output: min(sizes[output] * OUTPUT_DENSITY, Fraction(total))}
    scale = (total - shares[output]) / sum(wanted.values()) if front else Fraction(0)
    excess = Fraction(0) if front else total - shares[output]
    for name in front:
        asked = scale * wanted[name] + excess
        shares[name] = min(asked, Fraction(sizes[name]))
        excess = asked - shares[name]
    shares[output] += excess
    return {name: shares[name] for name in sizes}


ALLOCATIONS: dict[str, Callable[[Shapes, int], Shares]] = {
    "uniform": uniform,
    "erk": erk,
    "smart": smart,
    "smart_vgg": smart_vgg,
}


def allocate(
    allocation: str, shapes: Shapes, total: int, most: Mapping[str, int] | None = None
) -> dict[str, int]:
    """Whole numbers of weights per layer that sum to `total`, by the largest remainder.

    allocation: a name of `ALLOCATIONS`. total: 0 to the number of all weights. most: what a layer
    may keep at most, the counts of an earlier level with a larger total, so that masks can nest; by
    default its size.
    """
    sizes = _sizes(shapes)
    most = sizes if most is None else most
    if not 0 <= total <= sum(most.values()):
        raise ConfigError("weights to keep", total, f"0 to the {sum(most.values())} that remain")
    shares = ALLOCATIONS[allocation](shapes, total)
    counts = {name: math.floor(share) for name, share in shares.items()}
    by_remainder = sorted(shares, key=lambda name: shares[name] - counts[name], reverse=True)
    while left := total - sum(counts.values()):  # again only where `most` stood in the way
        for name in [name for name in by_remainder if counts[name] < most[name]][:left]:
            counts[name] += 1
    return counts


def _sizes(shapes: Shapes) -> dict[str, int]:
    return {name: math.prod(shape) for name, shape in shapes.items()}
