"""From a configuration to the cells of its grid."""

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from lottery.study.config import BASE, StudyConfig

TICKET, DENSE = "ticket", "dense"
GRID = {"inits", "seeds", "levels", "controls", "variants"}
"""Settings that span the grid, and may differ between runs that fill one folder."""

LONGEST_SLUG = 120
"""Characters of a scheme that a cell's name shows, as a file system allows 255 in all."""


@dataclass(frozen=True, order=True)
class Cell:
    """One walk over levels: a scheme under a seed, as ticket, baseline or draw of a control."""

    variant: str
    init: str
    seed: int
    branch: str
    draw: int
    levels: tuple[int, ...]
    name: str
    """Readable, with a hash of the settings that differ from the defaults: other settings are
    another cell, and a new setting with a neutral default keeps old names."""
    needs: str | None = None
    """Name of the ticket's cell whose masks this one uses."""
    stop: float | None = None
    """`prune.stop`, by which its walk, or its ticket's, may end before the last of its levels."""

    @property
    def label(self) -> str:
        """Short text for people."""
        draw = f" {self.draw}" if self.branch not in (TICKET, DENSE) else ""
        variant = "" if self.variant == BASE else f"{self.variant}: "
        return f"{variant}{self.init} seed {self.seed} {self.branch}{draw}"


def cells(config: StudyConfig) -> list[Cell]:
    """All cells of a study: tickets first, as controls wait for them."""
    every = tuple(range(config.levels + 1))
    branches = [(TICKET, 0, every)]
    if config.controls.dense:
        branches.append((DENSE, 0, every))
    chosen = config.controls.levels  # may go beyond a study whose levels are cut for now
    controlled = tuple(n for n in (every if chosen is None else chosen) if 1 <= n <= config.levels)
    for control, draws in config.controls.draws.items():
        branches += [(control, draw, controlled) for draw in range(draws) if controlled]
    settings = {name: config.variant(name) for name in config.variant_names}
    found = []
    for branch, draw, levels in branches:
        for seed in config.seeds:
            for variant, own in settings.items():
                for init in config.inits:
                    needs = None
                    if branch not in (TICKET, DENSE):
                        needs = _name(own, init, seed, TICKET, 0)
                    name = _name(own, init, seed, branch, draw)
                    stop = None if branch == DENSE else own.prune.stop
                    found.append(Cell(variant, init, seed, branch, draw, levels, name, needs, stop))
    return found


def once(cells: Iterable[Cell]) -> list[Cell]:
    """The first cell of each name: variants that prune or rewind otherwise share a baseline."""
    first: dict[str, Cell] = {}
    for cell in cells:
        first.setdefault(cell.name, cell)
    return list(first.values())


def shared_settings(config: StudyConfig) -> dict[str, Any]:
    """The settings that all cells of a study share and that decide its numbers."""
    apart = GRID | {"name", "engine", "diagnostics", "cluster"}
    return {key: value for key, value in config.to_dict().items() if key not in apart}


def _name(config: StudyConfig, init: str, seed: int, branch: str, draw: int) -> str:
    settings = _without_defaults(shared_settings(config), _defaults())
    if branch == DENSE:
        settings.pop("prune", None)
        rewind_to = settings.pop("rewind", {}).get("to")
        settings |= {"rewind": {"to": rewind_to}} if rewind_to else {}
    identity = {**settings, "init": init, "seed": seed, "branch": branch, "draw": draw}
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:8]
    slug = re.sub(r"[^\w.]+", "_", init).strip("_")[:LONGEST_SLUG]
    suffix = f"-{draw}" if branch not in (TICKET, DENSE) else ""
    return f"{slug}-s{seed}-{branch}{suffix}-{digest}"


def _defaults() -> dict[str, Any]:
    return shared_settings(StudyConfig())


def _without_defaults(values: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    kept = {}
    for key, value in values.items():
        if isinstance(value, dict):
            value = _without_defaults(value, defaults[key])
            if value:
                kept[key] = value
        elif value != defaults[key]:
            kept[key] = value
    return kept
