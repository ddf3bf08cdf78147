"""Anchors against brute force over all partitions, and against boxes of known sizes."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lottery.detection import anchors
from lottery.detection.anchors import (
    TINY_VOC_ANCHORS,
    VOC_ANCHORS,
    box_sizes,
    cluster_anchors,
    mean_iou,
)
from lottery.detection.iou import size_iou
from lottery.errors import ConfigError
from tests.detection.rows import table

sides = st.floats(0.03125, 1.0, width=32)
size_lists = st.lists(st.tuples(sides, sides), min_size=2, max_size=12)


def test_sizes_leave_padding_out() -> None:
    boxes = table([(0, 0.25, 0.5, 0.75, 0.625), (3, 0.0, 0.0, 1.0, 0.5, 1)], [])
    assert box_sizes(boxes).tolist() == [[0.5, 0.125], [1.0, 0.5]]


def test_published_anchors_are_fractions_of_13_cells() -> None:
    assert (VOC_ANCHORS[4] * 13).tolist() == pytest.approx([11.2364, 10.0071])
    assert (TINY_VOC_ANCHORS[4] * 13).tolist() == pytest.approx([16.62, 10.52])  # wider than all
    assert VOC_ANCHORS.shape == TINY_VOC_ANCHORS.shape == (5, 2)


def test_clusters_that_lie_apart_are_found_whatever_their_numbers() -> None:
    """Squared distance would join the small boxes, which differ by less than the large ones do."""
    chance = torch.Generator().manual_seed(0)
    true = torch.tensor([(0.02, 0.02), (0.04, 0.05), (0.8, 0.6)])
    groups = [
        size * (0.85 + 0.3 * torch.rand(n, 2, generator=chance))
        for size, n in zip(true, (40, 50, 60), strict=True)
    ]
    found = cluster_anchors(torch.cat(groups), 3)
    torch.testing.assert_close(found, true, rtol=0.08, atol=0)
    assert found.dtype == torch.float32


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("count", [1, 2, 3])
def test_no_partition_into_clusters_with_their_means_is_better(seed: int, count: int) -> None:
    sizes = 0.05 + 0.9 * torch.rand(6, 2, generator=torch.Generator().manual_seed(seed))
    found = mean_iou(sizes, cluster_anchors(sizes, count, starts=30))
    for parts in itertools.product(range(count), repeat=len(sizes)):
        if len(set(parts)) == count:
            of = torch.tensor(parts)
            means = torch.stack([sizes[of == k].mean(dim=0) for k in range(count)])
            own = sum(float(size_iou(s, means)[k]) for s, k in zip(sizes, parts, strict=True))
            assert found >= own / len(sizes) - 1e-6


def test_every_step_fits_better_and_clusters_left_empty_are_filled() -> None:
    chance = torch.Generator().manual_seed(0)
    for _ in range(20):
        sizes = 0.02 + 0.9 * torch.rand(30, 2, generator=chance, dtype=torch.float64)
        # Two of the centres are so far off that no box is theirs.
        centres = torch.cat([sizes[:2], torch.full((2, 2), 1e-3, dtype=torch.float64)])
        found = anchors._k_means(sizes, centres)
        assert mean_iou(sizes, found) > mean_iou(sizes, centres)
        assert len(size_iou(sizes, found).argmax(dim=1).unique()) == 4


@settings(max_examples=30, deadline=None)
@given(size_lists, st.data())
def test_anchors_fit_at_least_as_well_as_the_mean_box_and_come_by_area(sizes, data) -> None:
    boxes = torch.tensor(sizes)
    count = data.draw(st.integers(1, len(boxes.unique(dim=0))))
    found = cluster_anchors(boxes, count, starts=2)
    assert found.shape == (count, 2)
    assert torch.equal(found.prod(1), found.prod(1).sort().values)
    assert mean_iou(boxes, found) >= mean_iou(boxes, boxes.mean(dim=0)[None]) - 1e-6
    if count == len(boxes.unique(dim=0)):
        assert mean_iou(boxes, found) == pytest.approx(1)


def test_the_seed_alone_decides() -> None:
    sizes = torch.rand(200, 2, generator=torch.Generator().manual_seed(0)) + 0.01

    def draw(seed: int) -> Tensor:
        return cluster_anchors(sizes, 5, seed, starts=1)

    torch.manual_seed(1)
    one = draw(0)
    torch.manual_seed(2)
    assert torch.equal(one, draw(0))
    assert not torch.equal(one, draw(1))


@pytest.mark.parametrize(
    ("sizes", "count", "message"),
    [
        ([(0.1, 0.2)] * 9, 1.5, "anchors is 1.5; allowed: a whole number of sizes, 1 or more"),
        ([(0.1, 0.2)] * 9, 2, "anchors is 2; allowed: 1 to 1, as there are so many sizes of box"),
        ([(0.1, 0.2)], 0, "anchors is 0"),
        ([(0.1, 0.0)], 1, "sizes is 0.0; allowed: widths and heights above 0"),
        ([], 1, "anchors is 1; allowed: 1 to 0"),
    ],
)
def test_too_few_or_empty_boxes_are_refused(sizes, count: int, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        cluster_anchors(torch.tensor(sizes).view(-1, 2), count)
