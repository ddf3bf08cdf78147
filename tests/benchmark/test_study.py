"""Cells are run as a study runs them, and compared with the same cells under another engine."""

from dataclasses import replace

import pytest

from lottery.benchmark import study
from lottery.benchmark.cells import CellRun, run_cells
from lottery.benchmark.study import USUAL, differences, measure_study
from lottery.study import run_study
from lottery.training import engines
from lottery.training.config import TrainConfig
from lottery.training.loop import run_reference
from tests import tiny


@pytest.fixture
def dataset(tmp_path):
    return tiny.images(tmp_path)


def test_a_cell_finds_what_the_same_cell_of_a_study_finds(dataset, tmp_path):
    config = tiny.config(inits=["xavier_normal"])
    found = run_cells(config, dataset, "reference", [1], levels=2)
    rows = run_study(config, results_dir=tmp_path, workers=0, quiet=True).levels
    rows = rows[rows["seed"] == 1].sort_values("level")
    assert found.test_accuracy == rows["test_accuracy"].tolist()
    assert found.weights_remaining == pytest.approx(rows["weights_remaining"].tolist())
    assert (found.steps, found.threads) == (60, 1)
    assert len(found.level_seconds) == 3
    assert sum(found.level_seconds) == pytest.approx(found.seconds, rel=0.2)


def test_cells_side_by_side_go_through_the_engine_together(dataset, monkeypatch):
    groups = []

    def pair(segments):
        groups.append(len(segments))
        return run_reference(segments)

    monkeypatch.setitem(engines.ENGINES, "pair", pair)
    monkeypatch.setattr(engines, "next_together", lambda segments: list(segments[:2]))
    together = run_cells(tiny.config(), dataset, "pair", [0, 1, 2], levels=1)
    alone = run_cells(tiny.config(), dataset, "reference", [0], levels=1)
    assert max(groups) == 2
    assert sum(groups) == 3 * 2 * 4, "each cell has three evaluations and a last one a level"
    assert together.test_accuracy == alone.test_accuracy
    assert together.steps == alone.steps == 40


def some(engine, seed, *accuracies):
    return CellRun(engine, [seed], 1, test_accuracy=list(accuracies))


def test_differences_are_to_the_reference_under_the_same_seed_and_to_another_seed():
    rows = differences(
        [
            some("reference", 0, 0.9, 0.8),
            some("fast", 0, 0.9, 0.7),
            some("reference", 0, 0.1, 0.1),
            some("reference", 1, 0.8, 0.9),
        ]
    )
    assert [row["between"][1] for row in rows] == ["fast, seed 0", "reference, seed 1"]
    assert [row["max"] for row in rows] == pytest.approx([0.1, 0.1])
    assert [row["mean"] for row in rows] == pytest.approx([0.05, 0.1])
    assert differences([some("fast", 0, 0.5)]) == []


def test_a_cell_of_which_the_usual_way_ran_some_levels_counts_their_median_for_all():
    runs = [
        CellRun("reference", [0], 1, seconds=8.0, steps=40, level_seconds=[2.0] * 4),
        CellRun("stacked", [0, 1], 1, seconds=8.0, steps=40, level_seconds=[1.0] * 4),
        CellRun(USUAL, [0], 2, seconds=14.0, steps=30, level_seconds=[2.0, 4.0, 8.0]),
    ]
    reference, stacked, usual = study._rows(runs, levels=4)
    assert usual["cell_seconds"]["median"] == 16.0
    assert usual["levels_run"] == 3
    assert stacked["cell_seconds"]["median"] == 4.0
    assert [row["steps_per_second"] for row in (reference, stacked, usual)] == [5.0, 10.0, 2.5]
    ratios = [
        (row["speed_up_over_reference"], row["speed_up_over_usual"])
        for row in (reference, stacked, usual)
    ]
    assert ratios == [(1.0, 2.0), (2.0, 4.0), (0.5, 1.0)]


def test_all_engines_and_the_usual_way_are_measured(tmp_path, monkeypatch):
    dataset = tiny.images(tmp_path)
    monkeypatch.setitem(engines.ENGINES, "spy", run_reference)
    train = TrainConfig(duration="6it", batch_size=30, eval_every="4it")
    config = replace(tiny.config(), train=train)
    found = measure_study(
        *(config, dataset, ["reference", "spy"]),
        levels=2,
        usual_levels=2,
        repeats=2,
        replicas=1,
    )
    ran = [(run["engine"], run["seeds"]) for run in found["runs"]]
    once = [("reference", [0]), ("spy", [0]), (USUAL, [0])]
    assert ran == [*once, *once, ("reference", [1])]
    assert (found["levels"], found["steps_per_level"]) == (3, 6)
    rows = {row["engine"]: row for row in found["rows"]}
    assert {name: row["cell_seconds"]["n"] for name, row in rows.items()} == {
        "reference": 3,
        "spy": 2,
        USUAL: 2,
    }
    assert rows[USUAL]["levels_run"] == 2
    assert rows[USUAL]["level_seconds"]["n"] == 4
    same, seeds = found["differences"]
    assert (same["max"], same["between"][1]) == (0.0, "spy, seed 0")
    assert seeds["max"] > 0
