"""The input size changes every ten steps, the same for whoever asks."""

import pytest
import torch

from lottery.data.multiscale import resize, size_at

SIZES = (160, 192, 224)


def test_ten_steps_in_a_row_have_the_same_size():
    sizes = [size_at(step, SIZES, seed=0) for step in range(600)]
    for first in range(0, 600, 10):
        assert len(set(sizes[first : first + 10])) == 1
    drawn = sizes[::10]
    assert set(drawn) == set(SIZES)
    assert min(drawn.count(size) for size in SIZES) > 8


def test_sizes_follow_from_seed_level_and_step_alone():
    steps = range(0, 400, 10)
    sizes = [size_at(step, SIZES, seed=1, level=2) for step in steps]
    torch.manual_seed(0)
    assert [size_at(step, SIZES, seed=1, level=2) for step in reversed(steps)] == sizes[::-1]
    assert [size_at(step, SIZES, seed=1, level=3) for step in steps] != sizes
    assert [size_at(step, SIZES, seed=2, level=2) for step in steps] != sizes


@pytest.mark.parametrize("size", [16, 48])
def test_images_keep_their_content_and_memory_order(size):
    images = torch.zeros(2, 32, 32, 3).permute(0, 3, 1, 2)
    images[:, :, :16, :16] = 1
    resized = resize(images, size)
    assert resized.shape == (2, 3, size, size)
    assert resized.is_contiguous(memory_format=torch.channels_last)
    part = size // 2 - 2
    assert resized[:, :, :part, :part].min() > 0.99
    assert resized[:, :, -part:].max() < 0.01
    assert resized.mean() == pytest.approx(0.25, abs=0.01)


def test_images_of_that_size_are_left_alone():
    images = torch.rand(1, 3, 8, 8)
    assert resize(images, 8) is images
