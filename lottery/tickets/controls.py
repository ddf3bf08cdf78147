"""Controls: what a ticket of the same density is compared with.

A control takes a ticket's masks and gives the masks and weights that training starts from instead.
Every control trains a fresh optimiser from step 0 for the full length of a level, and all but
`retrain` on the ticket's batches.
"""

from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import dataclass, replace

from torch import nn

from lottery.data.images import Examples, Splits
from lottery.diagnostics import DiagnosticsConfig, Recorder
from lottery.init import initialise
from lottery.pruning import masks as mask_operations
from lottery.pruning.masks import Masks, State
from lottery.pruning.weights import prune
from lottery.registry import Registry
from lottery.seeds import Address, derive, generator
from lottery.tickets.imp import initialised
from lottery.tickets.level import Memory, Start, Steps, Watch, ignore, train_to_end, walk
from lottery.tickets.rescale import rescaled
from lottery.training.config import TrainConfig
from lottery.training.engines import check_engine
from lottery.training.level import LevelTrainer, snapshot

CONTROLS = Registry("control", leading=2)


@dataclass(frozen=True)
class Draw:
    """One draw of a control at one level."""

    model: nn.Module
    init: str
    seed: int
    draw: int
    level: int
    initial: State
    """The ticket's own weights at initialisation."""
    examples: Examples
    """The training examples."""
    unpruned: Callable[[], State]
    """The weights of its level 0, trained."""

    def address(self, purpose: str) -> tuple[Address, ...]:
        """Where this draw's randomness is found: another at each level and draw."""
        return (purpose, self.draw, self.level)


@CONTROLS.register
def reinit(ticket: Masks, draw: Draw) -> tuple[Masks, State]:
    """The ticket's masks with new weights from the same scheme (Frankle & Carbin 2019, sec. 2)."""
    model = deepcopy(draw.model)
    model.load_state_dict(draw.initial)
    address = draw.address("reinit")
    return ticket, snapshot(initialise(model, draw.init, draw.seed, address, draw.examples))


@CONTROLS.register
def shuffle_layer(ticket: Masks, draw: Draw) -> tuple[Masks, State]:
    """The initial weights with the ticket's masks shuffled within each layer."""
    stream = generator(draw.seed, *draw.address("shuffle_layer"))
    return mask_operations.shuffle_layer(ticket, stream), draw.initial


@CONTROLS.register
def shuffle_global(ticket: Masks, draw: Draw) -> tuple[Masks, State]:
    """The initial weights with the ticket's masks shuffled across all layers."""
    stream = generator(draw.seed, *draw.address("shuffle_global"))
    return mask_operations.shuffle_global(ticket, stream), draw.initial


@CONTROLS.register
def random(ticket: Masks, draw: Draw) -> tuple[Masks, State]:
    """Random pruning at the ticket's layer densities, iterative: masks nest over the levels."""
    return _pruned("random", ticket, draw), draw.initial


@CONTROLS.register
def magnitude_at_init(ticket: Masks, draw: Draw) -> tuple[Masks, State]:
    """The largest initial weights at the ticket's layer densities (app. F.4 of the same paper)."""
    return _pruned("magnitude_at_init", ticket, draw), draw.initial


@CONTROLS.register
def retrain(ticket: Masks, draw: Draw) -> tuple[Masks, State]:
    """The ticket itself; `run_control` trains it on the same images in another order."""
    return ticket, draw.initial


@CONTROLS.register
def one_shot(ticket: Masks, draw: Draw) -> tuple[Masks, State]:
    """Pruned by magnitude after level 0, straight to the ticket's layer densities (sec. 3)."""
    return _pruned("magnitude", ticket, draw, draw.unpruned()), draw.initial


def _pruned(criterion: str, ticket: Masks, draw: Draw, weights: State | None = None) -> Masks:
    """One ranking per draw, cut at the ticket's counts; the same at every level, so masks nest."""
    full = Masks({name: mask | ~mask for name, mask in ticket.items()})
    stream = generator(draw.seed, criterion, draw.draw)
    initial = draw.initial
    return prune(
        full,
        initial if weights is None else weights,
        initial,
        ticket.remaining,
        criterion=criterion,
        generator=stream,
    )


@walk
def run_control(
    control: str | Callable[[Masks, Draw], tuple[Masks, State]],
    model: nn.Module,
    data: Splits,
    ticket_at: Callable[[int], tuple[Masks, State]],
    *,
    levels: Iterable[int],
    init: str = "xavier_normal",
    seed: int = 0,
    draw: int = 0,
    train: TrainConfig = TrainConfig(),  # noqa: B008 (frozen)
    rescale: str = "none",
    engine: str = "auto",
    diagnostics: DiagnosticsConfig = DiagnosticsConfig(),  # noqa: B008
    memory: Memory | None = None,
    watch: Watch = ignore,
) -> Steps:
    """Train a control at each of `levels` and yield its record, like `find_tickets`.

    control: reinit, shuffle_layer, shuffle_global, random, magnitude_at_init, one_shot, retrain, or
    a function. ticket_at: the ticket's masks and trained weights at a level. init, seed: those of
    the ticket. draw: number of the replicate under that seed. rescale: as the ticket's
    `rewind.rescale`, by the control's own masks.
    """
    function = CONTROLS.resolve(control)
    check_engine(engine)
    order_seed = derive(seed, "retrain", draw) if function is retrain else None
    trainer = LevelTrainer(data, train, seed, engine, order_seed)
    recorder = Recorder(diagnostics, data, seed) if diagnostics.record else None
    memory = memory or Memory()
    initial = initialised(model, init, seed, data)
    for level in levels:
        ticket, trained = ticket_at(level)
        drawn = Draw(model, init, seed, draw, level, initial, data.train, lambda: ticket_at(0)[1])
        masks, weights = function(ticket.to("cpu"), drawn)
        weights = rescaled(weights, masks, rescale)
        record = memory.load_level(level, weights)
        if record is None:
            start = Start(level, masks, weights, initial=weights)
            record = yield from train_to_end(
                model, trainer, start, memory, watch, recorder=recorder
            )
            if recorder and function is retrain:
                between = recorder.barriers(model, record.trained, trained)
                record = replace(record, diagnostics=record.diagnostics | between)
            memory.save_level(record)
        yield record
