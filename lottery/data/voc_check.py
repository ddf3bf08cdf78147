"""All that is wrong with a data set in VOC layout, at once."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from lottery.data.annotation import Object
from lottery.data.voc import list_file, listed, pictures


def check_voc(folder: str | Path, names: Sequence[str] | None = None) -> list[str]:
    """Everything that is wrong with a data set in VOC layout; each with its file and value.

    Listed pictures are read whole; files that no list names are passed over. names: the classes,
    if not simply those of the data. A box may leave its image by a pixel, as if pixels were counted
    from 0, and is clipped when read; a box one pixel wide or high is a slip of the hand, and empty.
    Of what is left without these, each part has to have something to find, and of no class that
    there is nothing to learn from.
    """
    folder = Path(folder).expanduser()
    parts, problems = listed(folder)
    in_order = list(dict.fromkeys(name for part in parts.values() for name in part))
    usable: dict[str, list[Object]] = {}
    for name, picture in zip(in_order, pictures(folder, in_order, names), strict=True):
        problems += picture.problems
        if picture.image is not None:
            usable[name] = [each for each, _ in picture.boxes]
    left = {part: [usable[n] for n in own if n in usable] for part, own in parts.items() if own}
    return [*problems, *_lacking(folder, left)]


def _lacking(folder: Path, parts: Mapping[str, Sequence[Sequence[Object]]]) -> Iterator[str]:
    """What the parts lack as a whole. parts: of each usable picture its objects."""
    to_find = {
        part: {each.name for picture in own for each in picture if not each.difficult}
        for part, own in parts.items()
    }
    for part, own in parts.items():
        if not own:
            yield f"{list_file(folder, part)}: no picture for {part} can be used"
        elif not to_find[part]:
            yield f"{list_file(folder, part)}: no box for {part} is not difficult"
    learnt = to_find.pop("train", set())
    for name in sorted(set().union(*to_find.values()) - learnt if learnt else ()):
        where = " and ".join(part for part, found in to_find.items() if name in found)
        yield f"{list_file(folder, 'train')}: class {name!r} is never to be learnt, but in {where}"
