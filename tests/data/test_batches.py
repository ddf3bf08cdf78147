"""Each epoch shows every example at most once; any step can be had without those before it."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lottery.data import Batches, Examples, Scenes
from lottery.errors import ConfigError


def numbered(total: int) -> Examples:
    """Images that hold their own index; labels do too."""
    return Examples(torch.arange(total).float().unsqueeze(1), torch.arange(total))


def order(batches: Batches, start: int, stop: int) -> list[list[int]]:
    return [labels.tolist() for _, labels in batches.steps(start, stop)]


@st.composite
def sizes(draw):
    total = draw(st.integers(1, 40))
    return total, draw(st.integers(1, total))


@given(sizes(), st.integers(0, 10**6), st.integers(0, 30))
def test_an_epoch_shows_every_example_at_most_once_in_whole_batches(size, seed, level):
    total, batch_size = size
    batches = Batches(numbered(total), batch_size, seed=seed, level=level)
    steps = batches.steps_per_epoch
    assert steps == total // batch_size
    for epoch in range(3):
        shown = order(batches, epoch * steps, (epoch + 1) * steps)
        assert [len(batch) for batch in shown] == [batch_size] * steps
        assert len({index for batch in shown for index in batch}) == steps * batch_size


@given(sizes(), st.integers(0, 10**6), st.data())
def test_starting_at_any_step_gives_the_same_batches(size, seed, data):
    total, batch_size = size
    stop = data.draw(st.integers(0, 3 * (total // batch_size)), label="stop")
    start = data.draw(st.integers(0, stop), label="start")
    whole = order(Batches(numbered(total), batch_size, seed=seed), 0, stop)
    resumed = order(Batches(numbered(total), batch_size, seed=seed), start, stop)
    assert len(whole) == stop
    assert resumed == whole[start:]


def test_one_object_serves_steps_in_any_order():
    batches = Batches(numbered(10), 3, seed=0)
    whole = order(batches, 0, 9)
    assert order(batches, 6, 9) + order(batches, 0, 2) == whole[6:] + whole[:2]


def test_images_and_labels_stay_together():
    for images, labels in Batches(numbered(20), 6, seed=0).steps(0, 7):
        assert images.squeeze(1).long().tolist() == labels.tolist()


def test_the_order_does_not_depend_on_the_global_generator():
    torch.manual_seed(1)
    one = order(Batches(numbered(20), 5, seed=0), 0, 8)
    torch.manual_seed(2)
    assert order(Batches(numbered(20), 5, seed=0), 0, 8) == one


def test_epochs_levels_and_seeds_differ():
    examples = numbered(100)
    orders = [
        order(Batches(examples, 100, seed=seed, level=level), epoch, epoch + 1)[0]
        for seed in (0, 1)
        for level in (0, 1)
        for epoch in (0, 1)
    ]
    assert len({tuple(one) for one in orders}) == 8


def test_the_examples_left_over_change():
    batches = Batches(numbered(11), 5, seed=0)
    shown = [{i for batch in order(batches, 2 * e, 2 * e + 2) for i in batch} for e in range(50)]
    assert set.union(*shown) == set(range(11))
    assert len({frozenset(epoch) for epoch in shown}) > 1


@pytest.mark.parametrize("size", [0, -3, 21])
def test_an_impossible_batch_size_names_the_setting(size):
    with pytest.raises(ConfigError, match=rf"train\.batch_size is {size}; allowed: 1 to 20"):
        Batches(numbered(20), size, seed=0)


def test_batches_are_made_where_the_examples_are():
    images, labels = next(Batches(numbered(20).to("meta"), 5, seed=0).steps(0, 1))
    assert images.device.type == labels.device.type == "meta"


def scenes(total: int = 6, side: int = 32) -> Scenes:
    """Scene i has one box of class i, over its only bright pixels."""
    images = torch.zeros(total, side, side, 3, dtype=torch.uint8)
    images[:, 8:24, 8:24] = 200
    boxes = torch.tensor([0.0, 0.25, 0.25, 0.75, 0.75, 0.0]).repeat(total, 1, 1)
    boxes[:, 0, 0] = torch.arange(total)
    return Scenes(images, boxes)


def test_boxes_move_with_their_images():
    moved = 0
    for images, boxes in Batches(scenes(), 6, seed=0, augmentation="jitter").steps(0, 3):
        for image, box in zip(images, boxes[:, 0], strict=True):
            bright = (image.amax(dim=0) > 0.25).nonzero().float()
            low, high = bright.amin(dim=0), bright.amax(dim=0) + 1
            corners = torch.stack([low[1], low[0], high[1], high[0]]) / 32
            assert (corners - box[1:5]).abs().max() < 0.08, "two or three pixels of 32"
            moved += bool((box[1:5] - torch.tensor([0.25, 0.25, 0.75, 0.75])).abs().max() > 0.1)
    assert moved > 5


@pytest.mark.parametrize("options", [{"augmentation": "jitter"}, {"sizes": [24, 32, 40]}])
def test_any_step_of_changed_scenes_can_be_had_without_those_before_it(options):
    def steps(start, stop):
        return list(Batches(scenes(), 4, seed=3, **options).steps(start, stop))

    whole = steps(0, 25)
    for (images, boxes), (again, boxes_again) in zip(whole[17:], steps(17, 25), strict=True):
        assert torch.equal(images, again)
        assert torch.equal(boxes, boxes_again)
    assert {len(images) for images, _ in whole} == {4}


def test_images_are_no_less_exact_when_networks_compute_in_bfloat16():
    def steps():
        return Batches(scenes(), 4, seed=3, augmentation="jitter", sizes=[24, 32]).steps(0, 20)

    exact = list(steps())
    with torch.autocast("cpu", torch.bfloat16):
        rounded = list(steps())
    for (images, boxes), (again, boxes_again) in zip(exact, rounded, strict=True):
        assert images.dtype == again.dtype == torch.float32
        assert torch.equal(images, again) and torch.equal(boxes, boxes_again)


def test_a_size_lasts_ten_steps_and_boxes_stay_fractions():
    batches = Batches(scenes(), 4, seed=0, sizes=[24, 32, 40])
    steps = list(batches.steps(0, 60))
    sides = [images.shape[2] for images, _ in steps]
    assert set(sides) == {24, 32, 40}
    assert all(len(set(sides[first : first + 10])) == 1 for first in range(0, 60, 10))
    assert all((boxes[:, 0, 1:5] - 0.5).abs().eq(0.25).all() for _, boxes in steps)


@pytest.mark.parametrize(
    ("examples", "augmentation"),
    [
        (scenes(), "flip_shift"),
        (Examples(torch.zeros(6, 8, 8, dtype=torch.uint8), torch.arange(6)), "jitter"),
        (Examples(torch.zeros(6, 8, 8, 3, dtype=torch.uint8), torch.arange(6)), "jitter_flip"),
    ],
)
def test_what_would_move_images_without_their_boxes_or_boxes_that_are_none_is_refused(
    examples, augmentation
):
    with pytest.raises(ConfigError, match=r"train\.augmentation is"):
        Batches(examples, 2, seed=0, augmentation=augmentation)


def test_numbers_that_are_no_images_have_no_size():
    with pytest.raises(ConfigError, match=r"train\.sizes is \[32\]"):
        Batches(numbered(6), 2, seed=0, sizes=[32])
