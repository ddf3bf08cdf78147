"""The command-line programs that run studies: parse, plan, run, and show what came out."""

import dataclasses
import logging
import math
import shlex
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from jsonargparse import ArgumentParser, Namespace
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lottery.analysis.statistics import summary
from lottery.data.sources import data_dir
from lottery.errors import ConfigError, LotteryError, UsageError
from lottery.study import grid
from lottery.study.command_line import parse_study, study_parser
from lottery.study.config import BASE, StudyConfig
from lottery.study.plan import Plan, plan_study
from lottery.study.progress import clock
from lottery.study.run import StudyResult, check, run_study
from lottery.study.start import check_alike
from lottery.study.store import StudyStore
from lottery.words import plural

console = Console()


@dataclass(frozen=True)
class Program:
    """A program that runs any study, and ships with some.

    Where a study prunes the networks of another one that ships too and only trains these (`start`),
    that one is run first.
    """

    name: str
    """Of its file, for messages."""
    description: str
    configs: Path
    """Folder of the shipped studies' YAML files."""
    default: str
    """The study that is run if none is named."""
    families: Sequence[str] = ("",)
    """How the names of the studies begin that help lists; by default it lists them all."""

    def make_parser(self) -> ArgumentParser:
        """Every field of a study's configuration, and how to run it."""
        parser = study_parser(
            self.name, self.description, self.configs, self.default, self.families
        )
        run = parser.add_argument_group("How to run")
        run.add_argument(
            "--workers",
            type=int | None,
            help="processes at once, one thread each; by default one per core; 0: in this process",
        )
        run.add_argument("--device", default="auto", help="auto, cpu or cuda")
        run.add_argument(
            "--executor",
            default="local",
            help="local, or ray: each cell on a cluster's next free node",
        )
        run.add_argument(
            "--ray-address",
            type=str | None,
            help="Ray cluster: auto, or HOST:PORT of its head; by default one is started on this "
            "machine",
        )
        run.add_argument(
            "--results-dir",
            default="results",
            help="tables go to RESULTS_DIR/<study>/; a folder or a URL, such as s3://bucket/results",
        )
        run.add_argument(
            "--data-dir", type=str | None, help="cached data sets; else $LOTTERY_DATA, else data/"
        )
        run.add_argument("--dry-run", action="store_true", help="only say what would be run, here")
        run.add_argument("--fresh", action="store_true", help="discard the study's results first")
        return parser

    def main(self, argv: list[str]) -> int:
        """Exit status: 0 all cells finished, 1 some failed, 2 bad arguments, 130 interrupted."""
        logging.basicConfig(format="%(message)s", level=logging.WARNING)
        logging.getLogger("lottery").setLevel(logging.INFO)
        sys.path.append(str(Path.cwd()))  # where module:function of one's own may lie
        try:
            arguments, config = parse_study(self.make_parser(), argv, self.configs, self.families)
            return self.run(arguments, config)
        except UsageError as error:
            return self.complain(str(error), 2)
        except LotteryError as error:
            return self.complain(str(error), 1)
        except OSError as error:
            return self.complain(f"{type(error).__name__}: {error}", 1)
        except KeyboardInterrupt:
            command = shlex.join(["python", sys.argv[0], *(a for a in argv if a != "--fresh")])
            return self.complain(f"interrupted; to go on from here: {command}", 130)

    def run(self, arguments: Namespace, config: StudyConfig) -> int:
        """Do what is asked for; the exit status, if nothing is raised."""
        first = self._first(arguments, config)
        if first is not None:
            store = StudyStore(arguments.results_dir, first.name)
            # Tables of a clone have their rows, but networks are not committed.
            missing = store.unfinished(grid.cells(first), networks=True)
            if missing:  # so that nothing is trained to no purpose
                check(config, data_dir(arguments.data_dir))
            asked = arguments.clone()
            asked.fresh = False
            status = self._study(asked, first, networks=True)
            if arguments.dry_run and missing:
                console.print(f"{config.name} prunes these networks; see its plan once they exist")
                return status
            if status:
                return status
        return self._study(arguments, config)

    def _first(self, arguments: Namespace, config: StudyConfig) -> StudyConfig | None:
        """The shipped study of the networks that are to be pruned, of their schemes and seeds.

        None if none are left to prune. Raises ConfigError, before they are trained, if they are of
        another network or other data.
        """
        if config.start is None or not (self.configs / f"{config.start}.yaml").is_file():
            return None
        _, first = parse_study(self.make_parser(), [config.start], self.configs, self.families)
        if first.levels:
            return None
        if "://" in arguments.results_dir:
            raise ConfigError("start", config.start, "none where results go to a URL")
        check_alike(config, first)
        todo = grid.cells(config)
        if not arguments.fresh:
            todo = StudyStore(arguments.results_dir, config.name).unfinished(todo)
        inits, seeds = {cell.init for cell in todo}, {cell.seed for cell in todo}
        return (
            dataclasses.replace(
                first,
                inits=[init for init in config.inits if init in inits],
                seeds=[seed for seed in config.seeds if seed in seeds],
            )
            if todo
            else None
        )

    def _study(self, arguments: Namespace, config: StudyConfig, *, networks: bool = False) -> int:
        """Run one study, or plan it; the exit status. networks: as in `run_study`."""
        place = {
            "results_dir": arguments.results_dir,
            "data_dir": arguments.data_dir,
            "workers": arguments.workers,
            "device": arguments.device,
        }
        if arguments.dry_run:
            asked = {"fresh": arguments.fresh, "networks": networks}
            show_plan(config, plan_study(config, **asked, **place))
            return 0
        where = {"executor": arguments.executor, "ray_address": arguments.ray_address}
        result = run_study(config, fresh=arguments.fresh, networks=networks, **place, **where)
        self.finish(arguments, config, result)
        if not result.failures:
            return 0
        failed = plural(len(result.failures), "cell")
        again = "once that is mended, the same command tries again"
        return self.complain(f"{failed} failed as said above; {again}", 1)

    def finish(self, arguments: Namespace, config: StudyConfig, result: StudyResult) -> None:
        """Show what came out of a run."""
        show_result(config, result)
        show_place(config, result)

    def complain(self, message: str, status: int) -> int:
        """Say it on standard error; the status."""
        print(f"{self.name}: {message}", file=sys.stderr)
        return status


def show_plan(config: StudyConfig, plan: Plan) -> None:
    """What a run would do."""
    _say(f"{config.name}: {config.model} on {config.data}")
    table = Table()
    for heading in ("variant", "branch")[not config.variants :]:
        table.add_column(heading, overflow="fold")
    for heading in ("cells", "to run"):
        table.add_column(heading, justify="right")
    cells = Counter((cell.variant, cell.branch) for cell in plan.cells)
    unfinished = Counter((cell.variant, cell.branch) for cell in plan.unfinished)
    for place in sorted(cells, key=lambda place: config.variant_names.index(place[0])):
        names = place[not config.variants :]
        table.add_row(*map(escape, names), str(cells[place]), str(unfinished[place]))
    console.print(table)
    _say(
        f"{plural(len(config.inits), 'scheme')}: {', '.join(config.inits)}; seeds {config.seeds}\n"
        + "".join(
            f"{of_variant(name)}levels 0 to {config.levels}, {plural(steps, 'step')} and "
            f"{plural(plan.evaluations_per_level[name], 'evaluation')} each\n"
            for name, steps in plan.steps_per_level.items()
        )
        + f"{plural(plan.levels, 'level')} to train: {plural(plan.steps, 'step')}, about "
        f"{clock(plan.seconds)} with {plan.workers} at once"
    )


def show_result(config: StudyConfig, result: StudyResult) -> None:
    """Test accuracy of the tickets by scheme and what is left."""
    for variant in config.variant_names if len(result.levels) else ():
        means = summary(result.levels[result.levels["variant"] == variant])
        tickets = means[means["branch"] == "ticket"]
        if tickets.empty:
            continue
        same_n = tickets["n"].nunique() == 1
        n = tickets["n"].iloc[0]
        seeds = f"n = {n} seeds" if same_n else "(n) seeds"
        interval = f"mean ± half the 95 % interval over {seeds}"
        told = "n = 1 seed" if same_n and n == 1 else interval
        _say(f"{of_variant(variant)}Test accuracy of tickets in %, {told}")
        table = Table()
        sizes = _sizes(result.levels, variant)
        left = ["weights\nremaining"] if sizes.empty else ["parameters\nleft", *sizes.columns]
        for heading in (*left, *config.inits):
            table.add_column(heading, justify="right", overflow="fold")
        for level, rows in tickets.groupby("level"):
            by_init = {row.init: row for row in rows.itertuples()}
            cells = [_accuracy(by_init.get(init), same_n) for init in config.inits]
            size = [] if sizes.empty else [f"{mean:,.0f}" for mean in sizes.loc[level]]
            table.add_row(f"{rows['weights_remaining'].mean():.2%}", *size, *cells)
        console.print(table)


def show_place(config: StudyConfig, result: StudyResult) -> None:
    """Where everything is, and what to do next."""
    folder = shlex.quote(str(result.folder))
    study = shlex.quote(config.name)
    text = f"{plural(result.computed, 'cell')} computed now. "
    if result.levels.empty:
        text += f"No level is finished, so there are no tables. Settings and manifest: {folder}"
    else:
        text += f"Tables and manifest: {folder}"
    if isinstance(result.folder, Path) and not result.levels.empty:
        text += (
            f"\nNext:  python experiments/make_figures.py {study}{_results_flag(result.folder)}\n"
            f"       tensorboard --logdir {folder}/tensorboard"
        )
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _say(text: str) -> None:
    """Lines broken between words."""
    console.print(text, markup=False, highlight=False)


def _sizes(levels: pd.DataFrame, variant: str) -> pd.DataFrame:
    """Mean parameters and MACs of tickets by level, where whole filters are pruned; else empty."""
    columns = ["parameters", "macs"]
    tickets = levels[(levels["variant"] == variant) & (levels["branch"] == "ticket")]
    sizes = tickets.reindex(columns=["level", *columns])
    sizes = sizes.apply(pd.to_numeric, errors="coerce").dropna()  # text, where some have none
    return sizes.groupby("level")[columns].mean().rename(columns={"macs": "MACs"})


def of_variant(variant: str) -> str:
    """How a variant is named before what is said of it."""
    return "" if variant == BASE else f"{variant}: "


def _accuracy(row: Any, same_n: bool) -> str:
    if row is None:
        return "–"
    half = 100 * (row.high - row.mean)
    interval = "" if math.isnan(half) else f" ± {half:.2f}"
    return f"{100 * row.mean:.2f}{interval}" + ("" if same_n else f" ({row.n})")


def _results_flag(folder: Path) -> str:
    parent = str(folder.parent)
    return "" if parent == "results" else f" --results-dir {shlex.quote(parent)}"
