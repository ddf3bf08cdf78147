"""What success is called: tables and texts say accuracy, which of detectors is mean AP.

A detector's accuracy is its mean average precision at an IoU of ½, under the same column names.
Figures and texts are worded for classifiers, and here, in one place, for detectors.
"""

import re

from matplotlib.figure import Figure
from matplotlib.text import Text

_KEPT = r"`[^`]*`|\]\([^)]*\)"
"""Code, such as names of columns and cells, and where links lead."""
_WORDS = (
    ("test error", "error (1 − mean AP) on test pictures"),
    ("Test error", "Error (1 − mean AP) on test pictures"),
    ("Mean accuracy", "Mean AP over levels"),
    ("mean accuracy", "mean AP over levels"),
    ("Accuracy", "Mean AP"),
    ("accuracies", "mean APs"),
    ("accuracy", "mean AP"),
)
_PATTERN = re.compile(rf"{_KEPT}|\b(?:{'|'.join(word for word, _ in _WORDS)})\b")


def of_detectors(text: str) -> str:
    """A text on accuracy as one on mean average precision.

    >>> of_detectors("Test accuracy: `test_accuracy` of [levels](accuracy.csv)")
    'Test mean AP: `test_accuracy` of [levels](accuracy.csv)'
    """
    words = dict(_WORDS)
    return _PATTERN.sub(lambda found: words.get(found[0], found[0]), text)


def figure_of_detectors(figure: Figure) -> Figure:
    """A figure on accuracy as one on mean average precision; changes and returns it."""
    for text in figure.findobj(Text):
        if isinstance(text, Text):
            text.set_text(of_detectors(text.get_text()))
    return figure
