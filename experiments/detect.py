"""Find objects in pictures: draw boxes into a copy of each, and say what was found.

  python experiments/detect.py photo.jpg --detector results/detector-bccd/detector.safetensors

A detector's file comes from experiments/export_detector.py. Copies lie beside their pictures, as
photo-detected.jpg, or in --out.
"""

import argparse
import sys
from pathlib import Path

import torch
from PIL import Image
from torchvision.transforms.v2 import functional as transforms

from lottery.detection.drawing import SURE, draw
from lottery.detection.export import load
from lottery.errors import LotteryError, in_a_line


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 all pictures done, 1 some could not be, 2 bad arguments."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="PNG or JPEG")
    parser.add_argument(
        "--detector", required=True, type=Path, metavar="FILE", help="its safetensors file"
    )
    parser.add_argument(
        "--threshold", type=float, default=SURE, help="least score of a box (%(default)s)"
    )
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="where the copies go")
    options = parser.parse_args(arguments)
    try:
        detector = load(options.detector)
    except LotteryError as error:
        return _complain(str(error), 2)
    status = 0
    for file in options.images:
        try:
            with Image.open(file) as opened:
                picture = opened.convert("RGB")
            found = detector.find(picture, options.threshold)
            drawn = draw(transforms.pil_to_tensor(picture), found, detector.objective.names)
            copy = (options.out or file.parent) / f"{file.stem}-detected{file.suffix}"
            copy.parent.mkdir(parents=True, exist_ok=True)
            transforms.to_pil_image(drawn).save(copy)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            status = _complain(f"{file}: {in_a_line(error)}", 1)
            continue
        print(f"{copy}: {_told(found, detector.objective.names)}")
    return status


def _told(found: torch.Tensor, names: tuple[str, ...]) -> str:
    """How many of each class there are."""
    counts = found[:, 0].long().bincount(minlength=len(names)).tolist()
    each = [f"{count} {name}" for count, name in zip(counts, names, strict=True) if count]
    return ", ".join(each) or "nothing"


def _complain(message: str, status: int) -> int:
    print(f"detect.py: {message}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
