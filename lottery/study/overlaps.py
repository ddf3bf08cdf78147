"""Overlap of a ticket's masks with those that other seeds found."""

from collections.abc import Iterable
from itertools import permutations

from lottery.diagnostics.quantities import Quantities
from lottery.diagnostics.weights import jaccard
from lottery.pruning.masks import Masks
from lottery.study.cell_store import CellStore
from lottery.study.grid import TICKET, Cell


def overlaps_between_seeds(
    cells: Iterable[tuple[Cell, CellStore]],
) -> dict[tuple[str, int], Quantities]:
    """By ticket's cell and level: mean Jaccard overlap with other seeds of its scheme and variant.

    Over the seeds that are on this disk at that level; nothing where there is no other. Every pair
    of seeds counts for both of them, so a scheme's values are not independent. To be compared with
    `overlap_chance`.
    """
    groups: dict[tuple[str, str], list[tuple[Cell, CellStore]]] = {}
    for cell, store in cells:
        if cell.branch == TICKET:
            groups.setdefault((cell.variant, cell.init), []).append((cell, store))
    found = {}
    for group in groups.values():
        levels = {level for _, store in group for level in store.finished_levels()}
        for level in sorted(levels):
            masks = {
                cell.name: store.ticket(level)[0]
                for cell, store in group
                if store.record(level) is not None
            }
            for name, overlap in _mean_overlaps(masks).items():
                found[name, level] = {"overlap_other_seeds": overlap}
    return found


def _mean_overlaps(masks: dict[str, Masks]) -> dict[str, dict[str, float]]:
    sums: dict[str, dict[str, float]] = {}
    for one, other in permutations(masks, 2):
        total = sums.setdefault(one, {})
        for layer, overlap in jaccard(masks[one], masks[other]).items():
            total[layer] = total.get(layer, 0.0) + overlap / (len(masks) - 1)
    return sums
