"""Whether a detector of one class can be pruned further than one of several: a published claim."""

from collections.abc import Iterable

import numpy as np

from lottery.analysis.claims.verdicts import NOT_REPRODUCED, REPRODUCED, UNDECIDED
from lottery.analysis.report.detector_table import criterion
from lottery.analysis.report.document import between, number
from lottery.analysis.report.filters import CHANCE
from lottery.analysis.report.saved import POINTS, TITLE, Saved, saved, text
from lottery.analysis.report.sources import Source, Sources, geometric, rows_of
from lottery.analysis.report.study import Study
from lottery.analysis.statistics import FEWEST
from lottery.analysis.unpaired import Moments, welch_interval
from lottery.registry import parse_spec
from lottery.words import plural

PUBLISHED = (
    "Ophoff et al. 2021 (J. Imaging 7(4):64) publish that YOLOv2 can be optimised further for "
    "persons in thermal pictures than for Pascal VOC, by pruning, depthwise convolutions and "
    "quantised weights together"
)


def constrained(own: Saved, rivals: Iterable[Study], sources: Sources) -> str:
    """How many times fewer operations are left with one class, over those with several.

    rivals: other studies of detectors. One is compared if it trains and prunes the same model in
    the same way on the same data but for their classes, fewer or more. Variants that both have are
    averaged per seed, but those of random filters, which no one would use. Where both studies have
    an unpruned baseline, the loss is measured from that.
    """
    texts = []
    for rival in rivals:
        other = saved(rival)
        if other is None or _alike(other.study) != _alike(own.study):
            continue
        counts = [_classes(each.study) for each in (own, other)]
        common = [
            variant
            for variant in own.variants
            if variant in other.variants and criterion(own.study, variant) != CHANCE
        ]
        if counts[0] == counts[1] or not common:
            continue
        beside = [each.beside for each in (own, other) if each.beside is not None]
        sides = beside if len(beside) == 2 else [own, other]
        few, many = sides if counts[0] < counts[1] else sides[::-1]
        texts.append(_compared(few, many, common, sources))
    return " ".join(texts)


def _compared(few: Saved, many: Saved, variants: list[str], sources: Sources) -> str:
    both = [_pooled(side, variants) for side in (few, many)]
    counts = [_count(side.study) for side in (few, many)]
    shown = [text(source, "fewer_macs", sources) for source in both]
    verdict, why = _verdict(few, many, variants, both)
    return (
        f"With {counts[0]} of the same data (`{few.study.name}`) there are {shown[0]} "
        f"fewer MACs within {POINTS}{few.reference}, with {counts[1]} (`{many.study.name}`) "
        f"{shown[1]}, geometric means of {plural(len(variants), 'common variant')}. {why}That the "
        f"constrained task prunes further is **{verdict}**. {PUBLISHED}."
    )


def _verdict(few: Saved, many: Saved, variants: list[str], both: list[Source]) -> tuple[str, str]:
    """What becomes of the claim, and sentences on why.

    A ticket that never fell could have been pruned further. That of one class then speaks for the
    claim more than it tells, that of several classes against it.
    """
    told, censored = "", []
    for side in (few, many):
        rows = side.table[side.table["variant"].isin(variants)]
        censored.append(int(rows["censored"].sum()))
        if censored[-1]:
            told += (
                f"{censored[-1]} of {plural(len(rows), 'ticket')} with {_count(side.study)} never "
                "fell, so that theirs are lower bounds. "
            )
    ns = [len(source.values) for source in both]
    of = f"{ns[0]} and {ns[1]} seeds"
    if min(ns) < FEWEST:
        return UNDECIDED, f"{told}With {of} it is not tested. "
    ours, theirs = (Moments.of(np.log([value for _, value in s.values])) for s in both)
    mean, low, high = np.exp(welch_interval(ours, theirs)[:3])
    if low == high:
        return UNDECIDED, f"{told}With seeds that agree by construction it is not tested. "
    told += (
        f"That is {number(mean)}× ({between(low, high)}) as many times fewer, by Welch's interval "
        f"of the logarithms over {of}. "
    )
    if low > 1 and not censored[1]:
        return REPRODUCED, told
    if high < 1 and not censored[0]:
        return NOT_REPRODUCED, told
    return UNDECIDED, told


def _pooled(side: Saved, variants: list[str]) -> Source:
    rows = side.table[side.table["variant"].isin(variants)]
    return geometric(
        f"{TITLE}: fewer MACs in {side.study.name}, common variants",
        "fewer_macs",
        f"study {side.study.name}, variant is one of {', '.join(variants)}, each cell at its last "
        f"level within {POINTS} of validation mean AP{side.reference}: `macs` of level 0 over "
        "those of the row",
        rows_of(rows, "fewer_macs"),
    )


def _alike(study: Study) -> tuple[object, ...]:
    """What has to be the same for two studies to be compared: all but classes and evaluations."""
    specs = str(study.levels["model"].iloc[0]), str(study.config.get("data", ""))
    (model, sizes, options), (data, folder, more) = (parse_spec(s, "spec") for s in specs)
    apart = [
        {name: value for name, value in given.items() if name not in ("classes", "names")}
        for given in (options, more)
    ]
    trained = study.config.get("train") or {}
    own = {name: value for name, value in trained.items() if not name.startswith("eval_")}
    how = [study.config.get(name) for name in ("prune", "rewind")]
    return model, sizes, data, folder, *apart, own, *how


def _classes(study: Study) -> int:
    assert study.detectors is not None
    return len(set(study.detectors["class"])) - 1


def _count(study: Study) -> str:
    count = _classes(study)
    return "one class" if count == 1 else f"{count} classes"
