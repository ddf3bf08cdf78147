"""Fit the scheme ticket_informed to a study's tickets, and write it to a file.

  python experiments/fit_scheme.py lenet --init xavier_normal --level 12 --seeds 0,1,2 \\
      --out experiments/schemes/lenet.json
  python experiments/run_grid.py lenet --name lenet-informed --seeds 5,6,7 \\
      --inits "xavier_normal,ticket_informed('experiments/schemes/lenet.json')"
"""

import argparse
import sys
from pathlib import Path

from lottery.errors import ConfigError, LotteryError
from lottery.files import whole
from lottery.registry import canonical
from lottery.study.fitting import Tickets, fit_tickets


def make_parser() -> argparse.ArgumentParser:
    """Which tickets, and where to."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "study",
        metavar="STUDY",
        help="a name under the results folder; its cells must be on this disk",
    )
    parser.add_argument("--level", type=int, required=True, help="level of the tickets")
    parser.add_argument(
        "--seeds",
        required=True,
        metavar="SEEDS",
        help="seeds of the tickets, as 0,1,2: no study can use the scheme with them",
    )
    parser.add_argument("--init", help="scheme of the tickets, if the study has several")
    parser.add_argument("--variant", help="variant of the tickets, if the study has several")
    parser.add_argument(
        "--values",
        choices=("initial", "trained"),
        default="initial",
        help="of the kept weights (%(default)s)",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="a new JSON file")
    parser.add_argument(
        "--results-dir", type=Path, default=Path("results"), help="where STUDY is (%(default)s)"
    )
    parser.add_argument("--data-dir", help="cached data sets; else $LOTTERY_DATA, else data/")
    return parser


def seeds_of(text: str) -> list[int]:
    """Seeds written with commas."""
    try:
        return [int(seed) for seed in text.split(",")]
    except ValueError:
        raise ConfigError("--seeds", text, "whole numbers, as 0,1,2") from None


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 written, 2 not."""
    sys.path.append(str(Path.cwd()))  # where module:function of one's own may lie
    options = make_parser().parse_args(arguments)
    try:
        init = canonical(options.init, "init") if options.init else None
        seeds = seeds_of(options.seeds)
        tickets = Tickets(options.level, seeds, init, options.variant, options.values)
        text = fit_tickets(options.results_dir / options.study, tickets, options.data_dir).to_json()
        # Cells are found by the name of their scheme, so the file of a name must not change.
        if options.out.exists() and options.out.read_text(encoding="utf-8") != text:
            return _complain(f"{options.out} holds another scheme; write to a new file")
        with whole(options.out) as path:
            path.write_text(text, encoding="utf-8")
    except (LotteryError, OSError) as error:
        return _complain(str(error))
    print(options.out)
    return 0


def _complain(message: str) -> int:
    print(f"fit_scheme.py: {message}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
