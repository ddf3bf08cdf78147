"""Run a study: train, prune and rewind every cell of its grid, then write tables.

  python experiments/run_grid.py                      the study lenet-quick
  python experiments/run_grid.py lenet --seeds 0,1    another, with two of its seeds
  python experiments/run_grid.py my_study.yaml        one's own

Interrupt it at any time; the same command goes on from there. A study's file sets what differs from
the defaults shown below, and flags override both.
"""

import logging
import math
import shlex
import sys
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser
from rich.console import Console
from rich.table import Table

from lottery.analysis.statistics import summary
from lottery.errors import LotteryError, UsageError
from lottery.study import Plan, StudyConfig, StudyResult, plan_study, run_study
from lottery.study.command_line import parse_study, study_parser
from lottery.study.config import BASE
from lottery.study.progress import clock

CONFIGS = Path(__file__).parent / "configs"

console = Console()


def make_parser() -> ArgumentParser:
    """Every field of a study's configuration, and how to run it."""
    parser = study_parser("run_grid.py", __doc__ or "", CONFIGS, "lenet-quick")
    run = parser.add_argument_group("How to run")
    run.add_argument(
        "--workers",
        type=int | None,
        help="processes at once, one thread each; by default one per core; 0: in this process",
    )
    run.add_argument("--device", default="auto", help="auto, cpu or cuda")
    run.add_argument(
        "--executor", default="local", help="local, or ray: each cell on a cluster's next free node"
    )
    run.add_argument(
        "--ray-address",
        type=str | None,
        help="Ray cluster: auto, or HOST:PORT of its head; by default one started on this machine",
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


def show_plan(config: StudyConfig, plan: Plan) -> None:
    """What a run would do."""
    table = Table(title=f"{config.name}: {config.model} on {config.data}", title_justify="left")
    table.add_column("branch")
    table.add_column("cells", justify="right")
    table.add_column("to run", justify="right")
    for branch in dict.fromkeys(cell.branch for cell in plan.cells):
        counts = [sum(c.branch == branch for c in part) for part in (plan.cells, plan.unfinished)]
        table.add_row(branch, *map(str, counts))
    console.print(table)
    console.print(
        f"{len(config.inits)} schemes: {', '.join(config.inits)}; seeds {config.seeds}\n"
        + "".join(
            f"{_heading(name)}levels 0 to {config.levels}, {steps:,} steps and "
            f"{plan.evaluations_per_level[name]} evaluations each\n"
            for name, steps in plan.steps_per_level.items()
        )
        + f"{plan.levels:,} levels to train: {plan.steps:,} steps, about "
        f"{clock(plan.seconds)} with {plan.workers} at once",
        markup=False,
        highlight=False,
    )


def show_result(config: StudyConfig, result: StudyResult) -> None:
    """Test accuracy of the tickets by scheme and weights remaining, and where everything is."""
    for variant in config.variant_names if len(result.levels) else ():
        means = summary(result.levels[result.levels["variant"] == variant])
        tickets = means[means["branch"] == "ticket"]
        if tickets.empty:
            continue
        same_n = tickets["n"].nunique() == 1
        seeds = f"n = {tickets['n'].iloc[0]} seeds" if same_n else "(n) seeds"
        table = Table(
            title=f"{_heading(variant)}Test accuracy of tickets in %, mean ± half the 95 % "
            f"interval over {seeds}",
            title_justify="left",
        )
        table.add_column("weights\nremaining", justify="right")
        for init in config.inits:
            table.add_column(init, justify="right", overflow="fold")
        for _, rows in tickets.groupby("level"):
            by_init = {row.init: row for row in rows.itertuples()}
            cells = [_accuracy(by_init.get(init), same_n) for init in config.inits]
            table.add_row(f"{rows['weights_remaining'].mean():.2%}", *cells)
        console.print(table)
    folder = shlex.quote(str(result.folder))
    study = shlex.quote(config.name)
    text = f"{result.computed} cells computed now. Tables and manifest: {folder}"
    if isinstance(result.folder, Path):
        text += (
            f"\nNext:  python experiments/make_figures.py {study}{_results_flag(result.folder)}\n"
            f"       tensorboard --logdir {folder}/tensorboard"
        )
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _heading(variant: str) -> str:
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


def main(argv: list[str]) -> int:
    """Exit status: 0 all cells finished, 1 some failed, 2 bad arguments, 130 interrupted."""
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    logging.getLogger("lottery").setLevel(logging.INFO)
    sys.path.append(str(Path.cwd()))  # where module:function of one's own may lie
    try:
        arguments, config = parse_study(make_parser(), argv, CONFIGS)
        place = {
            "results_dir": arguments.results_dir,
            "data_dir": arguments.data_dir,
            "workers": arguments.workers,
            "device": arguments.device,
        }
        if arguments.dry_run:
            show_plan(config, plan_study(config, fresh=arguments.fresh, **place))
            return 0
        where = {"executor": arguments.executor, "ray_address": arguments.ray_address}
        result = run_study(config, fresh=arguments.fresh, **place, **where)
    except UsageError as error:
        return _complain(str(error), 2)
    except LotteryError as error:
        return _complain(str(error), 1)
    except OSError as error:
        return _complain(f"{type(error).__name__}: {error}", 1)
    except KeyboardInterrupt:
        command = shlex.join(["python", sys.argv[0], *(a for a in argv if a != "--fresh")])
        return _complain(f"interrupted; to go on from here: {command}", 130)
    show_result(config, result)
    for cell, reason in result.failures.items():
        _complain(f"failed: {cell}: {reason}", 1)
    return 1 if result.failures else 0


def _complain(message: str, status: int) -> int:
    print(f"run_grid.py: {message}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
