"""The region loss against loops over boxes that write darknet's gradients by hand."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lottery.detection.anchors import VOC_ANCHORS
from lottery.detection.decoding import detections
from lottery.detection.loss import RegionLoss
from lottery.detection.precision import average_precision
from lottery.models.yolo import tiny_yolo_v2
from tests.detection.rows import PADDING, random_boxes, table

ANCHORS = torch.tensor([(0.1, 0.15), (0.3, 0.2), (0.5, 0.7)])
LOSS = RegionLoss(ANCHORS)
LATE = LOSS.prior_images
CLASSES, ROWS, COLUMNS = 4, 3, 5

seeds = st.integers(0, 2**31)


def random_output(seed: int, batch: int, classes: int = CLASSES, scale: float = 0.5) -> Tensor:
    chance = torch.Generator().manual_seed(seed)
    shape = (batch, len(ANCHORS) * (5 + classes), ROWS, COLUMNS)
    return scale * torch.randn(shape, generator=chance, dtype=torch.float64)


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def iou(one: list[float], two: list[float]) -> float:
    """Of two boxes as centre and size."""
    shared = 1.0
    for axis in (0, 1):
        low = max(box[axis] - box[axis + 2] / 2 for box in (one, two))
        high = min(box[axis] + box[axis + 2] / 2 for box in (one, two))
        shared *= max(high - low, 0.0)
    return shared / (one[2] * one[3] + two[2] * two[3] - shared)


def plain(output: Tensor, boxes: Tensor, loss: RegionLoss, seen: int) -> tuple[float, Tensor]:
    """The loss and its gradient by the output, number by number, in the order darknet has it.

    As there, what is written for a prediction takes the place of what was written before.
    """
    images, channels, rows, columns = output.shape
    anchors = loss.anchors.double().tolist()
    size = channels // len(anchors)
    total, gradient = 0.0, torch.zeros_like(output)
    for image in range(images):
        truths = []
        for row in boxes[image].double().tolist():
            if row[0] >= 0:
                x0, y0, x1, y1 = row[1:5]
                truths.append(
                    (int(row[0]), [(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0], row[5])
                )
        written: dict[tuple[int, int, int], dict[str, tuple[float, list[float]]]] = {}

        def predicted(a: int, i: int, j: int, image: int = image) -> list[float]:
            return output[image, a * size : (a + 1) * size, i, j].tolist()

        def box(a: int, i: int, j: int, t: list[float]) -> list[float]:
            return [
                (j + sigmoid(t[0])) / columns,
                (i + sigmoid(t[1])) / rows,
                anchors[a][0] * math.exp(t[2]),
                anchors[a][1] * math.exp(t[3]),
            ]

        def coordinates(
            t: list[float], want: list[float], weight: float
        ) -> tuple[float, list[float]]:
            s = [sigmoid(t[0]), sigmoid(t[1]), t[2], t[3]]
            slope = [s[0] * (1 - s[0]), s[1] * (1 - s[1]), 1.0, 1.0]
            error = [a - b for a, b in zip(s, want, strict=True)]
            value = weight / 2 * sum(e**2 for e in error)
            return value, [weight * e * d for e, d in zip(error, slope, strict=True)]

        def objectness(t: list[float], want: float, weight: float) -> tuple[float, list[float]]:
            s = sigmoid(t[4])
            return weight / 2 * (s - want) ** 2, [weight * (s - want) * s * (1 - s)]

        for a in range(len(anchors)):
            for i in range(rows):
                for j in range(columns):
                    t = predicted(a, i, j)
                    best = max((iou(box(a, i, j, t), truth) for _, truth, _ in truths), default=0)
                    own = written.setdefault((a, i, j), {})
                    if best <= loss.overlap:
                        own["object"] = objectness(t, 0.0, loss.noobject)
                    if seen < loss.prior_images:
                        own["place"] = coordinates(t, [0.5, 0.5, 0, 0], loss.prior)
        for label, truth, difficult in truths:
            if difficult:
                continue
            x, y, w, h = truth
            i, j = min(int(y * rows), rows - 1), min(int(x * columns), columns - 1)
            fits = [iou([0, 0, w, h], [0, 0, *anchor]) for anchor in anchors]
            a = fits.index(max(fits))
            t, own = predicted(a, i, j), written[a, i, j]
            want = [x * columns - j, y * rows - i, math.log(w / anchors[a][0])]
            want.append(math.log(h / anchors[a][1]))
            own["place"] = coordinates(t, want, loss.coord * (2 - w * h))
            own["object"] = objectness(t, iou(box(a, i, j, t), truth), loss.object)
            odds = [math.exp(v) for v in t[5:]]
            chances = [o / sum(odds) for o in odds]
            slopes = [c - (n == label) for n, c in enumerate(chances)]
            own["class"] = (
                -loss.classes * math.log(chances[label]),
                [loss.classes * slope for slope in slopes],
            )
        first = {"place": 0, "object": 4, "class": 5}
        for (a, i, j), parts in written.items():
            for part, (value, slopes) in parts.items():
                total += value
                start = a * size + first[part]
                gradient[image, start : start + len(slopes), i, j] = torch.tensor(slopes)
    return total / images, gradient / images


def check(output: Tensor, boxes: Tensor, loss: RegionLoss, seen: int) -> None:
    output = output.double().requires_grad_()
    found = loss(output, boxes, seen)
    found.backward()
    value, gradient = plain(output.detach(), boxes, loss, seen)
    assert float(found.detach()) == pytest.approx(value, rel=1e-6)
    torch.testing.assert_close(output.grad, gradient, rtol=1e-5, atol=1e-7)


@settings(max_examples=30, deadline=None)
@given(seeds, st.integers(1, 3), st.integers(0, 6), st.sampled_from([0, LATE - 1, LATE]))
def test_loss_and_gradient_are_those_of_a_loop_over_boxes(
    seed: int, images: int, most: int, seen: int
) -> None:
    check(random_output(seed, images), random_boxes(seed, images, most, CLASSES), LOSS, seen)


@settings(max_examples=10, deadline=None)
@given(seeds)
def test_so_they_are_with_other_weights(seed: int) -> None:
    loss = RegionLoss(
        ANCHORS, coord=2.0, object=3.0, noobject=0.5, classes=0.7, overlap=0.3, prior=0.1
    )
    check(random_output(seed, 2), random_boxes(seed, 2, 4, CLASSES), loss, 0)


def covering(box: tuple[float, ...], anchor: int, places: list[tuple[int, int]]) -> Tensor:
    """An output that claims nothing, but whose predictions at these places are just the box."""
    x0, y0, x1, y1 = box
    output = torch.zeros(1, len(ANCHORS), 5 + CLASSES, ROWS, COLUMNS, dtype=torch.float64)
    for row, column in places:
        own = output[0, anchor, :, row, column]
        for axis, (at, cell) in enumerate((((x0 + x1) / 2 * COLUMNS, column), (0.5 * ROWS, row))):
            offset = min(max(at - cell, 1e-6), 1 - 1e-6)
            own[axis] = math.log(offset / (1 - offset))
        own[2:4] = (torch.tensor([x1 - x0, y1 - y0]) / ANCHORS[anchor]).log()
    return output.flatten(1, 2)


BOX = (0.2, 0.1, 0.6, 0.9)
"""Its centre lies at column 2.0 and row 1.5 of 5 × 3 cells; the third anchor fits best."""


def test_others_that_overlap_a_box_are_left_alone() -> None:
    """Two cells predict the box: one is responsible, and the other has no target of 0 either."""
    output = covering(BOX, 2, [(1, 1), (1, 2)]).requires_grad_()
    LOSS(output, table([(1, *BOX)]), LATE).backward()
    slopes = output.grad.view(3, 9, ROWS, COLUMNS)[:, 4]
    assert slopes[2, 1, 2] < 0  # asked for more
    assert slopes[2, 1, 1] == 0
    assert (slopes > 0).sum() == slopes.numel() - 2
    check(output.detach(), table([(1, *BOX)]), LOSS, LATE)


def test_nothing_is_responsible_for_a_difficult_box_but_what_overlaps_it_is_left_alone() -> None:
    output = covering(BOX, 2, [(1, 2)]).requires_grad_()
    LOSS(output, table([(1, *BOX, 1)]), LATE).backward()
    slopes = output.grad.view(3, 9, ROWS, COLUMNS)
    assert slopes[2, 4, 1, 2] == 0
    assert not slopes[:, 5:].any()
    assert not slopes[:, :4].any()


def test_of_boxes_with_one_prediction_the_last_has_it_and_difficult_ones_do_not() -> None:
    first, last = (0, *BOX), (3, *(edge + 0.02 for edge in BOX))
    output, loss = random_output(0, 1), replace(LOSS, overlap=1.0)
    only = loss(output, table([last]), LATE)
    torch.testing.assert_close(loss(output, table([first, last]), LATE), only)
    torch.testing.assert_close(loss(output, table([first, last, (*first, 1)]), LATE), only)
    assert not torch.isclose(loss(output, table([last, first]), LATE), only)


def test_a_centre_on_the_edge_of_the_image_is_in_the_last_cell() -> None:
    boxes = table([(0, 0.9, 0.9, 1.1, 1.1)])
    check(random_output(0, 1), boxes, LOSS, LATE)


def test_small_boxes_weigh_twice_as_much_as_one_that_fills_the_image() -> None:
    loss = replace(LOSS, object=0.0, noobject=0.0, classes=0.0)
    for width, height, weight in ((1.0, 1.0, 1.0), (0.01, 0.01, 2.0)):
        box = (0, 0.5 - width / 2, 0.5 - height / 2, 0.5 + width / 2, 0.5 + height / 2)
        anchors = torch.tensor([(width, height)])
        output = torch.zeros(1, 6, 3, 3, dtype=torch.float64)
        output[0, 2, 1, 1] = 0.3  # the width is too large by a factor exp(0.3)
        found = replace(loss, anchors=anchors)(output, table([box]), LATE)
        assert float(found) == pytest.approx(weight * 0.3**2 / 2, rel=1e-3)


@pytest.mark.parametrize("scale", [(1.0, 1.0), (0.5, 0.5), (2.0, 2.0), (1.5, 0.75)])
def test_a_box_of_so_many_pixels_is_predicted_by_the_same_numbers_at_any_size(
    scale: tuple[float, float],
) -> None:
    """A quarter of the image in its own size, and as many pixels of one that is shown larger."""
    loss = replace(LOSS, anchors=torch.tensor([(0.3, 0.15)]), object=0.0, noobject=0.0)
    width, height = (0.25 / factor for factor in scale)
    output = torch.zeros(1, 6, 3, 3, dtype=torch.float64)
    output[0, 2, 1, 1], output[0, 3, 1, 1] = math.log(0.25 / 0.3), math.log(0.25 / 0.15)
    box = (0, 0.5 - width / 2, 0.5 - height / 2, 0.5 + width / 2, 0.5 + height / 2)
    assert float(loss(output, table([box]), LATE, scale)) == pytest.approx(0, abs=1e-9)
    larger = (0, 0.5 - width, 0.5 - height, 0.5 + width, 0.5 + height)
    assert float(loss(output, table([larger]), LATE, scale)) > 0.4


def test_which_anchor_fits_depends_on_the_size_as_in_darknet() -> None:
    """There anchors are so many cells, of which a larger image has more."""
    output, boxes = random_output(0, 2), random_boxes(0, 2, 3, CLASSES)
    halved = replace(LOSS, anchors=ANCHORS / 2)
    torch.testing.assert_close(LOSS(output, boxes, 0, (2.0, 2.0)), halved(output, boxes, 0))
    assert not torch.isclose(LOSS(output, boxes, 0, (2.0, 2.0)), LOSS(output, boxes, 0))


def test_padding_and_other_images_change_nothing() -> None:
    output, boxes = random_output(0, 2), random_boxes(0, 2, 3, CLASSES)
    padded = torch.cat([PADDING.expand(2, 2, 6), boxes, PADDING.expand(2, 1, 6)], dim=1)
    whole = LOSS(output, boxes, 0)
    torch.testing.assert_close(LOSS(output, padded, 0), whole)
    parts = [LOSS(output[i : i + 1], boxes[i : i + 1], 0) for i in range(2)]
    torch.testing.assert_close(sum(parts) / 2, whole)
    empty = LOSS(output, torch.zeros(2, 0, 6), LATE)
    torch.testing.assert_close(LOSS(output, PADDING.expand(2, 3, 6), LATE), empty)


def test_gradients_are_those_of_differences() -> None:
    """Without the weight of objectness, whose target moves with the output yet has no gradient."""
    output = random_output(0, 1)[:, :, :2, :2].clone().requires_grad_()
    loss, boxes = replace(LOSS, object=0.0), random_boxes(0, 1, 3, CLASSES)
    assert torch.autograd.gradcheck(lambda o: loss(o, boxes, 0), output)


def test_one_class_has_no_loss_of_class_and_half_precision_is_computed_in_float32() -> None:
    output = random_output(0, 1, classes=1).float()
    boxes = random_boxes(0, 1, 3, 1)
    one = LOSS(output, boxes, LATE)
    torch.testing.assert_close(replace(LOSS, classes=9.0)(output, boxes, LATE), one)
    half = LOSS(output.bfloat16(), boxes, LATE)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, LOSS(output.bfloat16().float(), boxes, LATE))


def test_no_value_is_looked_at_which_a_gpu_would_have_to_be_waited_for() -> None:
    output, boxes = random_output(0, 2).to("meta"), random_boxes(0, 2, 3, CLASSES).to("meta")
    assert replace(LOSS, anchors=ANCHORS.to("meta"))(output, boxes, 0).shape == ()


def test_a_detector_learns_a_picture_by_heart() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        images = torch.rand(1, 3, 64, 64)
        model = tiny_yolo_v2(width=0.125, classes=3, stride=16, bn_momentum=0.1)
    boxes = table([(2, 0.1, 0.1, 0.4, 0.6), (0, 0.5, 0.3, 0.9, 0.8), (1, 0.45, 0.05, 0.6, 0.2)])
    loss = RegionLoss(VOC_ANCHORS)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.003, momentum=0.9)
    for step in range(80):
        value = loss(model(images), boxes, step)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    model.eval()
    found = detections(model(images), VOC_ANCHORS)
    result = average_precision(found, boxes, classes=3, rule="area", iou=0.75)
    assert result.by_class.tolist() == [1, 1, 1]
    assert int((found[..., 5] > 0.5).sum()) == 3
