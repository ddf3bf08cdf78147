"""How diagnostics are written down: quantity -> layer -> value."""

import math
from collections.abc import Mapping

ALL = "all"
"""Stands in a layer's place for the whole network. Layers go by the name of their parameter."""

Quantities = dict[str, dict[str, float]]


def ratios(parts: Mapping[str, tuple[float, float]]) -> dict[str, float]:
    """Numerator over denominator of each layer, and of their sums: of the whole network.

    nan where the denominator is 0, as in a layer without weights.

    >>> ratios({"fc1.weight": (1, 4), "fc2.weight": (1, 1)})
    {'fc1.weight': 0.25, 'fc2.weight': 1.0, 'all': 0.4}
    """
    sums = tuple(math.fsum(part[side] for part in parts.values()) for side in (0, 1))
    whole = {**parts, ALL: sums}
    return {name: top / bottom if bottom else math.nan for name, (top, bottom) in whole.items()}
