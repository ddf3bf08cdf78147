"""Network Slimming: a penalty that empties batch norm's scales while the network trains."""

import math
from dataclasses import dataclass

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from lottery.errors import ConfigError
from lottery.pruning.masks import Masks, State
from lottery.pruning.schedule import PruneConfig
from lottery.training.config import TrainConfig
from lottery.training.procedures.base import PROCEDURES, Procedure, Scene


@PROCEDURES.register
@dataclass(frozen=True, kw_only=True)
class Slimming(Procedure):
    """The subgradient of strength · Σ|γ| over all batch-norm scales γ, added at every step.

    Liu et al. 2017 (1708.06519), eq. 1; to be followed by `criterion: bn_scale`. It acts in
    every level whose end is ranked: in all of them, or in level 0 alone if pruning is one-shot,
    where the levels after it fine-tune without it as in the paper.
    """

    strength: float = 1e-4
    """Weight of the penalty: 1e-4 for VGG, 1e-5 for ResNets in the paper."""

    def check(self, train: TrainConfig, prune: PruneConfig, *, weights_go_back: bool) -> None:
        """Any training will do."""
        if not (math.isfinite(self.strength) and self.strength > 0):
            raise ConfigError("prune.during's strength", self.strength, "a number above 0")

    def acts_in(self, level: int, prune: PruneConfig) -> bool:
        """In levels that are ranked."""
        return level == 0 or prune.iterative

    def begin(self, scene: Scene, masks: Masks) -> State:
        """Nothing to remember; the network must have scales."""
        if not _scales(scene.model):
            raise ConfigError(
                "prune.during", "slimming", "another procedure: the network has no batch norm"
            )
        return {}

    def before_update(self, scene: Scene, state: State) -> None:
        """Add strength · sign(γ); 0 for a scale that is 0, as that of a pruned filter."""
        for scale in _scales(scene.model):
            if scale.grad is not None:
                scale.grad.add_(scale.detach().sign(), alpha=self.strength)


def _scales(model: nn.Module) -> list[nn.Parameter]:
    norms = (module for module in model.modules() if isinstance(module, _BatchNorm))
    return [norm.weight for norm in norms if norm.affine]
