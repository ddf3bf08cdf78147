"""The command-line program that runs studies of detectors, and measures what they come to."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from jsonargparse import ArgumentParser, Namespace
from rich.table import Table

from lottery.analysis.columns import ALL
from lottery.analysis.statistics import FEWEST, mean_interval
from lottery.data.detection import problems
from lottery.data.images import Examples, load
from lottery.data.sources import data_dir
from lottery.errors import ConfigError
from lottery.study.config import StudyConfig
from lottery.study.detectors import measure_detectors, objective_of
from lottery.study.program import Program, console, of_variant, show_place
from lottery.study.run import StudyResult
from lottery.words import plural


@dataclass(frozen=True)
class DetectorProgram(Program):
    """A program for studies on pictures with boxes."""

    families: Sequence[str] = ("detector-",)

    def make_parser(self) -> ArgumentParser:  # noqa: D102 (as declared)
        parser = super().make_parser()
        detectors = parser.add_argument_group("Detectors")
        detectors.add_argument(
            "--detector",
            type=str | None,
            metavar="STUDY",
            help="prune the unpruned detectors of this earlier study, by name or folder: start",
        )
        detectors.add_argument(
            "--check-data",
            action="store_true",
            help="only list all that is wrong with the study's pictures and boxes; exit status 0 "
            "if nothing is",
        )
        return parser

    def run(self, arguments: Namespace, config: StudyConfig) -> int:  # noqa: D102
        if arguments.detector is not None:
            config = dataclasses.replace(config, start=arguments.detector)
        if arguments.check_data:
            return self._check_data(arguments, config)
        if "://" in arguments.results_dir:
            allowed = "a folder, as detectors are measured where their networks lie"
            raise ConfigError("results_dir", arguments.results_dir, allowed)
        if not arguments.dry_run:  # which loads no data
            objective_of(load(config.data, arguments.data_dir), config.data)
        return super().run(arguments, config)

    def _check_data(self, arguments: Namespace, config: StudyConfig) -> int:
        found = problems(config.data, data_dir(arguments.data_dir))
        if not found:
            data = load(config.data, arguments.data_dir)
            objective = objective_of(data, config.data)
            for part, examples in (("train", data.train), ("val", data.val), ("test", data.test)):
                if examples is not None:
                    print(f"{part}: {_contents(examples, objective.names)}")
        for problem in found:
            print(problem)
        console.print(
            f"{config.data}: {len(found) or 'no'} problem{'' if len(found) == 1 else 's'}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
        return 1 if found else 0

    def finish(  # noqa: D102
        self, arguments: Namespace, config: StudyConfig, result: StudyResult
    ) -> None:
        if len(result.levels):
            place = arguments.results_dir, arguments.data_dir, arguments.device
            show_detectors(config, measure_detectors(config, *place))
        show_place(config, result)


def _contents(examples: Examples, names: Sequence[str]) -> str:
    """How many pictures there are, and boxes of each class."""
    labels = examples.labels[..., 0]
    each = ", ".join(f"{name} {int((labels == n).sum()):,}" for n, name in enumerate(names))
    return f"{plural(len(examples), 'picture')}; boxes: {each}"


def show_detectors(config: StudyConfig, table: pd.DataFrame) -> None:
    """Average precision, size and latency of the detectors, by variant, scheme and level."""
    whole = table[(table["class"] == ALL) & table["seed"].isin(config.seeds)]
    for variant in config.variant_names:
        for init in config.inits:
            rows = whole[(whole["variant"] == variant) & (whole["init"] == init)]
            if not rows.empty:
                console.print(_table(f"{of_variant(variant)}{init}", rows))


def _table(title: str, rows: pd.DataFrame) -> Table:
    table = Table(
        title=f"{title}: mean average precision at an IoU of ½ in %, mean ± half the 95 % interval "
        f"over n seeds, of fewer than {FEWEST} each; latency of a picture on one thread",
        title_justify="left",
    )
    columns = ("level", "AP (area)", "AP (11 points)", "parameters M", "MACs M", "latency ms", "n")
    for column in columns:
        table.add_column(column, justify="right")
    for level, found in rows.groupby("level"):
        sizes = found[["parameters", "macs"]].astype(float).mean()
        table.add_row(
            str(level),
            *(_percent(found[rule]) for rule in ("ap_area", "ap_11")),
            *(f"{size / 1e6:.3g}" for size in sizes),
            f"{found['latency_ms'].mean():.2f}",
            str(len(found)),
        )
    return table


def _percent(values: pd.Series) -> str:
    if len(values) < FEWEST:
        return ", ".join(f"{100 * value:.2f}" for value in values)
    found = mean_interval(values)
    return f"{100 * found.mean:.2f} ± {100 * (found.high - found.mean):.2f}"
