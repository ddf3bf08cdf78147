"""What limits a study's answers, read off its tables, and how to make it again."""

from itertools import product

from lottery.analysis import early_stop
from lottery.analysis.endpoints import is_reduced, network
from lottery.analysis.figures.style import scheme_name
from lottery.analysis.frames import is_shipped
from lottery.analysis.report.document import duration, listed, number, table
from lottery.analysis.report.study import Study
from lottery.analysis.sizes import of_filters
from lottery.words import plural

TICKET = "ticket"
COMMAND = "python experiments/{}.py {} --device cuda"


def limits(study: Study) -> str:
    """How far the answers reach: replicates, scale, evaluation, machine, and what was not run."""
    levels = study.levels
    seeds = levels["seed"].nunique()
    steps = int(levels["steps"].max())
    points = [
        f"{plural(seeds, 'seed')} per scheme. Intervals hold over seeds for this network, this "
        "data set and this training; they say nothing about others.",
        _evaluations(study),
        _unseen(study),
        _unfinished(study),
        _absent(study),
        _engines(study),
        f"The longest level has {steps:,} steps. A level this long decides what a ticket can "
        "reach; published figures with other lengths are compared with care.",
    ]
    model = str(levels["model"].iloc[0])
    if study.detectors is not None:
        points.append(
            f"The detector is `{model}` on small pictures. YOLOv2 at 416 pixels, as published, is "
            "a matter for a GPU; the studies whose names end in `-full` run it."
        )
    elif is_reduced(model):
        full = network(model)
        program, asked = (
            ("run_grid", full)
            if is_shipped(full)
            else (_program(study), f"{_settings(study)} --model {full} --name {study.name}-full")
        )
        points.append(
            f"`{model}` is a reduced network. The full one has not been run here; on a GPU, "
            f"`{COMMAND.format(program, asked)}` runs it and writes the same tables and this "
            "report's sections."
        )
    elif not model.startswith("conv"):
        points.append(
            "The full convolutional networks are not part of this study. On a GPU, "
            f"`{COMMAND.format('run_grid', 'conv6')}` runs Conv-6 and writes the same tables."
        )
    return "\n".join(f"- {point}" for point in points if point)


def _evaluations(study: Study) -> str:
    """How finely a level is looked at, which bounds what an early-stop step can say."""
    trained = study.curves[study.curves["step"] > 0]
    gap = trained.groupby(["cell", "level"])["step"].min()
    if gap.empty:
        return ""
    every, steps = int(gap.median()), int(study.levels["steps"].max())
    times = -(-steps // every)
    coarse = ", too few for ratios of early-stop steps" if times < 50 else ""
    return (
        f"Networks are evaluated every {every:,} steps, so an early-stop step has "
        f"{plural(times, 'possible value')} per level{coarse}."
    )


def _unseen(study: Study) -> str:
    """Levels whose least validation loss is their last, so that nothing was seen of its minimum."""
    at_end = early_stop.censored(study.levels)[study.levels["branch"] == "ticket"]
    if not at_end.any():
        return ""
    return (
        f"{at_end.sum():,} of {plural(len(at_end), 'level')} of tickets have their least "
        "validation loss at the last step: their early-stop step is a lower bound, and claims on "
        "speed are undecided where half or more of the steps compared, on either side, are such."
    )


def _unfinished(study: Study) -> str:
    """Cells that the configuration asks for and the tables lack levels of."""
    tickets = study.levels[study.levels["branch"] == "ticket"]
    wanted = study.config.get("levels", study.levels["level"].max()) + 1
    counts = tickets.groupby("cell")["level"].nunique()
    short = counts[counts < wanted]
    if short.empty:
        return ""
    named = listed(f"`{cell}`" for cell in short.index)
    return f"{len(short)} of {plural(len(counts), 'ticket')} end before the last level: {named}."


def _absent(study: Study) -> str:
    """Tickets that the configuration asks for and the tables have not a level of."""
    by_variant: dict[str, dict[str, list[str]]] = {}
    for variant, init, seed, branch, _ in sorted(_asked(study) - _there(study)):
        if branch == TICKET:
            lacking = by_variant.setdefault(variant, {}).setdefault(scheme_name(init), [])
            lacking.append(str(seed))
    variants: dict[str, list[str]] = {}  # that lack the same
    for variant, schemes in by_variant.items():
        texts = (f"{n} (seed{'s' * (len(s) > 1)} {', '.join(s)})" for n, s in schemes.items())
        variants.setdefault(listed(texts), []).append(f"`{variant}`")
    if not variants:
        return ""
    several = bool(study.config.get("variants"))
    named = "; ".join(f"{t}{f' of {listed(v)}' if several else ''}" for t, v in variants.items())
    failed = sum(run.get("cells_failed", 0) for run in study.runs)
    noted = f"{plural(failed, 'failed cell')}" if failed else "no failed cell"
    why = f" (`manifest.json` notes {noted})" if study.runs else ""
    return f"The study asks for these tickets, and the tables have no level of them{why}: {named}."


def _asked(study: Study) -> set[tuple[str, str, int, str, int]]:
    """Variant, scheme, seed, branch and draw of every cell that the configuration asks for."""
    config = study.config
    controls = config.get("controls") or {}
    draws = {TICKET: 1, "dense": int(controls.get("dense") or 0)}
    if controls.get("levels") != []:
        others = {name: n for name, n in controls.items() if name not in ("dense", "levels")}
        draws |= {name: int(n) for name, n in others.items()}
    places = product(
        config.get("variants") or ["base"], config.get("inits", []), config.get("seeds", [])
    )
    return {
        (*place, branch, draw)
        for place in places
        for branch, number in draws.items()
        for draw in range(number)
    }


def _there(study: Study) -> set[tuple[str, str, int, str, int]]:
    """The same of every cell that the tables have a level of."""
    return set(study.levels[["variant", "init", "seed", "branch", "draw"]].itertuples(False, None))


def _engines(study: Study) -> str:
    groups = study.levels.groupby(["engine", "device"]).size()
    parts = [
        f"{plural(n, 'level')} by `{engine}` on {device}" for (engine, device), n in groups.items()
    ]
    mixed = (
        " Engines compute the same thing and differ in rounding, which training amplifies to about "
        "what another seed changes." if len(groups) > 1 else ""
    )  # fmt: skip
    gpu = (
        ""
        if any("cpu" not in device.lower() for _, device in groups.index)
        else " No GPU was used."
    )
    return f"Computed as {listed(parts)}.{gpu}{mixed}"


def _program(study: Study) -> str:
    """The program that runs the study, without `.py`."""
    if study.detectors is not None:
        return "run_detector"
    return "run_filters" if of_filters(study.levels) else "run_grid"


def _settings(study: Study) -> str:
    """What that program is given as the study."""
    return study.name if is_shipped(study.name) else f"results/{study.name}/study.yaml"


def again(study: Study) -> str:
    """Commands, versions, machine and time."""
    name = study.name
    commands = [
        f"python experiments/{_program(study)}.py {_settings(study)} --results-dir again",
        f"python experiments/make_figures.py {name}",
        f"python experiments/report.py {name}",
    ]
    text = "\n".join(f"    {command}" for command in commands)
    text += (
        "\n\nThe first computes the tables anew in the folder `again` (with `--fresh` in place of "
        "the folder it replaces the committed ones); the others read them. Training alone took "
        f"{duration(float(study.levels['seconds'].sum()))} of one worker's time, by the column "
        "`seconds` of `levels.csv`."
    )
    asked, there = _asked(study), _there(study)
    if more := len(asked - there):
        text += (
            f" The tables have {len(asked & there)} of the {plural(len(asked), 'cell')} that the "
            f"study asks for: the first command also runs the other {more}."
        )
    if not study.runs:
        return f"{text} There is no `manifest.json`, so versions and machine are not known."
    rows = []
    for run in study.runs:
        host = run.get("host") or {}
        versions = ", ".join(f"{k} {v}" for k, v in (run.get("versions") or {}).items() if v)
        rows.append(
            [
                str(run.get("started", "")).removesuffix("+00:00").replace("T", " "),
                f"`{str(run.get('git_commit'))[:10]}`",
                f"{host.get('processor')}, {host.get('cores')} cores; {run.get('device')}",
                f"Python {run.get('python')}, {versions}",
                number(run.get("cells_computed", float("nan")), 0),
                duration(run["seconds"]) if "seconds" in run else "was killed",
            ]
        )  # fmt: skip
    header = ["Started (UTC)", "Commit", "Machine", "Versions", "Cells", "Wall time"]
    text += f" Runs, from `manifest.json`{_unnoted(study)}:"
    return f"{text}\n\n{table(header, rows, aligned='llllrr')}"


def _unnoted(study: Study) -> str:
    """Cells of the tables that no run has counted, as it was killed, or lost its note."""
    noted = sum(run.get("cells_computed", 0) for run in study.runs)
    there = study.levels["cell"].nunique()
    if noted >= there:
        return ""
    return (
        f" (they count {noted} of the tables' {plural(there, 'cell')}; the other {there - noted} "
        "were finished in a run that ended before it was noted)"
    )
