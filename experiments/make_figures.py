"""Render the figures of studies from their tables: `python experiments/make_figures.py lenet`."""

import sys
from pathlib import Path

from lottery.analysis.command_line import for_each_study, study_parser
from lottery.analysis.figures import render

CONFIGS = Path(__file__).parent / "configs"


def main(arguments: list[str] | None = None) -> int:
    """Draw each study."""
    parser = study_parser(
        "Render every figure of a study as PNG and PDF, from its tables alone.",
        "python experiments/make_figures.py lenet lenet-quick",
    )
    return for_each_study(render, parser.parse_args(arguments), CONFIGS)


if __name__ == "__main__":
    sys.exit(main())
