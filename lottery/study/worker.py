"""Running one cell: from its place in the grid to finished levels in the store."""

import contextlib
import os
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lottery.data.images import Splits, load, split
from lottery.errors import LotteryError
from lottery.models import build
from lottery.study.config import StudyConfig
from lottery.study.grid import DENSE, Cell
from lottery.study.records import level_row
from lottery.study.store import StudyStore
from lottery.study.tracking import TensorBoard
from lottery.tickets import Level, Memory, find_dense, find_tickets, run_control
from lottery.tickets.level import Start, Watch
from lottery.training.level import Evaluation


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
    cell = task.cell
    try:
        with _repeatable(task.device):
            _run(task, emit)
    except LotteryError as error:
        emit(Event(cell, "failed", message=str(error)))
    except Exception as error:
        folder = StudyStore(task.results_dir, task.config.name).cell(cell.name).folder
        message = f"{type(error).__name__}: {error}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "error.txt").write_text(traceback.format_exc())
            message += f" (traceback in {folder / 'error.txt'})"
        except OSError:
            message += f"\n{traceback.format_exc()}"
        emit(Event(cell, "failed", message=message))
    else:
        emit(Event(cell, "done"))


def _run(task: Task, emit: Emit) -> None:
    config, cell = task.config, task.cell
    store = StudyStore(task.results_dir, config.name)
    memory = store.cell(cell.name)
    records = {level: memory.record(level) for level in memory.finished_levels()}
    finished = {level: record for level, record in records.items() if record}
    dataset = load(config.data, task.data_dir)
    data = split(dataset, config.validation, seed=cell.seed, stratified=config.stratified)
    data = data.to(task.device)
    checkpoint = memory.load_checkpoint()
    unfinished = checkpoint if checkpoint and checkpoint.level not in finished else None
    trained_to = unfinished.step - unfinished.first_step if unfinished else 0
    before = sum(record["level"]["steps"] for record in finished.values())
    board = TensorBoard(store.tensorboard(cell), config, cell, before + trained_to)

    def watch(start: Start, evaluation: Evaluation) -> None:
        nonlocal trained_to
        board.evaluation(start, evaluation)
        step = evaluation.step - start.step
        new, trained_to = step - trained_to, step
        accuracy, remaining = evaluation.test_accuracy, start.masks.weights_remaining
        emit(Event(cell, "evaluation", start.level, step, new, accuracy, remaining))

    rows = []
    for level in _walk(config, cell, data, store, memory, watch):
        if level.level not in finished:
            trained_to = 0
        board.level(level, logged=level.level in finished)
        rows.append(level_row(level))
        accuracy, remaining = level.test.accuracy, level.weights_remaining
        emit(Event(cell, "level", level.level, level.steps, 0, accuracy, remaining))
    board.close(rows)


def _walk(
    config: StudyConfig,
    cell: Cell,
    data: Splits,
    store: StudyStore,
    memory: Memory,
    watch: Watch,
) -> Iterator[Level]:
    """The levels of a cell, by its branch."""
    model = build(config.model, cell.seed)
    common: dict[str, Any] = {
        "init": cell.init,
        "seed": cell.seed,
        "train": config.train,
        "engine": config.engine,
        "memory": memory,
        "watch": watch,
    }
    if cell.branch == DENSE:
        return find_dense(model, data, levels=config.levels, rewind_to=config.rewind.to, **common)
    if cell.needs is None:
        common |= {"prune": config.prune, "rewind": config.rewind}
        return find_tickets(model, data, levels=config.levels, **common)
    masks_at = store.cell(cell.needs).masks
    return run_control(
        cell.branch, model, data, masks_at, levels=cell.levels, draw=cell.draw, **common
    )


@contextlib.contextmanager
def _repeatable(device: str) -> Iterator[None]:
    """One thread on a CPU, deterministic kernels on a GPU; undone afterwards."""
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    tf32 = torch.backends.cudnn.allow_tf32
    try:
        if device == "cuda":
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
            torch.backends.cudnn.allow_tf32 = False
            torch.use_deterministic_algorithms(True)
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
