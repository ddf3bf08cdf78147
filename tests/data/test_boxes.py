"""Scenes behave as examples do, and refuse boxes that make no sense."""

import pytest
import torch

from lottery.data.boxes import Scenes, stack
from lottery.data.images import Dataset, split
from lottery.errors import DataError

CAT = [1.0, 0.1, 0.2, 0.5, 0.6, 0.0]


def scenes(total: int = 4) -> Scenes:
    """Scene i has i boxes of class i."""
    images = torch.arange(total * 2 * 3 * 3, dtype=torch.uint8).view(total, 2, 3, 3)
    rows = [torch.tensor([[i, 0.1, 0.2, 0.5, 0.6, 1.0]] * i).view(-1, 6) for i in range(total)]
    return Scenes(images, stack(rows))


def test_boxes_of_different_numbers_are_padded_with_class_minus_one():
    boxes = stack([torch.tensor([CAT]), torch.empty(0, 6), torch.tensor([CAT, CAT])])
    padding = torch.tensor([-1.0, 0, 0, 0, 0, 0])
    assert boxes.shape == (3, 2, 6)
    assert torch.equal(boxes[0], torch.stack([torch.tensor(CAT), padding]))
    assert torch.equal(boxes[1], torch.stack([padding, padding]))
    assert torch.equal(boxes[2], torch.tensor([CAT, CAT]))


def test_images_without_any_object_still_have_a_row():
    assert stack([torch.empty(0, 6)] * 3).shape == (3, 1, 6)


@pytest.mark.parametrize("index", [torch.tensor([2, 0]), slice(1, 3)])
def test_a_batch_is_the_images_as_input_with_their_boxes(index):
    whole = scenes()
    images, boxes = whole.batch(index)
    assert images.dtype == torch.float32
    assert images.shape == (2, 3, 2, 3)
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal((images * 255).round(), whole.images[index].permute(0, 3, 1, 2).float())
    assert torch.equal(boxes, whole.labels[index])


def test_a_subset_keeps_order_and_pairs():
    some = scenes().subset(torch.tensor([3, 1]))
    assert len(some) == 2
    assert torch.equal(some.images, scenes().images[[3, 1]])
    assert torch.equal(some.labels, scenes().labels[[3, 1]])
    assert some.to("cpu").device == torch.device("cpu")


@pytest.mark.parametrize(
    "box",
    [
        [1.0, 0.5, 0.2, 0.1, 0.6, 0.0],
        [1.0, 0.1, 0.2, 0.1, 0.6, 0.0],
        [1.0, 0.1, 0.2, 1.1, 0.6, 0.0],
        [1.0, -0.1, 0.2, 0.5, 0.6, 0.0],
        [1.0, 0.1, float("nan"), 0.5, 0.6, 0.0],
        [0.5, 0.1, 0.2, 0.5, 0.6, 0.0],
        [-2.0, 0.1, 0.2, 0.5, 0.6, 0.0],
        [-1.0, 0.1, 0.2, 0.5, 0.6, 0.0],
        [float("nan"), 0.1, 0.2, 0.5, 0.6, 0.0],
        [1.0, 0.1, 0.2, 0.5, 0.6, 2.0],
    ],
)
def test_a_box_that_makes_no_sense_is_named(box):
    boxes = torch.tensor([[CAT, CAT], [CAT, box]])
    with pytest.raises(DataError, match="box 1 of image 1 is "):
        Scenes(torch.zeros(2, 4, 4, 3, dtype=torch.uint8), boxes)


@pytest.mark.parametrize(
    ("images", "boxes", "wrong"),
    [
        (torch.zeros(1, 4, 4, 3), torch.tensor([[CAT]]), "images are"),
        (torch.zeros(1, 4, 4, dtype=torch.uint8), torch.tensor([[CAT]]), "images are"),
        (torch.zeros(1, 4, 4, 1, dtype=torch.uint8), torch.tensor([[CAT]]), "images are"),
        (torch.zeros(1, 4, 4, 3, dtype=torch.uint8), torch.tensor([CAT]), "boxes are"),
        (torch.zeros(1, 4, 4, 3, dtype=torch.uint8), torch.tensor([[CAT]]).double(), "boxes are"),
        (torch.zeros(1, 4, 4, 3, dtype=torch.uint8), torch.tensor([[CAT[:5]]]), "boxes are"),
        (torch.zeros(2, 4, 4, 3, dtype=torch.uint8), torch.tensor([[CAT]]), "there are 1 labels"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(images, boxes, wrong):
    with pytest.raises(DataError, match=wrong):
        Scenes(images, boxes)


def pictures(*difficult: bool) -> Scenes:
    """Each with a box of class 1; which ones are difficult."""
    images = torch.zeros(len(difficult), 4, 4, 3, dtype=torch.uint8)
    return Scenes(images, torch.tensor([[[*CAT[:5], float(each)]] for each in difficult]))


@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_a_part_whose_boxes_are_all_difficult_is_refused_as_it_has_no_average_precision(part):
    parts = {name: pictures(True, False) for name in ("train", "val", "test")}
    assert Dataset("cats", **parts, classes=2).parts.keys() == parts.keys()
    parts[part] = pictures(True, True)
    with pytest.raises(DataError, match=f"{part}.* images without a single box that is not diff"):
        Dataset("cats", **parts, classes=2)


def test_validation_pictures_that_are_drawn_need_a_box_that_is_not_difficult():
    data = Dataset("cats", pictures(False, True, True, True), pictures(False), classes=2)
    for seed in range(8):
        with pytest.raises(DataError, match=f"where seed {seed} holds 2 examples out, has "):
            split(data, 2, seed=seed)
    assert len(split(Dataset("cats", pictures(False, False), data.test, classes=2), 1, seed=0).val)
