"""Write the reports of studies from their tables: `python experiments/report.py lenet`."""

import sys
from functools import partial
from pathlib import Path

from lottery.analysis.choice import Choice
from lottery.analysis.command_line import for_each_study, study_parser
from lottery.analysis.report import write
from lottery.errors import LotteryError

CONFIGS = Path(__file__).parent / "configs"
CHOICE = Path("experiments/schemes/chosen.yaml")


def main(arguments: list[str] | None = None) -> int:
    """Report on each study."""
    parser = study_parser(
        "Write report.md and a self-contained report.html into each study's folder, and the "
        "figures they show into the plots folder, from the study's tables alone.",
        "python experiments/report.py lenet original-2020",
    )
    parser.add_argument(
        "--choice",
        type=Path,
        metavar="FILE",
        help="choice of a custom scheme by experiments/choose_scheme.py, for reports of studies "
        f"that judge it (default: {CHOICE}, if it is there)",
    )
    options = parser.parse_args(arguments)
    try:
        asked = options.choice or CHOICE
        choice = Choice.read(asked) if options.choice or asked.is_file() else None
    except LotteryError as error:
        print(error, file=sys.stderr)
        return 2
    return for_each_study(partial(write, choice=choice), options, CONFIGS)


if __name__ == "__main__":
    sys.exit(main())
