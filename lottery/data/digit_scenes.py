"""Digit scenes: pictures composed of handwritten digits, whose boxes are known exactly.

A picture is a softly shaded, slightly noisy ground of some colour; on it lie fragments of digits,
which are no objects (after the cluttered MNIST of Mnih et al. 2014), and then one to five whole
digits of other colours, which may cover one another a little and reach over the edge.
"""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Generator, Tensor
from torch.nn import functional as F
from torchvision.ops import box_iou

from lottery.data.annotation import Object
from lottery.data.jitter import LUMA
from lottery.errors import ConfigError, DataError

VERSION = 1
"""Of the composition: whatever changes a picture or a box changes it too."""

Classes = Literal["ten", "one"]
"""All digits are objects; or one of them is, and the others are distractors."""

OBJECT = 5
"""The one digit that is an object where only one is: half of the digits in its pictures."""

REFERENCE = 160
"""The picture's side to which the lengths below refer, in pixels; they grow with it."""
SIDES = (18, 60)
"""Shortest and longest of a digit's longer side; its logarithm is uniform."""
DIFFICULT_SIDE = 16
"""A digit of which a shorter piece is to be seen is difficult."""

DIFFICULT_AREA = 0.4
"""A digit of whose ink a smaller part is to be seen is difficult."""
LEAST = 2
"""Width and height in pixels of which at least has to be seen of an object: boxes of one pixel are
slips of the hand to readers of VOC."""
MOST = 5
"""Digits in a picture."""
FRAGMENTS = 4
"""Pieces of 8×8 of a digit's 28×28 pixels."""
OUTSIDE = 0.2
"""Part of a digit's width or height that may lie over the edge on either side."""
OVERLAP = 0.25
"""Intersection over union from which on a digit is not put there."""
TRIES = 20
"""Places tried for a digit before it is left away."""
INK = 0.3
"""Opacity from which on a pixel counts as the digit's."""
CONTRAST = 0.3
"""Least difference in luma (0 to 1) between a digit and the ground."""
_LUMA = torch.tensor(LUMA)


@dataclass(frozen=True, eq=False)
class Digits:
    """What pictures are composed of: uint8 N×28×28, and which of them show 0, 1, ... 9."""

    images: Tensor
    of_label: list[Tensor]

    @classmethod
    def of(cls, images: Tensor, labels: Tensor) -> "Digits":
        """Sort by label; DataError where a digit is missing or an image has no ink."""
        of_label = [(labels == label).nonzero().squeeze(1) for label in range(10)]
        missing = [str(label) for label, found in enumerate(of_label) if not len(found)]
        if missing:
            raise DataError(f"there are no images of {', '.join(missing)} to compose scenes of")
        if (images.flatten(1).amax(dim=1) <= INK * 255).any():
            raise DataError("an image to compose scenes of is empty")
        return cls(images, of_label)

    def draw(self, label: int, chance: Generator) -> Tensor:
        """Any image of that digit, 28×28, opacity 0 to 1."""
        of_label = self.of_label[label]
        return self.images[of_label[_integer(len(of_label), chance)]] / 255


def class_names(classes: Classes) -> tuple[str, ...]:
    """What the objects are called."""
    if classes not in get_args(Classes):
        raise ConfigError("classes", classes, ", ".join(get_args(Classes)))
    return tuple(str(label) for label in range(10)) if classes == "ten" else (str(OBJECT),)


def compose(
    digits: Digits, size: int, classes: Classes, chance: Generator
) -> tuple[Tensor, list[Object]]:
    """A picture (uint8, size × size × 3) and its objects.

    A box holds what is to be seen of a digit, tightly: neither what is over the edge nor what other
    digits cover.
    """
    scale = size / REFERENCE
    luma = _uniform(0.1, 0.9, chance)
    picture = _ground(size, luma, chance)
    for _ in range(FRAGMENTS):
        digit = digits.draw(_integer(10, chance), chance)
        row, column = 6 + _integer(9, chance), 6 + _integer(9, chance)
        side = _side(scale, chance)
        piece = _resized(digit[row : row + 8, column : column + 8], math.ceil(side * 8 / 20))
        top, left = (_integer(size - edge + 1, chance) for edge in piece.shape)
        _paint(picture, _on_canvas(piece, top, left, size), _colour(luma, chance))
    placed: list[_Placed] = []
    for _ in range(1 + _integer(MOST, chance)):
        label = _label(classes, chance)
        digit = _resized(_cropped(digits.draw(label, chance)), _side(scale, chance))
        colour = _colour(luma, chance)
        canvas = _put(digit, size, [each.box for each in placed], chance)
        if canvas is None:
            continue
        _paint(picture, canvas, colour)
        ink = canvas > INK
        for earlier in placed:
            earlier.visible &= ~ink
        whole = int((digit > INK).sum())
        placed.append(_Placed(str(label), _bounds(ink), whole, int(ink.sum()) < whole, ink))
    names = class_names(classes)
    objects = [each.seen(scale) for each in placed if each.name in names and each.shows()]
    return (picture * 255).round().to(torch.uint8), objects


@dataclass
class _Placed:
    """A digit in the picture."""

    name: str
    box: Tensor
    """Bounds of what is not over the edge: (1, 4)."""
    whole: int
    """Pixels of ink, with those over the edge."""
    truncated: bool
    visible: Tensor
    """Whose ink is to be seen at a pixel: size × size."""

    def shows(self) -> bool:
        """Whether enough is to be seen of it for a box."""
        if not self.visible.any():
            return False
        left, top, right, bottom = _bounds(self.visible)[0].tolist()
        return min(right - left, bottom - top) >= LEAST

    def seen(self, scale: float) -> Object:
        """What is to be seen of it, as an object."""
        left, top, right, bottom = (int(edge) for edge in _bounds(self.visible)[0])
        difficult = (
            int(self.visible.sum()) < DIFFICULT_AREA * self.whole
            or max(right - left, bottom - top) < DIFFICULT_SIDE * scale
        )
        return Object(self.name, (left + 1, top + 1, right, bottom), difficult, self.truncated)


def _ground(size: int, luma: float, chance: Generator) -> Tensor:
    """A ground of about that luma, size × size × 3: a tint, soft shades and a little noise."""
    tint = torch.rand(3, generator=chance) * 0.2 - 0.1
    shades = torch.rand(1, 3, 4, 4, generator=chance) * 0.16 - 0.08
    shades = F.interpolate(shades, size=(size, size), mode="bilinear")[0].permute(1, 2, 0)
    noise = torch.randn(size, size, 3, generator=chance) * 0.02
    return (luma + tint - tint @ _LUMA + shades + noise).clamp_(0, 1)


def _colour(ground: float, chance: Generator) -> Tensor:
    """A colour whose luma differs from the ground's: the first of several drawn that does."""
    colours = torch.cat([torch.rand(16, 3, generator=chance), torch.tensor([[0.0] * 3, [1.0] * 3])])
    return colours[((colours @ _LUMA - ground).abs() >= CONTRAST).nonzero()[0, 0]]


def _label(classes: Classes, chance: Generator) -> int:
    """All digits are equally frequent; or one is half of them, and the others share the rest."""
    if classes == "ten":
        return _integer(10, chance)
    if _integer(2, chance):
        return OBJECT
    return (OBJECT + 1 + _integer(9, chance)) % 10


def _put(digit: Tensor, size: int, others: list[Tensor], chance: Generator) -> Tensor | None:
    """The digit somewhere on an empty canvas, not too much upon others; None if it finds no place.

    Where two overlap, both boxes are of all that lies within the picture.
    """
    for _ in range(TRIES):
        over = [int(OUTSIDE * edge) for edge in digit.shape]
        top, left = (
            _integer(size - edge + 2 * most + 1, chance) - most
            for edge, most in zip(digit.shape, over, strict=True)
        )
        canvas = _on_canvas(digit, top, left, size)
        ink = canvas > INK
        if not ink.any():  # thin ones fade as they shrink, or their ink is over the edge
            continue
        bounds = _bounds(ink)
        if not others or box_iou(bounds, torch.cat(others)).max() < OVERLAP:
            return canvas
    return None


def _on_canvas(piece: Tensor, top: int, left: int, size: int) -> Tensor:
    """The piece (opacities) with its corner there on size × size of nothing; the rest is cut."""
    height, width = piece.shape
    return F.pad(piece, (left, size - left - width, top, size - top - height))


def _paint(picture: Tensor, opacity: Tensor, colour: Tensor) -> None:
    picture.lerp_(colour.expand_as(picture), opacity.unsqueeze(2))


def _cropped(digit: Tensor) -> Tensor:
    left, top, right, bottom = (int(edge) for edge in _bounds(digit > INK)[0])
    return digit[top:bottom, left:right]


def _resized(piece: Tensor, side: int) -> Tensor:
    """The piece with a longer side of so many pixels, and the other in proportion."""
    factor = side / max(piece.shape)
    edges = [max(1, round(edge * factor)) for edge in piece.shape]
    return F.interpolate(piece[None, None], size=edges, mode="bilinear", antialias=True)[0, 0]


def _bounds(ink: Tensor) -> Tensor:
    """Left, top, right and bottom edge of what is true, between pixels: (1, 4)."""
    rows, columns = (ink.any(dim=dim).nonzero().squeeze(1) for dim in (1, 0))
    edges = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
    return torch.stack(edges).float().unsqueeze(0)


def _side(scale: float, chance: Generator) -> int:
    shortest, longest = SIDES
    return round(scale * shortest * (longest / shortest) ** _uniform(0, 1, chance))


def _integer(below: int, chance: Generator) -> int:
    return int(torch.randint(below, (), generator=chance))


def _uniform(low: float, high: float, chance: Generator) -> float:
    return low + (high - low) * float(torch.rand((), generator=chance))
