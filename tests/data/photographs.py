"""Small data sets in VOC layout, written without the library's own code."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

Box = tuple[str, int, int, int, int]

OBJECT = """<object><name>{}</name><bndbox>
<xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"""


def annotation(*boxes: Box, size: tuple[int, int] = (8, 4), more: str = "") -> str:
    """XML of a picture of (width, height); `more` goes to the end of it."""
    objects = "".join(OBJECT.format(*box) for box in boxes)
    width, height = size
    return f"""<annotation><size><width>{width}</width><height>{height}</height></size>
{objects}{more}</annotation>"""


def add_picture(folder: Path, name: str, xml: str, size: tuple[int, int] = (8, 4)) -> None:
    """A grey picture, whose shade depends on its name, and what is told of it."""
    for part in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    shade = np.full((size[1], size[0], 3), sum(map(ord, name)) % 256, dtype=np.uint8)
    Image.fromarray(shade).save(folder / "JPEGImages" / f"{name}.png")
    (folder / "Annotations" / f"{name}.xml").write_text(xml)


def set_lists(folder: Path, **lists: Sequence[str]) -> None:
    """The files in ImageSets/Main, and no others."""
    for file in (folder / "ImageSets/Main").iterdir():
        file.unlink()
    for part, names in lists.items():
        (folder / "ImageSets/Main" / f"{part}.txt").write_text("".join(f"{n}\n" for n in names))


def photographs(folder: Path) -> Path:
    """Five sound pictures of 8 × 4 pixels: a, b to train on, c for validation, d, e for test."""
    for name in "abcde":
        add_picture(folder, name, annotation(("cat", 1, 1, 4, 4)))
    add_picture(folder, "b", annotation(("dog", 2, 1, 3, 2), ("cat", 5, 3, 8, 4)))
    add_picture(folder, "e", annotation())
    set_lists(folder, train="ab", val="c", test="de")
    return folder
