"""Data sets in VOC layout as tensors, decoded once and then cached."""

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from PIL import Image
from safetensors import SafetensorError, safe_open
from torch import Tensor

from lottery.data import cache, voc
from lottery.data.boxes import stack
from lottery.errors import ConfigError, DataError, check_whole, in_a_line

log = logging.getLogger("lottery.data")

VERSION = 1
"""Of what is made of a picture and its boxes; another one reads the pictures anew."""

ADVICE = "drop_broken=true leaves these boxes, and pictures that cannot be used, out."


@dataclass(frozen=True, eq=False)
class Pictures:
    """Of one part of a data set."""

    images: Tensor
    """uint8 pixels, N×size×size×3."""
    boxes: Tensor
    """As the labels of `Scenes`, N×M×6."""


@dataclass(frozen=True, eq=False)
class VocPictures:
    """A data set in VOC layout by its parts, and the names of its classes."""

    name: str
    train: Pictures
    val: Pictures | None
    """None where there is no part for it besides the test pictures."""
    test: Pictures
    names: tuple[str, ...]
    """What class 0, 1, ... is called."""


def read_voc(
    folder: str | Path,
    size: int,
    names: Sequence[str] | None = None,
    *,
    drop_broken: bool = False,
    cache_dir: Path | None = None,
) -> VocPictures:
    """A data set in VOC layout, its pictures stretched to size × size pixels.

    Stretched and not letter-boxed, as by the first darknet: no pixel is spent on bars, boxes as
    fractions stay what they are, and the IoU of two boxes does not change when an axis is
    stretched, so average precision means the same.

    names: the classes in order, else those of the data in alphabetical order. Raises DataError for
    any file that `check_voc` would list. With drop_broken, boxes that cannot be used (empty, upside
    down, outside the image, of an unknown class) are left out instead, as are whole pictures that
    cannot (missing, no XML, another size than their annotation tells); a warning tells how many and
    which. Wrong lists are an error all the same.

    cache_dir: where decoded pictures are kept, if anywhere: for as long as no file of the data
    changes in name, size or time, they are read from there.
    """
    check_whole("size", size, 1, "pixels")
    if names is not None and not (
        isinstance(names, list | tuple) and all(isinstance(name, str) for name in names)
    ):
        raise ConfigError("names", names, "a list of names, such as ['cat', 'dog']")
    folder = Path(folder).expanduser()
    parts = voc.parts(folder)
    key = _key(folder, parts, (VERSION, size, names and list(names), drop_broken))
    file = cache_dir and cache_dir / f"{folder.name}-{size}-{key[:16]}.safetensors"
    read = _cached(file) if file else None
    if read is None:
        read = _decode(folder, parts, size, names, drop_broken)
        if file:
            cache.write(file, safetensors.torch.save(*read))
            log.info("the pictures of %s are cached in %s", folder, file)
    tensors, about = read
    dropped = json.loads(about["dropped"])
    if dropped:
        log.warning("%s\nwhich are left out", voc.refusal(folder, dropped))
    found = {part: Pictures(tensors[f"{part}.images"], tensors[f"{part}.boxes"]) for part in parts}
    names = tuple(json.loads(about["names"]))
    return VocPictures(folder.name, found["train"], found.get("val"), found["test"], names)


Decoded = tuple[dict[str, Tensor], dict[str, str]]
"""Images and boxes by part, and as JSON the names and what was dropped."""


def _key(folder: Path, parts: dict[str, list[str]], settings: tuple[object, ...]) -> str:
    """Changes when the reading or a file does, judged by name, size and time of change."""
    digest = hashlib.sha256(json.dumps([settings, parts]).encode())
    images = voc.image_files(folder)
    for names in parts.values():
        for name in names:
            for file in (voc.annotation_file(folder, name), images.get(name)):
                if file and file.exists():
                    about = file.stat()
                    digest.update(f"{file.name} {about.st_size} {about.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _cached(file: Path) -> Decoded | None:
    try:
        with safe_open(file, framework="pt") as opened:
            return {key: opened.get_tensor(key) for key in opened.keys()}, opened.metadata()  # noqa: SIM118
    except FileNotFoundError:
        return None
    except (SafetensorError, OSError) as error:
        log.warning("%s is refused: %s. Decoding the pictures again.", file, in_a_line(error))
        return None


def _decode(
    folder: Path,
    parts: dict[str, list[str]],
    size: int,
    names: Sequence[str] | None,
    drop_broken: bool,
) -> Decoded:
    images: dict[str, list[Tensor]] = {part: [] for part in parts}
    found: dict[str, list[list[tuple[str, list[float]]]]] = {part: [] for part in parts}
    problems = []
    for part, listed in parts.items():
        for picture in voc.pictures(folder, listed, names):
            problems += picture.problems
            if picture.image is not None:
                images[part].append(pixels(picture.image, size))
                found[part].append(
                    [(each.name, [*box, each.difficult]) for each, box in picture.boxes]
                )
    if problems and not drop_broken:
        raise voc.refusal(folder, problems, advice=ADVICE)
    in_data = {name for part in found.values() for boxes in part for name, _ in boxes}
    names = sorted(in_data) if names is None else names
    if not in_data or not all(images.values()):
        empty = [part for part in parts if not images[part]] or ["any part"]
        raise DataError(f"{folder} has nothing that can be used in {', '.join(empty)}")
    number = {name: float(label) for label, name in enumerate(names)}
    tensors = {}
    for part in parts:
        rows = [[[number[name], *box] for name, box in boxes] for boxes in found[part]]
        tensors[f"{part}.images"] = torch.stack(images[part])
        tensors[f"{part}.boxes"] = stack([torch.tensor(row).view(-1, 6) for row in rows])
    return tensors, {"names": json.dumps(list(names)), "dropped": json.dumps(problems)}


def pixels(image: Image.Image, size: int) -> Tensor:
    """uint8, size × size × 3; bilinear over all the pixels that fall together."""
    if image.size != (size, size):
        image = image.resize((size, size), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(image))
