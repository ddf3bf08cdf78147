"""Any folder in the layout of Pascal VOC: its lists, and its pictures with their boxes.

    JPEGImages/*.jpg (or .jpeg, .png)   Annotations/*.xml   ImageSets/Main/{train,val,test}.txt

Everingham et al. 2010, "The Pascal Visual Object Classes (VOC) challenge".
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

from PIL import Image

from lottery.data import annotation
from lottery.data.annotation import Annotation, Object
from lottery.errors import DataError, in_a_line

SUFFIXES = (".jpg", ".jpeg", ".png")
LISTS = Path("ImageSets/Main")
TOLERANCE = 1
"""Pixels by which a box may leave its image: programs differ in whether the first one is 0 or 1."""

Fractions = tuple[float, float, float, float]


@dataclass
class Picture:
    """One listed picture: what can be used of it, and what cannot."""

    image: Image.Image | None = None
    """RGB; None if the picture, or its annotation as a whole, cannot be used."""
    boxes: list[tuple[Object, Fractions]] = field(default_factory=list)
    """The objects, and their corners (x0, y0, x1, y1) as fractions of width and height."""
    problems: list[str] = field(default_factory=list)


def parts(folder: Path) -> dict[str, list[str]]:
    """The names listed for "train", "val" and "test", as `listed` finds them without a problem."""
    found, problems = listed(folder)
    if problems:
        raise refusal(folder, problems)
    return found


def listed(folder: Path) -> tuple[dict[str, list[str]], list[str]]:
    """The names listed for each part, and what is wrong with the lists.

    Where there is no train.txt, what trainval.txt lists and val.txt does not is for training
    (otherwise trainval.txt is passed over). Where there is no test.txt, as for VOC 2012, val.txt
    lists the test images, and there is no "val" in what is returned.
    """
    if not folder.is_dir():
        return {}, [f"{folder}: there is no such folder"]
    files = {name: _list(folder, name) for name in ("train", "val", "trainval", "test")}
    lists = {name: names for name, names in files.items() if names is not None}
    if "train" not in lists and "trainval" in lists:
        held_out = set(lists.get("val", ()))
        lists["train"] = [name for name in lists["trainval"] if name not in held_out]
    if "test" not in lists and "val" in lists:
        lists["test"] = lists.pop("val")
    order = ("train", "val", "test")
    found: dict[str, list[str]] = {part: lists[part] for part in order if part in lists}
    problems = [
        f"{LISTS}: there is no {' and no '.join(needed)}"
        for part, needed in (
            ("train", ("train.txt", "trainval.txt")),
            ("test", ("test.txt", "val.txt")),
        )
        if part not in found
    ]
    for part, names in found.items():
        if not names:
            problems.append(f"{list_file(folder, part)}: no picture is listed for {part}")
        twice = (name for name, times in Counter(names).items() if times > 1)
        problems += [f"{LISTS}: {name} is listed twice for {part}" for name in twice]
    for one, other in combinations(found, 2):
        in_both = sorted(set(found[one]) & set(found[other]))
        problems += [f"{LISTS}: {name} is listed for {one} and {other}" for name in in_both]
    return found, problems


def list_file(folder: Path, part: str) -> Path:
    """Where the pictures of a part are listed, as `listed` finds them."""
    names = {"train": ("train", "trainval"), "val": ("val",), "test": ("test", "val")}[part]
    files = (LISTS / f"{name}.txt" for name in names)
    return next(file for file in files if (folder / file).exists())


def _list(folder: Path, part: str) -> list[str] | None:
    """The names in a list, None if there is no such file."""
    try:
        lines = (folder / LISTS / f"{part}.txt").read_text().splitlines()
        return [line.strip() for line in lines if line.strip()]
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"cannot read {LISTS}/{part}.txt in {folder}: {in_a_line(error)}"
        ) from error


def pictures(folder: Path, listed: Sequence[str], names: Sequence[str] | None) -> Iterator[Picture]:
    """The listed pictures, one at a time."""
    files = image_files(folder)
    for name in listed:
        yield _picture(folder, name, files.get(name), names)


def image_files(folder: Path) -> dict[str, Path]:
    """The picture of each name that has one."""
    try:
        found = sorted((folder / "JPEGImages").iterdir())
    except FileNotFoundError:
        found = []
    except OSError as error:
        raise DataError(f"cannot read {folder / 'JPEGImages'}: {in_a_line(error)}") from error
    return {path.stem: path for path in found if path.suffix.lower() in SUFFIXES}


def annotation_file(folder: Path, name: str) -> Path:
    """The annotation of a name, there or not."""
    return folder / _xml(name)


def _picture(
    folder: Path, name: str, image_file: Path | None, names: Sequence[str] | None
) -> Picture:
    """A picture with its boxes, as far as they can be used."""
    picture = Picture()
    truth, image = (
        _truth(folder, name, picture.problems),
        _image(name, image_file, picture.problems),
    )
    if truth is None or image is None:
        return picture
    xml = _xml(name)
    if image.size != (truth.width, truth.height):
        told, measured = (f"{w}x{h}" for w, h in ((truth.width, truth.height), image.size))
        picture.problems.append(f"{xml}: size is {told}, but the picture has {measured}")
        return picture
    picture.image = image
    for each in truth.objects:
        try:
            picture.boxes.append((each, _fractions(each, image.size, names)))
        except DataError as error:
            picture.problems.append(f"{xml}: {error}")
    return picture


def _truth(folder: Path, name: str, problems: list[str]) -> Annotation | None:
    """The annotation of a name, None if it cannot be used; what is wrong joins `problems`."""
    try:
        truth, wrong = annotation.parse(annotation_file(folder, name).read_bytes())
    except FileNotFoundError:
        problems.append(f"{_xml(name)}: there is no such file, but {name} is listed")
    except (DataError, OSError) as error:
        problems.append(f"{_xml(name)}: {in_a_line(error)}")
    else:
        problems += [f"{_xml(name)}: {problem}" for problem in wrong]
        return truth
    return None


def _image(name: str, file: Path | None, problems: list[str]) -> Image.Image | None:
    """The picture in RGB, read whole, None if it cannot be; why not joins `problems`."""
    if file is None:
        problems.append(f"JPEGImages/{name}.jpg: there is no such file, nor a .png")
        return None
    try:
        with Image.open(file) as opened:
            return opened.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        problems.append(f"JPEGImages/{file.name}: {in_a_line(error)}")
        return None


def _xml(name: str) -> str:
    return f"Annotations/{name}.xml"


def _fractions(each: Object, size: tuple[int, int], names: Sequence[str] | None) -> Fractions:
    """Corners of a box as fractions of the image's (width, height), or DataError."""
    if names is not None and each.name not in names:
        raise DataError(f"class {each.name!r} is unknown; known: {', '.join(names)}")
    box = f"box {' '.join(f'{corner:g}' for corner in each.box)} ({each.name})"
    corners = []
    for low, high, pixels in zip(each.box[:2], each.box[2:], size, strict=True):
        if high < low:
            raise DataError(f"{box} is upside down: its end lies before its start")
        if low < 1 - TOLERANCE or high > pixels + TOLERANCE:
            raise DataError(f"{box} lies outside the image of {size[0]}x{size[1]}")
        low, high = max(low, 1), min(high, pixels)
        if high <= low:
            raise DataError(f"{box} is empty: a pixel wide or high")
        corners.append(((low - 1) / pixels, high / pixels))
    (left, right), (top, bottom) = corners
    return left, top, right, bottom


def refusal(folder: Path, problems: Sequence[str], most: int = 5, advice: str = "") -> DataError:
    """The first problems and their number, in one error."""
    more = [f"  ... and {len(problems) - most} more"] if len(problems) > most else []
    lines = [f"  {problem}" for problem in problems[:most]]
    count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
    end = [advice] if advice else []
    return DataError("\n".join([f"{folder} has {count}:", *lines, *more, *end]))
