"""The command line of programs that make files of studies' tables: figures, reports."""

import argparse
import difflib
import sys
from collections.abc import Callable
from pathlib import Path

from lottery.analysis.frames import studies
from lottery.errors import LotteryError, StoreError

Make = Callable[[str, str, str], list[Path]]
"""From a study, the results folder and the plots folder to the files that were written."""


def study_parser(description: str, example: str) -> argparse.ArgumentParser:
    """A parser of studies and of the folders of their tables and figures."""
    parser = argparse.ArgumentParser(description=description, epilog=f"example: {example}")
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
        "--plots-dir", default="plots", metavar="DIR", help="figures go to DIR/STUDY (%(default)s)"
    )
    return parser


def for_each_study(make: Make, options: argparse.Namespace, configs: Path) -> int:
    """Make the files of each study named; one that cannot be used is named and the others go on.

    options: of a `study_parser`. configs: folder of the shipped studies' YAML files. Returns the
    exit status: 0, or 2 if there was no study or one could not be used.
    """
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
            _check_name(name, options.results_dir, configs)
            for path in make(name, options.results_dir, options.plots_dir):
                print(path)
        except LotteryError as error:
            print(error, file=sys.stderr)
            failed = True
    return 2 if failed else 0


def _check_name(name: str, results: str, configs: Path) -> None:
    """Raise StoreError for what is no study's name or folder, with those names that are like it."""
    shipped = {path.stem for path in configs.glob("*.yaml")}
    found = studies(results)
    if name in shipped or Path(name).is_dir() or (Path(results) / name).is_dir():
        return  # where its tables are missing, how to make them is said
    near = difflib.get_close_matches(name, found, n=5)
    there = f"studies there: {', '.join(found) or 'none'}"
    hint = f"did you mean {' or '.join(near)}?" if near else there
    raise StoreError(f"{Path(results) / name / 'levels.csv'} is missing; {hint}")
