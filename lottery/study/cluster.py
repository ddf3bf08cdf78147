"""Running cells on a Ray cluster: the cells of `executors`, each a task on a node that has room.

What a cell's node or process takes with it when it dies is the work since its last checkpoint: the
cell is started again wherever there is room, and goes on from what it finds in the results
directory. Ray's own retries are off, as this module has to know of each.

*Events.* Evaluations and levels go to a mailbox, an actor on the driver's node, and a cell waits
until each has arrived (about a millisecond). An evaluation is told before its checkpoint is saved,
so a checkpoint never holds steps nobody was told of; what a further attempt repeats is told once.
How a cell ended is its task's return value.

*Two of one cell.* A node that is thought dead may still run. The mailbox refuses what an earlier
attempt tells, and that process then ends: it writes for no longer than up to its next evaluation.
Until then both may write into the cell's folder. Files appear there whole, under names of their own
while they are written, and on machines of one kind both write the same numbers, as these depend on
nothing but the cell; a file that is replaced by its like is no loss. On machines that round
differently a level may be the one's and the next the other's. Where the optimiser goes on between
levels (dense, rewind.optimizer kept), an old checkpoint in place of a new one stops the cell with a
message that says which folder to delete.
"""

import contextlib
import logging
import os
import socket
import sys
import sysconfig
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from lottery.errors import ConfigError, LotteryError, UsageError
from lottery.study.config import ClusterConfig
from lottery.study.executors import OnEvent
from lottery.study.remote import run_cell_at
from lottery.study.worker import Event, Task, ready, run_cell, without_ticket

try:
    # Read on import: Ray prints what its daemons say of dead workers, in the middle of the display.
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".")
    import ray
    from ray.exceptions import (
        RayError,
        RayTaskError,
        RuntimeEnvSetupError,
        TaskUnschedulableError,
    )
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
except ImportError as missing:
    raise UsageError("--executor ray needs Ray: pip install -e '.[ray]'") from missing

log = logging.getLogger("lottery")

POLL_SECONDS = 0.2
"""Time between two looks into the mailbox."""
LOOK_SECONDS = 10.0
"""Time between two looks at which nodes there are."""


@contextlib.contextmanager
def connected(address: str | None, cluster: ClusterConfig) -> Iterator[list[dict[str, Any]]]:
    """Join the cluster at `address`, or start Ray on this machine; leave or stop it at the end.

    Yields the kinds of nodes and how many there are of each. Raises ConfigError if there is no
    cluster, UsageError if a cell is too large for this machine.
    """
    options: dict[str, Any] = {"address": address}
    if address is None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        options = {"address": "local", "include_dashboard": False, "object_store_memory": 100 << 20}
    with _quiet():
        try:
            _reach(address or "")
            ray.init(**options, log_to_driver=False, configure_logging=False)
        except (OSError, RuntimeError, ValueError, RayError) as error:
            allowed = f'"auto" or "host:port" of a Ray cluster that answers ({_brief(error)})'
            raise ConfigError("ray_address", address, allowed) from error
    try:
        if address is None and not _fits(cluster):
            raise UsageError(_too_large(cluster))
        yield _kinds()
    finally:
        ray.shutdown()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep to itself what Ray logs when it starts."""
    logger = logging.getLogger("ray")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def run_ray(tasks: list[Task], on_event: OnEvent, cluster: ClusterConfig, url: str | None) -> None:
    """Run each cell as a Ray task once its ticket is finished; needs `connected`.

    url: where the results go if the nodes share no folder; else tasks name a folder all nodes see.
    A cell that dies with its node or process is started again up to `cluster.retries` times. When
    this is interrupted, cells are stopped before the exception goes on.
    """
    mailbox = _mailbox()
    work = ray.remote(_work).options(
        num_cpus=cluster.cpus,
        num_gpus=cluster.gpus,
        max_retries=0,
        runtime_env={"env_vars": {"PYTHONPATH": _module_path()}},
    )
    waiting, failed = list(tasks), set[str]()
    running: dict[Any, tuple[Task, int]] = {}
    news, fits = News(), _Fits(cluster)
    cells = {task.cell.name: task.cell for task in tasks}

    def start(task: Task, attempt: int) -> None:
        mailbox.expect.remote(task.cell.name, attempt)
        running[work.remote(task, attempt, mailbox, url)] = (task, attempt)

    def end(event: Event) -> None:
        if event.kind == "failed":
            failed.add(event.cell.name)
        on_event(event)

    try:
        while waiting or running:
            fits.look()
            for task in ready(waiting, [task for task, _ in running.values()]):
                waiting.remove(task)
                if task.cell.needs in failed:
                    end(without_ticket(task))
                else:
                    start(task, attempt=1)
            ended = ray.wait(list(running), timeout=POLL_SECONDS)[0] if running else []
            # After the wait: what an ended cell told is in the mailbox.
            for name, values in ray.get(mailbox.take.remote()):
                for event in news(Event(cells[name], **values)):
                    on_event(event)
            for reference in ended:
                task, attempt = running.pop(reference)
                try:
                    end(ray.get(reference))
                except RayTaskError as error:
                    message = f"{type(error.cause).__name__}: {error.cause}"
                    end(Event(task.cell, "failed", message=message))
                except (RuntimeEnvSetupError, TaskUnschedulableError) as error:
                    end(Event(task.cell, "failed", message=_brief(error)))
                except RayError as error:
                    if attempt > cluster.retries:
                        times = f"{attempt} times (cluster.retries is {cluster.retries})"
                        message = f"its node or process died {times}: {_brief(error)}"
                        end(Event(task.cell, "failed", message=message))
                    else:
                        retry = f"retry {attempt} of {cluster.retries}"
                        log.warning("%s: %s; %s", task.cell.label, _brief(error), retry)
                        start(task, attempt + 1)
    except RayError as error:  # of the mailbox, or the whole cluster
        hint = "the same command goes on from here"
        raise LotteryError(f"the Ray cluster failed: {_brief(error)}; {hint}") from error
    finally:
        with contextlib.suppress(RayError):
            for reference in running:
                ray.cancel(reference, force=True)
            if running:
                ray.wait(list(running), num_returns=len(running), timeout=10)


class News:
    """Passes on of each cell's events what no earlier attempt at it told."""

    def __init__(self) -> None:
        self._reached: dict[str, tuple[int, int]] = {}

    def __call__(self, event: Event) -> list[Event]:
        """The event with the steps that are new, or none if nothing is."""
        level, step = self._reached.get(event.cell.name, (-1, 0))
        ended = event.kind == "level"
        here = (event.level + 1, 0) if ended else (event.level, event.step)
        if here <= (level, step):
            return []
        self._reached[event.cell.name] = here
        new = min(event.trained, event.step - step) if event.level == level else event.trained
        return [event if ended else replace(event, trained=new)]


def _mailbox() -> Any:
    """An actor on this node that keeps what cells tell until the driver takes it."""

    # Defined in here it is sent as it is, and its process need not import this package and torch.
    class Mailbox:
        def __init__(self) -> None:
            self._letters: list[tuple[str, dict[str, Any]]] = []
            self._attempts: dict[str, int] = {}

        def expect(self, cell: str, attempt: int) -> bool:
            """Whether no later attempt than this one is known; earlier ones are out from now on."""
            self._attempts[cell] = max(attempt, self._attempts.get(cell, 0))
            return self._attempts[cell] == attempt

        def tell(self, cell: str, attempt: int, values: dict[str, Any]) -> bool:
            wanted = self.expect(cell, attempt)
            if wanted:
                self._letters.append((cell, values))
            return wanted

        def take(self) -> list[tuple[str, dict[str, Any]]]:
            letters, self._letters = self._letters, []
            return letters

    here = ray.get_runtime_context().get_node_id()
    strategy = NodeAffinitySchedulingStrategy(node_id=here, soft=False)
    return ray.remote(Mailbox).options(num_cpus=0, scheduling_strategy=strategy).remote()


def _work(task: Task, attempt: int, mailbox: Any, url: str | None) -> Event:
    """Body of a Ray task: run the cell, tell the mailbox how it goes, return how it ended."""
    ends = []

    def emit(event: Event) -> None:
        if event.kind in ("done", "failed"):
            ends.append(event)
        elif not heard(event):
            os._exit(1)  # another attempt has taken over, or nobody is left to hear

    def heard(event: Event) -> bool:
        # Plain values, as the mailbox does not know the class.
        values = {name: value for name, value in vars(event).items() if name != "cell"}
        # ray.get would hand this cell's CPUs to another cell while it waits; a future does not.
        told = mailbox.tell.remote(task.cell.name, attempt, values)
        try:
            return told.future().result()
        except RayError:
            return False

    run = run_cell if url is None else partial(run_cell_at, url)
    run(task, emit)
    return ends[0]


class _Fits:
    """Says when no node there is could ever run a cell: Ray itself would wait without a word."""

    def __init__(self, cluster: ClusterConfig) -> None:
        self._cluster = cluster
        self._next_look = 0.0
        self._said = False

    def look(self) -> None:
        if time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + LOOK_SECONDS
        fits = _fits(self._cluster)
        if not fits and not self._said:
            log.warning("%s; waiting for a node that is large enough", _too_large(self._cluster))
        self._said = not fits


def _nodes() -> list[dict[str, float]]:
    """Resources of each node that is alive."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _fits(cluster: ClusterConfig) -> bool:
    return any(
        node.get("CPU", 0) >= cluster.cpus and node.get("GPU", 0) >= cluster.gpus
        for node in _nodes()
    )


def _kinds() -> list[dict[str, Any]]:
    """Nodes by what they have; accelerator is Ray's name of a GPU."""
    kinds: Counter[tuple[float, float, str]] = Counter()
    for node in _nodes():
        models = [name.split(":")[1] for name in node if name.startswith("accelerator_type:")]
        kinds[node.get("CPU", 0.0), node.get("GPU", 0.0), " ".join(models)] += 1
    return [
        {"nodes": count, "cpus": cpus, "gpus": gpus, "accelerator": model or None}
        for (cpus, gpus, model), count in sorted(kinds.items())
    ]


def _too_large(cluster: ClusterConfig) -> str:
    """What a cell needs and what there is."""
    there = [f"{k['nodes']} × {k['cpus']:g} CPUs and {k['gpus']:g} GPUs" for k in _kinds()]
    wanted = f"cluster.cpus is {cluster.cpus:g} and cluster.gpus {cluster.gpus:g}"
    return f"no node can run a cell: {wanted}, and there are {', '.join(there)}"


def _reach(address: str) -> None:
    """Raise OSError unless something listens at host:port; Ray would try on for many minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=10).close()


def _module_path() -> str:
    """Where this process finds modules of its own; what is installed each node has itself."""
    standard, installed = sysconfig.get_path("stdlib"), {"site-packages", "dist-packages"}
    paths = [os.path.abspath(path) for path in sys.path if not path.endswith(".zip")]
    own = [path for path in paths if not installed & set(Path(path).parts)]
    return os.pathsep.join(dict.fromkeys(p for p in own if not p.startswith(standard)))


def _brief(error: Exception) -> str:
    """The first sentence of what Ray says, on one line."""
    return " ".join(str(error).split()).split(". ")[0].rstrip(".")
