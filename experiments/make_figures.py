"""Render the figures of studies from their tables: `python experiments/make_figures.py lenet`."""

import sys

from lottery.analysis.command_line import for_each_study
from lottery.analysis.figures import render


def main(arguments: list[str] | None = None) -> int:
    """Draw each study."""
    return for_each_study(
        render,
        "Render every figure of a study as PNG and PDF, from its tables alone.",
        "python experiments/make_figures.py lenet lenet-quick",
        arguments,
    )


if __name__ == "__main__":
    sys.exit(main())
