"""One image's annotation in Pascal VOC's XML: its size and its objects' boxes."""

import math
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from dataclasses import dataclass

from lottery.errors import DataError, in_a_line


@dataclass(frozen=True)
class Object:
    """A named box in pixels as VOC counts them: the first is 1, the last is part of the box."""

    name: str
    box: tuple[float, float, float, float]
    """xmin, ymin, xmax, ymax."""
    difficult: bool = False
    truncated: bool = False


@dataclass(frozen=True)
class Annotation:
    """What the file of an image tells."""

    width: int
    height: int
    objects: tuple[Object, ...]


class _Plain(ET.TreeBuilder):
    """Annotations have no document type, without which XML knows no entities of its own.

    So a file can neither name another one nor swell when it is read.
    """

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise DataError(f"has a document type ({name}), which annotations do not have")


def parse(content: bytes) -> tuple[Annotation, list[str]]:
    """Read an annotation, and what is wrong with objects of it, which are left out.

    Coordinates may be fractional, as some of VOC 2011's are. `difficult` and `truncated` are false
    where they are not given. The parts of an object (VOC's heads and hands) are passed over.
    Raises DataError, without the file's name, where the file as a whole cannot be used.
    """
    try:
        root = ET.fromstring(content, ET.XMLParser(target=_Plain()))
    except (ET.ParseError, ValueError, LookupError) as error:  # the latter two of odd encodings
        raise DataError(f"is no XML: {in_a_line(error)}") from error
    width, height = (_number(root, f"size/{side}") for side in ("width", "height"))
    objects, problems = [], []
    for position, element in enumerate(root.findall("object"), start=1):
        try:
            objects.append(_object(element))
        except DataError as error:
            problems.append(f"object {position} {error}")
    return Annotation(int(width), int(height), tuple(objects)), problems


def _object(element: ET.Element) -> Object:
    name = (element.findtext("name") or "").strip()
    if not name:
        raise DataError("has no name")
    xmin, ymin, xmax, ymax = (
        _number(element, f"bndbox/{corner}") for corner in ("xmin", "ymin", "xmax", "ymax")
    )
    return Object(
        name, (xmin, ymin, xmax, ymax), _flag(element, "difficult"), _flag(element, "truncated")
    )


def _number(element: ET.Element, path: str) -> float:
    text = element.findtext(path)
    if text is None:
        raise DataError(f"has no {path}")
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise DataError(f"has {path} {text.strip()!r}, which is no number")
    return number


def _flag(element: ET.Element, name: str) -> bool:
    text = (element.findtext(name) or "0").strip()
    if text not in ("0", "1"):
        raise DataError(f"has {name} {text!r}, which is neither 0 nor 1")
    return text == "1"


def write(filename: str, width: int, height: int, objects: Iterable[Object]) -> bytes:
    """The annotation of an image of three channels, as `parse` reads it."""
    root = ET.Element("annotation")
    _add(root, filename=filename)
    _add(ET.SubElement(root, "size"), width=width, height=height, depth=3)
    for each in objects:
        element = ET.SubElement(root, "object")
        _add(element, name=each.name, truncated=int(each.truncated), difficult=int(each.difficult))
        corners = (f"{corner:g}" for corner in each.box)
        box = dict(zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True))
        _add(ET.SubElement(element, "bndbox"), **box)
    ET.indent(root)
    return ET.tostring(root)


def _add(element: ET.Element, **texts: object) -> None:
    for tag, text in texts.items():
        ET.SubElement(element, tag).text = str(text)
