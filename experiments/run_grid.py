"""Run a study: train, prune and rewind every cell of its grid, then write tables.

  python experiments/run_grid.py                      the study lenet-quick
  python experiments/run_grid.py lenet --seeds 0,1    another, with two of its seeds
  python experiments/run_grid.py my_study.yaml        one's own

Interrupt it at any time; the same command goes on from there.
"""

import dataclasses
import json
import logging
import math
import re
import shlex
import sys
from argparse import SUPPRESS, RawDescriptionHelpFormatter
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import (
    ArgumentError,
    ArgumentParser,
    DefaultHelpFormatter,
    Namespace,
    set_parsing_settings,
)
from rich.console import Console
from rich.table import Table

from lottery.analysis.statistics import summary
from lottery.errors import ConfigError, LotteryError
from lottery.study import StudyConfig, StudyResult, plan_study, run_study
from lottery.study.plan import Plan
from lottery.study.progress import clock

CONFIGS = Path(__file__).parent / "configs"
DEFAULT_STUDY = "lenet-quick"
LISTS = ("--inits", "--seeds", "--controls.levels", "--train.lr_milestones")

console = Console()


class HelpFormatter(DefaultHelpFormatter, RawDescriptionHelpFormatter):
    """Keeps the line breaks of the description."""


def make_parser() -> ArgumentParser:
    """Every field of a study's configuration by its dotted name, and how to run it."""
    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    names = ", ".join(sorted(path.stem for path in CONFIGS.glob("*.yaml")))
    parser = ArgumentParser(
        prog="run_grid.py",
        usage="%(prog)s [STUDY] [options]",
        description=__doc__,
        formatter_class=HelpFormatter,
        exit_on_error=False,
    )
    parser.add_argument("--config", action="config", help=SUPPRESS)
    run = parser.add_argument_group("How to run")
    run.add_argument(
        "study",
        nargs="?",
        default=DEFAULT_STUDY,
        metavar="STUDY",
        help=f"a path to a YAML file, or one of: {names}",
    )
    run.add_argument(
        "--workers",
        type=int | None,
        help="processes at once, one thread each; by default one per core; 0: in this process",
    )
    run.add_argument("--device", default="auto", help="auto, cpu or cuda")
    run.add_argument("--results-dir", default="results", help="tables go to RESULTS_DIR/<study>/")
    run.add_argument(
        "--data-dir", type=str | None, help="cached data sets; else $LOTTERY_DATA, else data/"
    )
    run.add_argument("--dry-run", action="store_true", help="only say what would be run")
    run.add_argument("--fresh", action="store_true", help="discard the study's results first")
    parser.add_class_arguments(StudyConfig)
    return parser


def parse(argv: list[str]) -> tuple[Namespace, StudyConfig]:
    """Arguments and resolved configuration: the STUDY's file, with the flags on top of it."""
    parser, argv = make_parser(), with_lists(argv)
    study = parser.parse_args(argv).study
    path = Path(study) if study.endswith((".yaml", ".yml")) else CONFIGS / f"{study}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(config.stem for config in CONFIGS.glob("*.yaml")))
        raise ConfigError("STUDY", study, f"a path to a YAML file, or one of: {known}")
    arguments = parser.parse_args(["--name", path.stem, "--config", str(path), *argv])
    values = parser.instantiate(arguments)
    fields = [field.name for field in dataclasses.fields(StudyConfig)]
    return arguments, StudyConfig(**{name: values[name] for name in fields})


def with_lists(argv: list[str]) -> list[str]:
    """Write lists with commas as YAML lists: --seeds 0,1 as --seeds [0, 1].

    Commas within brackets belong to a scheme's options.
    """
    argv = [part for arg in argv for part in (arg.split("=", 1) if _is_list(arg) else [arg])]
    for position, flag in enumerate(argv[:-1]):
        value = argv[position + 1]
        if flag in LISTS and not value.startswith("["):
            items = re.split(r",(?![^()]*\))", value)
            argv[position + 1] = json.dumps([yaml.safe_load(item) for item in items])
    return argv


def _is_list(arg: str) -> bool:
    return arg.startswith(tuple(f"{flag}=" for flag in LISTS))


def plain(error: ArgumentError) -> str:
    """jsonargparse's message in this project's form: what, its value, what is allowed."""
    pattern = r"Parser key \"([^\"]+)\":\s*Expected an? (.+?)\. Got value: (.*)"
    match = re.fullmatch(pattern, str(error).strip(), re.DOTALL)
    if not match:
        return str(error)
    setting, allowed, value = match.groups()
    allowed = re.sub(r"typing\.|<class '|'>", "", allowed)
    return str(ConfigError(setting, value, allowed))


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
        f"levels 0 to {config.levels}, {plan.steps_per_level:,} steps and "
        f"{plan.evaluations_per_level} evaluations each\n"
        f"{plan.levels:,} levels to train: {plan.levels * plan.steps_per_level:,} steps, about "
        f"{clock(plan.seconds)} with {plan.workers} at once",
        highlight=False,
    )


def show_result(config: StudyConfig, result: StudyResult) -> None:
    """Test accuracy of the tickets by scheme and weights remaining, and where everything is."""
    means = summary(result.levels)
    tickets = means[means["branch"] == "ticket"]
    if len(tickets):
        table = Table(
            title="Test accuracy of tickets in %, mean ± half the 95 % interval over n seeds",
            title_justify="left",
        )
        table.add_column("weights\nremaining", justify="right")
        for init in config.inits:
            table.add_column(init, justify="right")
        for _, rows in tickets.groupby("level"):
            by_init = {row.init: row for row in rows.itertuples()}
            cells = [_accuracy(by_init[i]) if i in by_init else "–" for i in config.inits]
            table.add_row(f"{rows['weights_remaining'].mean():.2%}", *cells)
        console.print(table)
    folder = shlex.quote(str(result.folder))
    study = shlex.quote(config.name)
    console.print(
        f"{result.computed} cells computed now. Tables and manifest: {folder}\n"
        f"Next:  python experiments/make_figures.py {study}{_results_flag(result.folder)}\n"
        f"       tensorboard --logdir {folder}/tensorboard",
        highlight=False,
        soft_wrap=True,
    )


def _accuracy(row: Any) -> str:
    mean = f"{100 * row.mean:.2f}"
    half = 100 * (row.high - row.mean)
    return f"{mean} ({row.n})" if math.isnan(half) else f"{mean} ± {half:.2f} ({row.n})"


def _results_flag(folder: Path) -> str:
    parent = str(folder.parent)
    return "" if parent == "results" else f" --results-dir {shlex.quote(parent)}"


def main(argv: list[str]) -> int:
    """Exit status: 0 all cells finished, 1 some failed, 2 bad arguments, 130 interrupted."""
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    logging.getLogger("lottery").setLevel(logging.INFO)
    sys.path.append(str(Path.cwd()))  # where module:function of one's own may lie
    try:
        arguments, config = parse(argv)
        place = {
            "results_dir": arguments.results_dir,
            "data_dir": arguments.data_dir,
            "workers": arguments.workers,
            "device": arguments.device,
        }
        if arguments.dry_run:
            show_plan(config, plan_study(config, **place))
            return 0
        result = run_study(config, fresh=arguments.fresh, **place)
    except ArgumentError as error:
        return _complain(plain(error), 2)
    except ConfigError as error:
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
