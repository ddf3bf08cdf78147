"""Running one cell: from its place in the grid to finished levels in the store."""

import contextlib
import traceback
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import torch

from lottery.data.images import Dataset, Splits, load, split
from lottery.errors import LotteryError
from lottery.models import build
from lottery.study.config import StudyConfig
from lottery.study.grid import DENSE, Cell
from lottery.study.records import level_row
from lottery.study.store import StudyStore
from lottery.study.together import cells_together
from lottery.study.tracking import TensorBoard
from lottery.tickets import Memory, find_dense, find_tickets, run_control
from lottery.tickets.level import Start, Walk, Watch
from lottery.training import engines
from lottery.training.level import Evaluation
from lottery.training.segment import Outcome, Segment


@dataclass(frozen=True)
class Task:
    """What a worker needs to run one cell."""

    config: StudyConfig
    cell: Cell
    results_dir: Path
    data_dir: Path | None
    device: str


@dataclass(frozen=True)
class Event:
    """What a worker says of a cell: an evaluation, a finished level, or how it ended."""

    cell: Cell
    kind: str
    """evaluation, level, done or failed."""
    level: int = 0
    step: int = 0
    """Steps trained in this level."""
    trained: int = 0
    """Steps trained since the cell's last event; none for what was found on disk."""
    test_accuracy: float = 0.0
    weights_remaining: float = 1.0
    message: str = ""


Emit = Callable[[Event], None]


def run_cell(task: Task, emit: Emit) -> None:
    """Run a cell to its end; any failure is told as an event, and stops no other cell."""
    run_cells([task], emit)


def run_cells(tasks: list[Task], emit: Emit, together: int | None = 1) -> None:
    """Run cells in this process, up to `together` side by side, controls after their tickets.

    together: None takes as many as can be computed as one. Any failure of a cell is told as an
    event, and stops no cell but the controls of a failed ticket. All tasks are of one study and on
    one device.
    """
    waiting, failed = list(tasks), set[str]()
    live: list[_Live] = []
    data = _Data()
    with repeatable(tasks[0].device if tasks else "cpu"):
        if together is None:
            together = _together(tasks, data)
        while waiting or live:
            for task in ready(waiting, [one.task for one in live])[: together - len(live)]:
                waiting.remove(task)
                if task.cell.needs in failed:
                    failed.add(task.cell.name)
                    emit(without_ticket(task))
                else:
                    live.append(_Live(task, data, emit))
            _run_next(live)
            failed |= {one.cell.name for one in live if one.failed}
            live = [one for one in live if one.segment]


def _together(tasks: list[Task], data: "_Data") -> int:
    """As many cells as can be computed as one."""
    if not tasks:
        return 1
    config, device = tasks[0].config, tasks[0].device
    seeds = {task.cell.seed for task in tasks}
    return cells_together(config, device, len(seeds), lambda: data.dataset(tasks[0]))


def _run_next(live: list["_Live"]) -> None:
    """Run the segments of some cells, those that make the largest stack."""
    waiting = {id(one.segment): one for one in live if one.segment}
    group = engines.next_together([one.segment for one in live if one.segment])
    members = [waiting[id(segment)] for segment in group]
    try:
        outcomes = engines.run(group)
    except Exception as error:  # a network of one's own may fail in any way
        for one in members:
            one.fail(error)
        return
    for one, outcome in zip(members, outcomes, strict=True):
        one.advance(outcome)


def ready(waiting: list[Task], running: list[Task]) -> list[Task]:
    """Tasks of `waiting` whose ticket is not unfinished."""
    unfinished = {task.cell.name for task in (*waiting, *running)}
    return [task for task in waiting if task.cell.needs not in unfinished]


def without_ticket(task: Task) -> Event:
    """A control's failure for want of its ticket."""
    return Event(task.cell, "failed", message=f"the ticket it needs failed: {task.cell.needs}")


class _Live:
    """A cell under way, and the segment that it waits for."""

    def __init__(self, task: Task, data: "_Data", emit: Emit) -> None:
        self.task, self.cell, self.emit = task, task.cell, emit
        self.failed = False
        self.segment: Segment | None = None
        self._steps = _run(task, data, emit)
        self.advance()

    def advance(self, outcome: Outcome | None = None) -> None:
        """Go on to the next segment, or to the end."""
        self.segment = None
        try:
            self.segment = next(self._steps) if outcome is None else self._steps.send(outcome)
        except StopIteration:
            self.emit(Event(self.cell, "done"))
        except Exception as error:
            self.fail(error)

    def fail(self, error: Exception) -> None:
        """End here, and say why."""
        self.segment, self.failed = None, True
        self._steps.close()
        self.emit(Event(self.cell, "failed", message=_reason(self.task, error)))


def _reason(task: Task, error: Exception) -> str:
    """What to say of a failure; what nobody foresaw leaves a traceback in the cell's folder."""
    if isinstance(error, LotteryError):
        return str(error)
    folder = StudyStore(task.results_dir, task.config.name).cell(task.cell.name).folder
    message = f"{type(error).__name__}: {error}"
    trace = "".join(traceback.format_exception(error))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "error.txt").write_text(trace)
    except OSError:
        return f"{message}\n{trace}"
    return f"{message} (traceback in {folder / 'error.txt'})"


class _Data:
    """The study's data on its device, and the splits that live cells use: one of each seed."""

    def __init__(self) -> None:
        self._dataset: Dataset | None = None
        self._splits: WeakValueDictionary[int, Splits] = WeakValueDictionary()

    def dataset(self, task: Task) -> Dataset:
        """All of it."""
        if self._dataset is None:
            self._dataset = load(task.config.data, task.data_dir).to(task.device)
        return self._dataset

    def splits(self, task: Task) -> Splits:
        """Training, validation and test examples of the task's seed."""
        config, seed, whole = task.config, task.cell.seed, self.dataset(task)
        found = self._splits.get(seed)
        if found is None:
            found = split(whole, config.validation, seed=seed, stratified=config.stratified)
            self._splits[seed] = found
        return found


def _run(task: Task, source: _Data, emit: Emit) -> Generator[Segment, Outcome, None]:
    config, cell = task.config, task.cell
    store = StudyStore(task.results_dir, config.name)
    memory = store.cell(cell.name)
    records = {level: memory.record(level) for level in memory.finished_levels()}
    finished = {level: record for level, record in records.items() if record}
    data = source.splits(task)
    checkpoint = memory.load_checkpoint()
    unfinished = checkpoint if checkpoint and checkpoint.level not in finished else None
    trained_to = unfinished.step - unfinished.first_step if unfinished else 0
    before = sum(record["level"]["steps"] for record in finished.values())
    board = TensorBoard(store.tensorboard(cell), config, cell, before + trained_to, data.val)

    def watch(start: Start, evaluation: Evaluation) -> None:
        nonlocal trained_to
        board.evaluation(start, evaluation)
        step = evaluation.step - start.step
        new, trained_to = step - trained_to, step
        accuracy, remaining = evaluation.test_accuracy, start.masks.weights_remaining
        emit(Event(cell, "evaluation", start.level, step, new, accuracy, remaining))

    rows = []
    walk = _walk(config, cell, data, store, memory, watch)
    level = walk.advance()
    while level is not None:
        if isinstance(level, Segment):
            level = walk.advance((yield level))
            continue
        if level.level not in finished:
            trained_to = 0
        board.level(level, logged=level.level in finished)
        rows.append(level_row(level))
        accuracy, remaining = level.test.accuracy, level.weights_remaining
        emit(Event(cell, "level", level.level, level.steps, 0, accuracy, remaining))
        level = walk.advance()
    board.close(rows)


def _walk(
    config: StudyConfig,
    cell: Cell,
    data: Splits,
    store: StudyStore,
    memory: Memory,
    watch: Watch,
) -> Walk:
    """The levels of a cell, by its branch."""
    model = build(config.model, cell.seed)
    common: dict[str, Any] = {
        "init": cell.init,
        "seed": cell.seed,
        "train": config.train,
        "engine": config.engine,
        "diagnostics": config.diagnostics,
        "memory": memory,
        "watch": watch,
    }
    if cell.branch == DENSE:
        common |= {"levels": config.levels, "rewind_to": config.rewind.to}
        if config.start is not None:
            common |= {"optimizer": "fresh", "like": config.prune}
        return find_dense(model, data, **common)
    if cell.needs is None:
        common |= {"prune": config.prune, "rewind": config.rewind}
        return find_tickets(model, data, levels=config.levels, **common)
    ticket_at = store.cell(cell.needs).ticket
    common |= {"prune": config.prune, "rescale": config.rewind.rescale}
    levels = store.levels(cell)
    return run_control(cell.branch, model, data, ticket_at, levels=levels, draw=cell.draw, **common)


@contextlib.contextmanager
def repeatable(device: str) -> Iterator[None]:
    """One thread on a CPU, deterministic kernels on a GPU; set back afterwards."""
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    tf32 = torch.backends.cudnn.allow_tf32
    deterministic: Any = torch.utils.deterministic  # its attribute is not in the type stubs
    fill = deterministic.fill_uninitialized_memory
    try:
        if device == "cuda":
            torch.backends.cudnn.allow_tf32 = False
            torch.use_deterministic_algorithms(True)
            # Else every tensor made in a step is filled, by one more kernel.
            deterministic.fill_uninitialized_memory = False
        else:
            torch.set_num_threads(1)
            # Adam's averages of dead units decay into denormal numbers, which slow steps by a third
            torch.set_flush_denormal(True)
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_flush_denormal(False)
        torch.backends.cudnn.allow_tf32 = tf32
        torch.use_deterministic_algorithms(strict)
        deterministic.fill_uninitialized_memory = fill
