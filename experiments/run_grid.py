"""Run a study: train, prune and rewind every cell of its grid, then write tables.

  python experiments/run_grid.py                      the study lenet-quick
  python experiments/run_grid.py lenet --seeds 0,1    another, with two of its seeds
  python experiments/run_grid.py my_study.yaml        one's own

Interrupt it at any time; the same command goes on from there. A study's file sets what differs from
the defaults shown below, and flags override both.
"""

import sys
from pathlib import Path

from lottery.study.program import Program

PROGRAM = Program(
    "run_grid.py", __doc__ or "", Path(__file__).parent / "configs", default="lenet-quick"
)

if __name__ == "__main__":
    sys.exit(PROGRAM.main(sys.argv[1:]))
