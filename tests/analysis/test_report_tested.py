"""What is said of few seeds: their values, and no test where there is nothing to test."""

import math

import pytest

from lottery.analysis.report.sources import Row, Source, of_rows
from lottery.analysis.report.tested import corrected, ratio, told, untested, with_test


def source(*values):
    rows = [Row(seed, f"c{seed}", (1,), value) for seed, value in enumerate(values)]
    return of_rows("what", "column", "where", rows)


def test_two_seeds_are_told_and_not_tested():
    two = source(0.271, 0.269)
    assert untested(two) == "n = 2"
    assert told(two, 100, 1) == "27.1, 26.9"
    assert told(source(0.271, 0.2711), 100, 1) == "27.1"
    (p,) = corrected([two])
    assert with_test(two, p, 100, 1) == ("+27.1, +26.9", "(n = 2: not tested)")


@pytest.mark.parametrize("values", [(0.271, 0.271, 0.271), (0.0, 0.0, 0.0, 0.0)])
def test_seeds_that_agree_to_the_last_digit_are_not_tested(values):
    (p,) = corrected([source(*values)])
    assert math.isnan(p)
    _, why = with_test(source(*values), p, 100, 1)
    assert why == "(all equal: not tested)"


def test_what_is_not_tested_is_not_counted_by_the_correction():
    three = source(0.01, 0.02, 0.04)
    alone, beside = corrected([three]), corrected([three, source(0.1, 0.1), source(0.0, 0.0, 0.0)])
    assert beside[0] == pytest.approx(alone[0])
    text, p = with_test(three, beside[0], 100, 1)
    assert text.startswith("+2.3 ± ")
    assert p.startswith("(p 0.")


def test_ratios_of_two_seeds_have_no_interval_and_of_three_a_geometric_mean():
    assert ratio(source(1.5, 2.0)) == "1.50×, 2.00×"
    assert ratio(source(1.0, 2.0, 4.0)).startswith("2.00× (0.36 to 11.")


def test_nothing_is_a_dash():
    assert told(Source("what", "column", "where", (), ())) == "–"
