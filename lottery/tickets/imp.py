"""Iterative magnitude pruning with rewinding: train, record, prune, rewind.

for ticket in find_tickets(model, data, init="xavier_normal", seed=0, levels=10):
    print(ticket)       # Level 3: 51.28% of weights, test accuracy 98.22%
"""

from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Literal

from torch import nn

from lottery.data.images import Splits
from lottery.diagnostics import DiagnosticsConfig, Recorder
from lottery.errors import ConfigError, DivergedError, StoreError, check_choices
from lottery.init import initialise
from lottery.pruning.masks import Masks, State
from lottery.pruning.schedule import PruneConfig, ends_walk
from lottery.pruning.units import check_criterion
from lottery.registry import canonical
from lottery.tickets.level import (
    Level,
    Memory,
    Start,
    Steps,
    Walk,
    Watch,
    ignore,
    train_to_end,
    walk,
)
from lottery.tickets.ranking import Ranking, make_ranking
from lottery.tickets.rescale import rescaled
from lottery.training.config import TrainConfig, to_steps
from lottery.training.engines import check_engine
from lottery.training.level import LevelTrainer, snapshot
from lottery.training.procedures import NONE, During, Procedure, resolve


@dataclass(frozen=True, kw_only=True)
class RewindConfig:
    """What happens to weights, learning rate and optimiser after pruning."""

    mode: Literal["weights", "learning_rate", "none"] = "weights"
    """weights: surviving weights and the schedule go back to step `to` (Frankle & Carbin 2019);
    learning_rate: weights are kept and only the schedule goes back (Renda et al. 2020);
    none: fine-tuning, weights are kept and the last learning rate is held."""

    to: str = "0it"
    """The step or epoch of level 0 gone back to: "0it" is the initialisation, "500it" and "1ep"
    are later points. Levels after the first train from there to the end."""

    init: str | None = None
    """Scheme from which the weights gone back to are drawn, once per cell; by default they are
    the network's own. With torch_default it is the reset of the original study of 2020, which kept
    no copy of the weights under study."""

    rescale: Literal["none", "layer", "unit", "isometry"] = "none"
    """Divide the weights gone back to by the square root of the density that pruning left, of
    their layer or of their output unit's incoming weights, so that outputs vary as in the dense
    network (Evci et al. 2022); or move them until layers keep norms again (isometry; Lee et al.
    2020). Controls are rescaled by their own masks."""

    optimizer: Literal["fresh", "rewound", "kept"] = "fresh"
    """Optimiser state at the start of a level: none, as it was at step `to`, or as it was at the
    end of the last level (with the state of pruned weights set to zero)."""

    def __post_init__(self) -> None:
        check_choices(self, "rewind")
        step = to_steps("rewind.to", self.to, 1)
        if self.init is not None:
            object.__setattr__(self, "init", canonical(self.init, "rewind.init"))
            if step or self.mode != "weights":
                allowed = "nothing, unless weights go back to step 0"
                raise ConfigError("rewind.init", self.init, allowed)
        if self.rescale != "none" and self.mode != "weights":
            raise ConfigError("rewind.rescale", self.rescale, "none, unless weights go back")
        if self.optimizer == "rewound" and (step == 0 or self.mode != "weights"):
            raise ConfigError(
                "rewind.optimizer", "rewound", "fresh or kept, unless weights go back to a step > 0"
            )


def check_protocol(prune: PruneConfig, rewind: RewindConfig, train: TrainConfig) -> None:
    """Raise ConfigError for settings that each make sense, but not together."""
    if rewind.optimizer == "kept" and not prune.iterative:
        raise ConfigError("rewind.optimizer", "kept", "fresh or rewound in one-shot pruning")
    back = rewind.mode == "weights" and to_steps("rewind.to", rewind.to, 1) == 0
    if prune.at == "initial" and not (back and rewind.optimizer == "fresh"):
        allowed = "trained, unless weights go back to step 0 and the optimizer is fresh"
        raise ConfigError("prune.at", prune.at, allowed)
    if prune.during != NONE and prune.at == "initial":
        raise ConfigError("prune.during", prune.during, f"{NONE}, unless prune.at is trained")
    if rewind.rescale == "layer" and check_criterion(prune):
        # A layer's density counts removed rows too, which are no outputs any more.
        allowed = "unit, which does the same for layers of whole filters; or none, isometry"
        raise ConfigError("rewind.rescale", rewind.rescale, allowed)
    procedure = resolve(prune.during)
    procedure.check(train, prune, weights_go_back=rewind.mode == "weights")


def step_to_rewind_to(rewind: RewindConfig, trainer: LevelTrainer) -> int:
    """`rewind.to` in steps; ConfigError unless a level goes on after it."""
    step = to_steps("rewind.to", rewind.to, trainer.steps_per_epoch)
    if step >= trainer.last_step:
        length = trainer.config.duration
        raise ConfigError("rewind.to", rewind.to, f"less than train.duration ({length})")
    return step


@walk
def find_tickets(
    model: nn.Module,
    data: Splits,
    *,
    init: str = "xavier_normal",
    seed: int = 0,
    levels: int = 10,
    train: TrainConfig = TrainConfig(),  # noqa: B008 (frozen)
    prune: PruneConfig = PruneConfig(),  # noqa: B008
    rewind: RewindConfig = RewindConfig(),
    engine: str = "auto",
    diagnostics: DiagnosticsConfig = DiagnosticsConfig(),  # noqa: B008
    memory: Memory | None = None,
    watch: Watch = ignore,
) -> Steps:
    """Initialise `model` and yield a record per level, from the unpruned level 0 to `levels`.

    model: any nn.Module that maps images to logits; trained in place, moved to the data's device.
    data: as from `lottery.data.split`. seed: decides weights, data order and ties.
    Levels that `memory` already holds are not trained again. There are fewer levels where
    `prune.stop` ends the walk.
    """
    if levels < 0:
        raise ConfigError("levels", levels, "at least 0")
    check_protocol(prune, rewind, train)
    check_engine(engine)
    trainer = LevelTrainer(data, train, seed, engine)
    rewind_step = step_to_rewind_to(rewind, trainer)
    memory = memory or Memory()
    initial = initialised(model, init, seed, data)
    recorder = Recorder(diagnostics, data, seed) if diagnostics.record else None
    target = initial
    if rewind.init is not None:
        target = snapshot(initialise(deepcopy(model), rewind.init, seed, ("rewind",), data.train))
    ranking = make_ranking(model, data, prune, initial, seed)
    procedure = resolve(prune.during)
    first: Level | None = None
    previous: Level | None = None
    for level in range(levels + 1):
        record = memory.load_level(level, target if level else initial)
        if record is not None and level and rewind.rescale != "none":
            record = replace(record, initial=rescaled(target, record.masks, rewind.rescale))
        if record is None:
            if first is None or previous is None:
                start = Start(level, ranking.full, initial, initial)
            else:
                source = previous if prune.from_last_level else first
                masks = ranking.full if procedure.starts_with == "all" else source.masks
                if procedure.starts_with == "ranked":
                    masks = ranking.masks(level, masks, source.trained)
                steps = rewind_step, trainer.last_step
                behind = first.steps + source.level * (trainer.last_step - rewind_step)
                start = _rewound(rewind, steps, behind, level, masks, source, target, memory)
            if prune.during != NONE and procedure.acts_in(level, prune):
                start = replace(start, during=_during(procedure, prune, ranking, start))
            record = yield from train_to_end(
                model,
                trainer,
                start,
                memory,
                watch,
                rewind_step=rewind_step if level == 0 and rewind.mode == "weights" else 0,
                keep_end=rewind.optimizer == "kept",
                recorder=recorder,
            )
            record = replace(record, size=ranking.size(record.masks))
            memory.save_level(record)
        first, previous = first or record, record
        yield record
        if ends_walk(prune.stop, record.val.accuracy, first.val.accuracy):
            return


def rehearse(
    model: nn.Module,
    data: Splits,
    *,
    train: TrainConfig,
    prune: PruneConfig,
    rewind: RewindConfig,
    seed: int = 0,
) -> None:
    """Begin level 1 with the network as it is, so that what does not fit is found before level 0.

    Filters are ranked, and what `prune.during` names begins; nothing is trained. Raises what the
    level would. Studies of single weights have nothing to begin.
    """
    of_filters = check_criterion(prune)
    if not of_filters and prune.during == NONE:
        return
    trainer, weights = LevelTrainer(data, train, seed), snapshot(model)
    step = step_to_rewind_to(rewind, trainer)
    ranking = make_ranking(model, data, prune, weights, seed)
    if of_filters:
        with suppress(DivergedError):  # trained weights may do better
            ranking.masks(1, ranking.full, weights)
    procedure = resolve(prune.during)
    if prune.during != NONE and procedure.acts_in(1, prune):
        hold = rewind.mode == "none"
        start = Start(1, ranking.full, weights, weights, step, hold_rate=hold)
        start = replace(start, during=_during(procedure, prune, ranking, start))
        next(train_to_end(model, trainer, start, Memory(), ignore))


def _during(procedure: Procedure, prune: PruneConfig, ranking: Ranking, start: Start) -> During:
    """A procedure in the level that begins there."""

    def choose(model: nn.Module) -> Masks:
        return ranking.masks(start.level, start.masks, snapshot(model))

    return During(procedure, prune, choose)


def find_dense(
    model: nn.Module,
    data: Splits,
    *,
    init: str = "xavier_normal",
    seed: int = 0,
    levels: int = 10,
    train: TrainConfig = TrainConfig(),  # noqa: B008
    rewind_to: str = "0it",
    optimizer: Literal["fresh", "kept"] = "kept",
    like: PruneConfig = PruneConfig(),  # noqa: B008
    engine: str = "auto",
    diagnostics: DiagnosticsConfig = DiagnosticsConfig(),  # noqa: B008
    memory: Memory | None = None,
    watch: Watch = ignore,
) -> Walk:
    """The unpruned baseline trained for as many steps as all of a ticket's levels together.

    Its level l is the network after l + 1 levels' worth of steps: nothing is pruned or rewound and
    the optimiser goes on, but a learning-rate schedule starts again with each level. rewind_to: the
    ticket's `rewind.to`, from which its levels after the first train, and so these. optimizer:
    "fresh" also starts the optimiser again, as where `memory` has a level 0 of nothing but weights.
    like: how the tickets are pruned; the baseline's masks are over what theirs are.
    """
    covered = "l2" if check_criterion(like) else PruneConfig().criterion
    return find_tickets(
        model,
        data,
        init=init,
        seed=seed,
        levels=levels,
        train=train,
        prune=PruneConfig(criterion=covered, linear_rate=0.0, conv_rate=0.0, biases=like.biases),
        rewind=RewindConfig(mode="learning_rate", to=rewind_to, optimizer=optimizer),
        engine=engine,
        diagnostics=diagnostics,
        memory=memory,
        watch=watch,
    )


def initialised(model: nn.Module, init: str, seed: int, data: Splits) -> State:
    """Initialise `model` on the data's device; a copy of its state, taken after the scheme."""
    initialise(model.to(data.train.device), init, seed, examples=data.train)
    return snapshot(model)


def _rewound(
    rewind: RewindConfig,
    steps: tuple[int, int],
    behind: int,
    level: int,
    masks: Masks,
    source: Level,
    target: State,
    memory: Memory,
) -> Start:
    """Where a level after the first begins.

    steps: the one rewound to, and a level's last. behind: how many the source was trained for, of
    which level 0 may have had more or fewer than a level has. target: the weights that step 0 goes
    back to.
    """
    step, last_step = steps
    must_rewind = step > 0 and rewind.mode == "weights"
    point = memory.load_rewind_point() if must_rewind else None
    end = memory.load_checkpoint()
    if end and end.level != level and (end.level, end.step) != (level - 1, last_step):
        end = None  # of a later level, as this one was lost, or not the last level's end
    if (must_rewind and point is None) or (rewind.optimizer == "kept" and end is None):
        raise StoreError(
            f"level {level} cannot start as it should: the cell's checkpoints are gone or broken; "
            "delete its folder under cells/ to train it anew"
        )
    optimizer = {}
    if rewind.optimizer == "rewound" and point:
        optimizer = point.optimizer
    elif rewind.optimizer == "kept" and end:
        optimizer = end.optimizer
    initial, weights = rescaled(target, masks, rewind.rescale), source.trained
    before = behind - step
    if rewind.mode == "weights":
        weights, before = rescaled(point.model, masks, rewind.rescale) if point else initial, 0
    return Start(
        level,
        masks,
        weights,
        initial,
        step,
        optimizer,
        hold_rate=rewind.mode == "none",
        steps_before=before,
    )
