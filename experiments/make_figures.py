"""Render the figures of studies from their tables: `python experiments/make_figures.py lenet`."""

import argparse
import sys

from lottery.analysis.figures import render
from lottery.analysis.frames import studies
from lottery.errors import LotteryError


def main(arguments: list[str] | None = None) -> int:
    """Draw each study; a study that cannot be drawn is named and the others go on."""
    parser = argparse.ArgumentParser(
        description="Render every figure of a study as PNG and PDF, from its tables alone.",
        epilog="example: python experiments/make_figures.py lenet lenet-quick",
    )
    parser.add_argument(
        "study",
        nargs="*",
        metavar="STUDY",
        help="a name under the results folder, or a path to a study's folder (default: every "
        "study found in the results folder)",
    )
    parser.add_argument(
        "--results-dir", default="results", metavar="DIR", help="where the tables are (%(default)s)"
    )
    parser.add_argument(
        "--plots-dir",
        default="plots",
        metavar="DIR",
        help="figures go to DIR/STUDY (%(default)s)",
    )
    options = parser.parse_args(arguments)
    names = options.study or studies(options.results_dir)
    if not names:
        print(
            f"no study in {options.results_dir}; make one with `python experiments/run_grid.py`",
            file=sys.stderr,
        )
        return 2
    failed = False
    for name in names:
        try:
            for path in render(name, options.results_dir, options.plots_dir):
                print(path)
        except LotteryError as error:
            print(error, file=sys.stderr)
            failed = True
    return 2 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
