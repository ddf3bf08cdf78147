"""The report of a study, in Markdown and as one HTML file, from its tables alone."""

from lottery.analysis.report.study import load
from lottery.analysis.report.whole import compose, write

__all__ = ["compose", "load", "write"]
