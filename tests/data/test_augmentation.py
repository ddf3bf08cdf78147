"""Images are mirrored and moved as the paper says, the same for whoever asks for a step."""

import pytest
import torch
from torch.nn import functional as F

from lottery.data import Batches, Examples
from lottery.data.augmentation import SHIFT, augment, draw
from lottery.errors import ConfigError


def pictures(total: int, *shape: int) -> Examples:
    stream = torch.Generator().manual_seed(0)
    images = torch.randint(1, 256, (total, *shape), generator=stream, dtype=torch.uint8)
    return Examples(images, torch.arange(total))


def by_hand(image: torch.Tensor, mirrored: int, top: int, left: int) -> torch.Tensor:
    """One image (channels, height, width): mirrored, padded with 4 zeros, and cropped."""
    image = image.flip(2) if mirrored else image
    height, width = image.shape[1:]
    return F.pad(image, (4, 4, 4, 4))[:, top : top + height, left : left + width]


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (3, 5, 7)])
def test_each_image_is_what_flipping_padding_and_cropping_alone_give(shape):
    images = torch.rand(40, *shape)
    choices = draw("flip_shift", 40, torch.Generator().manual_seed(0))
    expected = [by_hand(i, *c.tolist()) for i, c in zip(images, choices, strict=True)]
    assert torch.equal(augment(images, choices), torch.stack(expected))


def test_a_row_of_pixels_by_hand():
    """Mirrored 3 2 1, then moved one to the right (column 3 of the padded) and not down."""
    image = torch.tensor([[[[1.0, 2.0, 3.0]]]])
    moved = augment(image, torch.tensor([[1, SHIFT, SHIFT - 1]], dtype=torch.uint8))
    assert moved.flatten().tolist() == [0.0, 3.0, 2.0]


def test_all_moves_are_equally_likely_and_half_of_images_are_mirrored():
    choices = draw("flip_shift", 81_000, torch.Generator().manual_seed(0)).long()
    assert choices[:, 0].float().mean() == pytest.approx(0.5, abs=0.01)
    counts = (choices[:, 1] * 9 + choices[:, 2]).bincount(minlength=81)
    assert len(counts) == 81
    assert 800 < int(counts.min()) <= int(counts.max()) < 1_200  # 1,000 ± 6 standard deviations


def test_by_default_images_are_what_they_were():
    examples = pictures(30, 8, 8, 3)
    for images, labels in Batches(examples, 10, seed=0).steps(0, 6):
        assert torch.equal(images, examples.batch(labels)[0])
    assert Batches(examples, 10, seed=0).drawn(0, 6)[1].shape == (6, 10, 0)


def test_augmentation_changes_neither_order_nor_labels():
    plain, changed = (
        Batches(pictures(30, 8, 8), 10, seed=0, augmentation=kind)
        for kind in ("none", "flip_shift")
    )
    pairs = zip(plain.steps(0, 6), changed.steps(0, 6), strict=True)
    for (images, labels), (others, same) in pairs:
        assert torch.equal(labels, same)
        assert others.shape == images.shape
        assert not torch.equal(images, others)


def test_any_step_can_be_had_without_those_before_it():
    batches = Batches(pictures(30, 8, 8), 10, seed=3, augmentation="flip_shift")
    whole = [images for images, _ in batches.steps(0, 9)]
    torch.manual_seed(5)
    again = Batches(pictures(30, 8, 8), 10, seed=3, augmentation="flip_shift")
    for start in (7, 2, 0):
        assert torch.equal(next(again.steps(start, 9))[0], whole[start])


def test_images_are_changed_anew_in_each_epoch_level_and_seed():
    examples = pictures(20, 8, 8)
    seen = {
        tuple(
            Batches(examples, 20, seed=seed, level=level, augmentation="flip_shift")
            .drawn(epoch, epoch + 1)[1]
            .flatten()
            .tolist()
        )
        for seed in (0, 1)
        for level in (0, 1)
        for epoch in (0, 1)
    }
    assert len(seen) == 8


def test_values_that_are_no_images_are_refused():
    examples = Examples(torch.rand(20, 16), torch.arange(20))
    message = r"train.augmentation is 'flip_shift'; allowed: none with inputs of shape \(16,\)"
    with pytest.raises(ConfigError, match=message):
        Batches(examples, 5, seed=0, augmentation="flip_shift")
