"""Linear layers one by one: dense, and in CSR at several densities.

This is the measurement behind the density at which the sparse engine switches a layer over.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from lottery.benchmark.layers import Shape, layer_step
from lottery.costs.timing import calls_within, log, per_call, round_robin
from lottery.training.head import has_csr_kernels


def measure_kernels(
    shapes: Sequence[Shape],
    densities: Sequence[float],
    batch: int,
    rounds: int,
    seconds: float = 0.05,
) -> list[dict[str, Any]]:
    """A row per shape: seconds dense and at each density, and the density of equal cost.

    seconds: length of one repetition, about. Empty where PyTorch lacks these kernels.
    """
    if not has_csr_kernels():
        return []
    rows = []
    for shape in shapes:
        log.info("kernels, %s", shape)
        works = {0.0: layer_step(shape, 0.5, batch, csr=False)}  # no density that is measured
        works |= {density: layer_step(shape, density, batch, csr=True) for density in densities}
        measurements = {
            density: per_call(work, calls_within(work, seconds)) for density, work in works.items()
        }
        found = round_robin(measurements, rounds)
        dense = found.pop(0.0)
        rows.append(
            {
                "layer": str(shape),
                "batch": batch,
                "dense_seconds": asdict(dense),
                "csr": [
                    {
                        "density": density,
                        "seconds": asdict(sparse),
                        "to_dense": sparse.median / dense.median,
                    }
                    for density, sparse in found.items()
                ],
                "crossing": crossing({d: s.median / dense.median for d, s in found.items()}),
            }
        )
    return rows


def crossing(ratios: dict[float, float]) -> float | None:
    """Highest density below which CSR always costs less than dense, between those measured.

    ratios: CSR to dense by density. Interpolated on logarithmic scales; the highest density if CSR
    always wins, None if it loses at the lowest.

    >>> crossing({0.4: 2.0, 0.1: 0.5})
    0.2
    """
    below = None
    for density, ratio in sorted(ratios.items()):
        if ratio > 1:
            if below is None:
                return None
            share = math.log(ratios[below]) / (math.log(ratios[below]) - math.log(ratio))
            return round(below * (density / below) ** share, 3)
        below = density
    return below
