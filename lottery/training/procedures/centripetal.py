"""Centripetal SGD: filters of a cluster are drawn together until one can stand for all.

Ding et al. 2019 (1904.03837). With learning rate τ, weight decay η and strength ε, each filter F of
a cluster H takes the step (eq. 3)

    F ← F − τ · (mean over H of ∂L/∂F + η · F + ε · (F − mean over H of F))

so that the difference of two filters of a cluster shrinks by 1 − τ · (η + ε) at every step,
whatever the loss: gradients are averaged.
"""

import math
import warnings
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from lottery.errors import ConfigError, UsageError
from lottery.pruning.channels import ChannelGraph
from lottery.pruning.masks import Masks, State
from lottery.pruning.schedule import PruneConfig
from lottery.pruning.shrink import unit_masks
from lottery.pruning.units import removed_units, unit_counts
from lottery.seeds import derive
from lottery.training.config import TrainConfig
from lottery.training.procedures.base import (
    PROCEDURES,
    Findings,
    Procedure,
    Scene,
    check_filters,
)
from lottery.training.procedures.units import (
    filter_parameters,
    groups,
    is_read,
    mean_within,
)

SHRINKING = 1e-6
"""What becomes of differences within clusters over a level, at the strength chosen by default."""


@PROCEDURES.register
@dataclass(frozen=True, kw_only=True)
class Centripetal(Procedure):
    """Centripetal SGD, and the merge at the level's end that it makes lossless.

    A layer's filters form as many clusters as the level's rates leave filters, whichever criterion
    on filters it is. The update is made of the gradients before momentum, and includes biases and
    batch norm (to which the authors' code applies a tenth of ε). Filters that write to one sum
    share the clusters of the first layer that writes to it.
    """

    strength: float | None = None
    """ε. By default such that differences within a cluster shrink a millionfold over the level: the
    paper's 3e-3 would need 10⁵ steps or more. Momentum μ itself shrinks them by no less than √μ a
    step, so that with 0.9 the level needs some 300 steps, whatever ε."""

    clusters: Literal["kmeans", "even"] = "kmeans"
    """By k-means on the filters at the level's start (scikit-learn, an extra), or the i-th filter
    into cluster i modulo their number."""

    @property
    def starts_with(self) -> Literal["ranked", "last", "all"]:
        """What the last level was merged to."""
        return "last"

    def check(self, train: TrainConfig, prune: PruneConfig, *, weights_go_back: bool) -> None:
        """The law of convergence is that of SGD; widths are those of layers."""

        def refuse(name: str, value: object, allowed: str) -> None:
            raise ConfigError(f"prune.during's {name}", value, allowed)

        if self.strength is not None and not (math.isfinite(self.strength) and self.strength > 0):
            refuse("strength", self.strength, "a number above 0")
        if self.clusters not in ("kmeans", "even"):
            refuse("clusters", self.clusters, "kmeans, even")
        if train.optimizer != "sgd":
            raise ConfigError("train.optimizer", train.optimizer, "sgd with centripetal")
        check_filters("centripetal", prune)
        for name, neutral in (("scope", "layer"), ("multiple_of", 1)):
            if getattr(prune, name) != neutral:
                allowed = f"{neutral} with centripetal, whose clusters are as many as rates say"
                raise ConfigError(f"prune.{name}", getattr(prune, name), allowed)

    def begin(self, scene: Scene, masks: Masks) -> State:
        """Clusters of units, and of the rows of all that belongs to filters."""
        self._check_strength(scene)
        graph, clusters = scene.graph, torch.arange(scene.graph.units)
        alive = ~removed_units(graph, masks)
        wanted = unit_counts(scene.model, graph, scene.prune, scene.level)
        for number, (name, counted) in enumerate(wanted.items()):
            home = graph.homes[name]
            units = home[alive[home]]
            count = min(max(counted, scene.prune.keep_at_least), len(units))
            rows = [int((graph.written[name] == unit).nonzero()[0]) for unit in units]
            filters = scene.model.get_parameter(name).detach()[rows].flatten(1).cpu()
            chance = derive(scene.seed, "clusters", scene.level, number) % 2**32
            labels = assign(filters, count, self.clusters, chance)
            first = torch.full((count,), graph.units).scatter_reduce(0, labels, units, "amin")
            clusters[units] = first[labels]
        strength = torch.tensor(self._epsilon(scene), dtype=torch.float64)
        state = {"clusters": clusters, "strength": strength}
        for name, _, _, units in filter_parameters(scene.model, graph):
            of = groups(units, clusters)
            if len(of.unique()) < len(of):
                state[f"groups/{name}"] = of
        return state

    def _check_strength(self, scene: Scene) -> None:
        epsilon, decay = self._epsilon(scene), scene.train.weight_decay
        pull = max(_rates(scene)) * (epsilon + decay)
        if pull >= 1:
            allowed = f"at most {1 / max(_rates(scene)) - decay:.3g} at this learning rate"
            if self.strength is None:
                allowed += ", or a longer level"
            raise ConfigError("prune.during's strength", f"{epsilon:.3g}", allowed)

    def _epsilon(self, scene: Scene) -> float:
        """The strength: by default from the sum of the level's rates, which momentum multiplies."""
        if self.strength is not None:
            return self.strength
        way = sum(_rates(scene)) / (1 - scene.train.momentum)
        return max(0.0, -math.log(SHRINKING) / way - scene.train.weight_decay)

    @torch.no_grad()
    def before_update(self, scene: Scene, state: State) -> None:
        """Average the gradients of each cluster, and pull its filters to their mean."""
        epsilon = float(state["strength"])
        for name, dim, parameter, _ in filter_parameters(scene.model, scene.graph):
            group = state.get(f"groups/{name}")
            if group is None or parameter.grad is None:
                continue
            values, gradient = parameter.movedim(dim, 0), parameter.grad.movedim(dim, 0)
            pull = values - mean_within(values, group)
            gradient.copy_(mean_within(gradient, group).add_(pull, alpha=epsilon))

    def steps(self, scene: Scene) -> list[int]:
        """The merge at the end."""
        return [scene.last_step]

    def act(self, scene: Scene, state: State, step: int, masks: Masks) -> Masks:
        """Note how far clusters are from one point, and merge them."""
        graph, clusters = scene.graph, state["clusters"].cpu()
        for name, value in spread(scene.model, graph, clusters).items():
            state[f"spread/{name}"] = torch.tensor(value)
        gone = merge(scene.model, graph, clusters) | removed_units(graph, masks)
        merged = unit_masks(graph, scene.model, gone).to(scene.example.device)
        merged.apply(scene.model, scene.optimizer)
        return merged

    def findings(self, scene: Scene, state: State) -> Findings:
        """cluster_spread before the merge; above some 1e-6 that was not lossless."""
        marker = "spread/"
        found = {n.removeprefix(marker): float(t) for n, t in state.items() if marker in n}
        return {"cluster_spread": found}


def _rates(scene: Scene) -> list[float]:
    return [scene.learning_rate(step) for step in range(scene.start, scene.last_step)]


def assign(filters: Tensor, count: int, how: str, seed: int) -> Tensor:
    """Cluster of each filter (n, values): int64, shape (n,), numbers below `count`, none unused."""
    if how == "even" or count == len(filters):
        return torch.arange(len(filters)) % count
    try:
        from sklearn.cluster import KMeans  # an extra
        from sklearn.exceptions import ConvergenceWarning
    except ImportError:
        raise UsageError(
            "clusters=kmeans needs scikit-learn (pip install scikit-learn); clusters=even does not"
        ) from None
    with warnings.catch_warnings():  # of fewer different filters than clusters: see below
        warnings.simplefilter("ignore", ConvergenceWarning)
        found = KMeans(count, n_init=10, random_state=seed).fit_predict(filters.double().numpy())
    labels = torch.from_numpy(found).long()
    for empty in set(range(count)) - set(labels.tolist()):
        largest = torch.bincount(labels, minlength=count).argmax()
        labels[(labels == largest).nonzero()[-1]] = empty
    return labels


def spread(model: nn.Module, graph: ChannelGraph, clusters: Tensor) -> dict[str, float]:
    """Σ ‖F − its cluster's mean‖² / Σ ‖F‖² over the filters of each layer, by weight name."""
    found = {}
    for name, units in graph.written.items():
        weight = model.get_parameter(name).detach()
        group = groups(units, clusters).to(weight.device)
        apart = (weight - mean_within(weight, group)).square().sum()
        found[name] = float(apart / weight.square().sum())
    return found


@torch.no_grad()
def merge(model: nn.Module, graph: ChannelGraph, clusters: Tensor) -> Tensor:
    """Let the first unit of each cluster stand for all of it: the others can then be removed.

    clusters: number of each unit's cluster, int64 below `units`, shape (units,). Filters and all
    that belongs to them become their cluster's mean, and the layers that read a cluster's first
    unit add up what they read of all. Returns the others, bool, shape (units,), no longer read by
    anything: `shrink(model, merge(...), graph)`. The network computes the same function as before
    where the filters of a cluster were alike. UsageError where filters are added to channels by
    their number, as in a selective addition: alike, they still go to different places.
    """
    representative = torch.full((graph.units,), graph.units).scatter_reduce(
        0, clusters, torch.arange(graph.units), "amin"
    )
    others = representative[clusters] != torch.arange(graph.units)
    tensors = dict(model.state_dict(keep_vars=True))
    for (name, dim), units in graph.axes.items():
        tensor, group = tensors[name], groups(units, clusters)
        if len(group.unique()) == len(group):
            continue
        if not tensor.is_floating_point():
            layers = ", ".join(graph.writers(units))
            raise UsageError(f"filters of {layers} cannot be merged: {name} numbers them")
        group, along = group.to(tensor.device), tensor.movedim(dim, 0)
        if not is_read(graph, name, dim):
            along.copy_(mean_within(along, group))
            continue
        along.copy_(torch.zeros_like(along).index_add_(0, group, along)[group])
        along[(others[units] & (units >= 0)).to(tensor.device)] = 0.0
    return others
