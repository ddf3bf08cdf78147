"""Soft pruning: what would go is set to zero now and then, and goes on training until the end."""

from dataclasses import dataclass
from typing import Literal

from lottery.errors import ConfigError
from lottery.pruning.masks import Masks, State
from lottery.pruning.schedule import PruneConfig
from lottery.pruning.units import check_criterion, removed_units
from lottery.training.config import TrainConfig
from lottery.training.procedures.base import PROCEDURES, Procedure, Scene
from lottery.training.procedures.units import silence


@PROCEDURES.register
@dataclass(frozen=True, kw_only=True)
class Soft(Procedure):
    """Soft filter pruning (He et al. 2018, 1808.06866, alg. 1); at the level's end it is hard.

    Every so often the filters that the level's criterion and rates would prune of the network as it
    is then are set to zero, with their biases and entries of batch norm; all of them go on being
    trained. With a criterion on single weights, these are.

    A zeroed filter behind a ReLU has no gradient. It comes back by what the optimiser remembers of
    it, which is left alone: by momentum, or Adam's averages.
    """

    every: str = "1ep"
    """Length between two times at which filters are set to zero; the level's end is one more."""

    cumulative: bool = False
    """Levels after the first start without what earlier levels ended without. If false, the whole
    network is trained in each level, and filters of which another level ended without may stay."""

    @property
    def starts_with(self) -> Literal["ranked", "last", "all"]:
        """All of the network, unless what went stays away."""
        return "last" if self.cumulative else "all"

    def check(self, train: TrainConfig, prune: PruneConfig, *, weights_go_back: bool) -> None:
        """What a level ended without is gone for good where the next starts from its weights."""
        if not (self.cumulative or weights_go_back or not prune.iterative):
            allowed = "true, unless weights go back or pruning is one-shot"
            raise ConfigError("prune.during's cumulative", self.cumulative, allowed)

    def steps(self, scene: Scene) -> list[int]:
        """At the end of each period, and of the level."""
        return sorted({*scene.every(self.every), scene.last_step})

    def act(self, scene: Scene, state: State, step: int, masks: Masks) -> Masks:
        """Set to zero what would go; at the level's end it goes."""
        chosen = scene.choose(scene.model).to(scene.example.device)
        if step == scene.last_step:
            chosen.apply(scene.model, scene.optimizer)
            return chosen
        if check_criterion(scene.prune):
            silence(scene.model, scene.graph, removed_units(scene.graph, chosen))
        else:
            chosen.apply(scene.model)
        return masks
