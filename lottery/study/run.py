"""Running a whole study: plan, execute, tabulate."""

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from lottery.data.images import Dataset, Splits, load, split
from lottery.data.multiscale import resize
from lottery.data.sources import data_dir as default_data_dir
from lottery.errors import ConfigError, LotteryError, in_a_line
from lottery.init import SCHEMES, NetworkDraw, is_network_scheme
from lottery.models import build
from lottery.pruning.masks import Masks
from lottery.study.config import ClusterConfig, StudyConfig
from lottery.study.executors import Execute, run_here, run_local
from lottery.study.grid import TICKET, cells, once
from lottery.study.manifest import describe_run
from lottery.study.progress import Progress
from lottery.study.remote import LEVELS, Results, opened
from lottery.study.start import take_unpruned
from lottery.study.store import StudyStore
from lottery.study.worker import Event, Task
from lottery.tickets.imp import rehearse, step_to_rewind_to
from lottery.training.engines import choose_engine
from lottery.training.level import LevelTrainer
from lottery.training.procedures import NONE


@dataclass(frozen=True)
class StudyResult:
    """What a run of a study left."""

    folder: Path | str
    """Where the tables are; a URL if the results went to one."""
    levels: pd.DataFrame
    """Rows of levels.csv for the cells and levels that were asked for."""
    failures: dict[str, str]
    """Reason by cell that failed."""
    computed: int
    """Cells that this run finished; the others were finished before."""


def choose_device(name: str) -> str:
    """cpu or cuda; "auto" takes the GPU if there is one."""
    if name not in ("auto", "cpu", "cuda"):
        raise ConfigError("device", name, "auto, cpu, cuda")
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise ConfigError("device", name, "auto or cpu: PyTorch sees no GPU here")
    return "cuda" if available and name != "cpu" else "cpu"


def choose_cluster_device(name: str, cluster: ClusterConfig) -> str:
    """cpu or cuda, as cells on a cluster have a share of a GPU or not; none is needed here."""
    device = "cuda" if cluster.gpus else "cpu"
    if name not in ("auto", device):
        raise ConfigError("device", name, f"auto or {device}, as cluster.gpus is {cluster.gpus:g}")
    return device


def choose_workers(workers: int | None, device: str) -> int:
    """Processes at once: `workers`, by default one per core; 0, this process, on a GPU."""
    if workers is not None and workers < 0:
        raise ConfigError("workers", workers, "at least 0")
    if device == "cuda":
        return 0
    return (os.cpu_count() or 1) if workers is None else workers


def run_study(
    config: StudyConfig,
    *,
    results_dir: str | Path = "results",
    data_dir: str | Path | None = None,
    workers: int | None = None,
    device: str = "auto",
    executor: str = "local",
    ray_address: str | None = None,
    fresh: bool = False,
    networks: bool = False,
    quiet: bool = False,
) -> StudyResult:
    """Run the cells of a study that are not finished yet, and write its tables.

    results_dir: a folder, or a URL that fsspec can open. workers: processes at once, by default one
    per core; 0 runs in this process, as a GPU always does. executor: local, or ray for the cluster
    at ray_address ("auto", "host:port", or None: Ray is started on this machine), where
    config.cluster takes the place of workers and device. fresh: discard what is there first.
    networks: cells of which this disk has rows in tables, but no networks, are run again, as those
    of a clone. quiet: no progress display.
    An interruption loses of each running cell at most half a minute and the time between two
    evaluations (two such times at a URL); the same call goes on from there.
    """
    on_cluster = _check_executor(executor, ray_address, workers, results_dir)
    if on_cluster:
        device = choose_cluster_device(device, config.cluster)
    else:
        device = choose_device(device)
        workers = choose_workers(workers, device)
    place = default_data_dir(data_dir)
    dataset, steps = check(config, place)
    grid = cells(config)
    failures: dict[str, str] = {}
    with contextlib.ExitStack() as stack:
        results = stack.enter_context(opened(results_dir, config.name))
        run_there: Execute | None = None
        nodes: list[dict[str, Any]] = []
        if on_cluster:  # before anything is discarded, as there may be no cluster
            cluster = _on_cluster(config.cluster, ray_address, results)
            nodes, run_there = stack.enter_context(cluster)
        store = StudyStore(results.folder, config.name)
        if fresh:
            results.clear()
        stack.enter_context(store.open(config, fresh=fresh))
        if results.url is not None:  # cells whose rows are in the tables need no files here
            names = [cell.name for cell in store.unfinished(grid, networks=networks)]
            results.pull_cells(names, LEVELS if on_cluster else "*")
        todo = store.unfinished(grid, networks=networks)
        if config.start is not None and results.url is not None:
            raise ConfigError("start", config.start, "none where results go to a URL")
        take_unpruned(config, todo, results.folder)
        if config.diagnostics.record and (todo or store.lacks_rows(config, grid)):
            tickets = [cell for cell in cells(store.joined(config)) if cell.branch == TICKET]
            results.pull_cells([cell.name for cell in tickets], LEVELS)  # their masks are compared
        run = describe_run(device, workers, dataset.sha256)
        if on_cluster:
            run |= {"executor": executor, "nodes": nodes}
        if todo:
            store.write_config(config)
            store.add_run(config.name, run)
            results.push_tables()
        folders = results.folder.absolute(), place.absolute()
        tasks = [Task(config.variant(cell.variant), cell, *folders, device) for cell in todo]
        started = time.perf_counter()
        ended: list[str] = []
        try:
            metric = dataset.train.objective.metric
            with Progress(once(grid), todo, steps, metric=metric, quiet=quiet) as progress:

                def note(event: Event) -> None:
                    if not on_cluster:
                        event = results.push(event)
                    progress.event(event)
                    if event.kind == "failed":
                        failures[event.cell.name] = event.message
                    elif event.kind == "done":
                        ended.append(event.cell.name)

                if run_there is not None:
                    run_there(tasks, note)
                elif workers:
                    run_local(tasks, workers, note)
                else:
                    run_here(tasks, note)
        finally:
            if on_cluster:
                results.pull_cells([task.cell.name for task in tasks], LEVELS)
            else:  # an interruption may come between a level and its event
                for task in tasks:
                    results.push(Event(task.cell, "done"))
            if tasks or store.lacks_rows(config, grid):
                store.write_tables(config)
            if tasks:
                seconds = round(time.perf_counter() - started, 1)
                counts = {"cells_computed": len(ended), "cells_failed": len(failures)}
                store.end_run({"seconds": seconds, **counts})
            results.push_tables()
        return StudyResult(results.place, store.rows(grid), failures, len(ended))


def _check_executor(
    executor: str, address: str | None, workers: int | None, results_dir: str | Path
) -> bool:
    """Whether cells run on a cluster; ConfigError for what does not go together."""
    if executor not in ("local", "ray"):
        raise ConfigError("executor", executor, "local, ray")
    if executor == "local":
        if address is not None:
            raise ConfigError("ray_address", address, "none without --executor ray")
        return False
    if workers is not None:
        allowed = "none with --executor ray, where cluster.cpus and cluster.gpus decide"
        raise ConfigError("workers", workers, allowed)
    if str(results_dir).startswith("memory://"):
        raise ConfigError("results_dir", str(results_dir), "a place that all nodes reach")
    return True


@contextlib.contextmanager
def _on_cluster(
    config: ClusterConfig, address: str | None, results: Results
) -> Iterator[tuple[list[dict[str, Any]], Execute]]:
    """The kinds of nodes of a cluster, and how to run cells there."""
    from lottery.study import cluster  # Ray is an extra

    with cluster.connected(address, config) as nodes:
        yield nodes, partial(cluster.run_ray, cluster=config, url=results.url)


def check(config: StudyConfig, data_dir: Path) -> tuple[Dataset, dict[str, int]]:
    """Load the data and check what depends on it; the data set and each variant's steps a level."""
    dataset = _load(config, data_dir)
    data = split(dataset, config.validation, seed=config.seeds[0], stratified=config.stratified)
    steps: dict[str, int] = {}
    tried: set[tuple[str, str]] = set()
    for name in config.variant_names:
        variant = config.variant(name)
        trainer = LevelTrainer(data, variant.train, variant.seeds[0], variant.engine)
        step_to_rewind_to(variant.rewind, trainer)
        _try_model(variant, data)
        _try_pruning(variant, data)
        _try_schemes(variant, data, tried)
        steps[name] = trainer.last_step
    return dataset, steps


def _try_schemes(config: StudyConfig, data: Splits, tried: set[tuple[str, str]]) -> None:
    """Draw the network by each scheme that needs a whole one; twice with a function of one's own.

    tried: networks and schemes that need not be tried again; added to.
    """
    specs = [("inits", spec) for spec in config.inits]
    if config.rewind.init is not None:
        specs.append(("rewind.init", config.rewind.init))
    for setting, spec in specs:
        if (config.model, spec) in tried or not is_network_scheme(SCHEMES.resolve(spec)):
            continue
        tried.add((config.model, spec))
        model, seed = build(config.model, config.seeds[0]), config.seeds[0]
        draw = NetworkDraw(model, seed, examples=data.train, seeds=tuple(config.seeds))
        own = ":" in spec  # of which nothing is known; those that come with it take their time
        try:
            (draw.try_twice if own else draw.weights)(spec)
        except LotteryError:
            raise
        except Exception as error:
            allowed = f"a scheme for this network and data ({type(error).__name__}: {error})"
            raise ConfigError(setting, spec, allowed) from error


def _load(config: StudyConfig, data_dir: Path) -> Dataset:
    try:
        return load(config.data, data_dir)
    except LotteryError:
        raise
    except Exception as error:  # a function of one's own may fail in any way
        reason = f"a data set that can be loaded ({type(error).__name__}: {error})"
        raise ConfigError("data", config.data, reason) from error


def _try_pruning(config: StudyConfig, data: Splits) -> None:
    """Begin the first pruned level, so that what does not fit is found before any training."""
    if not config.levels:
        return
    prune, seed = config.prune, config.seeds[0]
    try:
        rehearse(
            build(config.model, seed), data,
            train=config.train, prune=prune, rewind=config.rewind, seed=seed,
        )  # fmt: skip
    except LotteryError:
        raise
    except Exception as error:  # a function of one's own may fail in any way
        tried = f"criterion {prune.criterion}, during {prune.during}"
        allowed = f"settings for this network and data ({type(error).__name__}: {error})"
        raise ConfigError("prune", tried, allowed) from error


def _try_model(config: StudyConfig, data: Splits) -> None:
    """Show the network a few images, so that one that does not fit is found before training."""
    images, _ = data.val.batch(slice(0, 2))
    classes = data.classes
    try:
        model = build(config.model)
        masks = Masks.ones(model)
        with torch.no_grad():
            data.val.objective.check(model.eval()(images), classes, images)
        during = config.prune.during != NONE
        choose_engine(config.engine, model, masks, config.train, data.val, procedure=during)
    except LotteryError:
        raise
    except Exception as error:
        reason = f"a network from {tuple(images.shape[1:])} inputs to {classes} classes ({error})"
        raise ConfigError("model", config.model, reason) from error
    for size in config.train.sizes or ():
        try:
            with torch.no_grad():
                shown = resize(images, size)
                data.val.objective.check(model(shown), classes, shown)
        except Exception as error:
            reason = f"sides that {config.model} takes, which {size} is not ({in_a_line(error)})"
            raise ConfigError("train.sizes", config.train.sizes, reason) from error
