"""Digit scenes show what their boxes say: tightly, truly, and the same for the same seed."""

import math
from collections import Counter
from itertools import combinations

import numpy as np
import pytest
import torch

from lottery.data import digit_scenes
from lottery.data.annotation import Object
from lottery.data.digit_scenes import Digits, class_names, compose
from lottery.errors import ConfigError, DataError
from lottery.seeds import generator
from tests.data.digits import digit_images


@pytest.fixture(scope="module")
def digits() -> Digits:
    return Digits.of(*digit_images(50))


def bounds(mask: np.ndarray) -> tuple[int, int, int, int]:
    """First and last column and row, counted from 1, found pixel by pixel."""
    ys, xs = np.where(mask)
    return int(xs.min()) + 1, int(ys.min()) + 1, int(xs.max()) + 1, int(ys.max()) + 1


@pytest.fixture
def plain(monkeypatch) -> None:
    """White digits on black, no fragments: what is bright is a digit."""
    monkeypatch.setattr(digit_scenes, "FRAGMENTS", 0)
    monkeypatch.setattr(digit_scenes, "_ground", lambda size, *_: torch.zeros(size, size, 3))
    monkeypatch.setattr(digit_scenes, "_colour", lambda *_: torch.ones(3))


@pytest.mark.parametrize("size", [64, 160])
def test_a_box_is_as_tight_as_can_be(digits, plain, monkeypatch, size):
    monkeypatch.setattr(digit_scenes, "MOST", 1)
    for number in range(60):
        picture, (found,) = compose(digits, size, "ten", generator(0, number))
        assert found.box == bounds(picture[..., 0].numpy() > digit_scenes.INK * 255)


def test_a_digit_is_truncated_where_it_reaches_over_the_edge(digits, plain, monkeypatch):
    monkeypatch.setattr(digit_scenes, "MOST", 1)
    cut = []
    for number in range(150):
        _, (found,) = compose(digits, 80, "ten", generator(1, number))
        left, top, right, bottom = found.box
        touches = left == 1 or top == 1 or right == 80 or bottom == 80
        assert touches or not found.truncated
        width, height = right - left + 1, bottom - top + 1
        whole = (6 + int(found.name)) / 20  # its width in heights
        if abs(width / height - whole) > 0.1:
            assert found.truncated
        cut.append(found.truncated)
    assert 0.05 < np.mean(cut) < 0.6


def placed(monkeypatch, *corners: tuple[int, int, int, int]) -> list[Object]:
    """Objects of a picture whose digits are these filled boxes (from, to), one after the other."""
    canvases = []
    for left, top, right, bottom in corners:
        canvases.append(torch.zeros(160, 160))
        canvases[-1][top:bottom, left:right] = 1
    digit = torch.ones(20, 20)
    monkeypatch.setattr(digit_scenes, "_put", lambda *_: canvases.pop(0))
    monkeypatch.setattr(digit_scenes, "_resized", lambda *_: digit)
    monkeypatch.setattr(digit_scenes, "_integer", lambda below, _: min(below, len(corners)) - 1)
    return compose(Digits.of(*digit_images(10)), 160, "ten", generator(0))[1]


def test_a_covered_digit_shrinks_to_what_is_to_be_seen_of_it(monkeypatch):
    monkeypatch.setattr(digit_scenes, "FRAGMENTS", 0)
    first, second = placed(monkeypatch, (10, 10, 30, 30), (22, 0, 60, 40))
    assert first.box == (11, 11, 22, 30)
    assert second.box == (23, 1, 60, 40)
    assert not first.difficult


def test_a_digit_mostly_covered_or_very_small_is_difficult(monkeypatch):
    monkeypatch.setattr(digit_scenes, "FRAGMENTS", 0)
    # 20 × 7 of 20 × 20 pixels are left of the first, the third is 15 pixels long.
    boxes = ((10, 10, 30, 30), (17, 0, 60, 40), (100, 100, 115, 110))
    seen = placed(monkeypatch, *boxes)
    assert [each.difficult for each in seen] == [True, False, True]
    assert [each.truncated for each in seen] == [False, False, True]


def test_a_digit_that_is_not_to_be_seen_is_no_object(monkeypatch):
    monkeypatch.setattr(digit_scenes, "FRAGMENTS", 0)
    (only,) = placed(monkeypatch, (10, 10, 30, 30), (5, 5, 60, 40))
    assert only.box == (6, 6, 60, 40)


def overlap(one: tuple[int, ...], other: tuple[int, ...]) -> float:
    """Intersection over union of the pixels, counted one by one."""
    pixels = [
        {(x, y) for x in range(box[0], box[2] + 1) for y in range(box[1], box[3] + 1)}
        for box in (one, other)
    ]
    return len(pixels[0] & pixels[1]) / len(pixels[0] | pixels[1])


def test_digits_do_not_lie_too_much_upon_each_other(digits, monkeypatch):
    put, canvases = digit_scenes._put, []

    def record(*arguments):
        canvases.append(put(*arguments))
        return canvases[-1]

    monkeypatch.setattr(digit_scenes, "_put", record)
    largest = 0.0
    for number in range(25):
        canvases.clear()
        compose(digits, 48, "ten", generator(2, number))
        boxes = [bounds(c.numpy() > digit_scenes.INK) for c in canvases if c is not None]
        for one, other in combinations(boxes, 2):
            largest = max(largest, overlap(one, other))
    assert 0.05 < largest < 0.25


def test_a_picture_has_one_to_five_digits_of_all_sizes_and_classes(digits):
    pictures = [compose(digits, 64, "ten", generator(3, number))[1] for number in range(250)]
    numbers = Counter(len(objects) for objects in pictures)
    assert set(numbers) == {1, 2, 3, 4, 5}
    assert min(numbers.values()) > 20
    names = Counter(each.name for objects in pictures for each in objects)
    assert set(names) == set(class_names("ten"))
    assert min(names.values()) > 40  # of 75, 4 standard deviations
    assert max(names.values()) < 110


def test_classes_are_drawn_evenly_and_the_one_class_as_often_as_all_others():
    ten = [digit_scenes._label("ten", generator(4, number)) for number in range(4000)]
    assert all(300 < times < 500 for times in Counter(ten).values())
    one = Counter(digit_scenes._label("one", generator(5, number)) for number in range(4000))
    assert 1850 < one.pop(5) < 2150
    assert len(one) == 9
    assert all(150 < times < 300 for times in one.values())


def test_the_logarithm_of_the_size_is_uniform_and_follows_the_picture():
    sides = torch.tensor([digit_scenes._side(1, generator(6, n)) for n in range(4000)]).double()
    assert sides.min() == 18
    assert sides.max() == 60
    assert float(sides.median()) == pytest.approx(math.sqrt(18 * 60), abs=1.5)
    assert digit_scenes._side(2, generator(6, 0)) == pytest.approx(2 * float(sides[0]), abs=1)


def test_with_one_class_the_other_digits_are_shown_but_are_no_objects(digits, plain):
    several = [compose(digits, 160, "one", generator(7, number)) for number in range(40)]
    assert {each.name for _, objects in several for each in objects} == {"5"}
    # Some pictures show digits of which none is an object.
    assert any(picture.max() > 100 and not objects for picture, objects in several)


def test_digits_stand_out_from_the_ground(digits, monkeypatch):
    grounds, colours = [], []
    ground, colour = digit_scenes._ground, digit_scenes._colour

    def recorded(*arguments):
        grounds.append(ground(*arguments))
        return grounds[-1].clone()

    def coloured(*arguments):
        colours.append(colour(*arguments))
        return colours[-1]

    monkeypatch.setattr(digit_scenes, "_ground", recorded)
    monkeypatch.setattr(digit_scenes, "_colour", coloured)
    luma = torch.tensor([0.299, 0.587, 0.114])
    for number in range(40):
        colours.clear()
        compose(digits, 64, "ten", generator(8, number))
        apart = torch.stack(colours) @ luma - float((grounds[-1] @ luma).mean())
        assert apart.abs().min() > 0.2
        assert grounds[-1].std(dim=(0, 1)).max() > 0.01  # not plain


def test_fragments_are_no_objects_and_never_whole_digits(digits, plain, monkeypatch):
    monkeypatch.setattr(digit_scenes, "FRAGMENTS", 3)
    pieces = []
    paint = digit_scenes._paint

    def record(picture, opacity, colour):
        pieces.append(int((opacity > 0).sum()))
        paint(picture, opacity, colour)

    monkeypatch.setattr(digit_scenes, "_paint", record)
    for number in range(20):
        pieces.clear()
        _, objects = compose(digits, 160, "ten", generator(9, number))
        assert len(pieces) >= 3 + len(objects)
        assert max(pieces[:3]) <= math.ceil(60 * 8 / 20) ** 2


def test_the_same_seed_gives_the_same_pixels_whatever_ran_before(digits):
    first = compose(digits, 96, "ten", generator(10, 0))
    torch.manual_seed(3)
    again = compose(digits, 96, "ten", generator(10, 0))
    assert torch.equal(first[0], again[0])
    assert first[1] == again[1]
    assert not torch.equal(first[0], compose(digits, 96, "ten", generator(10, 1))[0])


def test_sources_without_a_digit_or_without_ink_are_refused():
    images, labels = digit_images(9)
    with pytest.raises(DataError, match="no images of 9"):
        Digits.of(images, labels)
    images, labels = digit_images(10)
    images[3] = 0
    with pytest.raises(DataError, match="empty"):
        Digits.of(images, labels)


def test_unknown_classes_are_refused():
    with pytest.raises(ConfigError, match="classes is 'two'; allowed: ten, one"):
        class_names("two")
