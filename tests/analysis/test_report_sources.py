import pytest

from lottery.analysis.report.sources import Row, Source, Sources, geometric, of_rows


def row(seed, value, minus=False, cell="a", level=3):
    return Row(seed, cell, (level,), value, minus)


def test_sides_are_averaged_per_seed_before_they_are_subtracted():
    rows = [row(0, 0.9), row(0, 0.7), row(0, 0.5, minus=True), row(1, 0.6), row(1, 0.5, minus=True)]
    values = dict(of_rows("x", "c", "w", rows).values)
    assert values == {0: pytest.approx(0.3), 1: pytest.approx(0.1)}


def test_a_seed_that_lacks_a_side_or_a_value_has_no_difference():
    nan = float("nan")
    rows = [row(0, 0.9), row(1, 0.9), row(1, nan, minus=True), row(2, 0.9), row(2, 0.8, minus=True)]
    assert [seed for seed, _ in of_rows("x", "c", "w", rows).values] == [2]


def test_ratios_have_geometric_means():
    source = geometric("x", "c", "w", [row(0, 1.0), row(0, 4.0), row(1, 3.0)])
    assert dict(source.values) == {0: pytest.approx(2.0), 1: pytest.approx(3.0)}


def test_interval_is_over_seeds_not_over_rows():
    rows = [row(seed, seed + 0.1 * draw) for seed in range(3) for draw in range(4)]
    interval = of_rows("x", "c", "w", rows).interval()
    assert interval.n == 3
    assert interval.mean == pytest.approx(1.15)


def test_a_source_keeps_its_mark_and_appears_once():
    sources = Sources()
    first = of_rows("first", "c", "w", [row(0, 0.5)])
    second = of_rows("second", "c", "w", [row(0, 0.6)])
    links = [sources.link(source, "x") for source in (first, second, first)]
    assert links == ["[x](#e1)", "[x](#e2)", "[x](#e1)"]
    assert sources.appendix().count('<a id="e1"></a>') == 1


def test_an_entry_names_table_filter_cells_levels_and_values():
    rows = [row(0, 0.9, cell="own", level=2), row(0, 0.5, minus=True, cell="other", level=4)]
    sources = Sources()
    sources.link(of_rows("gain: x", "test_accuracy", "branch = ticket", rows), "0.4")
    entry = sources.appendix()
    assert "`test_accuracy` of `levels.csv` where branch = ticket" in entry
    assert "- **c2** `own`" in entry
    assert "seed 0: 0.4 from 0.9 (c2 level 2); − 0.5 (c1 level 4)" in entry


def test_many_levels_of_a_cell_are_listed_together():
    rows = [row(0, value, level=level) for level, value in enumerate((0.9, 0.8, 0.7))]
    sources = Sources()
    sources.link(of_rows("x", "c", "w", rows), "0.8")
    assert "seed 0: 0.8 from 0.9, 0.8, 0.7 (c1 levels 0–2)" in sources.appendix()


def test_a_value_that_is_not_there_is_named_as_such():
    sources = Sources()
    sources.link(of_rows("x", "c", "w", [row(0, float("nan"))]), "–")
    assert "seed 0: none (c1)" in sources.appendix()


def test_entries_are_grouped_under_what_they_are_about():
    sources = Sources()
    for name in ("accuracy: a", "gain: a", "accuracy: b"):
        sources.link(Source(name, "c", "w", (), ()), "x")
    summaries = [line for line in sources.appendix().splitlines() if line.startswith("<summary>")]
    assert summaries[0] == "<summary>Cells (0)</summary>"
    assert summaries[1:] == ["<summary>accuracy (2)</summary>", "<summary>gain (1)</summary>"]
