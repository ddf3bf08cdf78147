"""Write the reports of studies from their tables: `python experiments/report.py lenet`."""

import argparse
import sys
from pathlib import Path

from lottery.analysis.choice import Choice
from lottery.analysis.frames import studies
from lottery.analysis.report import write
from lottery.errors import LotteryError

CHOICE = Path("experiments/schemes/chosen.yaml")


def main(arguments: list[str] | None = None) -> int:
    """Report on each study; a study that cannot be reported is named and the others go on."""
    parser = argparse.ArgumentParser(
        description="Write report.md and a self-contained report.html into each study's folder, "
        "and the figures they show into the plots folder, from the study's tables alone.",
        epilog="example: python experiments/report.py lenet original-2020",
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
    parser.add_argument(
        "--choice",
        type=Path,
        default=CHOICE,
        metavar="FILE",
        help="choice of a custom scheme by experiments/choose_scheme.py, if it is there, for "
        "reports of studies that judge it (%(default)s)",
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
    try:
        choice = Choice.read(options.choice) if options.choice.is_file() else None
    except LotteryError as error:
        print(error, file=sys.stderr)
        return 2
    for name in names:
        try:
            for path in write(name, options.results_dir, options.plots_dir, choice):
                print(path)
        except LotteryError as error:
            print(error, file=sys.stderr)
            failed = True
    return 2 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
