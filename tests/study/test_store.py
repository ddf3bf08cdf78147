import shutil
from dataclasses import replace

import pandas as pd
import pytest
import yaml

from lottery.errors import ConfigError, StoreError
from lottery.pruning.schedule import PruneConfig
from lottery.study import ClusterConfig, ControlsConfig, cells, run_study
from lottery.study.store import TABLES, StudyStore
from lottery.study.tables import read_table
from lottery.tickets.imp import RewindConfig
from tests import tiny


@pytest.fixture
def copy(finished, tmp_path):
    """The finished study with its cells, in a place of its own."""
    shutil.copytree(finished.folder, tmp_path / "tiny")
    return StudyStore(tmp_path, "tiny")


@pytest.fixture
def tables_only(finished, tmp_path):
    """What is committed of the finished study."""
    store = StudyStore(tmp_path / "committed", "tiny")
    store.root.mkdir(parents=True)
    for name in (*TABLES, "study.yaml", "manifest.json"):
        shutil.copy(finished.folder / name, store.root)
    return store


def contents(store):
    return {name: (store.root / name).read_bytes() for name in TABLES}


def left(store, config):
    return [cell.label for cell in store.unfinished(cells(config))]


def test_the_resolved_configuration_is_beside_the_results(copy, finished_config):
    assert yaml.safe_load((copy.root / "study.yaml").read_text()) == finished_config.to_dict()


def test_other_settings_are_refused_with_both_values_and_the_way_out(copy, finished_config):
    other = replace(finished_config, train=tiny.train(lr=0.5))
    before = contents(copy)
    with pytest.raises(ConfigError) as error, copy.open(other):
        pass
    for part in ("train.lr is 0.5; allowed: 0.01", str(copy.root), "--name", "--fresh"):
        assert part in str(error.value)
    assert contents(copy) == before
    assert yaml.safe_load((copy.root / "study.yaml").read_text())["train"]["lr"] == 0.01


@pytest.mark.parametrize(
    "settings",
    [
        {"model": "tests.tiny:net(hidden=13)"},
        {"validation": 40},
        {"prune": PruneConfig(output_rate=0.5)},
        {"stratified": False},
    ],
)
def test_every_setting_that_decides_numbers_is_compared(copy, finished_config, settings):
    with pytest.raises(ConfigError), copy.open(replace(finished_config, **settings)):
        pass


def test_the_lists_of_the_grid_may_change(copy, finished_config):
    controls = ControlsConfig(dense=True, reinit=2, levels=[1])
    more = replace(finished_config, seeds=[5], levels=4, controls=controls, engine="reference")
    with copy.open(replace(more, cluster=ClusterConfig(cpus=4, retries=0))):
        pass


def test_variants_may_be_added_but_not_changed(copy, finished_config):
    half = {"prune": {"output_rate": 0.1}}
    with copy.open(replace(finished_config, variants={"half": half})):
        copy.write_config(replace(finished_config, variants={"half": half}))
    said = yaml.safe_load((copy.root / "study.yaml").read_text())
    assert said["variants"] == {"base": {}, "half": half}
    other = replace(finished_config, variants={"half": {"prune": {"output_rate": 0.2}}})
    with pytest.raises(ConfigError, match=r"variants.half is .*0\.2.*; allowed: .*0\.1"):
        copy.check_settings(other)
    with pytest.raises(ConfigError, match=r"variants.base is"):
        copy.check_settings(replace(finished_config, variants={"base": half}))


def test_tables_of_before_there_were_variants_are_read_and_count_as_finished(
    tables_only, finished_config
):
    for name in TABLES:
        path = tables_only.root / name
        table = read_table(path).drop(columns="variant")
        table.to_csv(path, index=False) if name.endswith("csv") else table.to_parquet(path)
    values = yaml.safe_load((tables_only.root / "study.yaml").read_text())
    del values["variants"]
    (tables_only.root / "study.yaml").write_text(yaml.safe_dump(values))
    with tables_only.open(finished_config):
        pass
    assert left(tables_only, finished_config) == []
    assert set(tables_only.rows(cells(finished_config))["variant"]) == {"base"}


def test_a_setting_that_older_results_do_not_know_is_no_difference(copy, finished_config):
    values = yaml.safe_load((copy.root / "study.yaml").read_text())
    del values["train"]["warmup"]
    (copy.root / "study.yaml").write_text(yaml.safe_dump(values))
    with copy.open(finished_config):
        pass


def test_a_setting_that_older_results_do_not_know_had_its_default(copy, finished_config):
    values = yaml.safe_load((copy.root / "study.yaml").read_text())
    del values["rewind"]["init"]
    (copy.root / "study.yaml").write_text(yaml.safe_dump(values))
    rewind = RewindConfig(init="torch_default")
    other = replace(finished_config, rewind=rewind, controls=ControlsConfig())
    with pytest.raises(ConfigError, match=r"rewind\.init is 'torch_default'; allowed: None, with"):
        copy.check_settings(other)


def test_a_variant_is_not_added_under_a_second_name(copy, finished_config):
    twin = replace(finished_config, variants={"again": {"train": {"lr": 0.01}}})
    with pytest.raises(ConfigError, match=r"variants\.again is .*differ from those of base"):
        copy.check_settings(twin)


def test_fresh_removes_what_was_made_and_nothing_else(copy, finished_config):
    (copy.root / "README.md").write_text("by hand")
    with copy.open(replace(finished_config, train=tiny.train(lr=0.5)), fresh=True):
        assert left(copy, finished_config) == [cell.label for cell in cells(finished_config)]
        found = {path.name for path in copy.root.iterdir()}
        assert found == {"README.md", ".lock"}


def test_two_runs_do_not_share_a_folder(tmp_path, finished_config):
    with StudyStore(tmp_path, "tiny").open(finished_config):
        with (
            pytest.raises(StoreError, match="in use by another run"),
            StudyStore(tmp_path, "tiny").open(finished_config),
        ):
            pass
        with StudyStore(tmp_path, "other").open(finished_config):
            pass
    with StudyStore(tmp_path, "tiny").open(finished_config):
        pass


def test_a_second_run_does_not_clear_the_folder_of_the_first(copy, finished_config):
    before = contents(copy)
    with copy.open(finished_config):
        with (
            pytest.raises(StoreError),
            StudyStore(copy.root.parent, "tiny").open(finished_config, fresh=True),
        ):
            pass
        assert contents(copy) == before


def test_leftovers_of_a_killed_write_are_swept(copy, finished_config):
    rubbish = next((copy.root / "cells").iterdir()) / ".level_00.safetensors.77.tmp"
    rubbish.write_bytes(b"half")
    with copy.open(finished_config):
        assert not rubbish.exists()


def test_a_place_that_cannot_be_written_is_named(tmp_path, finished_config):
    (tmp_path / "file").touch()
    with (
        pytest.raises(ConfigError, match=r"results_dir is '.*file'; allowed: a folder"),
        StudyStore(tmp_path / "file", "tiny").open(finished_config),
    ):
        pass


def test_a_finished_study_has_nothing_left(copy, finished_config):
    assert left(copy, finished_config) == []


def test_committed_tables_count_as_finished(tables_only, finished_config):
    assert left(tables_only, finished_config) == []
    assert left(tables_only, replace(finished_config, seeds=[1, 2])) == [
        f"{init} seed 2 {branch}"
        for branch in ("ticket", "dense", "reinit 0")
        for init in finished_config.inits
    ]


def test_a_control_that_is_new_needs_its_ticket_on_disk(tables_only, finished_config):
    """Masks are not in the tables: the ticket has to be found again first."""
    config = replace(finished_config, seeds=[0], controls=ControlsConfig(reinit=2))
    assert left(tables_only, config) == [
        *(f"{init} seed 0 ticket" for init in config.inits),
        *(f"{init} seed 0 reinit 1" for init in config.inits),
    ]


def test_a_ticket_on_disk_is_not_run_again_for_a_new_control(copy, finished_config):
    config = replace(finished_config, seeds=[0], controls=ControlsConfig(reinit=2))
    assert left(copy, config) == [f"{init} seed 0 reinit 1" for init in config.inits]


def test_one_more_level_is_work_for_every_cell(copy, tables_only, finished_config):
    more = replace(finished_config, levels=3)
    assert len(left(copy, more)) == len(cells(more))
    assert len(left(tables_only, more)) == len(cells(more))


def test_a_missing_level_is_work_unless_the_table_has_it(copy, finished_config):
    cell = cells(finished_config)[0]
    copy.cell(cell.name).path(1).unlink()
    assert left(copy, finished_config) == []
    (copy.root / "levels.csv").unlink()
    assert left(copy, finished_config) == [cell.label]


def test_tables_made_again_are_the_same_byte_for_byte(copy, tables_only, finished_config):
    before = contents(copy)
    copy.write_tables(finished_config)
    assert contents(copy) == before
    tables_only.write_tables(finished_config)
    assert contents(tables_only) == before


def test_tables_can_be_made_from_the_cells_alone(copy, finished_config):
    before = contents(copy)
    for name in TABLES:
        (copy.root / name).unlink()
    copy.write_tables(finished_config)
    assert contents(copy) == before


def test_rows_on_this_disk_replace_those_of_the_table(copy, finished_config):
    path = copy.root / "levels.csv"
    before = path.read_bytes()
    table = pd.read_csv(path)
    table["test_accuracy"] = 0.0
    table.to_csv(path, index=False)
    copy.write_tables(finished_config)
    assert path.read_bytes() == before


def test_a_study_without_any_level_has_no_tables(tmp_path, finished_config):
    store = StudyStore(tmp_path, "tiny")
    store.root.mkdir()
    store.write_tables(finished_config)
    assert len(store.rows(cells(finished_config))) == 0
    assert list(store.root.iterdir()) == []


def test_part_of_a_committed_study_leaves_its_files_alone(tables_only, finished_config):
    """In a clone, `run_grid.py STUDY --seeds 0` only shows what is there."""
    before = {path.name: path.read_bytes() for path in tables_only.root.iterdir()}
    result = run_study(
        replace(finished_config, seeds=[0], levels=1),
        results_dir=tables_only.root.parent,
        workers=0,
        quiet=True,
    )
    after = {p.name: p.read_bytes() for p in tables_only.root.iterdir() if p.name != ".lock"}
    assert after == before
    assert set(result.levels["seed"]) == {0}
    assert result.levels["level"].max() == 1


def test_the_configuration_on_disk_speaks_of_all_runs(copy, finished_config):
    more = replace(
        finished_config,
        seeds=[5],
        inits=["orthogonal"],
        levels=1,
        controls=ControlsConfig(reinit=2),
    )
    copy.write_config(more)
    told = yaml.safe_load((copy.root / "study.yaml").read_text())
    assert told["seeds"] == [*finished_config.seeds, 5]
    assert told["inits"] == [*finished_config.inits, "orthogonal"]
    assert told["levels"] == finished_config.levels
    assert (told["controls"]["reinit"], told["controls"]["dense"]) == (2, True)


@pytest.mark.parametrize("name", ["study.yaml", "manifest.json", "levels.csv", "curves.parquet"])
@pytest.mark.parametrize("content", ["", "[]", "{", "\x00\x01"])
def test_a_broken_file_is_named_before_any_training(name, content, copy, finished_config):
    (copy.root / name).write_text(content)
    with pytest.raises(StoreError, match=name), copy.open(finished_config):
        copy.unfinished(cells(finished_config))
