"""Write a detector of a study to a file: as safetensors, for experiments/detect.py, and as ONNX.

  python experiments/export_detector.py detector-bccd                    the best pruned one
  python experiments/export_detector.py detector-bccd --cell NAME --level 3

The best is that of fewest multiply-accumulates whose average precision on validation pictures lies
at most --lose below that of its own unpruned detector. Among many some pass by luck; on test
pictures, which had no say, its average precision is printed. The networks of the study must be on
this disk, in its folder cells/.
"""

import argparse
import sys
from pathlib import Path

from lottery.analysis.detectors import ALLOWED
from lottery.detectors import export_onnx, save
from lottery.errors import LotteryError
from lottery.study.detector_choice import best, compared, pick


def make_parser() -> argparse.ArgumentParser:
    """The program's arguments."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("study", metavar="STUDY", help="a name under the results folder")
    parser.add_argument("--cell", metavar="NAME", help="a cell of levels.csv, instead of the best")
    parser.add_argument("--level", type=int, help="of that cell")
    parser.add_argument(
        "--lose", type=float, default=ALLOWED, help="a fraction, 0.02 for 2 points (%(default)s)"
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="default: RESULTS_DIR/STUDY/detector.safetensors"
    )
    parser.add_argument(
        "--onnx", action="store_true", help="write it too, to FILE with the ending .onnx"
    )
    parser.add_argument("--results-dir", type=Path, default=Path("results"), help="%(default)s")
    parser.add_argument("--data-dir", help="cached data sets; else $LOTTERY_DATA, else data/")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 written, 2 not."""
    options = make_parser().parse_args(arguments)
    if (options.cell is None) != (options.level is None):
        return _complain("--cell and --level go together")
    if options.out is not None and options.out.suffix == ".onnx":
        return _complain(f"--out is {options.out}; allowed: a name with another ending than .onnx")
    folder = options.results_dir / options.study
    try:
        name, level = options.cell, options.level
        if name is None:
            name, level = best(folder, options.lose)
            if level == 0:
                print(
                    f"No pruned detector loses {options.lose:g} or less: an unpruned one follows."
                )
        detector = pick(folder, name, level, options.data_dir)
        file = options.out or folder / "detector.safetensors"
        save(detector, file)
        print(f"{file}: {name}, level {level}")
        for line in compared(folder, name, level, detector):
            print(f"  {line}")
        if options.onnx:
            export_onnx(detector, file.with_suffix(".onnx"))
            print(file.with_suffix(".onnx"))
    except (LotteryError, OSError) as error:
        return _complain(str(error))
    return 0


def _complain(message: str) -> int:
    print(f"export_detector.py: {message}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
