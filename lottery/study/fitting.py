"""Fitting `ticket_informed` to the tickets of a study on this disk."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from lottery.data.images import load, split
from lottery.errors import ConfigError
from lottery.init import TicketFit
from lottery.init.ticket_informed import fit
from lottery.models import build
from lottery.study.config import StudyConfig
from lottery.study.grid import TICKET, Cell, cells
from lottery.study.store import StudyStore
from lottery.tickets.imp import initialised


@dataclass(frozen=True)
class Tickets:
    """Which tickets of a study a scheme is fitted to."""

    level: int
    seeds: list[int]
    init: str | None = None
    """Their scheme; needed where the study has several."""
    variant: str | None = None
    """Their variant; needed where the study has several."""
    values: Literal["initial", "trained"] = "initial"
    """Their kept weights' values: at initialisation, or at the level's last step."""


def fit_tickets(folder: Path, tickets: Tickets, data_dir: str | Path | None = None) -> TicketFit:
    """Fit layers to the kept weights of the tickets of a study's folder.

    Masks and trained weights are read from the folder's cells; initial weights are drawn again, so
    the study's network and data must be at hand.
    Raises ConfigError for tickets that the study does not have, StoreError for ones not on disk.
    """
    store = StudyStore(folder.parent, folder.name)
    config = store.config()
    chosen = _cells(config, tickets)
    kept: dict[str, list[Tensor]] = {}
    for cell in chosen:
        masks, values = store.cell(cell.name).ticket(tickets.level)
        if tickets.values == "initial":
            own = config.variant(cell.variant)
            data = split(
                load(own.data, data_dir), own.validation, seed=cell.seed, stratified=own.stratified
            )
            values = initialised(build(own.model, cell.seed), cell.init, cell.seed, data)
        for name, mask in masks.items():
            if mask.dim() > 1:  # weights, where biases are pruned too
                kept.setdefault(name, []).append(values[name][mask])
    source = {
        "study": config.name,
        "model": config.variant(chosen[0].variant).model,
        "data": config.data,
        "variant": chosen[0].variant,
        "init": chosen[0].init,
        "level": tickets.level,
        "values": tickets.values,
        "cells": [cell.name for cell in chosen],
        "commits": store.commits(),
    }
    joined = {name: torch.cat(parts) for name, parts in kept.items()}
    return TicketFit(source, sorted(tickets.seeds), fit(joined))


def _cells(config: StudyConfig, tickets: Tickets) -> list[Cell]:
    """The cells of the tickets, by seed."""
    init = _one_of("init", tickets.init, config.inits)
    variant = _one_of("variant", tickets.variant, config.variant_names)
    missing = sorted(set(tickets.seeds) - set(config.seeds))
    if missing or not tickets.seeds:
        allowed = f"some of {', '.join(map(str, config.seeds))}"
        raise ConfigError("seeds", missing or tickets.seeds, allowed)
    if not 0 <= tickets.level <= config.levels:
        raise ConfigError("level", tickets.level, f"0 to {config.levels}")
    return [
        cell
        for cell in cells(config)
        if (cell.branch, cell.init, cell.variant) == (TICKET, init, variant)
        and cell.seed in tickets.seeds
    ]


def _one_of(setting: str, value: str | None, choices: Iterable[str]) -> str:
    """The value, or the only choice where none is given."""
    choices = list(choices)
    if value is None and len(choices) == 1:
        return choices[0]
    if value not in choices:
        raise ConfigError(setting, value, f"one of the study's: {', '.join(choices)}")
    return value
