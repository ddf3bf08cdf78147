"""Studies of detectors: which criteria suit, what they save, and how far pruning goes."""

from collections.abc import Iterable

from lottery.analysis.detectors import networks
from lottery.analysis.figures.filters import ways
from lottery.analysis.figures.style import seeds_text
from lottery.analysis.frames import settings
from lottery.analysis.paired import difference, holm
from lottery.analysis.report.constrained import constrained
from lottery.analysis.report.document import ABSENT, listed, p_value, plus_minus, table
from lottery.analysis.report.filters import CHANCE, references
from lottery.analysis.report.saved import POINTS, TABLE, TITLE, Saved, saved, text, where
from lottery.analysis.report.sources import Source, Sources, of_rows, rows_of
from lottery.analysis.report.study import Study

QUESTION = (
    "**Which filter criteria suit a convolutional object detector, which save memory and which "
    "operations, and how far can one go before mean AP falls?**"
)
_SHARES = {"parameters_removed": "parameters", "bytes_removed": "bytes", "macs_removed": "MACs"}
_SAVED = _SHARES | {"latency_removed": "latency"}


def detector(study: Study, rivals: Iterable[Study], sources: Sources) -> str:
    """Answers to the research questions, and the table of variants that they are read from.

    rivals: other studies of detectors, among which one of fewer or more classes may be.
    """
    own = saved(study)
    if own is None:
        return ""
    return "\n\n".join(
        (_unpruned(own, sources), _answers(own, rivals, sources), _variants(own, sources))
    )


def short(study: Study, sources: Sources) -> list[str]:
    """What saves most, in a few sentences."""
    own = saved(study)
    if own is None:
        return []
    return [f"Within {POINTS} of mean AP: {_memory(own, sources)} {_operations(own, sources)}"]


def _unpruned(own: Saved, sources: Sources) -> str:
    assert own.study.detectors is not None
    known = networks(own.study.levels, own.study.detectors)
    start = known[known["level"] == 0].drop_duplicates(["init", "seed"])

    def value(column: str, scale: float, digits: int = 2) -> str:
        rows = rows_of(start, column)
        where = "class = all, level = 0, of the first variant that has the scheme and seed"
        source = of_rows(f"{TITLE}: unpruned, {column}", column, where, rows, TABLE)
        return sources.link(source, plus_minus(source.interval(), scale, digits))

    whole = own.study.detectors.query("`class` == 'all' and level == 0")
    pictures, boxes = (int(whole[name].max()) for name in ("pictures", "boxes"))
    return (
        f"Unpruned, on {pictures:,} test pictures with {boxes:,} boxes: mean AP at an IoU of 0.5 "
        f"{value('ap_area', 100)} % by the area rule and {value('ap_11', 100)} % by the 11 points "
        f"of VOC 2007; {value('parameters', 1e-6, 3)} million parameters, "
        f"{value('macs', 1e-6, 1)} million multiply-accumulates (MACs) and "
        f"{value('latency_ms', 1, 1)} ms per picture on one thread of the CPU. Mean ± half of the "
        f"95 % t-interval over {seeds_text([start['seed'].nunique()])}."
    )


def _answers(own: Saved, rivals: Iterable[Study], sources: Sources) -> str:
    rows = [
        ["Which filter criteria suit?", _suit(own, sources)],
        ["Which save memory?", _memory(own, sources)],
        ["Which save operations?", _operations(own, sources)],
        [f"How far before mean AP falls by more than {POINTS}?", _far(own, sources)],
        ["Does a constrained task prune further?", constrained(own, rivals, sources)],
    ]
    return table(["Question", "Answer"], [row for row in rows if row[1]])


def _suit(own: Saved, sources: Sources) -> str:
    """Criteria of each way of pruning, from the one that removes most parameters."""
    parts = []
    for way, group in ways(own.variants).items():
        means = {v: own.source(v, "parameters_removed") for v in group.values()}
        order = sorted(group.items(), key=lambda item: -means[item[1]].interval().mean)
        texts = [
            f"{name} {sources.link(means[v], plus_minus(means[v].interval(), 100, 1))} %"
            for name, v in order
        ]
        parts.append(f"{way + ': ' if way else ''}{', '.join(texts)}")
    better, worse = _against_chance(own)
    chance = ""
    if better is not None:
        chance = f" More than random filters removed in the same way (Holm): {better or 'none'}"
        chance += f"; less: {worse}." if worse else "."
    return f"By parameters removed within {POINTS}, {'; '.join(parts)}.{chance}"


def _against_chance(own: Saved) -> tuple[str | None, str]:
    """Variants that remove more, and less, than random filters; None where there are none."""
    tests = _tests(own)
    if not tests:
        return None, ""
    names: dict[bool, list[str]] = {True: [], False: []}
    for variant, (_, source, p) in tests.items():
        if p < 0.05:
            names[source.interval().mean > 0].append(f"`{variant}`")
    return listed(names[True]), listed(names[False])


def _tests(own: Saved) -> dict[str, tuple[str, Source, float]]:
    """By variant its reference of random filters, the parameters removed less its, Holm's p."""
    of = {
        variant: reference
        for variant, reference in references(own.study, own.variants).items()
        if _criterion(own.study, reference) == CHANCE
    }
    found = {v: own.less(v, reference, "parameters_removed") for v, reference in of.items()}
    p = holm([difference(value for _, value in source.values).t_p for source in found.values()])
    return {v: (of[v], found[v], float(q)) for v, q in zip(found, p, strict=True)}


def _criterion(study: Study, variant: str) -> str:
    return str(settings(study.config, variant, "prune").get("criterion", ""))


def _memory(own: Saved, sources: Sources) -> str:
    return " ".join(
        _best(own, column, sources) for column in ("parameters_removed", "bytes_removed")
    )


def _operations(own: Saved, sources: Sources) -> str:
    return " ".join(_best(own, column, sources) for column in ("macs_removed", "latency_removed"))


def _best(own: Saved, column: str, sources: Sources) -> str:
    """The variant that saves most, and how many others are not shown to save less."""
    found = {variant: own.source(variant, column) for variant in own.variants}
    best = max(found, key=lambda variant: found[variant].interval().mean)
    most = text(found[best], column, sources)
    what = f"Most {_SAVED[column]} saved"
    others = [variant for variant in own.variants if variant != best]
    if not others:
        return f"{what}: {most}."
    p = holm([
        difference(value for _, value in own.less(best, other, column).values).t_p
        for other in others
    ])  # fmt: skip
    alike = [f"`{other}`" for other, q in zip(others, p, strict=True) if not q < 0.05]
    if not alike:
        tail = "more than every other variant"
    elif len(alike) == len(others):
        tail = "no other variant is told apart from it at this n"
    else:
        less = [f"`{other}`" for other in others if f"`{other}`" not in alike]
        tail = f"shown to save less at this n: {listed(less)}"
    return f"{what}: `{best}`, {most} ({tail})."


def _far(own: Saved, sources: Sources) -> str:
    """By way of pruning, over the criteria that all ways have, random filters aside."""
    groups = {
        way: {name: v for name, v in group.items() if _criterion(own.study, v) != CHANCE}
        for way, group in ways(own.variants).items()
    }
    groups = {way: group for way, group in groups.items() if len(group) > 1}
    common = set.intersection(*map(set, groups.values())) if groups else set()
    parts = []
    for way, group in groups.items():
        chosen = sorted(group[name] for name in common or group)
        rows = own.table[own.table["variant"].isin(chosen)]
        texts = []
        for column, word in (("parameters_removed", "parameters"), ("macs_removed", "MACs")):
            source = of_rows(
                f"{TITLE}: {way or 'all variants'}, {word} removed",
                column,
                where(f"one of {', '.join(chosen)}"),
                rows_of(rows, column),
                TABLE,
            )
            shown = sources.link(source, plus_minus(source.interval(), 100, 1))
            texts.append(f"{shown} % of {word}")
        parts.append(f"{way or 'all'}: {listed(texts)}")
    best = max(own.variants, key=lambda v: own.source(v, "parameters_removed").interval().mean)
    most = own.source(best, "parameters_removed")
    answer = f"Furthest goes `{best}`: {text(most, 'parameters_removed', sources)} of parameters."
    if parts:
        answer += f" Mean of {len(common) or 'all'} criteria, by way: {'; '.join(parts)}."
    censored = int(own.table["censored"].sum())
    if censored:
        answer += (
            f" {censored} of {len(own.table)} tickets never fell so far: theirs is a lower bound."
        )
    return answer


def _without_before(own: Saved) -> str:
    """Which variants have no AP between pruning and training, and why."""
    detectors = own.study.detectors
    assert detectors is not None
    known = set(detectors.loc[detectors["ap_before"].notna(), "variant"])
    found: dict[str, list[str]] = {}
    for variant in own.variants:
        during, rewind, train = (
            settings(own.study.config, variant, group) for group in ("prune", "rewind", "train")
        )
        if variant in known:
            continue
        if during.get("during", "none") != "none":
            reason = (
                "filters are zeroed, drawn together or shrunk while a level trains, and removed at "
                "its end with no training behind it"
            )
        elif rewind.get("mode") == "weights":
            reason = "weights go back before a level is trained"
        elif not train.get("eval_start"):
            reason = "networks were not evaluated where a level starts (`train.eval_start`)"
        else:
            reason = "no pruned level was trained"
        found.setdefault(reason, []).append(f"`{variant}`")
    return "".join(f" {listed(names)}: none, as {reason}." for reason, names in found.items())


def _variants(own: Saved, sources: Sources) -> str:
    tests = _tests(own)
    rows = []
    for variant in own.variants:
        cells = own.table[own.table["variant"] == variant]
        levels = sorted({int(level) for level in cells["level"]})
        row = [variant, "–".join(str(level) for level in dict.fromkeys((levels[0], levels[-1])))]
        for column in _SHARES:
            source = own.source(variant, column)
            row.append(sources.link(source, plus_minus(source.interval(), 100, 1)))
        row += [
            text(own.source(variant, column), column, sources)
            for column in ("fewer_macs", "speed_up")
        ]
        before = own.source(variant, "ap_before")
        known = plus_minus(before.interval(), 100, 1)
        row.append(sources.link(before, known) if before.values else ABSENT)
        change = own.source(variant, "ap_change")
        row.append(sources.link(change, plus_minus(change.interval(), 100, 1, sign=True)))
        if variant in tests:
            _, source, p = tests[variant]
            less = plus_minus(source.interval(), 100, 1, sign=True)
            row.append(f"{sources.link(source, less)} (p {p_value(p)})")
        else:
            row.append(ABSENT)
        row.append(f"{int(cells['censored'].sum())} of {len(cells)}")
        rows.append([*row, str(cells["seed"].nunique())])
    header = [
        *("Variant", "Level", "Parameters removed (%)", "Bytes removed (%)", "MACs removed (%)"),
        *("Fewer MACs", "Faster", "AP as pruned (%)", "AP change (pp)"),
        *("Parameters less random's (pp)", "Never fell", "n"),
    ]
    return (
        f"Each ticket at its last level before mean AP on validation pictures falls by more than "
        f"{POINTS} below its unpruned network's; at level 0, and nothing is removed, where the "
        "first level does. Test pictures judge the choice: *AP change* is the mean AP (area) on "
        "them less the unpruned, *AP as pruned* that of the network that the level's training "
        f"began with, where filters had been removed.{_without_before(own)} Sizes are those of the "
        "physically smaller network: *bytes* on disk, *faster* by the median latency of one "
        "picture. Mean ± half of the 95 % t-interval over seeds, schemes of a seed averaged first; "
        "ratios are geometric, with their interval. *Less random's*: paired by scheme and seed, "
        "Holm's p over the column. *Never fell*: tickets that lost no more at any level that was "
        "trained.\n\n" + table(header, rows, aligned="l" + "r" * (len(header) - 1))
    )
