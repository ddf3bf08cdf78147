import io

import pytest
from rich.console import Console

from lottery.study import cells
from lottery.study.progress import Progress, Speed, clock
from lottery.study.worker import Event
from tests import tiny


@pytest.fixture
def now(monkeypatch):
    """A clock that stands still until told otherwise."""
    time = [1000.0]
    monkeypatch.setattr("lottery.study.progress.time.monotonic", lambda: time[0])
    return time


@pytest.fixture
def grid():
    return cells(tiny.config())


def shown(console):
    return console.file.getvalue()


def plain():
    return Console(file=io.StringIO(), force_terminal=False, width=60)


def terminal():
    return Console(file=io.StringIO(), force_terminal=True, width=120, color_system=None)


def test_without_a_terminal_each_finished_level_is_one_plain_line(grid, now):
    console = plain()
    with Progress(grid, grid, {"base": 20}, console=console) as progress:
        for step in (8, 16, 20):
            now[0] += 1
            progress.event(Event(grid[0], "evaluation", 0, step, 8, 0.5, 1.0))
        progress.event(Event(grid[0], "level", 0, 20, 0, 0.5, 1.0))
    assert shown(console) == (
        "xavier_normal seed 0 ticket: level 0, 100.0% of weights, test accuracy 50.00% | "
        "cells 0/4, levels 1/12, 8 steps/s, 0:28 left\n"
    )


def test_a_detectors_success_is_not_called_accuracy(grid, now):
    console = plain()
    with Progress(grid, grid, {"base": 20}, metric="mean AP", console=console) as progress:
        progress.event(Event(grid[0], "level", 0, 20, 0, 0.5, 1.0))
    assert "test mean AP 50.00%" in shown(console)


def test_time_left_counts_the_steps_of_unfinished_levels(grid, now):
    progress = Progress(grid, grid, {"base": 20}, console=plain())
    now[0] += 2
    progress.event(Event(grid[0], "evaluation", 0, 8, 8, 0.5, 1.0))
    # 12 levels of 20 steps, less 8, at 4 steps a second.
    assert progress._summary() == "cells 0/4, levels 0/12, 4 steps/s, 0:58 left"


def test_nothing_is_said_of_the_time_left_before_anything_is_known(grid, now):
    assert Progress(grid, grid, {"base": 20}, console=plain())._summary() == (
        "cells 0/4, levels 0/12"
    )


def test_levels_found_on_disk_do_not_count_as_speed(grid, now):
    progress = Progress(grid, grid, {"base": 20}, console=plain())
    now[0] += 1
    progress.event(Event(grid[0], "level", 0, 20, 0, 0.5, 1.0))
    assert progress._summary() == "cells 0/4, levels 1/12"


def test_cells_finished_before_are_counted_and_told(grid, now):
    console = plain()
    with Progress(grid, grid[:1], {"base": 20}, console=console) as progress:
        assert progress._summary().startswith("cells 3/4, levels 0/3")
        progress.event(Event(grid[0], "done"))
        assert progress._summary().startswith("cells 4/4")
    assert shown(console) == "3 of 4 cells were finished before\n"
    with Progress(grid[:1], [], {"base": 20}, console=plain()) as progress:
        assert shown(progress._console) == "1 of 1 cell was finished before\n"


def test_a_failure_is_told_in_full_whatever_characters_it_has(grid, now):
    console = plain()
    with Progress(grid, grid, {"base": 20}, console=console) as progress:
        message = "RuntimeError: shape [4, 4] of [bold] in [/tmp/x] " + "long " * 20
        progress.event(Event(grid[0], "failed", message=message))
        assert "cells 0/4, 1 failed, levels" in progress._summary()
    assert shown(console) == f"failed xavier_normal seed 0 ticket: {message}\n"


def test_quiet_is_quiet(grid, capsys):
    with Progress(grid, grid[:1], {"base": 20}, quiet=True) as progress:
        progress.event(Event(grid[0], "level", 0, 20, 20, 0.5, 1.0))
        progress.event(Event(grid[0], "failed", message="no"))
    assert capsys.readouterr() == ("", "")


def test_a_terminal_shows_running_cells_their_levels_speed_and_time_left(grid, now):
    console = terminal()
    with Progress(grid, grid, {"base": 20}, console=console) as progress:
        now[0] += 2
        progress.event(Event(grid[0], "level", 0, 20, 20, 0.25, 1.0))
        progress.event(Event(grid[0], "evaluation", 1, 8, 8, 0.5, 0.816))
        progress.event(Event(grid[1], "evaluation", 0, 16, 16, 0.75, 1.0))
        console.file.truncate(0)
        progress._live.refresh()
        picture = shown(console)
        for text in (
            "xavier_normal seed 0 ticket",
            "level 1/2",
            "81.6% of weights, test accuracy 50.00%",
            "normal(0.3) seed 0 ticket",
            "level 0/2",
            "100.0% of weights, test accuracy 75.00%",
            "cells 0/4",
            "levels 1/12",
            "22 steps/s",
            "0:09 left",
        ):
            assert text in picture, picture
        progress.event(Event(grid[0], "done"))
        console.file.truncate(0)
        progress._live.refresh()
        assert "xavier_normal seed 0 ticket" not in shown(console), "a finished cell stays"


def test_a_terminal_gets_no_log_lines(grid, now):
    console = terminal()
    with Progress(grid, grid, {"base": 20}, console=console) as progress:
        progress.event(Event(grid[0], "level", 0, 20, 20, 0.25, 1.0))
    assert "| cells" not in shown(console)


def test_speed_is_that_of_the_last_minute(now):
    speed = Speed(window=60)
    assert speed() == 0.0
    for _ in range(10):
        now[0] += 10
        speed.add(1000)
    assert speed() == pytest.approx(100)
    for _ in range(10):
        now[0] += 10
        speed.add(50)
    assert speed() == pytest.approx(5)


def test_speed_is_known_where_evaluations_lie_further_apart(now):
    """A level's end comes right after its last evaluation, and brings no steps of its own."""
    speed = Speed(window=60)
    for _ in range(3):
        now[0] += 100
        speed.add(50)
        assert speed() == pytest.approx(0.5, rel=0.01)
        now[0] += 0.1
        speed.add(0)
        assert speed() == pytest.approx(0.5, rel=0.01)


def test_a_slow_network_has_a_speed_too(grid, now):
    progress = Progress(grid, grid, {"base": 20}, console=plain())
    now[0] += 16
    progress.event(Event(grid[0], "evaluation", 0, 4, 4, 0.5, 1.0))
    assert ", 0.25 steps/s, " in progress._summary()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (59.6, "1:00"), (3599.4, "59:59"), (3599.6, "1:00:00"), (90061, "25:01:01")],
)
def test_times_are_rounded_to_whole_seconds_first(seconds, text):
    assert clock(seconds) == text
