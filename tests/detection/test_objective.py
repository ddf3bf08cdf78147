"""A detector is trained for the region loss and judged by mean average precision."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lottery import detection
from lottery.detection import VOC_ANCHORS, Detection, RegionLoss, average_precision, detections

DETECTION = Detection(("cat", "dog"), VOC_ANCHORS)
CHANNELS = 5 * (5 + 2)


def some_output(batch: int = 3) -> torch.Tensor:
    return torch.randn(batch, CHANNELS, 4, 4, generator=torch.Generator().manual_seed(0))


def some_boxes() -> torch.Tensor:
    """Of three images; the last has one that is difficult."""
    padding = [-1.0, 0, 0, 0, 0, 0]
    return torch.tensor(
        [
            [[0, 0.1, 0.1, 0.4, 0.5, 0], padding],
            [[1, 0.2, 0.3, 0.9, 0.8, 0], [0, 0.5, 0.5, 0.7, 0.6, 0]],
            [[1, 0.0, 0.0, 0.5, 0.5, 1], padding],
        ]
    )


def test_what_a_detector_is_trained_for_knows_of_no_data():
    """Data sets come with their objective, and so import it."""
    for file in Path(detection.__file__).parent.glob("*.py"):
        assert "from lottery.data" not in file.read_text(), file.name


def test_the_prior_is_for_the_first_images_of_training_alone():
    output, boxes = some_output(), some_boxes()
    region = RegionLoss(VOC_ANCHORS)
    first, later = DETECTION.loss(output, boxes, 0), DETECTION.loss(output, boxes, 12_800)
    assert first == region(output, boxes, 0) > later
    assert DETECTION.loss(output, boxes) == later, "outside of training there is none"
    brief = replace(DETECTION, prior_images=100)
    assert (brief.loss(output, boxes, 99), brief.loss(output, boxes, 100)) == (first, later)
    assert brief.loss(output, boxes) == later


def test_training_on_enlarged_images_has_the_anchors_pixels():
    output, boxes = some_output(), some_boxes()
    enlarged = DETECTION.loss(output, boxes, 0, (2.0, 1.5))
    assert enlarged == RegionLoss(VOC_ANCHORS / torch.tensor([2.0, 1.5]))(output, boxes, 0)
    assert enlarged != DETECTION.loss(output, boxes, 0)


def test_loss_and_precision_do_not_depend_on_how_scenes_are_batched():
    output, boxes = some_output(), some_boxes()
    whole = DETECTION.measure([(output, boxes)])
    parts = DETECTION.measure([(output[:1], boxes[:1]), (output[1:], boxes[1:])])
    assert whole.loss == pytest.approx(parts.loss, rel=1e-6)
    assert whole.loss == pytest.approx(float(DETECTION.loss(output, boxes)), rel=1e-6)
    assert whole.accuracy == parts.accuracy
    found = detections(output, VOC_ANCHORS)
    assert whole.accuracy == average_precision(found, boxes, 2, "area").mean


@pytest.mark.parametrize("shape", [(2, CHANNELS), (2, CHANNELS + 5, 4, 4), (2, 10, 4, 4)])
def test_a_network_that_is_no_detector_of_so_many_classes_is_refused(shape):
    images = torch.zeros(2, 3, 64, 64)
    DETECTION.check(torch.zeros(2, CHANNELS, 4, 4), 2, images)
    with pytest.raises(ValueError, match="a detector of 2 classes with 5 anchors has 35 channels"):
        DETECTION.check(torch.zeros(shape), 2, images)


def test_cells_that_leave_the_edge_of_an_image_uncovered_are_refused():
    """At stride 16 there are 12 cells of 200 pixels: the last 8 pixels would be nobody's."""
    with pytest.raises(ValueError, match="12 × 4 cells do not divide images of 200 × 64 pixels"):
        DETECTION.check(torch.zeros(2, CHANNELS, 12, 4), 2, torch.zeros(2, 3, 200, 64))
