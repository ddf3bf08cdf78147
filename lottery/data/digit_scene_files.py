"""Digit scenes on disk, in VOC layout, with a manifest of how they were made."""

import hashlib
import io
import json
import logging
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from lottery.data import annotation, cache, sources
from lottery.data.digit_scenes import VERSION, Classes, Digits, class_names, compose
from lottery.data.formats import Arrays
from lottery.data.published import PUBLISHED
from lottery.errors import check_whole
from lottery.files import whole
from lottery.seeds import generator

log = logging.getLogger("lottery.data")

MANIFEST = "manifest.json"

FOR_VAL = 1 / 6
"""Part of each digit's training images of which only validation pictures are composed."""

QUALITY = 95
"""Of JPEG."""


@dataclass(frozen=True)
class SceneSet:
    """What is to be composed."""

    size: int = 160
    """Side of the pictures, in pixels."""
    classes: Classes = "ten"
    train: int = 8000
    """Pictures for training; those for validation and test follow."""
    val: int = 1000
    test: int = 2000
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what gives no pictures, or pictures too small for a digit."""
        class_names(self.classes)
        check_whole("size", self.size, 64, "pixels")
        check_whole("seed", self.seed, 0)
        for part in ("train", "val", "test"):
            check_whole(part, getattr(self, part), 1, "pictures")

    @property
    def folder(self) -> str:
        """A name that tells everything, so that another set lies in another folder."""
        parts = f"{self.train}-{self.val}-{self.test}"
        return f"digit_scenes-v{VERSION}-{self.classes}-{self.size}px-{parts}-seed{self.seed}"


def scene_folder(scenes: SceneSet, data_dir: Path) -> Path:
    """The folder of these scenes in the data folder, composed now if they are not there.

    It appears whole or not at all, so one that is there is complete. A picture and its boxes follow
    from (seed, part, number) alone; the bytes of a JPEG also from the libraries that write it.
    """
    folder = data_dir / scenes.folder
    if folder.is_dir():
        return folder
    arrays = sources.arrays("mnist", data_dir)
    log.info("composing %s", folder)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # on pictures so small more threads only wait for each other
    try:
        with whole(folder) as place:
            _write(scenes, arrays, place)
    except OSError as error:
        if not folder.is_dir():  # else another process was faster
            raise cache.cannot_write(folder, error) from error
    finally:
        torch.set_num_threads(threads)
    return folder


def source_images(labels: Tensor, test_labels: Tensor, seed: int) -> dict[str, Tensor]:
    """Which images the pictures of a part are composed of: no image in two parts.

    Indices into the training images for "train" and "val", into the test images for "test".
    """
    chance = generator(seed, "digit scenes", "sources")
    held_out = torch.zeros(len(labels), dtype=torch.bool)
    for label in range(10):
        found = (labels == label).nonzero().squeeze(1)
        order = torch.randperm(len(found), generator=chance)
        held_out[found[order[: round(len(found) * FOR_VAL)]]] = True
    return {
        "train": (~held_out).nonzero().squeeze(1),
        "val": held_out.nonzero().squeeze(1),
        "test": torch.arange(len(test_labels)),
    }


def _write(scenes: SceneSet, arrays: Arrays, folder: Path) -> None:
    for part in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (folder / part).mkdir(parents=True)
    parts = {}
    used = source_images(arrays["train_labels"], arrays["test_labels"], scenes.seed)
    for part, index in used.items():
        source = "test" if part == "test" else "train"
        images, labels = (arrays[f"{source}_{kind}"][index] for kind in ("images", "labels"))
        parts[part] = {
            **_write_part(scenes, part, Digits.of(images, labels), folder),
            "source_images": {
                "of": f"{source}_images",
                "number": len(index),
                "sha256": hashlib.sha256(index.numpy().data).hexdigest(),
            },
        }
    manifest = {
        "generator": "lottery.data.digit_scenes",
        "version": VERSION,
        **asdict(scenes),
        "parts": parts,
        "mnist_sha256": {key: sha256 for key, (_, sha256) in PUBLISHED["mnist"].arrays.items()},
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")


def _write_part(scenes: SceneSet, part: str, digits: Digits, folder: Path) -> dict[str, Any]:
    """Pictures, annotations and list of a part; how many there are of what."""
    names = [f"{part}_{number:05d}" for number in range(getattr(scenes, part))]
    counts = Counter(dict.fromkeys(class_names(scenes.classes), 0))
    difficult = truncated = 0
    for number, name in enumerate(names):
        chance = generator(scenes.seed, "digit scenes", part, number)
        picture, objects = compose(digits, scenes.size, scenes.classes, chance)
        content = io.BytesIO()
        Image.fromarray(picture.numpy()).save(content, "JPEG", quality=QUALITY)
        (folder / "JPEGImages" / f"{name}.jpg").write_bytes(content.getvalue())
        xml = annotation.write(f"{name}.jpg", scenes.size, scenes.size, objects)
        (folder / "Annotations" / f"{name}.xml").write_bytes(xml)
        counts.update(each.name for each in objects)
        difficult += sum(each.difficult for each in objects)
        truncated += sum(each.truncated for each in objects)
    (folder / "ImageSets/Main" / f"{part}.txt").write_text("\n".join(names) + "\n")
    return {
        "pictures": len(names),
        "objects": dict(counts),
        "difficult": difficult,
        "truncated": truncated,
    }
