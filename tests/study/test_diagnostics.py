"""Diagnostics on their way from levels to their table."""

import shutil

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal, assert_series_equal

from lottery import DiagnosticsConfig, RewindConfig
from lottery.diagnostics.weights import jaccard
from lottery.errors import ConfigError
from lottery.study import ControlsConfig
from lottery.study.grid import TICKET, cells
from lottery.study.store import StudyStore
from tests import tiny

ON = DiagnosticsConfig(record=True, images=50, barrier_points=3)


def recorded(**settings):
    defaults = {"diagnostics": ON, "controls": ControlsConfig(retrain=1, levels=[2])}
    return tiny.config(**{**defaults, **settings})


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished study with diagnostics: its configuration and folder."""
    place = tmp_path_factory.mktemp("recorded")
    config = recorded()
    result = tiny.run_here(config, place)
    assert not result.failures
    return config, result.folder


@pytest.fixture(scope="module")
def table(run):
    return pd.read_parquet(run[1] / "diagnostics.parquet")


def test_a_row_for_each_level_layer_and_quantity(run, table):
    config, _ = run
    key = ["cell", "level", "layer", "quantity"]
    assert not table.duplicated(key).any()
    levels = {(cell.name, level) for cell in cells(config) for level in cell.levels}
    assert set(zip(table["cell"], table["level"], strict=True)) == levels
    assert list(table) == [
        *(
            "study",
            "cell",
            "variant",
            "init",
            "seed",
            "branch",
            "draw",
            "level",
            "weights_remaining",
        ),
        *("layer", "quantity", "value"),
    ]
    assert set(table["layer"]) == {"all", "1.weight", "3.weight"}
    flow = table[table["quantity"] == "gradient_flow"]
    assert set(flow["layer"]) == {"all"}
    assert (flow["value"] > 0).all()


def test_the_rows_are_those_of_the_levels_files(run, table):
    config, folder = run
    cell = cells(config)[0]
    record = StudyStore(folder.parent, config.name).cell(cell.name).record(2)
    rows = table[(table["cell"] == cell.name) & (table["level"] == 2)]
    values = rows.set_index(["quantity", "layer"])["value"]
    for quantity, layers in record["diagnostics"].items():
        for layer, value in layers.items():
            assert values[quantity, layer] == value


def test_barriers_are_recorded_for_retrain_at_its_levels_alone(table):
    rows = table[table["quantity"].str.contains("barrier")]
    assert set(rows["branch"]) == {"retrain"}
    assert set(rows["level"]) == {2}
    assert set(rows["quantity"]) == {
        *("loss_barrier_train", "error_barrier_train", "loss_barrier_test", "error_barrier_test"),
    }


def test_retrain_is_measured_against_the_trained_ticket_of_its_level(run, table):
    """With three points the barrier can be worked out from the two level files."""
    import torch

    from lottery.data.images import split
    from lottery.diagnostics import Recorder
    from lottery.models import build

    config, folder = run
    store = StudyStore(folder.parent, config.name)
    cell = next(cell for cell in cells(config) if cell.branch == "retrain")
    data = split(tiny.images(folder), config.validation, seed=cell.seed)
    one, other = (store.cell(name).ticket(2)[1] for name in (cell.name, cell.needs))
    assert not all(torch.equal(one[name], other[name]) for name in one)
    expected = Recorder(ON, data, cell.seed).barriers(build(config.model, cell.seed), one, other)
    rows = table[(table["cell"] == cell.name)].set_index("quantity")["value"]
    for quantity, values in expected.items():
        assert rows[quantity] == pytest.approx(values["all"], abs=1e-6)


def test_overlaps_are_with_the_other_seeds_of_the_scheme(run, table):
    config, folder = run
    store = StudyStore(folder.parent, config.name)
    overlaps = table[table["quantity"] == "overlap_other_seeds"]
    assert set(overlaps["branch"]) == {TICKET}
    for init in config.inits:
        one, other = (
            store.cell(cell.name).ticket(1)[0]
            for cell in cells(config)
            if cell.branch == TICKET and cell.init == init
        )
        both = sum(int((one[name] & other[name]).sum()) for name in one)
        either = sum(int((one[name] | other[name]).sum()) for name in one)
        chosen = (overlaps["init"] == init) & (overlaps["level"] == 1)
        found = overlaps[chosen & (overlaps["layer"] == "all")]
        assert found["value"].tolist() == [both / either] * 2
        assert 0 < both / either < 1


def test_variants_are_not_mixed(tmp_path):
    variants = {"one": {"prune": {"linear_rate": 0.5}}, "other": {"prune": {"scope": "global"}}}
    config = tiny.config(diagnostics=ON, variants=variants, inits=["normal(0.3)"])
    folder = tiny.run_here(config, tmp_path).folder
    store = StudyStore(tmp_path, config.name)
    table = pd.read_parquet(folder / "diagnostics.parquet")
    found = table[(table["quantity"] == "overlap_other_seeds") & (table["layer"] == "all")]
    for variant in variants:
        one, other = (
            store.cell(cell.name).ticket(2)[0] for cell in cells(config) if cell.variant == variant
        )
        rows = found[(found["variant"] == variant) & (found["level"] == 2)]
        assert rows["value"].tolist() == [jaccard(one, other)["all"]] * 2


def test_an_only_seed_has_no_overlap_with_others(tmp_path):
    folder = tiny.run_here(recorded(seeds=[0], inits=["xavier_normal"]), tmp_path).folder
    table = pd.read_parquet(folder / "diagnostics.parquet")
    assert "overlap_other_seeds" not in set(table["quantity"])
    assert "overlap_chance" in set(table["quantity"])


def overlaps(folder):
    table = pd.read_parquet(folder / "diagnostics.parquet")
    found = table[table["quantity"] == "overlap_other_seeds"]
    return found.set_index(["init", "seed", "level", "layer"])["value"].sort_index()


@pytest.mark.parametrize("url", [False, True])
def test_overlaps_do_not_depend_on_which_seeds_were_run_when(url, tmp_path):
    def run(place, **settings):
        where = tmp_path / place
        config = recorded(inits=["xavier_normal"], levels=2, **settings)
        tiny.run_here(config, f"file://{where}" if url else where)
        return where / "tiny"

    whole = overlaps(run("whole", seeds=[0, 1, 2]))
    run("parts", seeds=[0])
    grown = run("parts", seeds=[1, 2])
    assert_series_equal(overlaps(grown), whole)
    run("parts", seeds=[1], controls=ControlsConfig(retrain=1, reinit=1, levels=[2]))
    assert_series_equal(overlaps(grown), whole)


def test_a_study_finished_without_gains_its_overlaps(run, tmp_path):
    config, folder = run
    tiny.run_here(tiny.config(controls=config.controls), tmp_path)
    again = tiny.run_here(config, tmp_path)
    assert again.computed == 0
    assert_series_equal(overlaps(again.folder), overlaps(folder))


def test_there_is_no_table_unless_asked_for(finished):
    assert not (finished.folder / "diagnostics.parquet").exists()


def test_they_change_no_other_number_and_no_name(run, tmp_path):
    config, folder = run
    without = tiny.config(controls=config.controls)
    assert cells(without) == cells(config)
    tiny.assert_same_tables(folder, tiny.run_here(without, tmp_path).folder)


def test_levels_finished_without_gain_only_overlaps(run, tmp_path):
    config, _ = run
    tiny.run_here(tiny.config(levels=1), tmp_path)
    folder = tiny.run_here(config, tmp_path).folder
    table = pd.read_parquet(folder / "diagnostics.parquet")
    early = table[table["level"] < 2]
    assert set(early["quantity"]) == {"overlap_other_seeds"}
    assert "gradient_flow" in set(table.loc[table["level"] == 2, "quantity"])


def test_another_run_and_lost_cells_leave_the_table_as_it_is(run, table, tmp_path):
    config, folder = run
    shutil.copytree(folder, tmp_path / folder.name)
    assert tiny.run_here(config, tmp_path).computed == 0
    again = pd.read_parquet(tmp_path / folder.name / "diagnostics.parquet")
    assert_frame_equal(again, table)
    shutil.rmtree(tmp_path / folder.name / "cells")
    more = recorded(seeds=[0, 1, 2], inits=["xavier_normal"])
    joined = pd.read_parquet(tiny.run_here(more, tmp_path).folder / "diagnostics.parquet")
    assert_frame_equal(joined[joined["seed"] < 2].reset_index(drop=True), table, check_exact=True)
    assert set(joined["seed"]) == {0, 1, 2}


def test_fresh_discards_it(run, tmp_path):
    _, folder = run
    shutil.copytree(folder, tmp_path / folder.name)
    tiny.run_here(tiny.config(levels=0), tmp_path, fresh=True)
    assert not (tmp_path / folder.name / "diagnostics.parquet").exists()


def test_the_table_goes_to_a_url_with_the_others(tmp_path):
    config = recorded(inits=["xavier_normal"], levels=2)
    tiny.run_here(config, f"file://{tmp_path}")
    assert (tmp_path / "tiny" / "diagnostics.parquet").exists()


@pytest.mark.parametrize("rewind", [RewindConfig(to="4it"), RewindConfig(mode="none")])
def test_retrain_of_a_ticket_that_is_not_reset_to_its_initial_weights_is_refused(rewind):
    with pytest.raises(ConfigError, match=r"controls\.retrain is 1"):
        recorded(rewind=rewind)
