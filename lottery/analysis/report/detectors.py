"""Studies of detectors: which criteria suit, what they save, and how far pruning goes."""

from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from lottery.analysis.columns import ALL
from lottery.analysis.contrasts import SIGNIFICANT
from lottery.analysis.detectors import ALLOWED, networks
from lottery.analysis.figures.filters import ways
from lottery.analysis.figures.style import seeds_text
from lottery.analysis.frames import settings
from lottery.analysis.report.constrained import constrained
from lottery.analysis.report.detector_table import criterion, less_random, variants
from lottery.analysis.report.detector_walks import walks
from lottery.analysis.report.document import listed, table
from lottery.analysis.report.filters import CHANCE
from lottery.analysis.report.published_detectors import beside
from lottery.analysis.report.saved import (
    POINTS,
    TABLE,
    TITLE,
    Saved,
    disturbed,
    drift,
    saved,
    text,
)
from lottery.analysis.report.sources import Source, Sources, of_rows, rows_of
from lottery.analysis.report.study import Study
from lottery.analysis.report.tested import FEW, corrected, reasons, told, untested

QUESTION = (
    "**Which filter criteria suit a convolutional object detector, which save memory and which "
    "operations, and how far can one go before mean AP falls?**"
)
UNEQUAL = "Steps are those since the unpruned network; ways that had more are favoured."
_SAVED = {
    "parameters_removed": "parameters",
    "bytes_removed": "bytes",
    "macs_removed": "MACs",
    "latency_removed": "latency",
}


def detector(study: Study, rivals: Iterable[Study], sources: Sources) -> str:
    """Answers to the research questions, and the table of variants that they are read from.

    rivals: other studies of detectors, among which one of fewer or more classes may be.
    """
    if not study.detecting:
        return ""
    if study.detectors is None:
        return (
            "The detectors were not measured yet: sizes, latencies and answers are missing. "
            f"`python experiments/{study.program}.py {study.argument}` measures them, and trains "
            "what is not trained yet before."
        )
    parts = [_unpruned(study, study.detectors, sources)]
    own = saved(study)
    if own is not None:
        parts += [_answers(own, rivals, sources), variants(own, sources), walks(own, sources)]
    return "\n\n".join(part for part in parts if part)


def short(study: Study, sources: Sources) -> list[str]:
    """What saves most, in a few sentences."""
    if study.detectors is not None and not (study.levels["level"] > 0).any():
        ap = of_rows(
            f"{TITLE}: unpruned, test mean AP",
            "test_accuracy",
            "branch = ticket, level = 0",
            rows_of(study.levels[study.levels["branch"] == "ticket"], "test_accuracy"),
        )
        return [
            "Nothing is pruned here: these are detectors for other studies to start from, of a "
            f"mean AP of {sources.link(ap, told(ap, 100))} %."
        ]
    own = saved(study)
    if own is None:
        return []
    return [f"Within {POINTS} of mean AP: {_memory(own, sources)} {_operations(own, sources)}"]


def _unpruned(study: Study, detectors: pd.DataFrame, sources: Sources) -> str:
    known = networks(study.levels, detectors)
    start = known[known["level"] == 0].drop_duplicates(["init", "seed"])
    if start.empty:
        return ""

    def value(column: str, scale: float, digits: int = 2) -> str:
        rows = rows_of(start, column)
        where = "class = all, level = 0, of the first variant that has the scheme and seed"
        source = of_rows(f"{TITLE}: unpruned, {column}", column, where, rows, TABLE)
        return sources.link(source, told(source, scale, digits))

    whole = detectors[(detectors["class"] == ALL) & (detectors["level"] == 0)]
    pictures, boxes = (int(whole[name].max()) for name in ("pictures", "boxes"))
    ap, parameters = value("ap_area", 100), value("parameters", 1e-6, 3)
    return (
        f"Unpruned, on {pictures:,} test pictures with {boxes:,} boxes: mean AP at an IoU of 0.5 "
        f"{ap} % by the area rule and {value('ap_11', 100)} % by the 11 points "
        f"of VOC 2007; {parameters} million parameters, "
        f"{value('macs', 1e-6, 1)} million multiply-accumulates (MACs) and "
        f"{value('latency_ms', 1, 1)} ms per picture on one thread of the CPU."
        f"{_floor(start)}{disturbed(start)}{drift(known)}{_arithmetic(study)} Mean ± half of the "
        f"95 % t-interval over seeds, {FEW}; "
        f"{seeds_text([start['seed'].nunique()])}.{beside(study, ap, parameters)}"
    )


def _floor(start: pd.DataFrame) -> str:
    """That a detector which finds nothing has nothing to lose."""
    if float(start["ap_area"].min()) > ALLOWED:
        return ""
    return (
        f" **A mean AP of no more than {POINTS} cannot fall by more than {POINTS}: where nothing "
        "was learnt, nothing follows from what pruning saves.**"
    )


def _arithmetic(study: Study) -> str:
    """That mean AP is not of the arithmetic that times are of, where it is not."""
    precision = settings(study.config, study.variants[0], "train").get("precision", "float32")
    return "" if precision == "float32" else f" Mean AP is that in {precision}, times in float32."


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
        trained = own.trained(way, sorted(group.values()), sources)
        parts.append(f"{way or 'all'}, after {trained} steps: {_ordered(own, group, sources)}")
    against = _against_chance(own)
    answer = f"By parameters removed within {POINTS}, {'; '.join(parts)}.{against} {UNEQUAL}"
    beside = own.beside
    if beside is not None:
        parts = [
            f"{way or 'all'}: {_ordered(beside, group, sources)}"
            for way, group in ways(beside.variants).items()
        ]
        within = f"Within {POINTS}{beside.reference}"
        answer += f" {within}: {'; '.join(parts)}.{_against_chance(beside)}"
    return answer


def _ordered(own: Saved, group: Mapping[str, str], sources: Sources) -> str:
    """Criteria, and by which variant each is told, with the share of parameters removed."""
    means = {variant: own.source(variant, "parameters_removed") for variant in group.values()}
    order = sorted(group.items(), key=lambda item: -means[item[1]].interval().mean)
    return ", ".join(
        f"{name} {sources.link(means[v], told(means[v], 100, 1))} %" for name, v in order
    )


def _against_chance(own: Saved) -> str:
    """Which variants remove more, and less, than random filters, or why that is not told."""
    tests = less_random(own)
    if not tests:
        return ""
    if why := reasons(source for _, source, _ in tests.values()):
        return f" Whether any removes more than random filters is not tested ({why})."
    named: dict[str, list[str]] = {}
    for variant, (reference, source, p) in tests.items():
        why = untested(source)
        what = f"not tested ({why})" if why else ""
        if p < SIGNIFICANT and not own.settled(variant, reference):
            what = "apart by a level or less, which one evaluation decides"
        elif p < SIGNIFICANT:
            what = "more" if source.interval().mean > 0 else "less"
        named.setdefault(what, []).append(f"`{variant}`")
    more = listed(named.pop("more", [])) or "none"
    named.pop("", None)
    others = "".join(f"; {what}: {listed(names)}" for what, names in named.items())
    return f" More than random filters removed in the same way (Holm): {more}{others}."


def _memory(own: Saved, sources: Sources) -> str:
    return " ".join(
        _best(own, column, sources) for column in ("parameters_removed", "bytes_removed")
    )


def _operations(own: Saved, sources: Sources) -> str:
    return " ".join(_best(own, column, sources) for column in ("macs_removed", "latency_removed"))


def _best(own: Saved, column: str, sources: Sources) -> str:
    """The variant that saves most, and how many others are not shown to save less."""
    found = {variant: own.source(variant, column) for variant in own.variants}
    leaders = _leaders(found)
    best, most = leaders[0], text(found[leaders[0]], column, sources)
    what = f"Most {_SAVED[column]} saved"
    others = [variant for variant in own.variants if variant not in leaders]
    if len(own.variants) == 1:
        return f"{what}: {most}."
    less = [own.less(best, other, column) for other in others]
    if not others:
        return f"{what}: {most}, by all variants alike."
    tests = zip(others, corrected(less), strict=True)
    shown = [f"`{o}`" for o, p in tests if p < SIGNIFICANT and own.settled(best, o)]
    if why := reasons(less):
        tail = f"{why}: not tested"
    elif len(shown) == len(others):
        tail = "more than every other variant"
    elif shown:
        tail = f"shown to save less at this n: {listed(shown)}"
    else:
        tail = "no other variant is told apart from it at this n"
    return f"{what}: {_named(leaders)}, {most} ({tail})."


def _leaders(found: Mapping[str, Source]) -> list[str]:
    """The variants of the highest mean, several where they have the same value of every seed.

    Where every layer loses an equal share, variants that go as far are as small.
    """
    best = max(found.values(), key=lambda source: source.interval().mean)
    return [variant for variant, source in found.items() if source.values == best.values]


def _named(variants: Sequence[str]) -> str:
    return listed(f"`{variant}`" for variant in variants)


def _far(own: Saved, sources: Sources) -> str:
    """By way of pruning, over the criteria that all ways have, random filters aside."""
    groups = {
        way: {name: v for name, v in group.items() if criterion(own.study, v) != CHANCE}
        for way, group in ways(own.variants).items()
    }
    groups = {way: group for way, group in groups.items() if group}
    groups = groups if sum(map(len, groups.values())) > 1 else {}
    common = set.intersection(*map(set, groups.values())) if len(groups) > 1 else set()
    parts = []
    for way, group in groups.items():
        chosen = sorted(group[name] for name in common or group)
        rows = own.table[own.table["variant"].isin(chosen)]
        texts = []
        for column, word in (("parameters_removed", "parameters"), ("macs_removed", "MACs")):
            source = of_rows(
                f"{TITLE}: {way or 'all variants'}, {word} removed",
                column,
                own.where(f"one of {', '.join(chosen)}"),
                rows_of(rows, column),
                TABLE,
            )
            shown = sources.link(source, told(source, 100, 1))
            texts.append(f"{shown} % of {word}")
        trained = own.trained(way, chosen, sources)
        parts.append(f"{way or 'all'}: {listed(texts)}, after {trained} steps")
    answer = f"Furthest {_goes(own, sources)}."
    if parts:
        of = f"By {listed(common)} alone" if common else "Mean of each way's criteria"
        of = f"Mean of {listed(sorted(common))}" if len(common) > 1 else of
        answer += f" {of}, by way: {'; '.join(parts)}. {UNEQUAL}"
    answer += _like_for_like(own, sources) + _censored(own)
    beside = own.beside
    if beside is not None:
        within = f"Within {POINTS}{beside.reference}"
        answer += f" {within}, furthest {_goes(beside, sources)}.{_censored(beside)}"
    return answer


def _goes(own: Saved, sources: Sources) -> str:
    """Which variants go furthest, and how far."""
    found = {v: own.source(v, "parameters_removed") for v in own.variants}
    leaders = _leaders(found)
    most = text(found[leaders[0]], "parameters_removed", sources)
    return f"{'goes' if len(leaders) == 1 else 'go'} {_named(leaders)}: {most} of parameters"


def _censored(own: Saved) -> str:
    censored = int(own.table["censored"].sum())
    if not censored:
        return ""
    return f" {censored} of {len(own.table)} tickets never fell so far: theirs is a lower bound."


def _like_for_like(own: Saved, sources: Sources) -> str:
    """Soft pruning against hard that starts from the unpruned network too, with as many rounds."""
    of_way = ways(own.variants)
    soft, hard = of_way.get("soft", {}), of_way.get("oneshot", {})
    texts = []
    for name in sorted(soft.keys() & hard.keys()):
        source = own.less(soft[name], hard[name], "parameters_removed")
        shown = told(source, 100, 1, sign=True)
        texts.append(f"{name} {sources.link(source, shown)}")
    if not texts:
        return ""
    return (
        " With one round from the unpruned network each, soft less one-shot hard pruning, in "
        f"points of parameters removed: {', '.join(texts)}."
    )
