"""Run a study of whole filters: which go, by which criterion, how, and what it costs in accuracy.

  python experiments/run_filters.py                          the study filters-lenet5
  python experiments/run_filters.py lim-lenet5 --seeds 0,1   another, with two of its seeds
  python experiments/run_filters.py my_study.yaml            one's own

The same program as run_grid.py, for the studies of whole filters. Interrupt it at any time; the
same command goes on from there. A study's file sets what differs from the defaults shown below, and
flags override both.
"""

import sys
from pathlib import Path

from lottery.study.program import Program

PROGRAM = Program(
    "run_filters.py",
    __doc__ or "",
    Path(__file__).parent / "configs",
    default="filters-lenet5",
    families=("filters-", "lim-"),
)

if __name__ == "__main__":
    sys.exit(PROGRAM.main(sys.argv[1:]))
