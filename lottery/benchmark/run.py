"""The whole benchmark: its parts one after the other, in one process, on one machine."""

import dataclasses
import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lottery.benchmark import report
from lottery.benchmark.convolutions import measure_options
from lottery.benchmark.grid import measure_grid
from lottery.benchmark.kernels import measure_kernels
from lottery.benchmark.layers import linear_shapes
from lottery.benchmark.steps import cases, count_emptied, measure_steps, usable_engines
from lottery.benchmark.study import USUAL, measure_study
from lottery.costs.timing import OtherLoad
from lottery.data.images import Dataset, load, split
from lottery.models import build
from lottery.pruning.masks import Masks
from lottery.study.config import StudyConfig
from lottery.study.run import choose_workers
from lottery.study.worker import repeatable
from lottery.training.config import to_steps

PARTS = ("step", "study", "grid")
MORE_LAYERS = ("conv2", "conv4")
"""Networks whose linear layers are timed besides those of the networks whose steps are."""


@dataclass(frozen=True, kw_only=True)
class Amount:
    """How much is measured."""

    densities: tuple[float, ...] = (1.0, 0.5, 0.2, 0.1, 0.05, 0.036, 0.02, 0.01)
    """Weights remaining at which steps are timed."""
    kernel_densities: tuple[float, ...] = (0.5, 0.4, 0.3, 0.25, 0.2, 0.15, 0.1, 0.05)
    """Densities at which single layers are timed."""
    rounds: int = 3
    """Repetitions of each step's timing; three times as many for networks without convolutions."""
    steps: int | None = None
    """Steps in a row that one repetition takes; as many as between two evaluations by default."""
    conv_steps: int = 5
    """The same for networks with convolutions."""
    levels: int = 20
    """Prunings of a whole cell."""
    usual_levels: int = 3
    """Levels that are run of it in the usual way."""
    study_repeats: int = 3
    grid_repeats: int = 3
    replicas: tuple[int, ...] = (1,)
    """Sizes of the stacked engine's stacks whose step is timed."""
    study_replicas: int = 1
    """Cells that the stacked engine runs as one."""


QUICK = Amount(
    densities=(1.0, 0.1, 0.02),
    kernel_densities=(0.3, 0.15, 0.05),
    rounds=1,
    steps=100,
    conv_steps=1,
    levels=2,
    usual_levels=1,
    study_repeats=1,
    grid_repeats=1,
)


@dataclass(frozen=True, kw_only=True)
class Subjects:
    """The studies that are measured."""

    step: tuple[StudyConfig, ...]
    """Their networks, data and training."""
    study: StudyConfig
    grid: StudyConfig

    def quick(self) -> "Subjects":
        """The same with levels of 200 steps, and a grid of two cells and two levels."""

        def short(config: StudyConfig, **settings: Any) -> StudyConfig:
            train = dataclasses.replace(config.train, duration="200it", eval_every="100it")
            return dataclasses.replace(config, train=train, **settings)

        grid = short(self.grid, inits=self.grid.inits[:2], seeds=self.grid.seeds[:1], levels=1)
        return Subjects(step=self.step, study=short(self.study), grid=grid)


def run_benchmark(
    parts: tuple[str, ...],
    subjects: Subjects,
    amount: Amount,
    *,
    device: str,
    engines: list[str] | None,
    data_dir: str | Path | None,
    settings: dict[str, Any],
    keep: Callable[[dict[str, Any]], None],
) -> dict[str, Any]:
    """Measure the parts and give all that was found; `keep` is called with it after each.

    engines: those to measure, all that can run the network by default. settings: for the record.
    """

    @functools.cache
    def dataset(name: str) -> Dataset:
        return load(name, data_dir).to(device)

    first = {"step": subjects.step[0], "study": subjects.study, "grid": subjects.grid}[parts[0]]
    workers = choose_workers(None, device)
    machine = report.describe_machine(device, workers, dataset(first.data).sha256)
    found: dict[str, Any] = {"machine": machine, "settings": settings}
    started = time.perf_counter()
    for part in (part for part in PARTS if part in parts):
        others = OtherLoad()
        if part == "step":
            with repeatable(device):
                found["step"] = _step(subjects, amount, dataset, device, engines)
        elif part == "study":
            found["study"] = measure_study(
                subjects.study,
                dataset(subjects.study.data),
                usable_engines(subjects.study, device, engines),
                levels=amount.levels,
                usual_levels=amount.usual_levels,
                repeats=amount.study_repeats,
                replicas=amount.study_replicas,
            )
        else:  # whose processes count as others here
            found["grid"] = measure_grid(subjects.grid, data_dir, device, amount.grid_repeats)
        if part != "grid":
            found[part]["others_busy_cores"] = others()
        _compare_with_usual(found)
        found["seconds"] = time.perf_counter() - started
        keep(found)
    return found


def _step(
    subjects: Subjects,
    amount: Amount,
    dataset: Callable[[str], Dataset],
    device: str,
    engines: list[str] | None,
) -> dict[str, Any]:
    found: dict[str, Any] = {"batch": {}, "rows": [], "kernels": [], "options": [], "emptied": []}
    for config in subjects.step:
        data = split(dataset(config.data), config.validation, seed=0, stratified=config.stratified)
        steps, rounds = amount.conv_steps, amount.rounds
        convolutional = any(mask.dim() > 2 for mask in Masks.ones(build(config.model)).values())
        if not convolutional:
            per_epoch = len(data.train) // config.train.batch_size
            every = to_steps("train.eval_every", config.train.eval_every, per_epoch)
            steps, rounds = amount.steps or every, 3 * amount.rounds
        names = usable_engines(config, device, engines)
        todo = cases(names, list(amount.densities), list(amount.replicas))
        found["batch"][config.model] = config.train.batch_size
        found["rows"] += measure_steps(config, data, todo, steps, rounds)
        if convolutional:
            found["options"] += measure_options(config, data, steps, rounds)
            found["emptied"] += count_emptied(config, list(amount.densities))
    if device == "cpu":
        networks = dict.fromkeys([*(config.model for config in subjects.step), *MORE_LAYERS])
        found["kernels"] = measure_kernels(
            linear_shapes(networks),
            amount.kernel_densities,
            subjects.step[0].train.batch_size,
            3 * amount.rounds,
        )
    return found


def _compare_with_usual(found: dict[str, Any]) -> None:
    """Put the grid's speed in multiples of the usual way's, where both were measured."""
    if "study" in found and "grid" in found:
        (usual,) = (row for row in found["study"]["rows"] if row["engine"] == USUAL)
        for row in found["grid"]["rows"]:
            ratio = row["steps_per_second"] / usual["steps_per_second"]
            row["speed_up_over_usual"] = ratio
