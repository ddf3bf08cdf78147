"""What an output means, by hand, and which boxes are reported, against a plain loop."""

import math

import pytest
import torch
from torch import Tensor
from torchvision.ops import box_iou

from lottery.detection.decoding import CANDIDATES, decode, detections
from lottery.errors import ConfigError

ANCHORS = torch.tensor([(0.2, 0.1), (0.4, 0.6)])


def random_output(seed: int, batch: int, classes: int, rows: int, columns: int) -> Tensor:
    chance = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 2 * (5 + classes), rows, columns, generator=chance)


def logit(probability: float) -> float:
    return math.log(probability / (1 - probability))


def test_a_prediction_worked_out_by_hand() -> None:
    """Second anchor, third row and first column of 4 × 2 cells, and the second of three classes."""
    output = torch.zeros(1, 2 * 8, 4, 2)
    numbers = [logit(0.5), logit(0.25), math.log(0.5), math.log(1.5), logit(0.9), 0.0, 2.0, 1.0]
    output[0, 8:, 2, 0] = torch.tensor(numbers)
    boxes, scores = decode(output, ANCHORS)
    assert boxes.shape == (1, 16, 4)
    assert scores.shape == (1, 16, 3)
    number = 1 * 8 + 2 * 2 + 0
    x, y, w, h = 0.5 / 2, 2.25 / 4, 0.5 * 0.4, 1.5 * 0.6
    expected = [x - w / 2, y - h / 2, x + w / 2, 1.0]  # its lower edge lies outside
    assert y + h / 2 > 1
    assert boxes[0, number].tolist() == pytest.approx(expected)
    total = 1 + math.exp(2) + math.exp(1)
    assert scores[0, number].tolist() == pytest.approx(
        [0.9 / total, 0.9 * math.exp(2) / total, 0.9 * math.exp(1) / total]
    )


def test_zeros_are_anchors_in_the_middle_of_their_cells() -> None:
    boxes, scores = decode(torch.zeros(1, 2 * 6, 3, 5), torch.full((2, 2), 0.1))
    centres = ((boxes[0, :, :2] + boxes[0, :, 2:]) / 2).view(2, 3, 5, 2)
    across, down = torch.meshgrid(
        (torch.arange(5) + 0.5) / 5, (torch.arange(3) + 0.5) / 3, indexing="xy"
    )
    torch.testing.assert_close(centres, torch.stack([across, down], -1).expand(2, 3, 5, 2))
    assert torch.equal(scores, torch.full((1, 30, 1), 0.5))


def test_half_precision_is_read_as_float32() -> None:
    boxes, scores = decode(random_output(0, 1, 2, 3, 3).half(), ANCHORS)
    assert boxes.dtype == scores.dtype == torch.float32


def test_how_an_output_lies_in_memory_makes_no_difference() -> None:
    output = random_output(0, 2, 2, 3, 4)
    strange = output.transpose(0, 3).contiguous().transpose(0, 3)
    for other in (output.contiguous(memory_format=torch.channels_last), strange):
        for one, two in zip(decode(output, ANCHORS), decode(other, ANCHORS), strict=True):
            torch.testing.assert_close(one, two)


def test_an_output_that_does_not_fit_the_anchors_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"number of anchors is 2; .* 15 channels"):
        decode(torch.zeros(1, 15, 2, 2), ANCHORS)
    with pytest.raises(ConfigError, match="number of anchors is 2"):
        decode(torch.zeros(1, 10, 2, 2), ANCHORS)  # no class is left


def plain(output: Tensor, threshold: float, nms: float, limit: int) -> list[list[list[float]]]:
    """Detections of each image: every class on its own, box by box, best first."""
    found = []
    for boxes, scores in zip(*decode(output, ANCHORS), strict=True):
        rows: list[list[float]] = []
        for label in range(scores.shape[1]):
            kept: list[int] = []
            for number in scores[:, label].argsort(descending=True).tolist():
                if scores[number, label] > threshold and all(
                    box_iou(boxes[number][None], boxes[other][None]) <= nms for other in kept
                ):
                    kept.append(number)
            rows += [[label, *boxes[n].tolist(), float(scores[n, label])] for n in kept]
        found.append(sorted(rows, key=lambda row: -row[5])[:limit])
    return found


@pytest.mark.parametrize(
    ("threshold", "nms", "limit"), [(0.005, 0.45, 100), (0.2, 0.1, 100), (0.05, 0.45, 4)]
)
def test_detections_are_those_of_a_plain_loop(threshold: float, nms: float, limit: int) -> None:
    output = random_output(1, 3, 3, 4, 4)
    output[1, 4::8] = -20  # nothing in the second image
    found = detections(output, ANCHORS, threshold, nms, limit)
    expected = plain(output, threshold, nms, limit)
    assert found.shape == (3, limit, 6)
    assert found.dtype == torch.float32
    assert not expected[1]
    for rows, own in zip(found, expected, strict=True):
        torch.testing.assert_close(rows[: len(own)], torch.tensor(own).view(-1, 6))
        assert torch.equal(rows[len(own) :, 0], torch.full((limit - len(own),), -1.0))
        assert not rows[len(own) :, 1:].any()


def test_one_box_is_reported_for_each_class_it_may_be() -> None:
    output = torch.full((1, 2 * 7, 1, 1), -20.0)
    output[0, :7, 0, 0] = torch.tensor([0, 0, 0, 0, 5.0, 1.0, 1.0])
    found = detections(output, ANCHORS)[0]
    assert sorted(found[found[:, 0] >= 0, 0].tolist()) == [0, 1]


def test_images_of_a_batch_do_not_compete() -> None:
    output = random_output(2, 1, 2, 4, 4)
    one = detections(output, ANCHORS)
    both = detections(output.repeat(2, 1, 1, 1), ANCHORS)
    assert torch.equal(both, one.repeat(2, 1, 1))


def test_an_untrained_detector_with_many_boxes_has_the_best_reported() -> None:
    output = random_output(3, 2, 20, 13, 13)
    _, scores = decode(output, ANCHORS)
    assert (scores[0] > 0.005).sum() > CANDIDATES
    found = detections(output, ANCHORS)
    assert bool((found[..., 0] >= 0).all())
    torch.testing.assert_close(found[:, 0, 5], scores.flatten(1).amax(dim=1))
    assert bool((found[:, 1:, 5] <= found[:, :-1, 5]).all())


def test_sizes_that_overflow_still_make_boxes() -> None:
    output = torch.zeros(1, 2 * 6, 2, 2)
    output[0, 2:4] = 1000.0
    found = detections(output, ANCHORS)[0]
    shown = found[found[:, 0] >= 0]
    assert [0.0, 0.0, 1.0, 1.0] in shown[:, 1:5].tolist()
    assert bool(shown.isfinite().all())
