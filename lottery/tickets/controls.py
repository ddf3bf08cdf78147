"""Controls: what a ticket of the same density is compared with.

A control takes a ticket's masks and gives the masks and weights that training starts from instead.
Every control trains a fresh optimiser from step 0 for the full length of a level, and all but
`retrain` on the ticket's batches.
"""

from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import dataclass, replace

from torch import Generator, nn

from lottery.data.images import Examples, Splits
from lottery.diagnostics import DiagnosticsConfig, Recorder
from lottery.errors import ConfigError
from lottery.init import initialise
from lottery.pruning import masks as mask_operations
from lottery.pruning.channels import ChannelGraph, trace
from lottery.pruning.masks import Masks, State
from lottery.pruning.schedule import PruneConfig
from lottery.pruning.shrink import unit_masks
from lottery.pruning.units import check_criterion, prune_units, removed_units, shuffle_units
from lottery.pruning.weights import prune
from lottery.registry import Registry
from lottery.seeds import Address, derive, generator
from lottery.tickets.imp import initialised
from lottery.tickets.level import Memory, Start, Steps, Watch, ignore, train_to_end, walk
from lottery.tickets.ranking import example_of
from lottery.tickets.rescale import rescaled
from lottery.tickets.size import size_of
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
    graph: ChannelGraph | None = None
    """The network's filters, if the ticket was found by pruning whole filters."""

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
    """The initial weights with the ticket's masks shuffled within each layer; filters as such."""
    stream = generator(draw.seed, *draw.address("shuffle_layer"))
    if draw.graph is not None:
        removed = shuffle_units(draw.graph, removed_units(draw.graph, ticket), stream)
        return unit_masks(draw.graph, draw.model, removed).to("cpu"), draw.initial
    return mask_operations.shuffle_layer(ticket, stream), draw.initial


@CONTROLS.register
def shuffle_global(ticket: Masks, draw: Draw) -> tuple[Masks, State]:
    """The initial weights with the ticket's masks shuffled across all layers; not of filters.

    Layers of few filters would be left without any.
    """
    if draw.graph is not None:
        allowed = "0 where whole filters are pruned, which are shuffled within their layers only"
        raise ConfigError("controls.shuffle_global", 1, allowed)
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
    stream = generator(draw.seed, criterion, draw.draw)
    weights = draw.initial if weights is None else weights
    if draw.graph is not None:
        return _pruned_filters(OF_FILTERS[criterion], draw.graph, ticket, draw, weights, stream)
    full = Masks({name: mask | ~mask for name, mask in ticket.items()})
    return prune(
        full, weights, draw.initial, ticket.remaining, criterion=criterion, generator=stream
    )


OF_FILTERS = {"random": "random_filters", "magnitude": "l2", "magnitude_at_init": "l2"}
"""What ranks whole filters as a criterion ranks weights."""


def _pruned_filters(
    criterion: str,
    graph: ChannelGraph,
    ticket: Masks,
    draw: Draw,
    weights: State,
    stream: Generator,
) -> Masks:
    model, removed = deepcopy(draw.model).cpu(), removed_units(graph, ticket)
    model.load_state_dict(weights)
    keep = {name: int((~removed[u]).sum()) for name, u in graph.homes.items() if len(u)}
    found = prune_units(model, graph, keep, criterion=criterion, generator=stream)
    return unit_masks(graph, model, found)


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
    prune: PruneConfig = PruneConfig(),  # noqa: B008 (frozen)
    draw: int = 0,
    train: TrainConfig = TrainConfig(),  # noqa: B008
    rescale: str = "none",
    engine: str = "auto",
    diagnostics: DiagnosticsConfig = DiagnosticsConfig(),  # noqa: B008
    memory: Memory | None = None,
    watch: Watch = ignore,
) -> Steps:
    """Train a control at each of `levels` and yield its record, like `find_tickets`.

    control: reinit, shuffle_layer, shuffle_global, random, magnitude_at_init, one_shot, retrain, or
    a function. ticket_at: the ticket's masks and trained weights at a level. init, seed, prune:
    those of the ticket; where its criterion ranks filters, controls prune whole filters too. draw:
    number of the replicate under that seed. rescale: as the ticket's
    `rewind.rescale`, by the control's own masks.
    """
    function = CONTROLS.resolve(control)
    check_engine(engine)
    order_seed = derive(seed, "retrain", draw) if function is retrain else None
    trainer = LevelTrainer(data, train, seed, engine, order_seed)
    recorder = Recorder(diagnostics, data, seed) if diagnostics.record else None
    memory = memory or Memory()
    initial = initialised(model, init, seed, data)
    example = example_of(data.train)
    graph = trace(model, example, prune.fixed) if check_criterion(prune) else None
    for level in levels:
        ticket, trained = ticket_at(level)
        drawn = Draw(
            model, init, seed, draw, level, initial, data.train, lambda: ticket_at(0)[1], graph
        )
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
            if graph is not None:
                record = replace(record, size=size_of(model, graph, masks, example))
            memory.save_level(record)
        yield record
