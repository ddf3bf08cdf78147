"""Data sets for detectors by name: folder in VOC layout, VOC itself, and digit scenes."""

import inspect
import logging
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from lottery.data import cache, download
from lottery.data.boxes import Scenes
from lottery.data.digit_scene_files import SceneSet, scene_folder
from lottery.data.digit_scenes import Classes, class_names
from lottery.data.images import DATASETS, Dataset, load
from lottery.data.voc_check import check_voc
from lottery.data.voc_tensors import Pictures, VocPictures, read_voc
from lottery.detection.anchors import box_sizes, cluster_anchors
from lottery.detection.objective import Detection
from lottery.errors import ConfigError, DataError, LotteryError
from lottery.registry import parse_spec
from lottery.seeds import generator

log = logging.getLogger("lottery.data")

FOR_VAL = 1 / 8
"""Part of the training pictures that are for validation where there are no others."""

# fmt: off
VOC_CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair",
    "cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant",
    "sheep", "sofa", "train", "tvmonitor",
)
# fmt: on


@DATASETS.register
def voc(
    data_dir: Path,
    folder: str,
    size: int = 416,
    names: Sequence[str] | None = None,
    drop_broken: bool = False,
    anchors: int = 5,
) -> Dataset:
    """A folder of one's own in VOC layout; see `lottery.data.voc_tensors.read_voc`.

    A relative path is one in the data folder. Where it lists no pictures for validation beside
    those for test, an eighth of the training pictures is. anchors: how many sizes of box k-means is
    to find among the training pictures', for the detector to start from; so for the other data sets
    here.
    """
    place = data_dir / Path(folder).expanduser()
    found = read_voc(place, size, names, drop_broken=drop_broken, cache_dir=data_dir)
    return _dataset(found, anchors)


@DATASETS.register
def voc2007(
    data_dir: Path, size: int = 416, drop_broken: bool = False, anchors: int = 5
) -> Dataset:
    """Pascal VOC 2007: 2,501 + 2,510 + 4,952 photographs of objects in 20 classes."""
    return _dataset(_pascal(data_dir, "2007", ("trainval", "test"), size, drop_broken), anchors)


@DATASETS.register
def voc2012(
    data_dir: Path, size: int = 416, drop_broken: bool = False, anchors: int = 5
) -> Dataset:
    """Pascal VOC 2012: 5,717 photographs to train on, an eighth of them for validation, and, as its
    test set has no public boxes, 5,823 of its validation set to test on, in 20 classes.
    """
    return _dataset(_pascal(data_dir, "2012", ("trainval",), size, drop_broken), anchors)


@DATASETS.register
def digit_scenes(
    data_dir: Path,
    size: int = 160,
    classes: Classes = "ten",
    train: int = 8000,
    val: int = 1000,
    test: int = 2000,
    seed: int = 0,
    anchors: int = 5,
) -> Dataset:
    """Synthetic pictures of MNIST's digits, all of them objects or only one ("one"), the others
    being distractors; composed when first asked for. See `lottery.data.digit_scenes`.
    """
    folder = scene_folder(SceneSet(size, classes, train, val, test, seed), data_dir)
    return _dataset(read_voc(folder, size, class_names(classes), cache_dir=data_dir), anchors)


def problems(spec: str, data_dir: Path) -> list[str]:
    """All that is wrong with a data set, each with its file and value; nothing if it is sound.

    Of one in VOC layout everything is listed at once, what `drop_broken` would leave out too; and
    of any, why it cannot be loaded.
    """
    found, left_out = _in_files(spec, data_dir)
    if found and not left_out:
        return found
    logging.disable(logging.WARNING)  # of what is listed already
    try:
        load(spec, data_dir)
    except LotteryError as error:
        lines = [line.strip() for line in str(error).splitlines()]
        found += [
            line
            for line in lines
            if line not in found and not line.endswith((" problem:", " problems:"))
        ]
    finally:
        logging.disable(logging.NOTSET)
    return found


def _in_files(spec: str, data_dir: Path) -> tuple[list[str], bool]:
    """What is wrong with the files of a data set, and whether what is broken is left out."""
    name, args, options = parse_spec(spec, "data")
    function = inspect.unwrap(DATASETS.resolve(spec))
    if function not in (voc, voc2007, voc2012, digit_scenes):
        return [], False
    try:
        given = inspect.signature(function).bind(data_dir, *args, **options).arguments
        drop_broken = bool(given.get("drop_broken"))
        if function is voc:
            folder = data_dir / Path(given["folder"]).expanduser()
            return check_voc(folder, given.get("names")), drop_broken
        if function is not digit_scenes:
            folder = data_dir / {voc2007: "VOC2007", voc2012: "VOC2012"}[function]
            if not folder.is_dir():
                return [], drop_broken  # loading downloads it, and says what is wrong
            return check_voc(folder, VOC_CLASSES), drop_broken
        scenes = SceneSet(
            **{key: given[key] for key in given if key not in ("data_dir", "anchors")}
        )
        return check_voc(scene_folder(scenes, data_dir), class_names(scenes.classes)), False
    except DataError as error:
        return str(error).splitlines(), False
    except TypeError as error:
        raise ConfigError("data", spec, f"{name} with its options ({error})") from error


def _dataset(found: VocPictures, anchors: int) -> Dataset:
    """What is read, to be learned with so many anchors."""
    train, val = (found.train, found.val) if found.val else _held_out(found.train)
    _warn_of_unlearnt(found.names, train, [found.test] if val is None else [val, found.test])
    objective = Detection(found.names, cluster_anchors(box_sizes(train.boxes), anchors))

    def scenes(part: Pictures) -> Scenes:
        return Scenes(part.images, part.boxes, objective)

    return Dataset(
        found.name,
        scenes(train),
        scenes(found.test),
        classes=len(found.names),
        val=None if val is None else scenes(val),
    )


def _held_out(pictures: Pictures) -> tuple[Pictures, Pictures | None]:
    """Pictures to train on and, drawn from them, for validation; none of a single one.

    The same for every seed, as where a list tells them.
    """
    total = len(pictures.images)
    count = min(total - 1, max(1, round(total * FOR_VAL)))
    order = torch.randperm(total, generator=generator(0, "validation pictures"))
    held_out, kept = order[:count].sort().values, order[count:].sort().values
    val, train = (Pictures(pictures.images[i], pictures.boxes[i]) for i in (held_out, kept))
    return train, val if count else None


def _warn_of_unlearnt(names: Sequence[str], train: Pictures, others: Sequence[Pictures]) -> None:
    """Say which classes can only be missed."""
    asked = set().union(*map(_to_find, others))
    for label in sorted(asked - _to_find(train)):
        log.warning(
            "no picture to train on has a %r that is not difficult, but others have: its average "
            "precision will be 0",
            names[label],
        )


def _to_find(part: Pictures) -> set[int]:
    """Classes of the boxes that are not difficult."""
    label, difficult = part.boxes[..., 0], part.boxes[..., 5]
    return set(label[(label >= 0) & (difficult == 0)].int().tolist())


def _pascal(
    data_dir: Path, year: str, image_sets: Sequence[str], size: int, drop_broken: bool
) -> VocPictures:
    """A year's challenge, downloaded by torchvision if it is not in the data folder."""
    folder = data_dir / f"VOC{year}"
    if not folder.is_dir():
        _download(folder, year, image_sets)
    return read_voc(folder, size, VOC_CLASSES, drop_broken=drop_broken, cache_dir=data_dir)


def _download(folder: Path, year: str, image_sets: Sequence[str]) -> None:
    """The folder appears when all of it is there."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as root:
            for image_set in image_sets:
                download.torchvision_download(
                    "VOCDetection", Path(root), year=year, image_set=image_set
                )
            os.replace(Path(root) / "VOCdevkit" / folder.name, folder)
    except DataError as error:
        raise DataError(
            f"Pascal VOC {year} cannot be downloaded: {error}\n"
            f"To put it there by hand, copy VOCdevkit/{folder.name} of its archives to {folder}."
        ) from error
    except OSError as error:
        raise cache.cannot_write(folder, error) from error
