import tempfile
from dataclasses import replace
from pathlib import Path

import fsspec
import pandas as pd
import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.registry import known_implementations
from pandas.testing import assert_frame_equal

from lottery.errors import ConfigError
from lottery.study import cells, plan_study
from lottery.study.cell_store import CellStore
from lottery.study.progress import Progress
from lottery.study.remote import opened, run_cell_at
from lottery.study.store import TABLES
from lottery.study.worker import Event, Task, run_cells
from tests import tiny
from tests.tiny import assert_same_tables
from tests.tiny import run_here as run


@pytest.fixture(autouse=True)
def scratch(tmp_path, monkeypatch):
    """Where scratch folders are made."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def moves(monkeypatch):
    """Names of files in the order in which they appear at a file:// URL."""
    found = []
    move = LocalFileSystem.mv

    def spy(self, path1, path2, **kwargs):
        found.append(path2.rpartition("/")[2])
        return move(self, path1, path2, **kwargs)

    monkeypatch.setattr(LocalFileSystem, "mv", spy)
    return found


def contents(folder):
    return {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("workers", [0, 2])
def test_a_study_at_a_url_is_the_one_in_a_folder(
    workers, finished, finished_config, tmp_path, scratch
):
    result = run(finished_config, f"file://{tmp_path}/there", workers=workers)
    folder = tmp_path / "there" / "tiny"
    assert (result.computed, result.failures) == (12, {})
    assert result.folder == f"file://{tmp_path}/there/tiny"
    assert_same_tables(folder, finished.folder)
    assert_frame_equal(*(r.levels.drop(columns="seconds") for r in (result, finished)))
    kinds = ("cells/*/*", "tensorboard/*/events.*", "*.yaml", "*.json")
    for kind in kinds:
        here = sorted(path.relative_to(finished.folder) for path in finished.folder.glob(kind))
        there = sorted(path.relative_to(folder) for path in folder.glob(kind))
        assert len(there) == len(here) > 0
        if "events" not in kind:
            assert there == here
    assert not list(scratch.glob("lottery-*")), "the scratch folder is still there"


def test_a_second_run_at_a_url_computes_nothing_and_touches_nothing(tmp_path):
    config, url = tiny.config(seeds=[0]), f"file://{tmp_path}/there"
    run(config, url)
    before = contents(tmp_path / "there")
    result = run(config, url)
    assert (result.computed, len(result.levels)) == (0, 6)
    assert contents(tmp_path / "there") == before


def test_a_study_at_a_url_grows_and_controls_find_their_tickets(tmp_path, scratch):
    few, url = tiny.config(seeds=[0], inits=["xavier_normal"]), f"file://{tmp_path}/there"
    run(few, url)
    before = contents(tmp_path / "there" / "tiny" / "cells")
    more = tiny.with_controls(inits=["xavier_normal"])
    result = run(more, url)
    assert (result.computed, result.failures) == (5, {})
    assert contents(tmp_path / "there" / "tiny" / "cells").items() >= before.items()
    whole = run(more, tmp_path / "whole")
    assert_same_tables(tmp_path / "there" / "tiny", whole.folder)


def test_other_settings_are_refused_at_a_url_and_fresh_replaces_the_old(tmp_path):
    url = f"file://{tmp_path}/there"
    run(tiny.config(seeds=[0]), url)
    other = tiny.config(seeds=[0], train=tiny.train(lr=0.02))
    with pytest.raises(ConfigError, match=r"train\.lr is 0\.02; allowed: 0\.01"):
        run(other, url)
    (tmp_path / "there" / "tiny" / "mine.txt").touch()
    run(other, url, fresh=True)
    names = {cell.name for cell in cells(other)}
    for kind in ("cells", "tensorboard"):
        folder = tmp_path / "there" / "tiny" / kind
        assert {path.name for path in folder.iterdir()} == names
    assert set(pd.read_csv(tmp_path / "there" / "tiny" / "levels.csv")["cell"]) == names
    assert (tmp_path / "there" / "tiny" / "mine.txt").exists(), "not the study's to discard"


def test_an_interrupted_study_at_a_url_goes_on_from_its_checkpoint(tmp_path, monkeypatch):
    config, url = tiny.with_controls(seeds=[0], inits=["xavier_normal"]), f"file://{tmp_path}/there"
    monkeypatch.setattr(CellStore.__init__, "__defaults__", (0.0,))
    tell, told = Progress.event, []

    def event(progress, event):
        tell(progress, event)
        told.append((event.cell.branch, event.kind, event.level, event.step))
        if told[-1] == ("dense", "evaluation", 1, 20) and len(set(told)) == len(told):
            raise KeyboardInterrupt

    monkeypatch.setattr(Progress, "event", event)
    with pytest.raises(KeyboardInterrupt):
        run(config, url)
    told.append(told[-1])
    since = len(told)
    result = run(config, url)
    # Of dense level 1, what was pushed last is the checkpoint before the last evaluation.
    first = next(each for each in told[since:] if each[1] == "evaluation")
    assert first == ("dense", "evaluation", 1, 20)
    assert (result.computed, result.failures) == (2, {})
    monkeypatch.undo()
    assert_same_tables(tmp_path / "there" / "tiny", run(config, tmp_path / "whole").folder)


@pytest.mark.parametrize("tick", [1, 4_000_000])
def test_a_level_appears_after_the_checkpoint_it_ended_with(tick, tmp_path, moves, monkeypatch):
    """A dense baseline goes on from the end of a level; tick: of file times, in ns."""

    def state(path):
        found = path.stat()
        return found.st_mtime_ns // tick, found.st_size

    monkeypatch.setattr("lottery.study.remote._state", state)
    config = tiny.with_controls(seeds=[0], inits=["xavier_normal"])
    (dense,) = (cell for cell in cells(config) if cell.branch == "dense")
    told = []
    task = Task(config, dense, Path("nowhere"), None, "cpu")
    run_cell_at(f"file://{tmp_path}/there", task, lambda event: told.append(event.kind))
    kept = [name for name in moves if not name.startswith("events")]
    levels = [f"level_0{level}.safetensors" for level in range(3)]
    assert kept == [name for level in levels for name in ("checkpoint.pt", level)]
    assert told[-1] == "done"
    assert (tmp_path / "there" / "tiny" / "cells" / dense.name / kept[-1]).exists()


def test_files_appear_whole_or_not_at_all(tmp_path, monkeypatch):
    url = f"file://{tmp_path}/there"
    config = tiny.config(seeds=[0], inits=["xavier_normal"], levels=0)
    run(config, url)
    before = contents(tmp_path / "there")
    put = LocalFileSystem.put_file

    def torn(self, path1, path2, **kwargs):
        put(self, path1, path2, **kwargs)
        Path(path2).write_bytes(Path(path2).read_bytes()[:10])
        raise OSError("the connection broke")

    monkeypatch.setattr(LocalFileSystem, "put_file", torn)
    with pytest.raises(OSError, match="the connection broke"):
        run(replace(config, levels=1), url)
    after = contents(tmp_path / "there")
    assert {path: after[path] for path in before} == before
    assert set(after) == set(before), "half a file stayed"
    monkeypatch.undo()
    assert run(replace(config, levels=1), url).failures == {}


def test_who_is_not_heard_pushes_nothing(tmp_path):
    config = tiny.config(seeds=[0], inits=["xavier_normal"])
    task = Task(config, cells(config)[0], Path("nowhere"), None, "cpu")

    class Deaf(BaseException):
        pass

    def emit(event):
        raise Deaf

    with pytest.raises(Deaf):
        run_cell_at(f"file://{tmp_path}/there", task, emit)
    assert not list((tmp_path / "there").rglob("*.*"))


def test_a_cell_pulls_its_own_files_and_the_levels_of_its_ticket(tmp_path, scratch):
    config, url = tiny.with_controls(), f"file://{tmp_path}/there"
    run(config, url)
    (control,) = (c for c in cells(config) if c.label == "xavier_normal seed 1 reinit 0")
    with opened(url, "tiny") as results:
        results.pull_cells([control.name])
        results.pull_cells([control.needs], "level_*")
        folder = results.folder / "tiny"
        found = {path.name for path in (folder / "cells").iterdir()}
        assert found == {control.name, control.needs}
        assert {path.name for path in (folder / "tensorboard").iterdir()} == {control.name}
        (folder / "cells" / control.needs / "level_00.safetensors").write_bytes(b"torn")
        everyone = [cell.name for cell in cells(config)]
        results.pull_cells(everyone)
        assert len(list(folder.glob("cells/*/level_*"))) == 32
        assert (folder / "cells" / control.needs / "level_00.safetensors").stat().st_size > 4


def test_a_plan_counts_what_is_at_the_url(tmp_path):
    config, url = tiny.config(seeds=[0]), f"file://{tmp_path}/there"
    run(config, url)
    plan = plan_study(tiny.config(), results_dir=url, workers=1)
    assert (plan.levels, len(plan.unfinished)) == (6, 2)
    assert plan_study(config, results_dir=url, workers=1).levels == 0


def test_a_failure_at_a_url_says_where_its_traceback_is(tmp_path):
    config = tiny.config(inits=["tests.tiny:broken"], seeds=[0])
    result = run(config, f"file://{tmp_path}/there")
    ((name, reason),) = result.failures.items()
    place = f"there/tiny/cells/{name}/error.txt"
    assert reason.endswith(f"(traceback in file://{tmp_path}/{place})")
    assert "in broken" in (tmp_path / place).read_text()


def test_memory_serves_as_a_place(finished, finished_config):
    result = run(finished_config, "memory://shelf", workers=1)
    assert_frame_equal(*(r.levels.drop(columns="seconds") for r in (result, finished)))
    files = fsspec.filesystem("memory")
    assert files.exists("/shelf/tiny/levels.csv")
    assert run(finished_config, "memory://shelf").computed == 0
    files.rm("/shelf", recursive=True)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("nonesuch://bucket/x", "ValueError: Protocol not known: nonesuch"),
        ("missing://bucket/x", "ImportError: Install missing to reach it"),
    ],
)
def test_a_url_that_cannot_be_opened_is_named(url, reason, monkeypatch):
    absent = {"class": "not_installed.Files", "err": "Install missing to reach it"}
    monkeypatch.setitem(known_implementations, "missing", absent)
    with pytest.raises(ConfigError) as error:
        run(tiny.config(), url)
    assert str(error.value).startswith(f"results_dir is '{url}'; allowed: a folder, or a URL")
    assert reason in str(error.value)


def test_an_event_is_passed_on_as_it_is_in_a_folder(tmp_path):
    event = Event(cells(tiny.config())[0], "failed", message="why")
    with opened(tmp_path, "tiny") as results:
        assert results.push(event) is event


def test_a_cell_pulls_no_tables(tmp_path, monkeypatch):
    """Those of 10,000 cells would be most of what a cell moves."""
    config, url = tiny.config(seeds=[0], inits=["xavier_normal"]), f"file://{tmp_path}/there"
    run(replace(config, levels=0), url)
    pulled = []
    get = LocalFileSystem.get

    def spy(self, rpath, lpath, **kwargs):
        pulled.extend(Path(path).name for path in rpath)
        return get(self, rpath, lpath, **kwargs)

    monkeypatch.setattr(LocalFileSystem, "get", spy)
    (cell,) = cells(config)
    run_cell_at(url, Task(config, cell, Path("nowhere"), None, "cpu"), lambda event: None)
    assert "level_00.safetensors" in pulled
    assert not {"study.yaml", "manifest.json", *TABLES} & set(pulled)


def test_an_interruption_after_a_levels_file_and_before_its_event_loses_neither(
    tmp_path, monkeypatch
):
    config, url = tiny.config(seeds=[0], inits=["xavier_normal"]), f"file://{tmp_path}/there"
    last = config.levels

    def interrupted(tasks, on_event):
        def emit(event):
            if (event.kind, event.level) == ("level", last):
                raise KeyboardInterrupt
            on_event(event)

        run_cells(tasks, emit)

    monkeypatch.setattr("lottery.study.run.run_here", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(config, url)
    folder = tmp_path / "there" / "tiny"
    rows = pd.read_csv(folder / "levels.csv")
    assert rows["level"].tolist() == list(range(last + 1))
    for row in rows.itertuples():
        assert (folder / "cells" / row.cell / f"level_{row.level:02d}.safetensors").exists()
