"""Intersection over union is torchvision's, for whatever shapes."""

import torch
import torchvision.ops
from hypothesis import given
from hypothesis import strategies as st

from lottery.detection.iou import box_iou, size_iou
from tests.detection.rows import random_boxes

seeds = st.integers(0, 2**31)


@given(seeds, st.integers(1, 6), st.integers(0, 6))
def test_all_pairs_are_those_of_torchvision(seed: int, first: int, second: int) -> None:
    one, two = (random_boxes(seed + n, 3, n, 1)[..., 1:5] for n in (first, second))
    found = box_iou(one[:, :, None], two[:, None])
    for image, ones, twos in zip(found, one, two, strict=True):
        # A box of no area on another is 0/0 there.
        torch.testing.assert_close(image, torchvision.ops.box_iou(ones, twos).nan_to_num())


@given(seeds)
def test_boxes_one_by_one_are_the_diagonal_of_all_pairs(seed: int) -> None:
    one, two = (random_boxes(seed + n, 1, 4, 1)[0, :, 1:5] for n in (0, 1))
    assert torch.equal(box_iou(one, two), box_iou(one[:, None], two).diagonal())


@given(seeds)
def test_that_of_sizes_is_that_of_boxes_with_one_centre(seed: int) -> None:
    one, two = torch.rand(7, 2, generator=torch.Generator().manual_seed(seed)).double().split(3)[:2]
    one, two = one + 0.01, two + 0.01
    expected = torchvision.ops.box_iou(torch.cat([-one, one], 1), torch.cat([-two, two], 1))
    torch.testing.assert_close(size_iou(one, two), expected)


def test_a_box_and_itself_have_exactly_1() -> None:
    boxes = torch.rand(200, 4, generator=torch.Generator().manual_seed(0))
    boxes[:, 2:] += boxes[:, :2] + 0.01
    assert box_iou(boxes, boxes).unique().tolist() == [1.0]
