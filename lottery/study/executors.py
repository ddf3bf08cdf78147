"""Running cells on this machine: in this process, or a process per cell on several cores."""

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess

from lottery.study.worker import Event, Task, ready, run_cell, run_cells, without_ticket

OnEvent = Callable[[Event], None]
Execute = Callable[[list[Task], OnEvent], None]
"""Runs cells, and tells of each what its worker says."""


def run_here(tasks: list[Task], on_event: OnEvent) -> None:
    """Run cells in this process, as many side by side as an engine computes as one."""
    run_cells(tasks, on_event, together=None)


def run_local(tasks: list[Task], workers: int, on_event: OnEvent) -> None:
    """Run each cell in a process of its own, `workers` at a time; controls after their tickets.

    A process that dies (out of memory, say) fails its cell alone. When this process is killed its
    workers end too, and when it is interrupted they are stopped before the exception goes on.
    """
    # Children forked from a server that has imported everything start in milliseconds. The first
    # optimiser of a process imports torch._dynamo, which takes longer than all else together.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["lottery.study.worker", "torch._dynamo"])
    # Ctrl-C reaches the whole group and this process acts on it; workers inherit the block. The
    # server would start the tracker first, and that unblocks the signal.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    waiting, failed = list(tasks), set[str]()
    running: dict[Connection, tuple[Task, ForkServerProcess]] = {}
    try:
        while waiting or running:
            free = workers - len(running)
            for task in ready(waiting, [task for task, _ in running.values()])[:free]:
                waiting.remove(task)
                if task.cell.needs in failed:
                    failed.add(task.cell.name)
                    on_event(without_ticket(task))
                    continue
                receiver, sender = context.Pipe(duplex=False)
                process = context.Process(target=_work, args=(task, sender), daemon=True)
                process.start()
                sender.close()
                running[receiver] = (task, process)
            heard = set(wait(list(running))) if running else set()  # wait([]) never returns
            for receiver in [connection for connection in running if connection in heard]:
                task, process = running[receiver]
                event = _receive(receiver, task, process)
                if event.kind in ("done", "failed"):
                    receiver.close()
                    process.join()
                    del running[receiver]
                    if event.kind == "failed":
                        failed.add(task.cell.name)
                on_event(event)
    finally:
        for _, process in running.values():
            process.terminate()
        for _, process in running.values():
            process.join()


def _receive(receiver: Connection, task: Task, process: ForkServerProcess) -> Event:
    """The next event of a worker; its silent death is a failure."""
    try:
        return receiver.recv()
    except EOFError:
        process.join()
        code = process.exitcode or 0
        reason = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
        hint = " (out of memory?)" if code == -signal.SIGKILL else ""
        return Event(task.cell, "failed", message=f"its process ended by {reason}{hint}")


def _work(task: Task, sender: Connection) -> None:
    """Body of a worker process."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    logging.getLogger("lottery.data").setLevel(logging.ERROR)  # the study's process has warned
    run_cell(task, sender.send)


def _end_with_parent() -> None:
    """End this process when its parent is gone, so that a killed study leaves nothing running."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
