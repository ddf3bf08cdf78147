"""What a procedure is: something that changes a network while a level of it trains.

@PROCEDURES.register
@dataclass(frozen=True, kw_only=True)
class Noise(Procedure):                     # prune.during: noise(scale=0.1)
    scale: float = 0.1

    def before_update(self, scene, state):
        for parameter in scene.model.parameters():
            parameter.grad += self.scale * torch.randn_like(parameter)
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from torch import Tensor, nn
from torch.optim import Optimizer

from lottery.errors import ConfigError
from lottery.pruning.channels import ChannelGraph, trace
from lottery.pruning.masks import Masks, State
from lottery.pruning.schedule import PruneConfig
from lottery.pruning.units import check_criterion
from lottery.registry import Registry
from lottery.training.config import TrainConfig, to_steps

PROCEDURES = Registry("procedure")

NONE = "none"
"""Spec of no procedure."""

Findings = dict[str, dict[str, float]]
"""What a procedure measured: quantity -> layer -> value."""


@dataclass(frozen=True)
class Scene:
    """The level that a procedure acts in. Tensors of the network are on the data's device."""

    model: nn.Module
    """In training: a procedure may change its values, in place."""
    optimizer: Optimizer
    example: Tensor
    """One input, as a batch."""
    level: int
    start: int
    """Step at which the level starts."""
    last_step: int
    steps_per_epoch: int
    train: TrainConfig
    prune: PruneConfig
    learning_rate: Callable[[int], float]
    """Rate of the update from a step to the next."""
    seed: int
    choose: Callable[[nn.Module], Masks]
    """What the level's criterion and rates would keep of the network as it is, on the CPU."""

    @cached_property
    def graph(self) -> ChannelGraph:
        """The units of the network."""
        return trace(self.model, self.example, self.prune.fixed)

    def steps(self, setting: str, length: str) -> int:
        """A length such as "2ep" in steps."""
        return to_steps(f"prune.during's {setting}", length, self.steps_per_epoch)

    def every(self, length: str) -> list[int]:
        """The multiples of a length that are steps of the level after its start."""
        period = self.steps("every", length)
        if period < 1:
            raise ConfigError("prune.during's every", length, "a length of one step or more")
        return [step for step in range(period, self.last_step + 1, period) if step > self.start]


@dataclass(frozen=True, kw_only=True)
class Procedure:
    """Does nothing; the fields of a subclass are the options of its spec.

    A procedure has no memory of its own: what it must know later in the level is its state, a dict
    of tensors that travels with the checkpoints.
    """

    @property
    def starts_with(self) -> Literal["ranked", "last", "all"]:
        """Which masks a level starts with: what the criterion keeps between two levels, as without
        a procedure; or what the last level ended with, or all of the network, where the procedure
        itself decides in training what goes.
        """
        return "ranked"

    def check(self, train: TrainConfig, prune: PruneConfig, *, weights_go_back: bool) -> None:
        """Raise ConfigError for settings that do not go with the procedure."""

    def acts_in(self, level: int, prune: PruneConfig) -> bool:
        """Whether it takes part in a level; by default in all but the unpruned first."""
        return level > 0

    def begin(self, scene: Scene, masks: Masks) -> State:
        """Its state at the level's start, where these masks have been applied."""
        return {}

    def steps(self, scene: Scene) -> list[int]:
        """Steps of the level after which to `act`."""
        return []

    def act(self, scene: Scene, state: State, step: int, masks: Masks) -> Masks:
        """Change the network after a step. The masks from there on; applied by the procedure."""
        return masks

    def before_update(self, scene: Scene, state: State) -> None:
        """Change the gradients of every step, after masks and before momentum and weight decay."""

    def findings(self, scene: Scene, state: State) -> Findings:
        """What it measured, for the level's record."""
        return {}

    @property
    def changes_updates(self) -> bool:
        """Whether it has a say in every step."""
        return type(self).before_update is not Procedure.before_update


@dataclass(frozen=True)
class During:
    """A procedure, and what it follows in a level."""

    procedure: Procedure
    prune: PruneConfig
    choose: Callable[[nn.Module], Masks]
    """See `Scene`."""


class Acting:
    """A procedure at work in a level: its state, its steps to come, its hook on the optimiser."""

    def __init__(
        self, procedure: Procedure, scene: Scene, masks: Masks, state: State | None, step: int
    ) -> None:
        """From a step on. state: of the checkpoint gone on from, None at the level's start."""
        self._procedure, self._scene = procedure, scene
        device = scene.example.device
        state = procedure.begin(scene, masks) if state is None else state
        self.state = {name: tensor.to(device) for name, tensor in state.items()}
        self._waiting = {s for s in procedure.steps(scene) if s > step}
        if procedure.changes_updates:
            scene.optimizer.register_step_pre_hook(
                lambda optimizer, args, kwargs: procedure.before_update(scene, self.state)
            )

    @property
    def steps(self) -> set[int]:
        """Steps after which it still has to act."""
        return self._waiting

    def act(self, step: int, masks: Masks) -> Masks:
        """Do what is to be done after this step; the masks from there on."""
        self._waiting.remove(step)
        return self._procedure.act(self._scene, self.state, step, masks)

    def findings(self) -> Findings:
        """What it measured."""
        return self._procedure.findings(self._scene, self.state)


def check_filters(name: str, prune: PruneConfig) -> None:
    """Raise ConfigError unless the study is one of whole filters."""
    if not check_criterion(prune):
        allowed = f"one that ranks filters, such as l2, with {name}, whose masks are of filters"
        raise ConfigError("prune.criterion", prune.criterion, allowed)


def resolve(spec: str) -> Procedure:
    """The procedure of `prune.during`; one that does nothing for "none"."""
    found = Procedure() if spec == NONE else PROCEDURES.resolve(spec)()
    if not isinstance(found, Procedure):
        allowed = f"none, {', '.join(PROCEDURES)}, or module:function that returns a Procedure"
        raise ConfigError("prune.during", spec, allowed)
    return found
