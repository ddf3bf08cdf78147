"""Progress of a study: a live display in a terminal, plain lines elsewhere."""

import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from lottery.study.grid import Cell
from lottery.study.worker import Event
from lottery.words import plural


def clock(seconds: float) -> str:
    """Hours, minutes and seconds.

    >>> clock(123), clock(3723)
    ('2:03', '1:02:03')
    """
    minutes, second = divmod(round(seconds), 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour}:{minute:02d}:{second:02d}" if hour else f"{minute}:{second:02d}"


class Speed:
    """Steps a second over the last minute, or since the last evaluation before it."""

    def __init__(self, window: float = 60.0) -> None:
        self._window = window
        self._total = 0
        self._marks: deque[tuple[float, int]] = deque([(time.monotonic(), 0)])

    def add(self, steps: int) -> None:
        """Note steps that were just trained."""
        self._total += steps
        now = time.monotonic()
        self._marks.append((now, self._total))
        while len(self._marks) > 2 and now - self._marks[1][0] > self._window:
            self._marks.popleft()

    def __call__(self) -> float:
        """Steps a second; zero until something is known."""
        (start, first), (end, last) = self._marks[0], self._marks[-1]
        return (last - first) / (end - start) if end > start else 0.0


class Progress:
    """Follows a run from the events of its workers; a context manager."""

    def __init__(
        self,
        cells: Sequence[Cell],
        unfinished: Sequence[Cell],
        steps_per_level: Mapping[str, int],
        *,
        metric: str = "accuracy",
        quiet: bool = False,
        console: Console | None = None,
    ) -> None:
        """steps_per_level: by variant. metric: what accuracy is called."""
        self._console = console or Console(stderr=True, quiet=quiet)
        self._steps_per_level = steps_per_level
        self._metric = metric
        self._cells, self._finished, self._failed = len(cells), len(cells) - len(unfinished), 0
        self._levels, self._levels_done = sum(len(cell.levels) for cell in unfinished), 0
        self._steps_left = sum(len(c.levels) * steps_per_level[c.variant] for c in unfinished)
        self._running: dict[Cell, Event] = {}
        self._levels_of: Counter[Cell] = Counter()
        self._speed = Speed()
        self._live = Live(
            get_renderable=self._render, console=self._console, transient=True, refresh_per_second=4
        )

    def __enter__(self) -> "Progress":
        if self._console.is_terminal:
            self._live.start()
        if self._finished:
            cells = plural(self._cells, "cell")
            were = "was" if self._finished == 1 else "were"
            self._console.print(f"{self._finished} of {cells} {were} finished before")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()

    def event(self, event: Event) -> None:
        """Take in what a worker says."""
        self._speed.add(event.trained)
        if event.kind in ("done", "failed"):
            self._running.pop(event.cell, None)
            self._finished += event.kind == "done"
            self._failed += event.kind == "failed"
            if event.kind == "done" and event.cell.stop is not None:  # it may have ended early
                never = len(event.cell.levels) - self._levels_of[event.cell]
                self._levels -= never
                self._steps_left -= never * self._steps_per_level[event.cell.variant]
        else:
            self._running[event.cell] = event
            if event.kind == "level":
                self._levels_done += 1
                self._levels_of[event.cell] += 1
                self._steps_left -= self._steps_per_level[event.cell.variant]
        if event.kind == "failed":
            self._console.print(
                f"[red]failed[/] {escape(f'{event.cell.label}: {event.message}')}",
                highlight=False,
                soft_wrap=True,
            )
        elif event.kind == "level" and not self._console.is_terminal:
            place = f"{event.cell.label}: level {event.level}"
            self._console.print(
                f"{place}, {self._state(event)} | {self._summary()}",
                markup=False,
                highlight=False,
                soft_wrap=True,
            )

    @property
    def _seconds_left(self) -> float | None:
        speed = self._speed()
        within = sum(event.step for event in self._running.values() if event.kind == "evaluation")
        steps = self._steps_left - within
        return max(0.0, steps / speed) if speed else None

    def _summary(self) -> str:
        parts = [
            f"cells {self._finished}/{self._cells}",
            f"levels {self._levels_done}/{self._levels}",
        ]
        if self._failed:
            parts.insert(1, f"{self._failed} failed")
        if speed := self._speed():
            parts.append(f"{speed:,.0f} steps/s" if speed >= 1 else f"{speed:.2g} steps/s")
        if (left := self._seconds_left) is not None:
            parts.append(f"{clock(left)} left")
        return ", ".join(parts)

    def _render(self) -> Group:
        table = Table(box=None, show_header=False, padding=(0, 1))
        for cell, event in self._running.items():
            steps = self._steps_per_level[cell.variant]
            within = event.step if event.kind == "evaluation" else steps
            bar = ProgressBar(steps, within, width=20)
            place = f"level {event.level}/{cell.levels[-1]}"
            table.add_row(Text(cell.label), place, bar, self._state(event))
        whole = Table.grid(padding=(0, 1))
        bar = ProgressBar(max(1, self._levels), self._levels_done, width=24)
        whole.add_row(bar, Text(self._summary(), style="bold"))
        return Group(table, whole)

    def _state(self, event: Event) -> str:
        remaining = f"{event.weights_remaining:.1%} of weights"
        return f"{remaining}, test {self._metric} {event.test_accuracy:.2%}"
