"""Run a study of detectors: train them, prune whole filters, and measure what is left.

  python experiments/run_detector.py                           the study detector-digits
  python experiments/run_detector.py detector-bccd --seeds 0   another, with one of its seeds
  python experiments/run_detector.py detector-bccd --check-data
  python experiments/run_detector.py my_study.yaml --detector my_unpruned_study

The same program as run_filters.py, with average precision, parameters, operations and latency of
the smaller detectors at the end. Interrupt it at any time; the same command goes on from there. A
study's file sets what differs from the defaults shown below, and flags override both.
"""

import sys
from pathlib import Path

from lottery.study.detector_program import DetectorProgram

PROGRAM = DetectorProgram(
    "run_detector.py",
    __doc__ or "",
    Path(__file__).parent / "configs",
    default="detector-digits",
)

if __name__ == "__main__":
    sys.exit(PROGRAM.main(sys.argv[1:]))
