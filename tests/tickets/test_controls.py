"""A control differs from its ticket in what it controls for, and in nothing else."""

import copy
import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from lottery.errors import ConfigError
from lottery.init import initialise
from lottery.pruning.masks import Masks
from lottery.pruning.schedule import PruneConfig
from lottery.tickets import CONTROLS, RewindConfig, find_tickets, run_control
from lottery.tickets.level import Memory
from lottery.training.level import snapshot

LEVELS = range(1, 4)
NAMES = [
    *("magnitude_at_init", "one_shot", "random", "reinit", "retrain", "shuffle_global"),
    "shuffle_layer",
]


def ticket_of(levels):
    return lambda level: (levels[level].masks, levels[level].trained)


def masked(state, masks):
    return {n: v.where(masks[n], torch.zeros(())) if n in masks else v for n, v in state.items()}


def equal(one, other) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[n], v) for n, v in other.items())


@pytest.fixture
def make(noisy):
    """Batch norm that is not as torch makes it, so that losing it shows."""

    def network() -> nn.Module:
        model = noisy()
        with torch.no_grad():
            for norm in (model[1], model[5]):
                norm.weight.fill_(0.7)
                norm.bias.fill_(0.1)
                norm.running_mean.fill_(0.2)
        return model

    return network


@pytest.fixture
def tickets(make, data, quick):
    """Levels 0 to 3 of a ticket whose layers end at different densities."""
    return list(
        find_tickets(make(), data, levels=3, train=quick, prune=PruneConfig(scope="global"))
    )


@pytest.fixture
def control(make, data, quick, spy, tickets):
    """Runs a control of the ticket; its first engine call per level, and its records."""

    def run(name, levels=LEVELS, **options):
        spy.clear()
        records = list(
            run_control(
                name,
                make(),
                data,
                ticket_of(tickets),
                levels=levels,
                train=quick,
                engine="spy",
                **options,
            )
        )
        return spy[::3], records

    return run


def test_all_controls_are_tested_here():
    assert list(CONTROLS) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_control_trains_a_fresh_optimiser_for_a_full_level_at_the_tickets_density(
    name, control, tickets
):
    calls, records = control(name)
    assert [record.level for record in records] == [1, 2, 3]
    for call, record in zip(calls, records, strict=True):
        ticket = tickets[record.level]
        assert (call.start, call.optimizer) == (0, {})
        assert record.steps == 12
        assert record.weights_remaining == ticket.weights_remaining
        assert equal(call.before, masked(record.initial, record.masks))
        assert equal(record.trained, masked(record.trained, record.masks))


@pytest.mark.parametrize("name", [name for name in NAMES if name != "retrain"])
def test_a_control_sees_the_data_in_the_tickets_order(name, control, make, data, quick, spy):
    spy.clear()
    list(find_tickets(make(), data, levels=2, train=quick, engine="spy"))
    orders = [call.images.clone() for call in spy[3::3]]
    calls, _ = control(name, levels=(1, 2))
    for call, order in zip(calls, orders, strict=True):
        assert torch.equal(call.images, order)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_no_layers_weight_starts_as_the_tickets_did(name, control, tickets):
    calls, _ = control(name)
    initial = tickets[0].initial
    for call in calls:
        for key in initial:
            if key not in tickets[0].masks:
                assert torch.equal(call.before[key], initial[key]), key
    assert (calls[-1].before["1.weight"] == 0.7).all()
    assert calls[-1].before["1.num_batches_tracked"] == 0


@pytest.mark.parametrize("name", NAMES)
def test_a_level_of_a_control_does_not_depend_on_the_others(name, control):
    _, together = control(name)
    _, alone = control(name, levels=[3])
    assert equal(together[-1].trained, alone[0].trained)
    assert equal(together[-1].initial, alone[0].initial)


@pytest.mark.parametrize("name", NAMES)
def test_a_control_leaves_the_ticket_alone(name, control, tickets):
    before = copy.deepcopy([(dict(t.masks), t.initial, t.trained) for t in tickets])
    control(name)
    for ticket, (masks, initial, trained) in zip(tickets, before, strict=True):
        assert equal(dict(ticket.masks), masks)
        assert equal(ticket.initial, initial)
        assert equal(ticket.trained, trained)


@pytest.mark.parametrize("name", ["reinit", "shuffle_layer", "shuffle_global", "random"])
def test_draws_and_seeds_differ_and_repeat(name, control):
    def start(**options):
        return control(name, levels=[2], **options)[0][0].before["0.weight"]

    one, same, other, seed = start(draw=0), start(draw=0), start(draw=1), start(draw=0, seed=1)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert not torch.equal(one, seed)
    assert not torch.equal(other, seed)


# Training the ticket again


def test_retrain_differs_from_its_ticket_in_the_order_of_batches_alone(
    control, make, data, quick, spy
):
    spy.clear()
    layers = PruneConfig(scope="global")  # as the fixture's tickets
    tickets = list(find_tickets(make(), data, levels=2, train=quick, prune=layers, engine="spy"))
    own = spy[3::3]
    starts = [control("retrain", levels=(1, 2), draw=draw) for draw in range(2)]
    for calls, records in starts:
        for call, mine, record in zip(calls, own, records, strict=True):
            ticket = tickets[record.level]
            assert equal(record.masks, ticket.masks)
            assert equal(record.initial, ticket.initial)
            assert equal(call.before, mine.before)
            assert (call.rates, call.start, call.optimizer) == (mine.rates, 0, {})
            assert not torch.equal(call.images, mine.images)
            # the sample of training images that is evaluated is the ticket's too
            assert record.evaluations != ticket.evaluations
    one, other = (calls[0].images for calls, _ in starts)
    assert not torch.equal(one, other)
    levels = [call.images for call in starts[0][0]]
    assert not torch.equal(*levels)


def test_an_epoch_of_retrain_sees_the_tickets_images(control, data):
    calls, _ = control("retrain", levels=[1])
    seen = calls[0].images
    training = {tuple(image.tolist()) for image in data.train.images}
    assert {tuple(image.tolist()) for image in seen} <= training


# Random reinitialisation


def test_reinit_keeps_masks_and_draws_every_weight_anew(control, tickets):
    draws = [control("reinit", draw=draw) for draw in range(2)]
    initial = tickets[0].initial
    starts = [initial]
    for _, records in draws:
        for record in records:
            assert equal(record.masks, tickets[record.level].masks)
            starts.append(record.initial)
    for name in tickets[0].masks:
        values = torch.stack([start[name].flatten() for start in starts])
        assert all(len(column.unique()) == len(starts) for column in values.T), name


def test_reinit_draws_from_the_same_scheme_with_zero_biases(make, data, quick, tickets):
    for spec, std in (("normal(0.5)", 0.5), ("kaiming_normal", math.sqrt(2 / 6))):
        values = []
        for draw in range(15):
            record = next(
                run_control(
                    "reinit",
                    make(),
                    data,
                    ticket_of(tickets),
                    levels=[1],
                    init=spec,
                    draw=draw,
                    train=quick,
                )
            )
            values.append(record.initial["0.weight"])
            assert not record.initial["0.bias"].any()
        assert float(torch.stack(values).std()) == pytest.approx(std, rel=0.1)


def test_reinit_records_its_own_initial_weights(control, tickets):
    calls, records = control("reinit")
    for call, record in zip(calls, records, strict=True):
        assert not torch.equal(record.initial["0.weight"], tickets[0].initial["0.weight"])
        mask = record.masks["0.weight"]
        assert torch.equal(call.before["0.weight"][mask], record.initial["0.weight"][mask])


# Shuffled masks


def test_shuffles_keep_initial_weights_and_really_move_the_mask(control, tickets):
    for name in ("shuffle_layer", "shuffle_global"):
        _, records = control(name)
        for record in records:
            ticket = tickets[record.level]
            assert equal(record.initial, ticket.initial)
            assert not torch.equal(record.masks["0.weight"], ticket.masks["0.weight"])
            kept_by_both = int((record.masks["0.weight"] & ticket.masks["0.weight"]).sum())
            assert kept_by_both < ticket.masks.remaining["0.weight"]
            if name == "shuffle_layer":
                assert record.masks.remaining == ticket.masks.remaining
        if name == "shuffle_global":
            assert any(r.masks.remaining != tickets[r.level].masks.remaining for r in records)


# Other masks at the same densities


def test_random_and_magnitude_at_init_keep_the_tickets_count_in_every_layer_and_nest(
    control, tickets
):
    for name in ("random", "magnitude_at_init"):
        _, records = control(name)
        for record in records:
            ticket = tickets[record.level]
            assert record.masks.remaining == ticket.masks.remaining
            assert not equal(record.masks, ticket.masks)
            assert equal(record.initial, ticket.initial)
        for earlier, later in pairwise(records):
            assert later.masks.is_within(earlier.masks), f"{name} does not nest"


def test_magnitude_at_init_keeps_the_largest_initial_weights(control, tickets):
    _, records = control("magnitude_at_init")
    for record in records:
        for name, mask in record.masks.items():
            initial = tickets[0].initial[name].abs()
            assert initial[mask].min() > initial[~mask].max()


def test_one_shot_keeps_the_largest_weights_of_the_trained_unpruned_network(control, tickets):
    _, records = control("one_shot")
    for record in records:
        assert record.masks.remaining == tickets[record.level].masks.remaining
        assert equal(record.initial, tickets[0].initial)
        for name, mask in record.masks.items():
            trained = tickets[0].trained[name].abs()
            assert trained[mask].min() > trained[~mask].max()


def test_random_and_magnitude_at_init_nest_among_ties(make, data, quick, tickets):
    """Under sign_constant all magnitudes are equal, so only the order of ties decides."""
    for name in ("random", "magnitude_at_init"):
        records = list(
            run_control(
                name,
                make(),
                data,
                ticket_of(tickets),
                levels=LEVELS,
                init="sign_constant",
                train=quick,
            )
        )
        for earlier, later in pairwise(records):
            assert later.masks.is_within(earlier.masks)


# One's own, and going on


def test_a_users_function_is_a_control(control, tickets):
    def ones(ticket, draw):
        full = Masks({name: torch.ones_like(mask) for name, mask in ticket.items()})
        return full, {n: v.sign() if n in ticket else v for n, v in draw.initial.items()}

    calls, records = control(ones, levels=[2])
    assert records[0].weights_remaining == 1
    assert torch.equal(calls[0].before["0.weight"], tickets[0].initial["0.weight"].sign())


def test_an_unknown_control_lists_the_known_ones(control):
    with pytest.raises(
        ConfigError, match="control is 'reset'; allowed: magnitude_at_init, one_shot"
    ):
        control("reset")


@pytest.mark.parametrize("name", NAMES)
def test_a_control_killed_anywhere_ends_as_if_never_interrupted(name, control):
    _, whole = control(name)

    class Shelf(Memory):
        levels: dict

        def load_level(self, level, initial):
            return self.levels.get(level)

        def save_level(self, level):
            self.levels[level.level] = level

    for at in (0, 1, 4, 8):
        memory, left = Shelf(), [at]
        memory.levels = {}

        def killer(*told, left=left):
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            control(name, memory=memory, watch=killer)
        _, again = control(name, memory=memory)
        for one, other in zip(again, whole, strict=True):
            assert one.evaluations == other.evaluations
            assert equal(one.trained, other.trained)
            assert equal(one.initial, other.initial)


def test_controls_of_a_rewound_ticket_start_at_the_initialisation(make, data, quick, spy):
    rewound = list(find_tickets(make(), data, levels=1, train=quick, rewind=RewindConfig(to="3it")))
    initial = snapshot(initialise(make()))
    (record,) = run_control(
        "shuffle_layer",
        make(),
        data,
        ticket_of(rewound),
        levels=[1],
        train=quick,
        engine="spy",
    )
    assert spy[0].start == 0
    assert equal(spy[0].before, masked(initial, record.masks))


def test_a_users_own_network_has_controls_too(own, data, quick):
    tickets = list(find_tickets(own(), data, levels=1, train=quick))
    for name in NAMES:
        (record,) = run_control(name, own(), data, ticket_of(tickets), levels=[1], train=quick)
        assert sum(record.masks.remaining.values()) == sum(tickets[1].masks.remaining.values())
