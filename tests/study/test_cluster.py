"""A real Ray cluster on this machine: a head that has no room for cells, and two nodes that do."""

import itertools
import logging
import os
import signal
import sys
from collections import Counter, defaultdict
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

os.environ.setdefault("RAY_AUTH_MODE", "disabled")  # else Ray writes a token into the home folder
ray = pytest.importorskip("ray", reason="Ray has no package for this platform")

from ray.cluster_utils import Cluster  # noqa: E402
from ray.exceptions import RayActorError  # noqa: E402

from lottery.errors import ConfigError, UsageError  # noqa: E402
from lottery.study import ClusterConfig, cells, cluster, run_study  # noqa: E402
from lottery.study.cell_store import CellStore  # noqa: E402
from lottery.study.progress import Progress  # noqa: E402
from lottery.study.run import choose_cluster_device  # noqa: E402
from lottery.study.store import TABLES  # noqa: E402
from lottery.study.worker import Event, Task  # noqa: E402
from tests import tiny  # noqa: E402

SMALL = 80 << 20
"""Bytes of object store that Ray asks for at least; cells use none."""


@pytest.fixture(scope="module")
def nodes():
    """The cluster."""
    # A dead node is given up after 2.5 seconds rather than 15.
    soon = {"health_check_period_ms": 500, "health_check_initial_delay_ms": 0}
    head = {"num_cpus": 0, "object_store_memory": SMALL, "include_dashboard": False}
    found = Cluster(initialize_head=True, head_node_args={**head, "_system_config": soon})
    for _ in range(2):
        found.add_node(num_cpus=1, object_store_memory=SMALL)
    yield found
    found.shutdown()


@pytest.fixture
def on_ray(nodes, tmp_path, monkeypatch):
    """Run a study on the cluster. Its processes save a checkpoint at every evaluation."""
    (tmp_path / "sitecustomize.py").write_text(
        "from lottery.study.cell_store import CellStore\nCellStore.__init__.__defaults__ = (0.0,)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(cluster, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(cluster, "LOOK_SECONDS", 0.1)

    def run(config, place, **options):
        options = {"ray_address": nodes.address, "quiet": True, **options}
        return run_study(config, results_dir=place, executor="ray", **options)

    return run


@pytest.fixture
def watched(monkeypatch):
    """Events that progress is told, passed on to `watched.hook` too; and those that were sent."""
    tell, filtered = Progress.event, cluster.News.__call__

    class Watched:
        told, sent = [], []

        def hook(self, event):
            pass

    watched = Watched()
    watched.told, watched.sent = [], []

    def event(progress, event):
        tell(progress, event)
        watched.told.append(event)
        watched.hook(event)

    def news(self, event):
        watched.sent.append(event)
        return filtered(self, event)

    monkeypatch.setattr(Progress, "event", event)
    monkeypatch.setattr(cluster.News, "__call__", news)
    return watched


def slow(**settings):
    """A ticket and a control for each of two seeds, long enough to be hit."""
    return tiny.with_controls(
        **{
            "inits": ["xavier_normal"],
            "controls": replace(tiny.with_controls().controls, dense=False),
            "train": tiny.train(duration="600it", eval_every="20it"),
            **settings,
        }
    )


def assert_same_tables(one, other):
    for name in TABLES:
        read = pd.read_csv if name.endswith("csv") else pd.read_parquet
        left, right = (
            read(Path(folder) / name).drop(columns="seconds", errors="ignore")
            for folder in (one, other)
        )
        assert_frame_equal(left, right, check_exact=True)


def scalars(folder, cell):
    """What TensorBoard shows of a cell's test accuracy."""
    board = EventAccumulator(str(folder / "tensorboard" / cell), size_guidance={"scalars": 0})
    return board.Reload().Scalars("accuracy/test")


def raylet(node):
    """Process that all processes of a node's cells are children of."""
    return node.all_processes["raylet"][0].process.pid


def parent(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def working():
    """Processes that compute a cell."""
    names = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    return [name for name in names if name.startswith(b"ray::_work")]


def test_a_study_whose_node_is_killed_has_the_tables_of_a_local_run(
    on_ray, nodes, watched, tmp_path, caplog
):
    config, folder = slow(), tmp_path / "ray" / "tiny"
    victim = next(iter(nodes.worker_nodes))
    killed = []

    def kill(event):
        """Kill the node of a ticket that is in the middle of its second level."""
        if killed or (event.kind, event.level) != ("evaluation", 1):
            return
        log = max((folder / "tensorboard" / event.cell.name).glob("events.*"))
        process = int(log.name.split(".")[-2])
        if parent(process) == raylet(victim):
            killed.append(event.cell)
            nodes.remove_node(victim, allow_graceful=False)
            os.kill(process, signal.SIGKILL)

    watched.hook = kill
    result = on_ray(config, tmp_path / "ray")
    sent, told = list(watched.sent), list(watched.told)
    nodes.add_node(num_cpus=1, object_store_memory=SMALL)
    assert killed, "no cell ran on the node that was to be killed"
    assert (result.failures, result.computed) == ({}, 4)
    whole = run_study(config, results_dir=tmp_path / "local", workers=0, quiet=True)
    assert_same_tables(folder, whole.folder)
    assert list(result.levels["level"]) == list(whole.levels["level"])

    # The killed cell went on from its checkpoint: it repeats no more than what was not saved yet.
    (cell,) = killed
    retried = [record.message for record in caplog.records if "retry 1 of 3" in record.message]
    assert len(retried) == 1
    assert retried[0].startswith(f"{cell.label}: ")
    places = Counter((e.level, e.step) for e in sent if e.cell == cell and e.kind == "evaluation")
    assert len(places) == 3 * 30
    assert sum(places.values()) <= 3 * 30 + 1

    # Progress: each level once, each step once, each cell's end once.
    counts = Counter((e.cell, e.kind, e.level) for e in told if e.kind != "evaluation")
    assert set(counts.values()) == {1}
    trained = defaultdict(int)
    for event in told:
        trained[event.cell] += event.trained
    assert trained == {c: 600 * len(c.levels) for c in cells(config)}

    # TensorBoard: each evaluation once.
    assert [point.step for point in scalars(folder, cell.name)] == list(range(20, 1801, 20))


def test_a_cell_that_keeps_dying_fails_once_its_retries_are_used_up(nodes, tmp_path):
    config = tiny.with_controls(
        inits=["tests.tiny:killed", "tests.tiny:broken", "xavier_normal"],
        seeds=[0],
        levels=1,
        controls=slow().controls,
        cluster=ClusterConfig(retries=1),
    )
    path = tmp_path / "tiny.yaml"
    path.write_text(tiny.yaml_of(config))
    place = ("--results-dir", tmp_path / "ray", "--ray-address", nodes.address)
    process = tiny.start_grid(path, *place, "--executor", "ray")
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 1, output
    names = {cell.label: cell.name for cell in cells(config)}

    def reason(label):
        told = [line for line in output.splitlines() if f"failed {label}: " in line]
        assert len(told) == 1, output
        return told[0].partition(f"failed {label}: ")[2]

    died = "its node or process died 2 times (cluster.retries is 1): The worker died unexpectedly"
    assert reason("tests.tiny:killed seed 0 ticket").startswith(died)
    ticket = names["tests.tiny:killed seed 0 ticket"]
    assert reason("tests.tiny:killed seed 0 reinit 0") == f"the ticket it needs failed: {ticket}"
    trace = "ValueError: no weights [/for] you today (traceback in "
    assert reason("tests.tiny:broken seed 0 ticket").startswith(trace)
    assert "2 cells computed now" in output
    assert "killed seed 0 ticket: The worker died unexpectedly while exec" in output, "no retry"
    assert "raylet" not in output, "what Ray's daemons say is in the display"


def test_cells_that_fit_on_no_node_wait_for_one_and_say_so(on_ray, nodes, tmp_path):
    config = slow(seeds=[0, 1, 2], levels=0, cluster=ClusterConfig(cpus=50))
    told, added = [], []

    class Grow(logging.Handler):
        def emit(self, record):
            told.append(record.getMessage())
            if len(told) == 1:
                added.append(nodes.add_node(num_cpus=64, object_store_memory=SMALL))

    handler = Grow()
    logging.getLogger("lottery").addHandler(handler)
    try:
        result = on_ray(config, tmp_path / "ray")
    finally:
        logging.getLogger("lottery").removeHandler(handler)
        nodes.remove_node(added[0], allow_graceful=True)
    assert (result.failures, result.computed) == ({}, 3)
    assert told == [
        "no node can run a cell: cluster.cpus is 50 and cluster.gpus 0, and there are "
        "1 × 0 CPUs and 0 GPUs, 2 × 1 CPUs and 0 GPUs; waiting for a node that is large enough"
    ]
    # One at a time. A cell that tells waits for an answer, and Ray gives away what a waiting task
    # occupies, if it waits as tasks usually do.
    points = [scalars(tmp_path / "ray" / "tiny", cell.name) for cell in cells(config)]
    spans = sorted((p[0].wall_time, p[-1].wall_time) for p in points)
    assert all(ends <= begins for (_, ends), (begins, _) in itertools.pairwise(spans))


def test_an_interrupted_study_at_a_url_leaves_nothing_running_and_goes_on_anywhere(
    on_ray, watched, tmp_path
):
    config, url = slow(seeds=[0]), f"file://{tmp_path}/there"

    def interrupt(event):
        if (event.level, event.step) == (1, 200):
            raise KeyboardInterrupt

    watched.hook = interrupt
    with pytest.raises(KeyboardInterrupt):
        on_ray(config, url)
    assert tiny.wait_until(lambda: not working(), seconds=10)
    folder = tmp_path / "there" / "tiny"
    before = {path: path.read_bytes() for path in folder.glob("cells/*/level_*")}
    assert 0 < len(before) < 3
    assert len(pd.read_csv(folder / "levels.csv")) == len(before)
    watched.hook = lambda event: None
    watched.told.clear()
    result = run_study(config, results_dir=url, workers=0, quiet=True)
    told = list(watched.told)
    assert result.failures == {}
    assert result.folder == f"{url}/tiny"
    whole = run_study(config, results_dir=tmp_path / "local", workers=0, quiet=True)
    assert_same_tables(folder, whole.folder)
    assert {path: path.read_bytes() for path in before} == before, "a finished level was replaced"
    first = next(e for e in told if e.kind == "evaluation")
    assert (first.level, first.step) > (1, 160), "it did not go on from its checkpoint"
    for cell in cells(config):
        steps = 600 * len(cell.levels)
        points = [point.step for point in scalars(folder, cell.name)]
        assert points == list(range(20, steps + 1, 20))


def test_ctrl_c_stops_the_ray_that_was_started_here(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(tiny.yaml_of(slow(train=tiny.train(duration="100000it", eval_every="20it"))))
    place = ("--results-dir", tmp_path / "here")
    process = tiny.start_grid(path, "--executor", "ray", *place, path=(tmp_path,))
    logs = (tmp_path / "here").glob
    try:
        assert tiny.wait_until(lambda: list(logs("tiny/tensorboard/*/events.*")))
        os.killpg(process.pid, signal.SIGINT)
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 130, output
        assert "interrupted; to go on from here: python" in output
        assert "Traceback" not in output
        assert tiny.wait_until(lambda: not tiny.alive(process.pid), seconds=20)
    finally:
        for pid in tiny.alive(process.pid):
            os.kill(pid, signal.SIGKILL)


def test_a_machine_too_small_for_a_cell_is_named(tmp_path):
    config = tiny.config(cluster=ClusterConfig(cpus=1e6))
    with pytest.raises(UsageError, match=r"no node can run a cell: cluster\.cpus is 1e"):
        run_study(config, results_dir=tmp_path, executor="ray", quiet=True)
    assert not ray.is_initialized()


@pytest.mark.parametrize("address", ["nobody.invalid:6379", "127.0.0.1:1", "somewhere"])
def test_a_cluster_that_does_not_answer_is_named(address, tmp_path):
    allowed = f'ray_address is \'{address}\'; allowed: "auto" or "host:port" of a Ray cluster'
    with pytest.raises(ConfigError) as error:
        run_study(tiny.config(), results_dir=tmp_path, executor="ray", ray_address=address)
    assert str(error.value).startswith(allowed)
    assert not list(tmp_path.glob("tiny/[!.]*")), "something was written"


def test_a_cluster_that_does_not_answer_costs_no_results(tmp_path):
    config = tiny.config(seeds=[0], inits=["xavier_normal"], levels=0)
    run_study(config, results_dir=tmp_path, workers=0, quiet=True)
    before = (tmp_path / "tiny" / "levels.csv").read_bytes()
    with pytest.raises(ConfigError, match="ray_address is"):
        run_study(
            config, results_dir=tmp_path, executor="ray", ray_address="127.0.0.1:1", fresh=True
        )
    assert (tmp_path / "tiny" / "levels.csv").read_bytes() == before


def test_without_ray_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "lottery.study.cluster")
    monkeypatch.delattr("lottery.study.cluster")
    with pytest.raises(UsageError, match=r"needs Ray: pip install -e '\.\[ray\]'"):
        run_study(tiny.config(), results_dir=tmp_path, executor="ray")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"executor": "slurm"}, "executor is 'slurm'; allowed: local, ray"),
        ({"ray_address": "auto"}, "ray_address is 'auto'; allowed: none without --executor ray"),
        ({"executor": "ray", "workers": 2}, "workers is 2; allowed: none with --executor ray"),
        (
            {"executor": "ray", "device": "cuda"},
            "device is 'cuda'; allowed: auto or cpu, as cluster.gpus is 0",
        ),
        (
            {"executor": "ray", "results_dir": "memory://x"},
            "results_dir is 'memory://x'; allowed: a place that all nodes reach",
        ),
    ],
)
def test_options_that_do_not_go_together_are_named(options, message, tmp_path):
    with pytest.raises(ConfigError) as error:
        run_study(tiny.config(), **{"results_dir": tmp_path, **options})
    assert str(error.value).startswith(message)
    assert list(tmp_path.iterdir()) == []


def test_cells_with_a_share_of_a_gpu_use_it_though_this_machine_has_none():
    assert choose_cluster_device("auto", ClusterConfig(gpus=0.25)) == "cuda"
    assert choose_cluster_device("cuda", ClusterConfig(gpus=1)) == "cuda"
    assert choose_cluster_device("auto", ClusterConfig()) == "cpu"


def test_news_passes_on_each_level_and_step_once():
    cell = cells(tiny.config())[0]
    other = cells(tiny.config())[1]
    news = cluster.News()

    def told(kind, level, step, trained, of=cell):
        return [
            (e.kind, e.level, e.step, e.trained)
            for e in news(Event(of, kind, level, step, trained))
        ]

    def as_is(*event):
        assert told(*event) == [event]

    as_is("evaluation", 0, 8, 8)
    as_is("evaluation", 0, 16, 8)
    as_is("evaluation", 0, 20, 4)
    # Died before the level was saved: from the checkpoint at 8.
    assert told("evaluation", 0, 16, 8) == told("evaluation", 0, 20, 4) == []
    as_is("level", 0, 20, 0)
    as_is("evaluation", 1, 8, 8)
    # Died again, and evaluated elsewhere than before.
    assert told("level", 0, 20, 0) == told("evaluation", 1, 5, 5) == []
    assert told("evaluation", 1, 10, 5) == [("evaluation", 1, 10, 2)]
    as_is("level", 1, 20, 0)
    as_is("evaluation", 3, 8, 8)  # a control's levels may leave some out
    assert told("evaluation", 0, 8, 8, of=other) == [("evaluation", 0, 8, 8)]


def test_the_mailbox_hears_only_the_latest_attempt_at_a_cell(nodes):
    with cluster.connected(nodes.address, ClusterConfig()):
        mailbox = cluster._mailbox()
        one, two, other = {"step": 1}, {"step": 2}, {"step": 3}
        assert ray.get(mailbox.tell.remote("a", 1, one))
        mailbox.expect.remote("a", 2)
        assert not ray.get(mailbox.tell.remote("a", 1, {"step": 0}))
        assert ray.get(mailbox.tell.remote("a", 2, two))
        assert ray.get(mailbox.tell.remote("b", 1, other))
        assert ray.get(mailbox.take.remote()) == [("a", one), ("a", two), ("b", other)]
        assert ray.get(mailbox.take.remote()) == []


def test_a_process_that_is_not_heard_any_more_ends_before_it_saves(tmp_path, monkeypatch):
    class Ended(BaseException):
        pass

    def end(status):
        raise Ended

    def mailbox(settle):
        answer = Future()
        settle(answer)
        letter = SimpleNamespace(future=lambda: answer)
        return SimpleNamespace(tell=SimpleNamespace(remote=lambda *_: letter))

    config = tiny.config(inits=["xavier_normal"], seeds=[0])
    task = Task(config, cells(config)[0], tmp_path, None, "cpu")
    monkeypatch.setattr(os, "_exit", end)
    monkeypatch.setattr(CellStore.__init__, "__defaults__", (0.0,))
    for settle in (lambda a: a.set_result(False), lambda a: a.set_exception(RayActorError())):
        with pytest.raises(Ended):
            cluster._work(task, 1, mailbox(settle), None)
    assert not list(tmp_path.glob("tiny/cells/*/*"))


def test_the_path_of_modules_leaves_out_what_is_installed(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    installed = [path for path in sys.path if "site-packages" in path or path.endswith(".zip")]
    monkeypatch.setattr(sys, "path", ["", "/mine", *installed, os.path.dirname(os.__file__)])
    assert cluster._module_path() == os.pathsep.join([str(tmp_path), "/mine"])
