"""Find objects in pictures: draw boxes into a copy of each, and say what was found.

  python experiments/detect.py photo.jpg
  python experiments/detect.py photo.jpg --detector results/detector-digits/detector.safetensors

A detector's file comes from experiments/export_detector.py; by default it is that of the first
study, by name, that has one under results/. Copies lie beside their pictures, as
photo-detected.jpg, or in --out; those of small pictures are enlarged, so that labels can be read.
"""

import argparse
import itertools
import sys
from collections.abc import Collection
from pathlib import Path

import torch
from PIL import Image, ImageOps
from torchvision.transforms.v2 import functional as transforms

from lottery.detection.drawing import SURE, draw, enlarged
from lottery.detectors import load
from lottery.errors import ConfigError, LotteryError, UsageError, in_a_line


def make_parser() -> argparse.ArgumentParser:
    """The program's arguments."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="PNG or JPEG")
    parser.add_argument(
        "--detector",
        type=Path,
        metavar="FILE",
        help="its safetensors file (the first results/*/detector.safetensors)",
    )
    parser.add_argument(
        "--threshold", type=float, default=SURE, help="least score of a box, 0 to 1 (%(default)s)"
    )
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="where the copies go")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 all pictures done, 1 some could not be, 2 bad arguments."""
    options = make_parser().parse_args(arguments)
    try:
        if not 0 <= options.threshold <= 1:
            raise ConfigError("threshold", options.threshold, "a score from 0 to 1")
        if options.out is not None and options.out.exists() and not options.out.is_dir():
            raise ConfigError("out", str(options.out), "a folder, which need not be there yet")
        detector = load(options.detector or _exported())
    except LotteryError as error:
        return _complain(str(error), 2)
    status, taken = 0, {file.resolve() for file in options.images}
    for file in options.images:
        try:
            with Image.open(file) as opened:
                picture = ImageOps.exif_transpose(opened).convert("RGB")
            found = detector.find(picture, options.threshold)
            shown = enlarged(transforms.pil_to_tensor(picture)[None].float(), 480)[0].byte()
            drawn = draw(shown, found, detector.objective.names)
            copy = _copy(file, options.out or file.parent, taken)
            copy.parent.mkdir(parents=True, exist_ok=True)
            transforms.to_pil_image(drawn).save(copy)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            status = _complain(f"{file}: {in_a_line(error)}", 1)
            continue
        taken.add(copy.resolve())
        print(f"{copy}: {_told(found, detector.objective.names)}")
    return status


def _exported() -> Path:
    """The file of the first study that has one, which is told."""
    files = sorted(Path("results").glob("*/detector.safetensors"))
    if not files:
        raise UsageError(
            "no detector is at results/*/detector.safetensors: name one with --detector FILE, or "
            "write one there with experiments/export_detector.py"
        )
    print(f"with {files[0]}", file=sys.stderr)
    return files[0]


def _copy(file: Path, folder: Path, taken: Collection[Path]) -> Path:
    """Where the copy of a picture goes: apart from all pictures, and from copies of others."""
    numbers = itertools.chain([""], (f"-{number}" for number in itertools.count(2)))
    places = (folder / f"{file.stem}-detected{number}{file.suffix}" for number in numbers)
    return next(place for place in places if place.resolve() not in taken)


def _told(found: torch.Tensor, names: tuple[str, ...]) -> str:
    """How many of each class there are."""
    counts = found[:, 0].long().bincount(minlength=len(names)).tolist()
    each = [f"{name}: {count}" for count, name in zip(counts, names, strict=True) if count]
    return ", ".join(each) or "nothing"


def _complain(message: str, status: int) -> int:
    print(f"detect.py: {message}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
