"""Less is more: filters are shrunk in training, and those that reach zero are gone.

Zhou, Alvarez & Porikli 2016 (ECCV) and Idiap-RR-03-2018. After every interval the norm ‖w‖ of each
filter or neuron becomes max(‖w‖ − τ, 0): the proximal step of a group lasso.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from lottery.errors import ConfigError, UsageError
from lottery.pruning.masks import Masks, State
from lottery.pruning.schedule import PruneConfig
from lottery.pruning.shrink import unit_masks
from lottery.pruning.shrinkage import factors, group_norms, relative_threshold, scale
from lottery.pruning.units import removed_units
from lottery.training.config import TrainConfig
from lottery.training.procedures.base import PROCEDURES, Procedure, Scene, check_filters


@PROCEDURES.register
@dataclass(frozen=True, kw_only=True)
class Shrinkage(Procedure):
    """Shrinkage of filters in every level after the first, which is the network left whole.

    The report's four variants: basic, shrinkage(threshold=0.1); by input, group=input; by layer,
    in_turn=true; relative, shrinkage(ratio=0.2). Rates have no say, nor which criterion on
    filters it is, and norms are those of weights without biases. The network's outputs are never
    shrunk.
    """

    threshold: float | None = None
    """τ, the same for all layers; a layer that would lose its last filter is an error."""

    ratio: float | None = None
    """τ as a fraction of the largest norm in the layer, which therefore keeps a filter."""

    every: str = "2ep"
    """Length between two shrinkages."""

    free: str = "0it"
    """Length at the level's end without shrinkages."""

    group: Literal["output", "input"] = "output"
    """Norms of the weights that write a filter's output (a layer's rows), or that read it (its
    columns; the H·W of a channel together behind a flatten)."""

    in_turn: bool = False
    """Shrink one layer after the other, each for an equal part of the level, in network order."""

    @property
    def starts_with(self) -> Literal["ranked", "last", "all"]:
        """What the last level ended with."""
        return "last"

    def check(self, train: TrainConfig, prune: PruneConfig, *, weights_go_back: bool) -> None:
        """One threshold, of one kind."""

        def check(name: str, ok: bool, allowed: str) -> None:
            if not ok:
                raise ConfigError(f"prune.during's {name}", getattr(self, name), allowed)

        one = (self.threshold is None) != (self.ratio is None)
        check("threshold", one, "a number above 0, or a ratio in its place")
        check("threshold", self.threshold is None or self.threshold > 0, "a number above 0")
        check("ratio", self.ratio is None or 0 < self.ratio < 1, "above 0 below 1")
        check_filters("shrinkage", prune)
        check("group", self.group in ("output", "input"), "output, input")

    def begin(self, scene: Scene, masks: Masks) -> State:
        """Nothing to remember; some interval must end before the level's free end, and in turn one
        in the part of each layer."""
        steps = self.steps(scene)
        if not steps:
            allowed = f"a length that ends in a level of {scene.last_step} steps"
            if self._end(scene) < scene.last_step:
                allowed += f" before the last {self.free}"
            raise ConfigError("prune.during's every", self.every, allowed)
        layers = len(self._layers(scene))
        if self.in_turn and len({self._turn(scene, step) for step in steps}) < layers:
            allowed = f"a length that ends in the part of the level of each of {layers} layers"
            raise ConfigError("prune.during's every", self.every, allowed)
        return {}

    def steps(self, scene: Scene) -> list[int]:
        """At the end of each interval, until the level's free end."""
        return [step for step in scene.every(self.every) if step <= self._end(scene)]

    def _end(self, scene: Scene) -> int:
        return scene.last_step - scene.steps("free", self.free)

    @torch.no_grad()
    def act(self, scene: Scene, state: State, step: int, masks: Masks) -> Masks:
        """Shrink; units of which no layer has any norm left are pruned from there on."""
        graph, before = scene.graph, removed_units(scene.graph, masks)
        free = ~graph.fixed & ~before
        if self.in_turn:
            own = self._layers(scene)[self._turn(scene, step)]
            free &= torch.isin(torch.arange(graph.units), own)
        left, dim = torch.zeros(graph.units), 0 if self.group == "output" else 1
        for name in graph.written:
            units = graph.axes.get((name, dim))
            if units is not None:  # else it is grouped, and its units are fixed
                weight = scene.model.get_parameter(name)
                on = weight.device
                left += self._shrink(weight, dim, units.to(on), free.to(on)).cpu()
        gone = before | (free & (left == 0))
        for name, home in graph.homes.items():
            if len(home) and bool(gone[home].all()):
                raise UsageError(
                    f"shrinkage leaves {name} no filter at level {scene.level}, step {step}: take "
                    "a lower threshold, or a ratio, under which every layer keeps its largest"
                )
        masks = unit_masks(graph, scene.model, gone).to(scene.example.device)
        masks.apply(scene.model, scene.optimizer)
        return masks

    @staticmethod
    def _layers(scene: Scene) -> list[Tensor]:
        """Units of each layer that has any to lose."""
        return [home for home in scene.graph.homes.values() if len(home)]

    def _turn(self, scene: Scene, step: int) -> int:
        """Number of the layer whose turn it is."""
        layers = len(self._layers(scene))
        done, whole = step - scene.start - 1, self._end(scene) - scene.start
        return min(layers - 1, done * layers // whole)

    def _shrink(self, weight: Tensor, dim: int, units: Tensor, free: Tensor) -> Tensor:
        """Shrink a layer's slices along `dim`, in place, by the norm of each unit's; norms left.

        units: of each slice, or -1. free: units to shrink, bool, as many as norms.
        """
        groups = units.where(units >= 0, len(free))  # the last group: of no unit
        norms = group_norms(weight, dim, groups)
        norms = F.pad(norms, (0, len(free) + 1 - len(norms)))
        tau = self.threshold or 0.0
        if self.ratio is not None and bool(free.any()):
            tau = relative_threshold(norms[:-1][free], self.ratio)
        by = torch.where(F.pad(free, (0, 1)), factors(norms, tau), 1.0)
        scale(weight, by, dim, groups)
        return (norms * by)[:-1]
