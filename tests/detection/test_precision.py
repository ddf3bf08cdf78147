"""Average precision by hand, against torchmetrics, and laws that hold for all detections."""

import math
import time

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchmetrics.detection import MeanAveragePrecision

from lottery.detection.precision import RECALLS, Curve, Rule, average_precision
from lottery.errors import ConfigError
from tests.detection.rows import PADDING, random_boxes, table

RULES: tuple[Rule, ...] = ("voc2007", "area")
BOX = (0.0, 0.0, 0.5, 0.5)
ELSEWHERE = (0.5, 0.5, 1.0, 1.0)
seeds = st.integers(0, 2**31)


def noisy(boxes: Tensor, seed: int, extra: int = 3) -> Tensor:
    """Detections near the boxes, some gone or of another class, and some of nothing."""
    chance = torch.Generator().manual_seed(seed)
    more = random_boxes(seed + 1, len(boxes), extra, 3)
    found = torch.cat([boxes, more], dim=1)
    shift = 0.15 * torch.randn(*found.shape[:2], 4, generator=chance)
    size = (found[..., 3:5] - found[..., 1:3]).repeat(1, 1, 2)
    found[..., 1:5] += shift * size * (found[..., :1] >= 0)
    found[..., 5] = torch.rand(found.shape[:2], generator=chance)
    swap = (torch.rand(found.shape[:2], generator=chance) < 0.2) & (found[..., 0] >= 0)
    found[..., 0] = torch.where(swap, 1, found[..., 0])
    return found[:, torch.randperm(found.shape[1], generator=chance)]


def test_an_example_worked_out_by_hand() -> None:
    """Right, wrong, right, wrong of three boxes: precision 1, 1/2, 2/3, 1/2 at recall 1/3, 2/3."""
    boxes = table([(0, *BOX), (0, *ELSEWHERE)], [(0, *BOX)])
    found = table(
        [(0, *BOX, 0.9), (0, 0.5, 0.0, 1.0, 0.5, 0.8)], [(0, *ELSEWHERE, 0.6), (0, *BOX, 0.7)]
    )
    result = average_precision(found, boxes, 1, "voc2007")
    assert result.curves[0].precision.tolist() == pytest.approx([1, 1 / 2, 2 / 3, 1 / 2])
    assert result.curves[0].recall.tolist() == pytest.approx([1 / 3, 1 / 3, 2 / 3, 2 / 3])
    assert result.curves[0].scores.tolist() == pytest.approx([0.9, 0.8, 0.7, 0.6])
    # Recalls 0 to 0.3 are reached with precision 1, 0.4 to 0.6 with 2/3.
    assert result.mean == pytest.approx((4 * 1 + 3 * 2 / 3) / 11)
    assert average_precision(found, boxes, 1, "area").mean == pytest.approx((1 + 2 / 3) / 3)


def test_the_curve_is_raised_to_the_best_precision_at_higher_recall() -> None:
    boxes = table([(0, *BOX), (0, *ELSEWHERE)])
    found = table([(0, 0.5, 0.0, 1.0, 0.5, 0.9), (0, *BOX, 0.8), (0, *ELSEWHERE, 0.7)])
    for rule in RULES:  # precision 0, 1/2, 2/3
        assert average_precision(found, boxes, 1, rule).mean == pytest.approx(2 / 3)


def test_a_recall_of_exactly_three_tenths_is_reached() -> None:
    """3 of 10 boxes; 3 / 10 is less than 0.30000000000000004, which sums of 0.1 give."""
    rows = [(0, 0.1 * i, 0.0, 0.1 * i + 0.05, 1.0) for i in range(10)]
    found = table([(*row, 0.5) for row in rows[:3]])
    assert average_precision(found, table(rows), 1).mean == pytest.approx(4 / 11)


@pytest.mark.parametrize("rule", RULES)
def test_duplicates_are_wrong_and_the_better_one_has_the_box(rule: Rule) -> None:
    close = (0.0, 0.0, 0.5, 0.4)
    found = table([(0, *BOX, 0.6), (0, *close, 0.7)])
    result = average_precision(found, table([(0, *BOX), (0, *ELSEWHERE)]), 1, rule)
    assert result.curves[0].precision.tolist() == [1, 0.5]
    assert result.curves[0].recall.tolist() == [0.5, 0.5]


def test_a_detection_whose_box_is_taken_does_not_go_with_another() -> None:
    """It overlaps both by more than 0.5, the first more: the challenges count it as wrong."""
    boxes = table([(0, 0.0, 0.0, 0.5, 1.0), (0, 0.125, 0.0, 0.625, 1.0)])
    found = table([(0, 0.0, 0.0, 0.5, 1.0, 0.9), (0, 0.03, 0.0, 0.53, 1.0, 0.8)])
    assert average_precision(found, boxes, 1).curves[0].recall.tolist() == [0.5, 0.5]


def test_difficult_boxes_are_neither_to_be_found_nor_wrong_to_find() -> None:
    boxes = table([(0, *BOX, 1), (0, *ELSEWHERE)], [(1, *BOX, 1)])
    found = table([(0, *BOX, 0.9), (0, *BOX, 0.8), (0, *ELSEWHERE, 0.7)], [(1, *BOX, 0.9)])
    result = average_precision(found, boxes, 2)
    assert result.by_class[0] == 1
    assert result.curves[0].scores.tolist() == pytest.approx([0.7])
    assert math.isnan(result.by_class[1])  # of this one there are but difficult ones


def test_classes_that_are_absent_are_not_counted_as_zero() -> None:
    boxes = table([(0, *BOX), (2, *ELSEWHERE)])
    found = table([(0, *BOX, 0.9), (1, *BOX, 0.9)])
    result = average_precision(found, boxes, 4)
    assert result.by_class.isnan().tolist() == [False, True, False, True]
    assert result.by_class[[0, 2]].tolist() == [1, 0]  # not found is 0
    assert result.mean == 0.5
    assert [len(curve.scores) for curve in result.curves] == [1, 0, 0, 0]
    assert math.isnan(average_precision(found, table([]), 4).mean)


def test_half_of_the_union_is_enough_and_less_is_not() -> None:
    boxes = table([(0, 0.0, 0.0, 1.0, 1.0)])
    for height, expected in ((0.5, 1), (0.498046875, 0)):
        found = table([(0, 0.0, 0.0, 1.0, height, 0.9)])
        assert average_precision(found, boxes, 1).mean == expected
        assert average_precision(found, boxes, 1, iou=0.4).mean == 1


def test_a_box_of_another_class_or_image_is_not_found() -> None:
    boxes = table([(0, *BOX)], [(1, *BOX)])
    found = table([(1, *BOX, 0.9)], [(0, *BOX, 0.9)])
    assert average_precision(found, boxes, 2).by_class.tolist() == [0, 0]


@pytest.mark.parametrize("empty", [torch.zeros(2, 0, 6), table([], [])])
def test_nothing_detected_or_nothing_there_is_no_error(empty: Tensor) -> None:
    boxes = table([(0, *BOX)], [])
    assert average_precision(empty, boxes, 1).mean == 0
    assert math.isnan(average_precision(boxes, empty, 1).mean)
    assert math.isnan(average_precision(empty, empty, 1).mean)


@pytest.mark.parametrize("seed", range(4))
def test_torchmetrics_finds_the_same(seed: int) -> None:
    """On boxes of which no two overlap, where its rule of matching, COCO's, is the same."""
    chance = torch.Generator().manual_seed(seed)
    images, side, classes = 12, 4, 3
    corner = torch.cartesian_prod(torch.arange(side), torch.arange(side)).flip(1) / side
    low = corner + 0.05 * torch.rand(images, side**2, 2, generator=chance)
    high = corner + 1 / side - 0.05 * torch.rand(images, side**2, 2, generator=chance)
    labels = torch.randint(-1, classes, (images, side**2, 1), generator=chance)
    boxes = torch.cat([labels, low, high, torch.zeros_like(labels)], dim=2)
    boxes = torch.where(labels < 0, PADDING, boxes)
    found = noisy(boxes, seed)
    for label in range(classes):
        total = int((boxes[..., 0] == label).sum())
        thresholds: dict[Rule, list[float]] = {
            "voc2007": [recall / 10 for recall in range(11)],
            "area": [found / total for found in range(1, total + 1)],
        }
        for rule, recalls in thresholds.items():
            own = average_precision(found, boxes, classes, rule).by_class[label]
            # A little below, as it compares floats.
            theirs = by_torchmetrics(found, boxes, label, [max(r - 1e-9, 0) for r in recalls])
            assert 0 < own < 1
            assert float(own) == pytest.approx(theirs, abs=1e-6)


def by_torchmetrics(found: Tensor, boxes: Tensor, label: int, recalls: list[float]) -> float:
    metric = MeanAveragePrecision(iou_thresholds=[0.5], rec_thresholds=recalls)
    for detected, image in zip(found, boxes, strict=True):
        detected, image = (rows[rows[:, 0] == label] for rows in (detected, image))
        there = {"boxes": 100 * image[:, 1:5], "labels": image[:, 0].long()}
        reported = {"boxes": 100 * detected[:, 1:5], "labels": detected[:, 0].long()}
        metric.update([reported | {"scores": detected[:, 5]}], [there])
    return float(metric.compute()["map"])


@settings(max_examples=40, deadline=None)
@given(seeds, st.integers(1, 6), st.sampled_from(RULES))
def test_average_precision_lies_between_0_and_1_and_the_order_of_images_is_irrelevant(
    seed: int, images: int, rule: Rule
) -> None:
    boxes = random_boxes(seed, images, 4, 3)
    found = noisy(boxes, seed)
    result = average_precision(found, boxes, 3, rule)
    there = ~result.by_class.isnan()
    assert bool(((result.by_class >= 0) & (result.by_class <= 1))[there].all())
    order = torch.randperm(images, generator=torch.Generator().manual_seed(seed))
    again = average_precision(found[order], boxes[order], 3, rule)
    torch.testing.assert_close(again.by_class, result.by_class, equal_nan=True, rtol=0, atol=0)


@settings(max_examples=40, deadline=None)
@given(seeds, st.sampled_from(RULES))
def test_perfect_detections_have_1_in_whatever_order(seed: int, rule: Rule) -> None:
    boxes = random_boxes(seed, 5, 4, 3)
    found = boxes.clone()
    found[..., 5] = torch.rand(5, 4, generator=torch.Generator().manual_seed(seed))
    result = average_precision(found, boxes, 3, rule)
    assert result.by_class[~result.by_class.isnan()].unique().tolist() in ([1.0], [])


@settings(max_examples=40, deadline=None)
@given(seeds, st.floats(0, 1), st.sampled_from(RULES))
def test_a_wrong_detection_never_increases_average_precision(
    seed: int, score: float, rule: Rule
) -> None:
    boxes = random_boxes(seed, 4, 4, 2)
    found = noisy(boxes, seed)
    wrong = torch.tensor([0, 2.0, 2.0, 2.5, 2.5, score]).expand(4, 1, 6)
    before = average_precision(found, boxes, 2, rule).by_class.nan_to_num()
    after = average_precision(torch.cat([found, wrong], 1), boxes, 2, rule).by_class.nan_to_num()
    assert bool((after <= before + 1e-12).all())
    assert after[1] == before[1]


def test_equal_scores_count_in_the_order_given() -> None:
    boxes = table([(0, *BOX)], [])
    right, wrong = [(0, *BOX, 0.5)], [(0, *BOX, 0.5)]
    assert average_precision(table(right, wrong), boxes, 1).mean == 1
    assert average_precision(table(wrong, right), boxes.flip(0), 1).mean == pytest.approx(0.5)


def test_as_many_images_as_a_data_set_has_take_seconds() -> None:
    boxes = random_boxes(0, 2000, 10, 20)
    found = noisy(boxes, 0, extra=90)
    start = time.process_time()
    average_precision(found, boxes, 20)
    assert time.process_time() - start < 10


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ConfigError, match="rule is 'coco'; allowed: voc2007, area"):
        average_precision(table([]), table([]), 1, "coco")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="boxes is 'of 2 images'; allowed: of 1, as detected"):
        average_precision(table([]), table([], []), 1)


def test_a_curve_is_read_off_at_the_best_precision_to_come():
    """Of 4 boxes: right, wrong, right, and no more. At recall ½ precision is 2/3."""
    recall = torch.tensor([0.25, 0.25, 0.5], dtype=torch.float64)
    precision = torch.tensor([1, 1 / 2, 2 / 3], dtype=torch.float64)
    found = Curve(recall, precision, torch.zeros(3)).at(RECALLS).tolist()
    assert found[:26] == [1.0] * 26
    assert found[26:51] == pytest.approx([2 / 3] * 25)
    assert found[51:] == [0.0] * 50


@pytest.mark.parametrize("total", [7, 29, 100])
def test_a_curve_reaches_its_own_recalls(total):
    """29 / 100 is a little less than 0.29 by some ways of computing it."""
    recall = torch.arange(1, total + 1, dtype=torch.float64) / total
    assert Curve(recall, torch.ones(total), torch.zeros(total)).at(RECALLS).tolist() == [1] * 101
    none = torch.zeros(0, dtype=torch.float64)
    assert Curve(none, none, none).at(RECALLS).tolist() == [0] * 101
