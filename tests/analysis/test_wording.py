"""Accuracy is called mean AP in studies of detectors."""

import pytest
from matplotlib.figure import Figure

from lottery.analysis.wording import figure_of_detectors, of_detectors


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Accuracy by parameters left", "Mean AP by parameters left"),
        ("*Mean accuracy* and accuracies", "*Mean AP over levels* and mean APs"),
        ("test error (%)", "error (1 − mean AP) on test pictures (%)"),
        ("`val_accuracy` at test_accuracy", "`val_accuracy` at test_accuracy"),
        ("`the accuracy` stays", "`the accuracy` stays"),
        ("![accuracy](plots/accuracy by.png)", "![mean AP](plots/accuracy by.png)"),
        ("inaccuracy", "inaccuracy"),
    ],
)
def test_words_change_and_names_of_columns_and_files_do_not(text, expected):
    assert of_detectors(text) == expected
    assert of_detectors(expected) == expected


def test_every_text_of_a_figure_is_reworded():
    figure = Figure()
    ax = figure.subplots()
    figure.suptitle("test accuracy of study")
    ax.set_ylabel("Test accuracy (%)")
    ax.plot([1], label="validation accuracy")
    ax.legend()
    assert figure_of_detectors(figure) is figure
    assert figure.get_suptitle() == "test mean AP of study"
    assert ax.get_ylabel() == "Test mean AP (%)"
    assert ax.get_legend().get_texts()[0].get_text() == "validation mean AP"
