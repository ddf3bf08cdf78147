"""Boxes move with what they hold; crops and colours are those of torchvision's kernels."""

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional as v2

from lottery.data.jitter import CROP, HUE, LEAST, SCALE, augment, draw

PADDING = [-1.0, 0, 0, 0, 0, 0]
AS_IT_WAS = [0.0, 0, 0, 0, 0, 0, 1, 1]
"""Edges left, top, right, bottom; mirrored; turn of hue; saturation; exposure."""


def changed(**changes: float) -> torch.Tensor:
    """The choice to change nothing but that."""
    order = ("left", "top", "right", "bottom", "mirrored", "hue", "saturation", "exposure")
    choice = dict(zip(order, AS_IT_WAS, strict=True)) | changes
    return torch.tensor([list(choice.values())])


def pictures(total: int, height: int, width: int) -> torch.Tensor:
    stream = torch.Generator().manual_seed(1)
    shape = (total, height, width, 3)
    pixels = torch.randint(0, 256, shape, generator=stream, dtype=torch.uint8)
    return (pixels.float() / 255).permute(0, 3, 1, 2)


def random_boxes(total: int, most: int) -> torch.Tensor:
    stream = torch.Generator().manual_seed(2)
    corners = torch.rand(total, most, 2, 2, generator=stream).sort(dim=2).values.flatten(2)
    label = torch.randint(3, (total, most, 1), generator=stream).float()
    return torch.cat([label, corners, torch.ones(total, most, 1)], dim=2)


EMPTY = torch.tensor([[PADDING]])


@pytest.mark.parametrize("shape", [(24, 24), (20, 36)])
def test_images_and_boxes_are_what_torchvision_makes_of_each_alone(shape):
    height, width = shape
    images, boxes = pictures(30, height, width), random_boxes(30, 4)
    choices = draw("jitter_flip", 30, torch.Generator().manual_seed(0))
    choices[:, 5:] = torch.tensor([0.0, 1, 1])  # colours stay
    found, moved = augment(images, boxes, choices)
    sides = torch.tensor([width, height, width, height])
    for each in range(30):
        left, top, right, bottom = (choices[each, :4] * sides).round().int().tolist()
        box = tv_tensors.BoundingBoxes(
            boxes[each, :, 1:5] * sides,
            format="XYXY",
            canvas_size=shape,
            clamping_mode=None,
        )
        image = v2.pad((images[each] * 255).round().byte(), [width, height], padding_mode="edge")
        box = v2.pad(box, [width, height])
        window = (top + height, left + width, height - top + bottom, width - left + right)
        image, box = (v2.resized_crop(part, *window, [height, width]) for part in (image, box))
        if choices[each, 4]:
            image, box = v2.horizontal_flip(image), v2.horizontal_flip(box)
        assert (found[each] - image.float() / 255).abs().max() < 1.5 / 255
        corners = torch.as_tensor(box) / sides
        clipped = corners.clamp(0, 1)
        before, after = ((c[:, 2:] - c[:, :2]).prod(dim=1) for c in (corners, clipped))
        for row in range(4):
            if after[row] < LEAST * before[row]:
                assert moved[each, row].tolist() == PADDING
            else:
                assert torch.allclose(moved[each, row, 1:5], clipped[row], atol=1e-5)
                assert torch.equal(moved[each, row, ::5], boxes[each, row, ::5])


@given(st.integers(0, 10_000))
def test_a_box_holds_after_the_change_what_it_held_before(seed):
    stream = torch.Generator().manual_seed(seed)
    corner = torch.randint(10, 60, (2,), generator=stream)
    side = torch.randint(12, 40, (2,), generator=stream)
    (left, top), (right, bottom) = corner.tolist(), (corner + side).tolist()
    image = torch.zeros(1, 3, 100, 100)
    image[:, :, top:bottom, left:right] = 0.5
    box = torch.tensor([[[2.0, left / 100, top / 100, right / 100, bottom / 100, 0]]])
    found, moved = augment(image, box, draw("jitter_flip", 1, stream))
    bright = (found[0].sum(dim=0) > 0.4).nonzero()
    assume(moved[0, 0].tolist() != PADDING)
    edges = torch.cat([bright.min(dim=0).values.flip(0), bright.max(dim=0).values.flip(0) + 1])
    assert (moved[0, 0, 1:5] * 100 - edges).abs().max() <= 2


def test_mirroring_by_hand():
    image = torch.tensor([0.0, 0.2, 0.4, 1.0]).expand(1, 3, 4, 4)
    box = torch.tensor([[[1.0, 0.0, 0.25, 0.25, 1.0, 1], PADDING]])
    found, moved = augment(image, box, changed(mirrored=1))
    assert torch.allclose(found[0, 0, 0], torch.tensor([1.0, 0.4, 0.2, 0.0]), atol=1e-6)
    assert moved[0].tolist() == [[1.0, 0.75, 0.25, 1.0, 1.0, 1], PADDING]


def test_a_box_leaves_when_too_little_of_it_is_left():
    """A quarter of the width is cut off on the left."""
    boxes = torch.tensor(
        [
            [
                [0, 0.00, 0, 0.32, 0.5, 0],  # 7 of 32 parts are left
                [1, 0.00, 0, 0.30, 0.5, 0],  # 5 of 30
                [2, 0.00, 0, 0.25, 0.5, 0],  # none
                [3, 0.25, 0, 1.00, 0.5, 1],  # all
            ]
        ]
    )
    _, moved = augment(torch.zeros(1, 3, 100, 100), boxes, changed(left=0.25))
    assert moved[0, 0].tolist() == pytest.approx([0, 0, 0, 0.07 / 0.75, 0.5, 0])
    assert moved[0, 1:3].tolist() == [PADDING, PADDING]
    assert moved[0, 3].tolist() == [3, 0, 0, 1, 0.5, 1]


def test_beyond_the_edge_the_last_pixels_go_on():
    image = torch.full((1, 3, 10, 10), 0.2)
    image[..., -1] = 0.8
    found, _ = augment(image, EMPTY, changed(right=0.3))
    assert found[..., -2:].min() > 0.75
    assert found.min() > 0.15


def test_without_a_choice_nothing_changes():
    images, boxes = pictures(3, 12, 12), random_boxes(3, 2)
    choices = draw("none", 3, torch.Generator())
    assert choices.shape == (3, 0)
    same, boxes_too = augment(images, boxes, choices)
    assert torch.equal(same, images)
    assert torch.equal(boxes_too, boxes)


def test_the_choice_to_leave_all_as_it_was_does():
    images, boxes = pictures(2, 12, 12), random_boxes(2, 2)
    same, boxes_too = augment(images, boxes, torch.tensor([AS_IT_WAS] * 2))
    assert torch.allclose(same, images, atol=1e-5)
    assert torch.allclose(boxes_too, boxes)
    assert same.is_contiguous(memory_format=torch.channels_last)


def test_each_image_is_changed_by_its_own_row():
    images, boxes = pictures(5, 12, 12), random_boxes(5, 2)
    choices = draw("jitter_flip", 5, torch.Generator().manual_seed(4))
    together = augment(images, boxes, choices)
    for each in range(5):
        one = slice(each, each + 1)
        alone = augment(images[one], boxes[one], choices[one])
        assert torch.allclose(together[0][one], alone[0], atol=1e-6)
        assert torch.equal(together[1][one], alone[1])


def test_what_was_given_is_not_changed():
    images, boxes = pictures(2, 12, 12), random_boxes(2, 2)
    before = images.clone(), boxes.clone()
    augment(images, boxes, draw("jitter", 2, torch.Generator().manual_seed(0)))
    assert torch.equal(images, before[0])
    assert torch.equal(boxes, before[1])


@pytest.mark.parametrize("factor", [1 / 1.5, 0.9, 1.3])
def test_saturation_and_exposure_are_torchvisions(factor):
    images = pictures(1, 16, 16)
    paler, _ = augment(images, EMPTY, changed(saturation=factor))
    assert torch.allclose(paler, v2.adjust_saturation(images, factor), atol=2e-3)
    darker, _ = augment(images, EMPTY, changed(exposure=factor))
    assert torch.allclose(darker, v2.adjust_brightness(images, factor), atol=1e-4)


def luma(images: torch.Tensor) -> torch.Tensor:
    return torch.einsum("bchw,c->bhw", images, torch.tensor([0.299, 0.587, 0.114]))


@pytest.mark.parametrize("turn", [-0.1, 0.05, 0.1])
def test_hue_turns_colours_and_leaves_greys_and_luma(turn):
    grey = pictures(1, 8, 8)[:, :1].expand(1, 3, 8, 8)
    assert torch.allclose(augment(grey, EMPTY, changed(hue=turn))[0], grey, atol=1e-5)
    images = 0.4 + pictures(1, 8, 8) / 5  # so that no colour is clipped
    images = (images * 255).round() / 255
    turned, _ = augment(images, EMPTY, changed(hue=turn))
    assert torch.allclose(luma(turned), luma(images), atol=1e-5)
    # As torchvision turns them, up to the shape of the colour space.
    expected = v2.adjust_hue(images, turn)
    ours, theirs = ((x - x.mean(dim=1, keepdim=True)).flatten() for x in (turned, expected))
    assert torch.corrcoef(torch.stack([ours, theirs]))[0, 1] > 0.97


def test_a_third_of_a_turn_is_a_change_of_channels():
    red = torch.tensor([0.6, 0.4, 0.4]).view(1, 3, 1, 1).expand(1, 3, 2, 2)
    turned, _ = augment(red, EMPTY, changed(hue=1 / 3))
    less, more, rest = turned[0, :, 0, 0][[0, 1, 2]].tolist()
    assert more - less == pytest.approx(0.2, abs=1e-4)
    assert rest == pytest.approx(less, abs=1e-4)


def test_choices_cover_what_they_may_evenly():
    choices = draw("jitter_flip", 20_000, torch.Generator().manual_seed(0))
    edges, mirrored, hue, factors = choices.split([4, 1, 1, 2], dim=1)
    for drawn, most in ((edges, CROP), (hue, HUE)):
        assert drawn.abs().max() <= most
        assert drawn.abs().max() > 0.99 * most
        assert drawn.mean(dim=0).abs().max() < 0.02 * most
    assert set(mirrored.flatten().tolist()) == {0, 1}
    assert mirrored.mean() == pytest.approx(0.5, abs=0.02)
    assert factors.min() >= 1 / SCALE
    assert factors.max() <= SCALE
    assert (factors > 1).float().mean(dim=0).tolist() == pytest.approx([0.5, 0.5], abs=0.02)
    assert choices.T.corrcoef().fill_diagonal_(0).abs().max() < 0.04


def test_digits_are_never_mirrored_and_otherwise_changed_alike():
    plain, flipped = (
        draw(kind, 50, torch.Generator().manual_seed(0)) for kind in ("jitter", "jitter_flip")
    )
    assert plain[:, 4].max() == 0
    flipped[:, 4] = 0
    assert torch.equal(plain, flipped)
