"""Pruning whole filters by a criterion, to an exact count per layer or in all.

graph = lottery.trace(model, example)
remove = lottery.prune_units(model, graph, keep=0.5, criterion="l2", scope="global")

What is ranked are units: filters that can only be removed together count as one, with the sum of
their scores. A unit is counted in the first layer that writes it, its home.
"""

import copy
from collections.abc import Mapping
from numbers import Integral
from typing import Any

import torch
from torch import Generator, Tensor, nn

from lottery.errors import ConfigError, UsageError
from lottery.objectives import CLASSIFICATION, Objective
from lottery.pruning.channels import ChannelGraph
from lottery.pruning.criteria import CRITERIA, Context, Criterion, Layer
from lottery.pruning.criteria.base import check_numbers, check_scores
from lottery.pruning.criteria.trial import ranks_filters
from lottery.pruning.masks import State, prunable
from lottery.pruning.network import Network
from lottery.pruning.schedule import PruneConfig, keep_counts
from lottery.pruning.selection import highest, in_steps
from lottery.pruning.shrink import shrink


def prune_units(
    model: nn.Module,
    graph: ChannelGraph,
    keep: Mapping[str, int] | float,
    *,
    removed: Tensor | None = None,
    initial: State | None = None,
    criterion: str | Criterion = "l2",
    scope: str = "layer",
    iterations: int = 1,
    keep_at_least: int = 1,
    multiple_of: int = 1,
    generator: Generator | None = None,
    batch: tuple[Tensor, Tensor] | None = None,
    objective: Objective = CLASSIFICATION,
) -> Tensor:
    """Units to remove, those of `removed` among them: bool, (units,).

    model: ranked as it is, without what is removed already. keep: units to keep in each layer, by
    its name or that of its weight ("conv1", "conv1.weight"), or one fraction of every layer's;
    layers that are not named keep all.
    With scope "global" the sum is kept, ranked over all layers with anything to prune together.
    initial: the model's state at initialisation, for criteria that compare; by default as it is.
    iterations: rankings, each of the network without what the last one removed, with scores
    normalised anew. keep_at_least: units that a layer keeps in any case, if it has as many.
    multiple_of: what the units that a layer keeps are rounded to, at least one multiple. generator:
    draws scores of random criteria and the order among ties. batch: images and labels, for criteria
    on data. objective: whose loss such criteria differentiate.
    """
    if scope not in ("layer", "global"):
        raise ConfigError("scope", scope, "layer, global")
    for setting, number in (
        ("iterations", iterations), ("keep_at_least", keep_at_least), ("multiple_of", multiple_of)
    ):  # fmt: skip
        if number < 1:
            raise ConfigError(setting, number, "at least 1")
    generator = generator or torch.Generator().manual_seed(0)
    removed = torch.zeros(graph.units, dtype=torch.bool) if removed is None else removed.cpu()
    initial = model.state_dict() if initial is None else initial
    homes = {name: units for name, units in graph.homes.items() if len(units)}
    if not homes:
        raise UsageError(f"no filter of {type(model).__name__} can be removed: {graph}")
    alive = {name: int((~removed[units]).sum()) for name, units in homes.items()}
    wanted = _wanted(keep, homes, alive, keep_at_least)
    layers = [name for name in homes if wanted[name] < len(homes[name])]
    pools = [layers] if scope == "global" and layers else [[name] for name in layers]
    targets = [
        in_steps(sum(alive[n] for n in pool), sum(wanted[n] for n in pool), iterations)
        for pool in pools
    ]
    for iteration in range(iterations):
        scores = unit_scores(model, graph, removed, initial, criterion, generator, batch, objective)
        last, found = iteration == iterations - 1, removed.clone()
        for pool, target in zip(pools, targets, strict=True):
            candidates = {name: homes[name][~removed[homes[name]]] for name in pool}
            counts = _counts(scores, candidates, target[iteration], keep_at_least, generator)
            for name, units in candidates.items():
                count = counts[name]
                if last:
                    count = _rounded(count, len(units), multiple_of, keep_at_least)
                every = torch.ones(len(units), dtype=torch.bool)
                found[units] = ~highest(scores[units], every, count, generator)
        removed = found
    return removed


def _wanted(
    keep: Mapping[str, int] | float,
    homes: Mapping[str, Tensor],
    alive: Mapping[str, int],
    keep_at_least: int,
) -> dict[str, int]:
    """Units that each layer is to keep of those alive."""
    if isinstance(keep, Mapping):
        layers = {name.removesuffix(".weight"): name for name in homes}
        if unknown := [name for name in keep if name.removesuffix(".weight") not in layers]:
            allowed = f"layers with filters to prune: {', '.join(layers)}"
            raise ConfigError("keep", ", ".join(unknown), allowed)
        keep = {layers[name.removesuffix(".weight")]: count for name, count in keep.items()}
        for name, count in keep.items():
            most = len(homes[name])
            if not (isinstance(count, Integral) and 0 <= count <= most):
                allowed = f"a whole number of filters from 0 to {most}, or one fraction for all"
                raise ConfigError(f"keep of {name}", count, allowed)
        asked = {name: keep.get(name, len(units)) for name, units in homes.items()}
    elif 0 <= keep <= 1:
        asked = {name: round(keep * len(units)) for name, units in homes.items()}
    else:
        raise ConfigError("keep", keep, "a fraction from 0 to 1, or numbers by layer")
    return {name: min(max(asked[name], keep_at_least), alive[name]) for name in homes}


def _counts(
    scores: Tensor,
    candidates: Mapping[str, Tensor],
    total: int,
    keep_at_least: int,
    generator: Generator,
) -> dict[str, int]:
    """How many each of some layers keeps, where together they keep `total` of highest score."""
    if len(candidates) == 1:
        return dict.fromkeys(candidates, total)
    ranked = scores.clone()
    for units in candidates.values():
        every = torch.ones(len(units), dtype=torch.bool)
        spared = highest(scores[units], every, min(keep_at_least, len(units)), generator)
        ranked[units[spared]] = torch.inf
    joined = torch.cat(list(candidates.values()))
    kept = highest(ranked[joined], torch.ones(len(joined), dtype=torch.bool), total, generator)
    parts = kept.split([len(units) for units in candidates.values()])
    return {name: int(part.sum()) for name, part in zip(candidates, parts, strict=True)}


def _rounded(count: int, alive: int, multiple_of: int, least: int) -> int:
    """The multiple next to `count` of those from `least` to `alive`; `alive` if there is none."""
    multiples = (n for n in range(multiple_of, alive + 1, multiple_of) if n >= least)
    return min(multiples, key=lambda n: (abs(n - count), -n), default=alive)


@torch.no_grad()
def unit_scores(
    model: nn.Module,
    graph: ChannelGraph,
    removed: Tensor,
    initial: State,
    criterion: str | Criterion,
    generator: Generator,
    batch: tuple[Tensor, Tensor] | None = None,
    objective: Objective = CLASSIFICATION,
) -> Tensor:
    """Scores of units in float64, on the CPU: (units,); −inf of those removed, inf of those fixed.

    Layers are shown to the criterion as removal leaves them. Where several layers write a unit, or
    one layer with several filters, their scores are added.
    """
    score = CRITERIA.resolve(criterion)
    small, before = copy.deepcopy(model), copy.deepcopy(model)
    before.load_state_dict(initial)
    for network in (small, before):
        shrink(network, removed, graph)
    ranked = None
    if batch is not None:
        ranked = Network(small, small.state_dict(), *batch, objective=objective)
    context = Context(generator, ranked)
    scores = torch.zeros(graph.units, dtype=torch.float64)
    for name, written in graph.written.items():
        own = written[(written < 0) | ~removed[written]]
        if not len(own) or bool(((own < 0) | graph.fixed[own]).all()):
            continue
        values = [network.get_parameter(name).detach() for network in (small, before)]
        found = score(Layer(name, *values), context)
        check_scores(criterion, f"filters of {name!r}", found, own.shape)
        counted = own >= 0
        scores.index_add_(0, own[counted], found.detach().cpu().double()[counted])
    scores = scores.masked_fill(graph.fixed, torch.inf).masked_fill(removed, -torch.inf)
    for name, units in graph.homes.items():
        check_numbers(criterion, f"filters of {name!r}", scores[units])
    return scores


def removed_units(graph: ChannelGraph, masks: Mapping[str, Tensor]) -> Tensor:
    """Units of which masks keep nothing, in the layer where they are at home: bool, (units,)."""
    removed = torch.zeros(graph.units, dtype=torch.bool)
    for name, units in graph.homes.items():
        kept = graph.written[name][masks[name].cpu().flatten(1).any(dim=1)]
        removed[units[~torch.isin(units, kept)]] = True
    return removed


def shuffle_units(graph: ChannelGraph, removed: Tensor, generator: Generator) -> Tensor:
    """As many units removed in each layer, but others, drawn at random."""
    shuffled = removed.clone()
    for units in graph.homes.values():
        shuffled[units] = removed[units][torch.randperm(len(units), generator=generator)]
    return shuffled


def unit_counts(
    model: nn.Module, graph: ChannelGraph, config: PruneConfig, level: int
) -> dict[str, int]:
    """Units that each layer keeps at `level` by the rates of the configuration."""
    sizes = {name: len(units) for name, units in graph.homes.items() if len(units)}
    return keep_counts(sizes, prunable(model), config, level)


def check_criterion(config: PruneConfig) -> bool:
    """Whether the criterion ranks filters; ConfigError for settings that do not go with it."""
    filters = ranks_filters(config.criterion, config.images)
    refused: dict[str, tuple[Any, str]]
    if filters:
        refused = {"allocation": ("rates", "rates, as whole filters are pruned")}
        refused["biases"] = (False, "false, as filters take their biases along")
    else:
        allowed = "1, unless the criterion ranks whole filters"
        refused = dict.fromkeys(("keep_at_least", "multiple_of"), (1, allowed))
        refused["fixed"] = ([], "nothing, unless the criterion ranks whole filters")
    for name, (neutral, allowed) in refused.items():
        if getattr(config, name) != neutral:
            raise ConfigError(f"prune.{name}", getattr(config, name), allowed)
    return filters
