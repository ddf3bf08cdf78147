"""The right network is ranked, on images that are drawn fairly and stay the same."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from lottery.init import initialise
from lottery.pruning.masks import Masks, prunable
from lottery.pruning.network import Network
from lottery.pruning.schedule import PruneConfig, keep_counts
from lottery.tickets import find_tickets
from lottery.tickets.ranking import balanced, make_ranking
from lottery.training.level import snapshot


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.integers(1, 70))
def test_images_are_drawn_as_evenly_from_classes_as_they_last(labels, count):
    index = balanced(torch.tensor(labels), count, stream())
    assert len(set(index.tolist())) == len(index) == min(count, len(labels))
    drawn = [labels[i] for i in index.tolist()]
    most = max(drawn.count(label) for label in set(labels))
    for label in set(labels):
        assert drawn.count(label) >= min(most - 1, labels.count(label))


def test_every_image_of_a_class_has_the_same_chance_and_the_seed_decides():
    labels, counts = torch.arange(30) % 3, torch.zeros(30)
    for seed in range(600):
        counts[balanced(labels, 6, stream(seed))] += 1
    assert (counts - 120).abs().max() < 50
    assert torch.equal(balanced(labels, 6, stream(1)), balanced(labels, 6, stream(1)))


@pytest.fixture
def ranked(monkeypatch):
    """Networks that were ranked: state, images and labels."""
    found = []

    class Told(Network):
        def __init__(self, model, state, images, labels, masks, objective):
            found.append((state, images, labels))
            super().__init__(model, state, images, labels, masks, objective)

    monkeypatch.setattr("lottery.tickets.ranking.Network", Told)
    return found


def test_an_untrained_network_is_ranked_at_every_level_on_the_same_images(
    noisy, data, quick, ranked
):
    prune = PruneConfig(at="initial", criterion="snip", scope="global", images=9)
    levels = list(find_tickets(noisy(), data, levels=3, train=quick, prune=prune, seed=4))
    assert len({int(images.sum() * 1e6) for _, images, _ in ranked}) == 1
    for state, images, labels in ranked:
        assert all(torch.equal(value, levels[0].initial[name]) for name, value in state.items())
        assert images.shape == (9, 6)
        assert sorted(labels.tolist()) == [0, 0, 0, 1, 1, 1, 2, 2, 2]
        for image in images:
            assert (data.train.images == image).all(dim=1).any(), "not a training image"


def test_a_trained_network_is_ranked_as_the_last_level_left_it(noisy, data, quick, ranked):
    prune = PruneConfig(criterion="snip")
    levels = list(find_tickets(noisy(), data, levels=2, train=quick, prune=prune))
    for level in levels[:2]:
        assert any(
            all(torch.equal(value, level.trained[name]) for name, value in state.items())
            for state, _, _ in ranked
        )


def test_levels_of_an_untrained_network_start_from_its_weights(plain, data, quick, spy):
    prune = PruneConfig(at="initial", criterion="grasp", scope="global")
    levels = list(find_tickets(plain(), data, levels=3, train=quick, prune=prune, engine="spy"))
    initial = levels[0].initial
    for level, call in zip(levels, spy[::3], strict=True):
        for name, mask in level.masks.items():
            assert torch.equal(call.before[name], initial[name] * mask)
        assert call.optimizer == {}


def test_masks_at_initialisation_do_not_depend_on_training(plain, data, quick):
    def masks(**settings):
        prune = PruneConfig(at="initial", criterion="snip", scope="global", **settings)
        return list(find_tickets(plain(), data, levels=2, train=quick, prune=prune))[2].masks

    model = initialise(plain(), "xavier_normal", 0)
    initial = snapshot(model)
    ranking = make_ranking(model, data, PruneConfig(), initial, 0)
    images, labels = ranking._images()
    F.cross_entropy(model(images), labels).backward()
    names = list(prunable(model))
    scores = torch.cat([(model.get_parameter(n) * model.get_parameter(n).grad).abs().flatten()
                        for n in names])  # fmt: skip
    counts = keep_counts(Masks.ones(model).sizes, prunable(model), PruneConfig(), 2)
    best = scores.argsort(descending=True)[: sum(counts.values())]
    found = torch.cat([mask.flatten() for mask in masks().values()])
    assert set(best.tolist()) == set(found.nonzero().flatten().tolist())
    assert any(not torch.equal(mask, masks(images=20)[n]) for n, mask in masks().items())


def test_random_masks_are_drawn_once_and_cut_deeper_at_each_level(plain, data, quick):
    prune = PruneConfig(at="initial", criterion="random", allocation="erk")
    one, other = (
        list(find_tickets(plain(), data, levels=4, train=quick, prune=prune, seed=seed))
        for seed in (0, 1)
    )
    for level in (2, 3, 4):
        assert one[level].masks.is_within(one[level - 1].masks)
    assert not one[4].masks.is_within(other[4].masks)


def test_iterations_at_one_level_go_on_from_the_last_levels_masks(plain, data, quick):
    prune = PruneConfig(criterion="snip", scope="global", iterations=3)
    levels = list(find_tickets(plain(), data, levels=3, train=quick, prune=prune))
    for before, after in pairwise(levels):
        assert after.masks.is_within(before.masks)
        counts = keep_counts(after.masks.sizes, after.kinds, PruneConfig(), after.level)
        assert sum(after.masks.remaining.values()) == sum(counts.values())
