"""What changes a network in training: its place in a walk, and that a kill changes nothing."""

import copy
import dataclasses
from itertools import pairwise

import pytest
import torch

from lottery.errors import ConfigError
from lottery.pruning.schedule import PruneConfig
from lottery.tickets import RewindConfig, find_dense, find_tickets
from lottery.tickets.level import Memory, ignore
from lottery.training.config import TrainConfig

SGD = TrainConfig(
    duration="2ep", batch_size=8, optimizer="sgd", lr=0.1, momentum=0.9, eval_every="5it"
)
"""12 steps, two epochs of 6."""

PROCEDURES = [
    "soft",
    "soft(cumulative=true, every=4it)",
    "soft(every=4it) of filters",
    "shrinkage(ratio=0.5, every=4it, free=3it)",
    "shrinkage(ratio=0.5, every=4it, group=input, in_turn=true)",
    "centripetal(clusters=even)",
    "slimming(strength=0.01)",
]


def walk(network, data, during, train=SGD, memory=None, watch=ignore, **options):
    rewind = options.pop("rewind", RewindConfig())
    if during.startswith(("shrinkage", "centripetal")):
        options = {"criterion": "l2"} | options
    during, _, of = during.partition(" of ")
    if of:
        options = {"criterion": "geometric_median"} | options
    prune = PruneConfig(during=during, linear_rate=0.3, **options)
    tickets = find_tickets(
        network(),
        data,
        levels=2,
        train=train,
        prune=prune,
        rewind=rewind,
        memory=memory,
        watch=watch,
    )
    return list(tickets)


class Killed(Exception):
    pass


class Killer:
    """A watch that ends the process, so to say, at one evaluation of one level."""

    def __init__(self, level: int, at: int) -> None:
        self.level, self.left = level, at

    def __call__(self, start, evaluation) -> None:
        if start.level == self.level:
            if self.left == 0:
                raise Killed
            self.left -= 1


class Kept(Memory):
    """A memory that keeps levels too."""

    def __init__(self) -> None:
        super().__init__()
        self.levels: dict = {}

    def load_level(self, level, initial):
        return self.levels.get(level)

    def save_level(self, level):
        self.levels[level.level] = level


def assert_same(one, other) -> None:
    assert one.evaluations == other.evaluations
    assert (one.train, one.val, one.test) == (other.train, other.val, other.test)
    assert all(torch.equal(one.trained[name], value) for name, value in other.trained.items())
    assert all(torch.equal(one.masks[name], mask) for name, mask in other.masks.items())
    assert one.diagnostics == other.diagnostics


UNSEEN = dataclasses.replace(SGD, eval_actions=False)


@pytest.mark.parametrize("during", PROCEDURES)
def test_what_is_not_looked_at_is_trained_alike(during, noisy, data):
    """Evaluations are those of a level without a procedure, after its actions at the same step."""
    torch.manual_seed(0)
    model = noisy()
    seen, unseen = (walk(lambda: copy.deepcopy(model), data, during, t) for t in (SGD, UNSEEN))
    for one, other in zip(seen, unseen, strict=True):
        assert [e.step for e in other.evaluations] == [5, 10, 12]
        last = {evaluation.step: evaluation for evaluation in one.evaluations}
        assert other.evaluations == [last[step] for step in (5, 10, 12)]
        assert all(torch.equal(one.trained[name], value) for name, value in other.trained.items())


@pytest.mark.parametrize("train", [SGD, UNSEEN], ids=["seen", "unseen"])
@pytest.mark.parametrize("during", PROCEDURES)
def test_a_killed_level_goes_on_bit_for_bit(during, train, noisy, data):
    torch.manual_seed(0)
    model = noisy()

    def network():
        return copy.deepcopy(model)

    whole = walk(network, data, during, train)
    for level in (1, 2):
        for at in range(len(whole[level].evaluations)):
            memory = Kept()
            with pytest.raises(Killed):
                walk(network, data, during, train, memory, Killer(level, at))
            rest = walk(network, data, during, train, memory)
            for one, other in zip(rest, whole, strict=True):
                assert_same(one, other)


@pytest.mark.parametrize("during", PROCEDURES)
@pytest.mark.parametrize(
    "rewind",
    [
        RewindConfig(),
        RewindConfig(to="3it", optimizer="rewound"),
        RewindConfig(mode="learning_rate", optimizer="kept"),
        RewindConfig(mode="none"),
    ],
    ids=lambda rewind: f"{rewind.mode}-{rewind.to}",
)
def test_it_goes_with_every_way_to_rewind(during, rewind, noisy, data):
    if during in ("soft", "soft(every=4it) of filters") and rewind.mode != "weights":
        with pytest.raises(ConfigError, match="cumulative"):
            walk(noisy, data, during, rewind=rewind)
        return
    levels = walk(noisy, data, during, rewind=rewind)
    assert levels[0].weights_remaining == 1
    assert 1 > levels[1].weights_remaining >= levels[2].weights_remaining > 0
    for level in levels:
        for name, mask in level.masks.items():
            assert not level.trained[name][~mask].any()
    if not during.startswith("soft") or "cumulative" in during:
        for earlier, later in pairwise(levels):
            assert later.masks.is_within(earlier.masks)


def test_a_level_is_evaluated_before_and_after_each_action(noisy, data):
    levels = walk(noisy, data, "shrinkage(ratio=0.5, every=4it, free=3it)")
    assert [e.step for e in levels[0].evaluations] == [5, 10, 12]
    assert [e.step for e in levels[1].evaluations] == [4, 4, 5, 8, 8, 10, 12]
    remaining = [e.weights_remaining for e in levels[1].evaluations]
    assert remaining[0] == 1.0
    assert remaining[1] == remaining[2] == remaining[3] < 1.0
    assert remaining[4] == remaining[-1] == levels[1].weights_remaining
    before, after = levels[1].evaluations[:2]
    assert before.train_loss != after.train_loss
    assert levels[1].steps == 12
    # Early stopping is of the network that the level ends with.
    assert levels[1].early_stop.step >= 8 and levels[1].early_stop != levels[1].evaluations[3]


def test_weights_that_soft_pruning_zeroes_are_trained_until_the_end(plain, data):
    seen = []
    walk(plain, data, "soft(every=6it)", watch=lambda s, e: seen.append((s.level, e.step, s.masks)))
    told = {(level, step): masks.weights_remaining for level, step, masks in seen}
    assert told[1, 6] == told[1, 10] == told[2, 10] == 1.0
    assert told[1, 12] < 1 and told[2, 12] < told[1, 12]


def test_the_counts_at_the_end_are_those_of_pruning_between_levels(plain, data):
    usual = walk(plain, data, "none")
    for during in ("soft(every=5it)", "soft(cumulative=true)"):
        for one, other in zip(walk(plain, data, during), usual, strict=True):
            assert one.masks.remaining == other.masks.remaining


def test_centripetal_leaves_the_rates_number_of_neurons(noisy, data):
    levels = walk(noisy, data, "centripetal(clusters=even)")
    neurons = [
        [int(level.masks[f"{n}.weight"].any(1).sum()) for n in (0, 4, 8)] for level in levels
    ]
    assert neurons == [[10, 8, 3], [7, 6, 3], [5, 4, 3]]
    assert set(levels[1].diagnostics) == {"cluster_spread"}


def test_without_a_procedure_nothing_is_changed_and_the_dense_baseline_has_none(noisy, data):
    dense = list(find_dense(noisy(), data, levels=1, train=SGD))
    assert all(level.weights_remaining == 1 for level in dense)


@pytest.mark.parametrize("engine", ["sparse", "stacked"])
def test_engines_that_know_no_procedure_are_refused(engine, plain, data):
    with pytest.raises(ConfigError, match=r"prune\.during changes it"):
        list(
            find_tickets(
                plain(),
                data,
                levels=1,
                train=SGD,
                prune=PruneConfig(during="soft"),
                engine=engine,
            )
        )


@pytest.mark.parametrize(
    ("during", "named"),
    [
        ("softly", "procedure is 'softly'"),
        ("soft(each=1ep)", "procedure soft's option"),
        ("soft(every=often)", "every"),
        ("fractions:Fraction", "returns a Procedure"),
        ("centripetal(clusters=odd)", "clusters"),
    ],
)
def test_what_is_no_procedure_is_named(during, named, plain, data):
    with pytest.raises(ConfigError, match=named):
        walk(plain, data, during)


def test_untrained_networks_are_not_ranked_in_training(plain, data):
    with pytest.raises(ConfigError, match=r"prune\.during is 'soft'; allowed: none"):
        walk(plain, data, "soft", at="initial")


# Walks that end early


def test_a_walk_ends_with_the_first_level_that_loses_too_much(plain, data):
    levels = walk(plain, data, "none")
    memory = Kept()
    for level, accuracy in zip(levels, (0.9, 0.85, 0.5), strict=True):
        val = dataclasses.replace(level.val, accuracy=accuracy)
        memory.save_level(dataclasses.replace(level, val=val))

    def found(stop):
        return [level.level for level in walk(plain, data, "none", memory=memory, stop=stop)]

    assert found(None) == found(0.4) == [0, 1, 2]
    assert found(0.05) == [0, 1, 2], "not more than 0.05 below, rounding apart"
    assert found(0.04) == found(0.0) == [0, 1]


def test_masks_of_units_name_all_that_goes_with_them(noisy, data):
    level = walk(noisy, data, "shrinkage(ratio=0.5, every=1ep)")[1]
    assert {"0.weight", "0.bias", "1.weight", "1.bias", "8.weight"} <= set(level.masks)
