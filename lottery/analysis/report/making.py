"""What limits a study's answers, read off its tables, and how to make it again."""

from itertools import product

from lottery.analysis import early_stop
from lottery.analysis.endpoints import is_reduced, network
from lottery.analysis.figures.style import scheme_name
from lottery.analysis.frames import is_shipped
from lottery.analysis.report.document import duration, listed, number, table
from lottery.analysis.report.study import Study
from lottery.analysis.walks import finished, last_levels
from lottery.words import plural

TICKET = "ticket"
COMMAND = "python experiments/{}.py {} --device cuda"


def limits(study: Study) -> str:
    """How far the answers reach: replicates, scale, evaluation, machine, and what was not run."""
    seeds = study.levels["seed"].nunique()
    points = [
        f"{plural(seeds, 'seed')} per scheme. Intervals hold over seeds for this network, this "
        "data set and this training; they say nothing about others.",
        _evaluations(study),
        "" if study.ends_early else _unseen(study),
        _stopped(study),
        _unfinished(study),
        _absent(study),
        _engines(study),
        _length(study),
    ]
    model = str(study.levels["model"].iloc[0])
    if study.detecting:
        points.append(_detector(study, model))
    elif is_reduced(model):
        full = network(model)
        program, asked = (
            ("run_grid", full)
            if is_shipped(full)
            else (study.program, f"{study.argument} --model {full} --name {study.name}-full")
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


def _length(study: Study) -> str:
    if study.trained.empty:
        return ""
    return (
        f"The longest level has {int(study.trained['steps'].max()):,} steps. A level this long "
        "decides what a ticket can reach; published figures with other lengths are compared with "
        "care."
    )


def _detector(study: Study, model: str) -> str:
    """What a small detector leaves to be done; nothing of one that is as published."""
    if not (is_reduced(model) or "tiny" in network(model)):
        return ""
    full = f"{study.name}-full"
    text = f"`{model}` is a reduced network. YOLOv2, as published, was not pruned here"
    if is_shipped(full):
        text += f"; on a GPU, `{COMMAND.format('run_detector', full)}` runs it"
    return f"{text}."


def _evaluations(study: Study) -> str:
    """How finely a level is looked at, which bounds what an early-stop step can say.

    Steps of a level that was rewound are counted from where level 0 began.
    """
    place = ["variant", "cell", "level"]
    rows = study.curves.merge(study.trained[[*place, "steps"]], on=place)
    since = rows["step"] - (rows.groupby(place)["step"].transform("max") - rows["steps"])
    gap = since[since > 0].groupby([rows[name] for name in place]).min()
    if gap.empty:
        return ""
    every, steps = int(gap.median()), int(study.trained["steps"].max())
    times = -(-steps // every)
    coarse = ", too few for ratios of early-stop steps" if times < 50 else ""
    return (
        f"Networks are evaluated every {every:,} steps, so an early-stop step has "
        f"{plural(times, 'possible value')} per level{coarse}."
    )


def _unseen(study: Study) -> str:
    """Levels whose least validation loss is their last, so that nothing was seen of its minimum."""
    at_end = early_stop.censored(study.trained)[study.trained["branch"] == "ticket"]
    if not at_end.any():
        return ""
    return (
        f"{at_end.sum():,} of {plural(len(at_end), 'level')} of tickets have their least "
        "validation loss at the last step: their early-stop step is a lower bound, and claims on "
        "speed are undecided where half or more of the steps compared, on either side, are such."
    )


def _stopped(study: Study) -> str:
    """That tickets end where they lose too much, and what that leaves to be said."""
    if not study.ends_early:
        return ""
    last = last_levels(finished(study.levels, study.config))
    early = int((last < study.config.get("levels", last.max())).sum())
    if not early:
        return "`prune.stop`, which ends walks that lose too much, has ended none."
    return (
        f"{early} of {plural(len(last_levels(study.levels)), 'ticket')} ended before the last "
        "level, as `prune.stop` says. So nothing here is a mean over levels, which are not the "
        "same for all, and means at a level are told as far as all tickets of a variant went."
    )


def _unfinished(study: Study) -> str:
    """Cells that the configuration asks for and the tables lack levels of."""
    tickets = study.levels[study.levels["branch"] == "ticket"]
    wanted = study.config.get("levels", study.levels["level"].max()) + 1
    counts = tickets.groupby("cell")["level"].nunique()
    short = counts.index[counts < wanted]
    if study.ends_early:
        short = short.difference(finished(study.levels, study.config)["cell"])
    if short.empty:
        return ""
    named = listed(f"`{cell}`" for cell in short)
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
    groups = study.trained.groupby(["engine", "device"]).size()
    if groups.empty:
        return ""
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


def again(study: Study) -> str:
    """Commands, versions, machine and time."""
    name = study.name
    commands = [
        f"python experiments/{study.program}.py {study.argument} --results-dir again",
        f"python experiments/make_figures.py {name}",
        f"python experiments/report.py {name}",
    ]
    text = "\n".join(f"    {command}" for command in commands)
    start = study.config.get("start")
    if start and not is_shipped(str(start)):
        text = f"    (first, into the folder again too: the study {start})\n{text}"
    elsewhere = f"; that of level 0 is counted where it was spent, in `{start}`" if start else ""
    text += (
        "\n\nThe first computes the tables anew in the folder `again` (with `--fresh` in place of "
        "the folder it replaces the committed ones); the others read them. Training alone took "
        f"{duration(float(study.trained['seconds'].sum()))} of one worker's time, by the column "
        f"`seconds` of `levels.csv`{elsewhere}."
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
