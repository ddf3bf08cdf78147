import os
import signal
from pathlib import Path

import pytest

from lottery.study import cells, executors
from lottery.study.executors import run_here, run_local
from lottery.study.worker import Task
from tests import tiny


def tasks(config, place):
    return [Task(config, cell, Path(place), None, "cpu") for cell in cells(config)]


def run(how, todo, *workers):
    """How each cell ended, by label, and all events."""
    events = []
    how(todo, *workers, events.append)
    ends = {e.cell.label: e.message or e.kind for e in events if e.kind in ("done", "failed")}
    assert sum(e.kind in ("done", "failed") for e in events) == len(ends)
    return ends, events


def one_fails(scheme):
    return tiny.with_controls(inits=[f"tests.tiny:{scheme}", "xavier_normal"], seeds=[0], levels=1)


def test_a_killed_worker_fails_its_cell_alone(tmp_path):
    ends, _ = run(run_local, tasks(one_fails("killed"), tmp_path), 2)
    assert len(ends) == 6
    for branch in ("ticket", "dense"):
        reason = "its process ended by signal SIGKILL (out of memory?)"
        assert ends.pop(f"tests.tiny:killed seed 0 {branch}") == reason
    waiting = ends.pop("tests.tiny:killed seed 0 reinit 0")
    assert waiting.startswith("the ticket it needs failed: tests.tiny_killed-s0-ticket-")
    assert set(ends.values()) == {"done"}


@pytest.mark.parametrize("how", ["here", "local"])
def test_controls_of_a_failed_ticket_are_not_run_and_the_others_are(how, tmp_path):
    todo = tasks(one_fails("broken"), tmp_path)
    ends, events = run(run_here, todo) if how == "here" else run(run_local, todo, 1)
    failed = {label.rpartition("broken ")[2]: m for label, m in ends.items() if "broken" in label}
    assert failed["seed 0 ticket"].startswith("ValueError: no weights [/for] you today (traceback")
    assert failed["seed 0 reinit 0"].startswith("the ticket it needs failed: ")
    assert [m for label, m in ends.items() if "broken" not in label] == ["done"] * 3
    assert not [e for e in events if "broken" in e.cell.init and e.kind != "failed"]


def test_workers_do_not_repeat_what_the_study_has_warned_of_its_data(tmp_path):
    """Each of them loads the data again: a data set with broken boxes would be told of per cell."""
    config = tiny.config(inits=["tests.tiny:warned"], seeds=[0], levels=0)
    ends, _ = run(run_local, tasks(config, tmp_path), 1)
    assert [end.split(" (")[0] for end in ends.values()] == ["ValueError: heard: False"]


def test_a_control_waits_for_its_ticket_however_many_workers_are_free(tmp_path):
    _, events = run(run_local, tasks(one_fails("broken"), tmp_path), 6)
    order = [(e.cell.branch, e.kind) for e in events if e.cell.init == "xavier_normal"]
    assert order.index(("ticket", "done")) < order.index(("reinit", "evaluation"))


def test_no_more_processes_run_than_workers(tmp_path, monkeypatch):
    """Events of no more than one cell at a time, where there is one worker."""
    todo = tasks(tiny.config(levels=0), tmp_path)
    _, events = run(run_local, todo, 1)
    names = [event.cell.name for event in events]
    assert names == sorted(names, key=[task.cell.name for task in todo].index)


def test_events_tell_of_each_evaluation_and_of_the_steps_trained(tmp_path):
    todo = tasks(tiny.config(inits=["xavier_normal"], seeds=[0], levels=1), tmp_path)
    _, events = run(run_here, todo)
    told = [(e.kind, e.level, e.step, e.trained) for e in events]
    assert told == [
        *(("evaluation", 0, step, new) for step, new in ((8, 8), (16, 8), (20, 4))),
        ("level", 0, 20, 0),
        *(("evaluation", 1, step, new) for step, new in ((8, 8), (16, 8), (20, 4))),
        ("level", 1, 20, 0),
        ("done", 0, 0, 0),
    ]
    assert events[4].weights_remaining == pytest.approx(186 / 228)
    _, events = run(run_here, todo)
    assert sum(event.trained for event in events) == 0
    assert [event.kind for event in events] == ["level", "level", "done"]


def test_an_interruption_stops_the_workers_before_it_goes_on(tmp_path):
    config = tiny.config(train=tiny.train(duration="1000000it", eval_every="1it"))
    started = []

    def interrupted(event):
        started.append(event)
        if len(started) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_local(tasks(config, tmp_path), 2, interrupted)
    assert executors.multiprocessing.active_children() == []


def test_workers_leave_the_interrupt_to_their_parent(tmp_path):
    """Ctrl-C reaches every process of the group; a worker that heeds it shows a traceback."""
    config = tiny.config(inits=["xavier_normal"], seeds=[0], train=tiny.train(duration="2000it"))
    interrupted = []

    def watch(event):
        if event.kind == "evaluation" and not interrupted:
            interrupted.extend(child.pid for child in executors.multiprocessing.active_children())
            for pid in interrupted:
                os.kill(pid, signal.SIGINT)

    events = []
    run_local(tasks(config, tmp_path), 1, lambda e: (events.append(e), watch(e)))
    assert interrupted
    assert events[-1].kind == "done"


def test_workers_end_with_their_parent_in_the_middle_of_training(tmp_path):
    """A worker that only noticed when it has something to say would train on for minutes."""
    long = tiny.train(duration="100000000it", eval_every="100000000it")
    config = tiny.config(inits=["xavier_normal"], seeds=[0], train=long)
    context = executors.multiprocessing.get_context("forkserver")
    parent = context.Process(target=tiny.run_in_a_group, args=(config, tmp_path))
    parent.start()
    try:
        assert tiny.wait_until(lambda: list(tmp_path.glob("tiny/tensorboard/*/events.*")))
        assert len(tiny.alive(parent.pid)) > 1
        os.kill(parent.pid, signal.SIGKILL)
        assert tiny.wait_until(lambda: not tiny.alive(parent.pid), seconds=10)
    finally:
        for pid in tiny.alive(parent.pid):
            os.kill(pid, signal.SIGKILL)
        parent.join()


def test_the_parent_still_hears_an_interrupt(tmp_path):
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    run_local([], 1, print)
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before
