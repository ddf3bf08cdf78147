"""Measure how fast this machine trains: steps, cells and a whole study.

  python experiments/benchmark.py                    everything, into results/benchmark/
  python experiments/benchmark.py --quick            the same in about a minute, too short to quote
  python experiments/benchmark.py --parts step       one training step of every engine
  python experiments/benchmark.py --show results/benchmark/intel-xeon-2-cores.json

step   one training step per engine and density, beside its matrix products or convolutions alone
study  a whole cell of tickets per engine, beside the usual way of finding them
grid   a whole study with one worker and with one per core, and the memory it takes

Timings are medians of repetitions that take turns; ratios are of one run. Leave the machine alone
while it measures.
"""

import argparse
import dataclasses
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from lottery.benchmark import report, tables
from lottery.benchmark.run import PARTS, QUICK, Amount, Subjects, run_benchmark
from lottery.errors import LotteryError, UsageError
from lottery.study import StudyConfig
from lottery.study.command_line import parse_study, study_parser
from lottery.study.run import choose_device

CONFIGS = Path(__file__).parent / "configs"
GPU: dict[str, Any] = {
    "densities": (1.0, 0.036),
    "replicas": (1, 5, 20, 60),
    "study_replicas": 20,
    "conv_steps": 200,
}

console = Console(width=max(130, Console().width))  # narrower, tables lose figures


def make_parser() -> argparse.ArgumentParser:
    """All options."""
    parser = argparse.ArgumentParser(
        prog="benchmark.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="what to measure")
    parser.add_argument("--quick", action="store_true", help="little of everything, in a minute")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="the JSON file (default: results/benchmark/<machine>.json; the names of the parts "
        "are added where some are left out, and -quick)",
    )
    parser.add_argument("--show", type=Path, metavar="FILE", help="print the tables of a saved run")
    parser.add_argument("--device", default="cpu", help="auto, cpu (default) or cuda")
    parser.add_argument("--data-dir", help="cached data sets; else $LOTTERY_DATA, else data/")
    parser.add_argument(
        "--engines", nargs="+", metavar="ENGINE", help="default: all that can run the network"
    )
    studies = parser.add_argument_group("studies, by name or YAML file")
    studies.add_argument(
        "--step-studies", nargs="+", default=["lenet", "conv6"], metavar="STUDY", help="%(default)s"
    )
    studies.add_argument("--study", default="lenet", help="%(default)s")
    studies.add_argument("--grid", default="lenet-quick", metavar="STUDY", help="%(default)s")
    amount = parser.add_argument_group("how much")
    amount.add_argument(
        "--repeats", type=_positive, metavar="N", help="of each step (3; without convolutions 9)"
    )
    amount.add_argument("--study-repeats", type=_positive, metavar="N", help="of each cell (3)")
    amount.add_argument("--grid-repeats", type=_positive, metavar="N", help="of each grid (3)")
    amount.add_argument("--levels", type=_positive, metavar="N", help="prunings of a cell (20)")
    amount.add_argument(
        "--usual-levels",
        type=_positive,
        metavar="N",
        help="levels that are run in the usual way; their median stands for the others (3)",
    )
    amount.add_argument("--epochs", type=_positive, metavar="N", help="length of a cell's levels")
    return parser


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def subjects(options: argparse.Namespace) -> Subjects:
    """The studies that the options name."""
    found = Subjects(
        step=tuple(_study(name) for name in options.step_studies),
        study=_study(options.study),
        grid=_study(options.grid),
    )
    found = found.quick() if options.quick else found
    if options.epochs:
        train = dataclasses.replace(found.study.train, duration=f"{options.epochs}ep")
        study = dataclasses.replace(found.study, train=train)
        found = dataclasses.replace(found, study=study)
    return found


def _study(name: str) -> StudyConfig:
    return parse_study(study_parser("benchmark.py", "", CONFIGS, name), [name], CONFIGS)[1]


def amount(options: argparse.Namespace, device: str) -> Amount:
    """How much the options ask for."""
    chosen: dict[str, Any] = {
        "rounds": options.repeats,
        "study_repeats": options.study_repeats,
        "grid_repeats": options.grid_repeats,
        "levels": options.levels,
        "usual_levels": options.usual_levels,
    }
    given = {name: value for name, value in chosen.items() if value is not None}
    changes = (GPU if device == "cuda" else {}) | given
    return dataclasses.replace(QUICK if options.quick else Amount(), **changes)


def place(options: argparse.Namespace, found: report.Found) -> Path:
    """The file to write."""
    if options.out:
        return options.out
    some = [part for part in PARTS if part in options.parts]
    parts = [report.machine_name(found["machine"]), *(some if len(some) < len(PARTS) else [])]
    return Path("results/benchmark") / f"{'-'.join(parts + ['quick'] * options.quick)}.json"


def show(found: report.Found) -> None:
    """Print every table."""
    console.print(tables.headline(found), markup=False, highlight=False, soft_wrap=True)
    for table in tables.tables(found):
        console.print()
        console.print(table)


def main(argv: Sequence[str]) -> int:
    """Exit status: 0 measured or shown, 1 something failed, 2 bad arguments, 130 interrupted."""
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    logging.getLogger("lottery").setLevel(logging.INFO)
    sys.path.append(str(Path.cwd()))  # where module:function of one's own may lie
    options = make_parser().parse_args(argv)
    try:
        if options.show:
            show(report.load(options.show))
            return 0
        device = choose_device(options.device)
        much = amount(options, device)
        found = run_benchmark(
            tuple(options.parts),
            subjects(options),
            much,
            device=device,
            engines=options.engines,
            data_dir=options.data_dir,
            settings={"quick": options.quick, **dataclasses.asdict(much)},
            keep=lambda found: report.save(found, place(options, found)),
        )
    except UsageError as error:
        return _complain(str(error), 2)
    except LotteryError as error:
        return _complain(str(error), 1)
    except KeyboardInterrupt:
        return _complain("interrupted; the parts that were finished are in the file", 130)
    path = place(options, found)
    show(report.load(path))  # with the digits that it keeps
    console.print(f"\nWritten to {path}", markup=False, highlight=False)
    return 0


def _complain(message: str, status: int) -> int:
    print(f"benchmark.py: {message}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
