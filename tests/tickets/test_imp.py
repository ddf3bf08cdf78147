"""Train, prune, rewind: every level starts from exactly what the protocol says."""

import copy
import dataclasses
from itertools import pairwise

import pytest
import torch

from lottery.data.batches import Batches
from lottery.data.images import Examples, Splits
from lottery.errors import ConfigError, DivergedError, StoreError
from lottery.init import initialise
from lottery.pruning.masks import Masks, prunable
from lottery.pruning.schedule import PruneConfig, keep_counts
from lottery.tickets import RewindConfig, find_dense, find_tickets
from lottery.tickets.imp import initialised
from lottery.tickets.level import Memory
from lottery.training.config import TrainConfig
from lottery.training.level import snapshot
from lottery.training.loop import evaluate, make_optimizer
from tests.segments import train_steps


def masked(state, masks):
    """mask × weights, other values as they are."""
    return {n: v.where(masks[n], torch.zeros(())) if n in masks else v for n, v in state.items()}


def equal(one, other) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[n], v) for n, v in other.items())


def optimizer_equal(one, other) -> bool:
    return one.keys() == other.keys() and all(equal(one[n], s) for n, s in other.items())


def without_pruned(state, model, masks):
    """The optimiser's state with that of pruned weights zero."""
    names = [name for name, _ in model.named_parameters()]
    result = copy.deepcopy(state)
    for number, memory in result.items():
        mask = masks.get(names[number])
        for name, value in memory.items():
            if mask is not None and value.shape == mask.shape:
                memory[name] = value.where(mask, torch.zeros(()))
    return result


def firsts(spy, per_level: int = 3, first_level: int = 3):
    """The first call of each level; level 0 may have one call more."""
    return [spy[0], *spy[first_level::per_level]]


# Rewinding to the initialisation


@pytest.mark.parametrize("network", ["plain", "noisy", "own"])
@pytest.mark.parametrize("scope", ["layer", "global"])
def test_every_level_starts_from_its_mask_times_the_initial_weights(
    network, scope, data, quick, spy, request
):
    make = request.getfixturevalue(network)
    torch.manual_seed(0)
    model = make()
    initial = snapshot(initialise(copy.deepcopy(model), "kaiming_uniform", 5))
    levels = list(
        find_tickets(
            model,
            data,
            init="kaiming_uniform",
            seed=5,
            levels=4,
            train=quick,
            prune=PruneConfig(scope=scope),
            engine="spy",
        )
    )
    assert len(spy) == 15
    for level, call in zip(levels, firsts(spy), strict=True):
        assert equal(call.before, masked(initial, level.masks)), f"level {level.level}"
        assert call.optimizer == {}, "the optimiser remembers the last level"
        assert call.start == 0
        assert equal(level.initial, initial)
        assert equal(level.trained, masked(level.trained, level.masks))
    for before, after in pairwise(spy):
        assert before.stop in (12, after.start)


def test_batch_norm_starts_every_level_with_its_initial_statistics(noisy, data, quick, spy):
    list(find_tickets(noisy(), data, levels=2, train=quick, engine="spy"))
    for call in firsts(spy):
        assert not call.before["1.running_mean"].any()
        assert (call.before["1.running_var"] == 1).all()
        assert call.before["1.num_batches_tracked"] == 0
    assert spy[-1].after["1.num_batches_tracked"] == 12


def test_another_scheme_can_be_rewound_to_and_is_drawn_once(plain, data, quick, spy):
    """The reset of the original study of 2020, whose copy of the weights predates the scheme."""
    own = snapshot(initialise(plain(), "xavier_normal", 5))
    target = snapshot(initialise(plain(), "torch_default", 5, ("rewind",)))
    found_with = []

    class Asked(Memory):
        def load_level(self, level, initial):
            found_with.append(initial)

    settings = {"rewind": RewindConfig(init="torch_default"), "memory": Asked()}
    levels = list(
        find_tickets(plain(), data, seed=5, levels=3, train=quick, engine="spy", **settings)
    )
    for level, initial in zip(levels, found_with, strict=True):
        assert equal(level.initial, initial), "a level found on disk has another record"
    assert equal(spy[0].before, own)
    assert equal(levels[0].initial, own)
    for level, call in zip(levels[1:], firsts(spy)[1:], strict=True):
        assert equal(call.before, masked(target, level.masks)), f"level {level.level}"
        assert equal(level.initial, target)


def test_the_initial_weights_are_taken_after_the_scheme_and_are_no_alias(own, data):
    model = own()
    state = initialised(model, "normal(0.1)", 3, data)
    assert equal(state, snapshot(model))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    expected = initialise(own(), "normal(0.1)", 3)
    assert torch.equal(state["stem.weight"], expected.stem.weight)
    assert not state["stem.bias"].any(), "biases alias the network's"


# Pruning


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_masks_nest_have_exact_counts_and_keep_the_largest_trained_weights(
    scope, plain, data, quick
):
    config = PruneConfig(scope=scope, linear_rate=0.3)
    levels = list(find_tickets(plain(), data, levels=6, train=quick, prune=config))
    kinds = prunable(plain())
    assert [level.level for level in levels] == list(range(7))
    assert levels[0].weights_remaining == 1
    for previous, level in pairwise(levels):
        keep = keep_counts(level.masks.sizes, kinds, config, level.level)
        assert level.masks.is_within(previous.masks)
        assert sum(level.masks.remaining.values()) == sum(keep.values())
        pools = [list(kinds)] if scope == "global" else [[name] for name in kinds]
        for pool in pools:
            assert sum(level.masks.remaining[n] for n in pool) == sum(keep[n] for n in pool)
            size = torch.cat([previous.trained[n].abs().flatten() for n in pool])
            alive = torch.cat([previous.masks[n].flatten() for n in pool])
            kept = torch.cat([level.masks[n].flatten() for n in pool])
            assert size[kept].min() >= size[alive & ~kept].max()


def test_the_output_layer_loses_half_as_much(plain, data, quick):
    one = list(find_tickets(plain(), data, levels=1, train=quick))[1]
    assert one.masks.remaining == {"0.weight": 48, "2.weight": 64, "4.weight": 22}


def test_biases_and_batch_norm_are_never_pruned_unless_asked(noisy, data, quick):
    weights = list(find_tickets(noisy(), data, levels=2, train=quick))[-1]
    assert list(weights.masks) == ["0.weight", "4.weight", "8.weight"]
    both = list(find_tickets(noisy(), data, levels=2, train=quick, prune=PruneConfig(biases=True)))[
        -1
    ]
    assert both.masks.remaining["0.bias"] == 6
    assert int((both.trained["0.bias"] == 0).sum()) == 4
    assert both.kinds["8.bias"] == "output"
    assert not any(name.startswith("1.") for name in both.masks)


def test_ties_at_level_0_of_a_net_that_does_not_move_are_broken_by_the_seed(plain, data, quick):
    still = dataclasses.replace(quick, lr=1e-30)

    def pruned(seed: int) -> Masks:
        run = find_tickets(plain(), data, init="sign_constant", seed=seed, levels=1, train=still)
        return list(run)[-1].masks

    one, same, other = pruned(0), pruned(0), pruned(1)
    assert one.remaining == {"0.weight": 48, "2.weight": 64, "4.weight": 22}
    assert equal(one, same)
    assert not equal(one, other)


def test_one_shot_goes_from_the_unpruned_network_straight_to_each_density(plain, data, quick, spy):
    config = PruneConfig(iterative=False)
    levels = list(find_tickets(plain(), data, levels=4, train=quick, prune=config, engine="spy"))
    dense, kinds = levels[0].trained, prunable(plain())
    for level, call in zip(levels[1:], firsts(spy)[1:], strict=True):
        keep = keep_counts(level.masks.sizes, kinds, config, level.level)
        assert level.masks.remaining == keep
        for name, mask in level.masks.items():
            assert dense[name][mask].abs().min() >= dense[name][~mask].abs().max()
        assert equal(call.before, masked(levels[0].initial, level.masks))
    iterative = list(find_tickets(plain(), data, levels=4, train=quick))
    assert equal(iterative[1].masks, levels[1].masks)
    assert not equal(iterative[4].masks, levels[4].masks)


@pytest.mark.parametrize("mode", ["learning_rate", "none"])
def test_one_shot_goes_on_from_the_unpruned_networks_trained_weights(mode, plain, data, quick, spy):
    levels = list(
        find_tickets(
            plain(),
            data,
            levels=3,
            train=quick,
            prune=PruneConfig(iterative=False),
            rewind=RewindConfig(mode=mode),
            engine="spy",
        )
    )
    for level, call in zip(levels[1:], firsts(spy)[1:], strict=True):
        assert equal(call.before, masked(levels[0].trained, level.masks))


def by_travel(layer, context):
    return (layer.weight - layer.initial).abs()


def test_a_users_criterion_sees_trained_and_initial_weights(plain, data, quick):
    config = PruneConfig(criterion=f"{__name__}:by_travel")
    levels = list(find_tickets(plain(), data, levels=2, train=quick, prune=config))
    for before, after in pairwise(levels):
        for name, mask in after.masks.items():
            travel = (before.trained[name] - before.initial[name]).abs()
            pruned = before.masks[name] & ~mask
            assert travel[mask].min() >= travel[pruned].max()


# Other rewinding


@pytest.mark.parametrize("optimizer", ["fresh", "rewound"])
@pytest.mark.parametrize(
    "settings", [{"lr": 0.01}, {"lr": 0.1, "optimizer": "sgd", "momentum": 0.9}]
)
def test_rewinding_to_step_k_restores_weights_statistics_and_schedule(
    settings, optimizer, noisy, data, spy
):
    config = TrainConfig(
        duration="2ep", batch_size=8, eval_every="5it", lr_schedule="cosine", **settings
    )
    model = noisy()
    levels = list(
        find_tickets(
            model,
            data,
            levels=3,
            train=config,
            rewind=RewindConfig(to="3it", optimizer=optimizer),
            engine="spy",
        )
    )
    assert [(call.start, call.stop) for call in spy[:4]] == [(0, 3), (3, 5), (5, 10), (10, 12)]
    at_k = spy[1]
    assert at_k.before["1.num_batches_tracked"] == 3
    for level, call in zip(levels[1:], firsts(spy, first_level=4)[1:], strict=True):
        assert (call.start, call.stop) == (3, 5)
        assert equal(call.before, masked(at_k.before, level.masks)), f"level {level.level}"
        assert call.rates == at_k.rates
        if optimizer == "fresh":
            assert call.optimizer == {}
        else:
            expected = without_pruned(at_k.optimizer, model, level.masks)
            assert optimizer_equal(call.optimizer, expected), f"level {level.level}"
        assert (level.first_step, level.steps) == (3, 9)
        assert [evaluation.step for evaluation in level.evaluations] == [5, 10, 12]
    assert (levels[0].first_step, levels[0].steps) == (0, 12)


def test_weights_of_step_k_are_those_after_k_steps_of_training(plain, data, quick, spy):
    """Against a loop of its own: no off-by-one in what step k means."""
    list(
        find_tickets(
            plain(), data, levels=1, train=quick, rewind=RewindConfig(to="1ep"), engine="spy"
        )
    )
    model = initialise(plain())
    optimizer, batches = make_optimizer(model, quick), Batches(data.train, 8, seed=0, level=0)
    train_steps(model, Masks.ones(model), optimizer, batches, lambda _: quick.lr, 0, 6)
    at_k = next(call for call in spy if call.start == 6)
    assert equal(at_k.before, snapshot(model))
    later = spy[-2]
    assert later.start == 6
    assert later.before["0.bias"].any()
    assert torch.equal(later.before["0.bias"], model[0].bias)


def test_learning_rate_rewinding_keeps_weights_and_restarts_the_schedule(plain, data, spy):
    config = TrainConfig(
        duration="2ep", batch_size=8, eval_every="5it", lr=0.01, lr_schedule="cosine"
    )
    levels = list(
        find_tickets(
            plain(),
            data,
            levels=3,
            train=config,
            rewind=RewindConfig(mode="learning_rate"),
            engine="spy",
        )
    )
    calls = firsts(spy)
    for previous, level, call in zip(levels, levels[1:], calls[1:], strict=False):
        assert equal(call.before, masked(previous.trained, level.masks))
        assert call.rates == calls[0].rates
        assert call.optimizer == {}
        assert level.masks.is_within(previous.masks)
    assert calls[0].rates[0] == 0.01
    assert calls[0].rates[1] < 0.01


def test_learning_rate_rewinding_to_step_k_trains_from_k_on(plain, data, spy):
    config = TrainConfig(
        duration="2ep", batch_size=8, eval_every="6it", lr=0.01, lr_schedule="cosine"
    )
    levels = list(
        find_tickets(
            plain(),
            data,
            levels=2,
            train=config,
            rewind=RewindConfig(mode="learning_rate", to="6it"),
            engine="spy",
        )
    )
    assert [(call.start, call.stop) for call in spy] == [(0, 6), (6, 12), (6, 12), (6, 12)]
    assert spy[1].rates == spy[2].rates == spy[3].rates
    assert equal(spy[2].before, masked(levels[0].trained, levels[1].masks))
    assert equal(spy[3].before, masked(levels[1].trained, levels[2].masks))


def test_fine_tuning_keeps_weights_and_holds_the_last_rate(plain, data, spy):
    config = TrainConfig(
        duration="2ep",
        batch_size=8,
        eval_every="5it",
        lr=0.01,
        lr_schedule="step",
        lr_milestones=["4it", "8it"],
    )
    levels = list(
        find_tickets(
            plain(), data, levels=2, train=config, rewind=RewindConfig(mode="none"), engine="spy"
        )
    )
    assert [rate for call in spy[:3] for rate in call.rates] == pytest.approx(
        [0.01] * 4 + [0.001] * 4 + [0.0001] * 4
    )
    for call in spy[3:]:
        assert call.rates == pytest.approx([0.0001] * len(call.rates))
    assert equal(spy[3].before, masked(levels[0].trained, levels[1].masks))
    assert equal(spy[6].before, masked(levels[1].trained, levels[2].masks))


@pytest.mark.parametrize("mode", ["weights", "learning_rate", "none"])
@pytest.mark.parametrize(
    "settings", [{"lr": 0.01}, {"lr": 0.1, "optimizer": "sgd", "momentum": 0.9}]
)
def test_a_kept_optimiser_goes_on_but_forgets_pruned_weights(mode, settings, noisy, data, spy):
    config = TrainConfig(duration="2ep", batch_size=8, eval_every="5it", **settings)
    model = noisy()
    levels = list(
        find_tickets(
            model,
            data,
            levels=3,
            train=config,
            rewind=RewindConfig(mode=mode, optimizer="kept"),
            engine="spy",
        )
    )
    for number, level in enumerate(levels[1:], start=1):
        end, begin = spy[3 * number - 1], spy[3 * number]
        expected = without_pruned(end.optimizer_after, model, level.masks)
        assert optimizer_equal(begin.optimizer, expected)
        memory = next(v for v in begin.optimizer[0].values() if v.dim() == 2)
        assert not memory[~level.masks["0.weight"]].any()
        assert memory[level.masks["0.weight"]].any()


# Data and chance


@pytest.mark.parametrize("order", ["fresh", "same"])
def test_data_order_is_shared_by_schemes_and_fresh_or_the_same_over_levels(
    order, plain, data, quick, spy
):
    config = dataclasses.replace(quick, data_order=order)
    for init in ("xavier_normal", "kaiming_uniform"):
        list(find_tickets(plain(), data, init=init, levels=2, train=config, engine="spy"))
    seen = [torch.cat([c.images for c in spy[n : n + 3]]) for n in range(0, 18, 3)]
    for one, other in zip(seen[:3], seen[3:], strict=True):
        assert torch.equal(one, other), "another scheme sees another order"
    assert torch.equal(seen[0], seen[1]) == (order == "same")
    assert torch.equal(seen[1], seen[2]) == (order == "same")


def test_results_depend_on_the_seed_alone(noisy, data, quick):
    def run(process_seed: int, seed: int):
        torch.manual_seed(0)
        model = noisy()
        torch.manual_seed(process_seed)
        return list(find_tickets(model, data, seed=seed, levels=2, train=quick))

    one, same, other = run(1, 0), run(2, 0), run(1, 1)
    assert [level.evaluations for level in one] == [level.evaluations for level in same]
    assert all(equal(a.trained, b.trained) for a, b in zip(one, same, strict=True))
    assert not equal(one[0].trained, other[0].trained)


def test_accuracies_are_counts_of_their_own_set(noisy, data, quick):
    for level in find_tickets(noisy(), data, levels=2, train=quick):
        model = noisy()
        model.load_state_dict(level.trained)
        for part, total in (("train", 50), ("val", 13), ("test", 17)):
            share = getattr(level, part).accuracy
            assert share * total == pytest.approx(round(share * total), abs=1e-9)
            assert share == evaluate(model, getattr(data, part)).accuracy


def test_a_ticket_learns(noisy, data):
    """Planted classes are learnt by the ticket too: masks do not freeze what they keep."""
    config = TrainConfig(duration="20ep", batch_size=8, lr=0.02)
    levels = list(find_tickets(noisy(), data, levels=3, train=config))
    assert levels[-1].weights_remaining < 0.55
    assert min(level.train.accuracy for level in levels) > 0.85
    shuffled = data.train.labels[torch.randperm(50, generator=torch.Generator().manual_seed(0))]
    nonsense = Splits(Examples(data.train.images, shuffled), data.val, data.test, 3)
    level = next(find_tickets(noisy(), nonsense, levels=0, train=config))
    assert level.test.accuracy < levels[0].test.accuracy


# Refusals


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"to": "500"}, "rewind.to is '500'"),
        ({"optimizer": "rewound"}, "rewind.optimizer is 'rewound'; allowed: fresh or kept"),
        ({"optimizer": "rewound", "to": "5it", "mode": "none"}, "rewind.optimizer is 'rewound'"),
        (
            {"init": "torch_default", "to": "5it"},
            "rewind.init is 'torch_default'; allowed: nothing",
        ),
        ({"init": "torch_default", "mode": "none"}, "rewind.init is 'torch_default'"),
        ({"mode": "weight"}, "rewind.mode is 'weight'; allowed: weights, learning_rate, none"),
        ({"optimizer": "reset"}, "rewind.optimizer is 'reset'; allowed: fresh, rewound, kept"),
    ],
)
def test_a_wrong_rewind_setting_is_named(settings, message):
    with pytest.raises(ConfigError, match=message):
        RewindConfig(**settings)


@pytest.mark.parametrize("to", ["12it", "2ep", "13it"])
def test_rewinding_past_the_end_is_refused(to, plain, data, quick):
    with pytest.raises(ConfigError, match=f"rewind.to is '{to}'; allowed: less than train.dur"):
        next(find_tickets(plain(), data, train=quick, rewind=RewindConfig(to=to)))


@pytest.mark.parametrize("duration", ["2ep", "12it"])
def test_a_batch_larger_than_the_training_set_is_named(duration, plain, data):
    config = TrainConfig(batch_size=51, duration=duration)
    with pytest.raises(ConfigError, match=r"train\.batch_size is 51; allowed: 1 to 50"):
        next(find_tickets(plain(), data, train=config))


def test_a_diverged_level_is_named(plain, data, quick):
    config = dataclasses.replace(quick, optimizer="sgd", lr=1e30)
    with pytest.raises(DivergedError, match="level 0, step 5"):
        list(find_tickets(plain(), data, train=config))


# Going on


class Shelf(Memory):
    """A memory that keeps levels too, as the study's store does."""

    def __init__(self) -> None:
        super().__init__()
        self.levels = {}

    def load_level(self, level, initial):
        return self.levels.get(level)

    def save_level(self, level):
        assert level.level not in self.levels, "trained twice"
        self.levels[level.level] = level


class Killed(Exception):
    pass


RUNS = {
    "weights": {},
    "step k": {"rewind": RewindConfig(to="3it")},
    "rewound optimiser": {"rewind": RewindConfig(to="3it", optimizer="rewound")},
    "kept optimiser": {"rewind": RewindConfig(optimizer="kept")},
    "learning rate": {"rewind": RewindConfig(mode="learning_rate", optimizer="kept")},
    "fine-tuning": {"rewind": RewindConfig(mode="none")},
    "one-shot": {"prune": PruneConfig(iterative=False)},
    "global": {"prune": PruneConfig(scope="global")},
    "before training": {
        "prune": PruneConfig(at="initial", criterion="synflow", scope="global", iterations=5)
    },
    "by chance": {"prune": PruneConfig(at="initial", criterion="random", allocation="erk")},
}


@pytest.mark.parametrize("run", RUNS)
def test_a_run_killed_anywhere_ends_as_if_never_interrupted(run, noisy, data, quick):
    config = dataclasses.replace(quick, lr_schedule="cosine")

    def find(memory, watch):
        torch.manual_seed(0)
        return list(
            find_tickets(
                noisy(), data, levels=2, train=config, memory=memory, watch=watch, **RUNS[run]
            )
        )

    heard = []
    whole = find(Shelf(), lambda *told: heard.append(told))
    assert len(heard) in (9, 10)
    for at in range(len(heard)):
        memory, left = Shelf(), [at]

        def killer(*told, left=left):
            left[0] -= 1
            if left[0] < 0:
                raise Killed

        with pytest.raises(Killed):
            find(memory, killer)
        again = find(memory, lambda *told: None)
        for one, other in zip(again, whole, strict=True):
            assert one.evaluations == other.evaluations, f"killed at {at}"
            assert equal(one.trained, other.trained), f"killed at {at}"
            assert equal(one.masks, other.masks)
            assert one.steps == other.steps


def test_finished_levels_are_not_trained_again(plain, data, quick, spy):
    memory = Shelf()
    first = list(find_tickets(plain(), data, levels=1, train=quick, memory=memory, engine="spy"))
    trained = len(spy)
    more = list(find_tickets(plain(), data, levels=2, train=quick, memory=memory, engine="spy"))
    assert more[:2] == first
    assert len(spy) == trained + 3
    straight = list(find_tickets(plain(), data, levels=2, train=quick, engine="reference"))
    assert equal(more[2].trained, straight[2].trained)


@pytest.mark.parametrize("rewind", [RewindConfig(to="3it"), RewindConfig(optimizer="kept")])
def test_a_lost_checkpoint_is_said_and_not_replaced_by_something_else(rewind, plain, data, quick):
    memory = Shelf()
    list(find_tickets(plain(), data, levels=1, train=quick, rewind=rewind, memory=memory))
    lost = Shelf()
    lost.levels = memory.levels
    with pytest.raises(StoreError, match="level 2 cannot start as it should"):
        list(find_tickets(plain(), data, levels=2, train=quick, rewind=rewind, memory=lost))


def test_a_checkpoint_from_the_middle_of_the_last_level_is_not_its_end(plain, data, quick):
    """As it may lie there when two processes wrote it, and the later one was the slower."""

    class Behind(Shelf):
        def save_checkpoint(self, take, *, must):
            if not must:
                super().save_checkpoint(take, must=must)

    with pytest.raises(StoreError, match="level 1 cannot start as it should"):
        list(find_dense(plain(), data, levels=1, train=quick, memory=Behind()))


# The unpruned baseline


@pytest.mark.parametrize(
    "settings", [{"lr": 0.01}, {"lr": 0.1, "optimizer": "sgd", "momentum": 0.9}]
)
def test_dense_is_one_long_training_whose_optimiser_goes_on(settings, plain, data):
    config = TrainConfig(duration="2ep", batch_size=8, eval_every="5it", **settings)
    levels = list(find_dense(plain(), data, levels=3, train=config, engine="reference"))
    model = initialise(plain())
    optimizer, ones = make_optimizer(model, config), Masks.ones(model)
    for level in levels:
        batches = Batches(data.train, 8, seed=0, level=level.level)
        train_steps(model, ones, optimizer, batches, lambda _: config.lr, 0, 12)
        assert equal(level.trained, snapshot(model)), f"level {level.level}"
        assert level.weights_remaining == 1
        assert level.steps == 12
    assert [level.level for level in levels] == [0, 1, 2, 3]


def test_dense_and_tickets_share_level_0_and_the_total_of_steps(noisy, data, quick):
    torch.manual_seed(0)
    model = noisy()
    dense = list(find_dense(copy.deepcopy(model), data, levels=2, train=quick, seed=3))
    tickets = list(find_tickets(copy.deepcopy(model), data, levels=2, train=quick, seed=3))
    assert equal(dense[0].trained, tickets[0].trained)
    assert sum(level.steps for level in dense) == sum(level.steps for level in tickets)


def test_a_kept_optimiser_makes_no_sense_in_one_shot_pruning(plain, data, quick):
    prune, rewind = PruneConfig(iterative=False), RewindConfig(optimizer="kept")
    with pytest.raises(ConfigError, match=r"rewind\.optimizer is 'kept'"):
        next(find_tickets(plain(), data, train=quick, prune=prune, rewind=rewind))


@pytest.mark.parametrize(
    "rewind",
    [
        RewindConfig(mode="none"),
        RewindConfig(mode="learning_rate"),
        RewindConfig(to="3it"),
        RewindConfig(optimizer="kept"),
    ],
)
def test_pruning_an_untrained_network_starts_from_untrained_weights(rewind, plain, data, quick):
    prune = PruneConfig(at="initial", criterion="snip")
    with pytest.raises(ConfigError, match=r"prune\.at is 'initial'; allowed: trained, unless"):
        next(find_tickets(plain(), data, train=quick, prune=prune, rewind=rewind))


def test_a_negative_number_of_levels_is_refused(plain, data, quick):
    with pytest.raises(ConfigError, match="levels is -1"):
        next(find_tickets(plain(), data, train=quick, levels=-1))


def test_a_kept_optimiser_of_a_later_level_is_not_taken_for_an_earlier_ones(plain, data, quick):
    """A lost level would otherwise be trained again, quietly, from the wrong state."""

    class LosesLevelOne(Memory):
        def __init__(self):
            super().__init__()
            self.levels = {}

        def save_level(self, level):
            self.levels[level.level] = level

        def load_level(self, level, initial):
            return self.levels.get(level)

    memory, rewind = LosesLevelOne(), RewindConfig(optimizer="kept")
    list(find_tickets(plain(), data, train=quick, levels=3, rewind=rewind, memory=memory))
    del memory.levels[1]
    with pytest.raises(StoreError, match="level 1 cannot start as it should"):
        list(find_tickets(plain(), data, train=quick, levels=3, rewind=rewind, memory=memory))
