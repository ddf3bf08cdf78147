"""Write the reports of studies from their tables: `python experiments/report.py lenet`."""

import sys

from lottery.analysis.command_line import for_each_study
from lottery.analysis.report import write


def main(arguments: list[str] | None = None) -> int:
    """Report on each study."""
    return for_each_study(
        write,
        "Write report.md and a self-contained report.html into each study's folder, and the "
        "figures they show into the plots folder, from the study's tables alone.",
        "python experiments/report.py lenet original-2020",
        arguments,
    )


if __name__ == "__main__":
    sys.exit(main())
