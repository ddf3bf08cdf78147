"""Boxes are drawn where they are, and the picture itself is left alone."""

import torch

from lottery.detection.drawing import COLOURS, draw

PADDING = [-1.0, 0, 0, 0, 0, 0]


def test_the_edges_of_a_box_lie_where_its_corners_say():
    image = torch.zeros(3, 100, 200, dtype=torch.uint8)
    found = torch.tensor([[1, 0.25, 0.5, 0.75, 0.9, 0.8], PADDING])
    drawn = draw(image, found, ["cat", "dog"])
    assert not image.any(), "the picture was drawn into"
    colour = torch.tensor(list(bytes.fromhex(COLOURS[1][1:])), dtype=torch.uint8)
    for row, column in ((60, 50), (60, 150), (90, 120)):
        assert torch.equal(drawn[:, row, column], colour)
    assert not drawn[:, :45].any() and not drawn[:, :, :45].any() and not drawn[:, 80, 140].any()


def test_a_picture_in_which_nothing_is_found_stays_as_it_is():
    image = torch.full((3, 10, 10), 7, dtype=torch.uint8)
    drawn = draw(image, torch.tensor([PADDING]), ["cat"])
    assert torch.equal(drawn, image) and drawn.data_ptr() != image.data_ptr()
