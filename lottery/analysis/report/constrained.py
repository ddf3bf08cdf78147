"""Whether a detector of one class can be pruned further than one of several: a published claim."""

from collections.abc import Iterable

import numpy as np

from lottery.analysis.claims.verdicts import NOT_REPRODUCED, REPRODUCED, UNDECIDED
from lottery.analysis.report.saved import POINTS, TITLE, Saved, saved, text
from lottery.analysis.report.saved import ratio as ratio_text
from lottery.analysis.report.sources import Source, Sources, geometric, rows_of
from lottery.analysis.report.study import Study
from lottery.analysis.statistics import Interval
from lottery.analysis.unpaired import Moments, welch_interval
from lottery.registry import parse_spec

PUBLISHED = (
    "Ophoff et al. 2021 (J. Imaging 7(4):64) publish ×349 fewer operations for one class of a "
    "constrained scene against ×9.8 on VOC, with quantised and depthwise networks too"
)


def constrained(own: Saved, rivals: Iterable[Study], sources: Sources) -> str:
    """How many times fewer operations are left with one class, over those with several.

    rivals: other studies of detectors. One is compared if its model and data set are the same but
    for options, and its classes fewer or more. Variants that both have are averaged per seed.
    """
    texts = []
    for rival in rivals:
        other = saved(rival)
        if other is None or _alike(other.study) != _alike(own.study):
            continue
        counts = [_classes(which.study) for which in (own, other)]
        common = [variant for variant in own.variants if variant in other.variants]
        if counts[0] == counts[1] or not common:
            continue
        few, many = (own, other) if counts[0] < counts[1] else (other, own)
        texts.append(_compared(few, many, common, sources))
    return " ".join(texts)


def _compared(few: Saved, many: Saved, variants: list[str], sources: Sources) -> str:
    both = [_pooled(side, variants) for side in (few, many)]
    ours, theirs = (Moments.of(np.log([value for _, value in s.values])) for s in both)
    mean, low, high, n = welch_interval(ours, theirs)
    found = Interval(float(np.exp(mean)), float(np.exp(low)), float(np.exp(high)), n)
    verdict = UNDECIDED
    if found.low > 1:
        verdict = REPRODUCED
    elif found.high < 1:
        verdict = NOT_REPRODUCED
    shown = [text(source, "fewer_macs", sources) for source in both]
    ns = " and ".join(str(len(source.values)) for source in both)
    return (
        f"With {_count(few.study)} of the same data (`{few.study.name}`) there are {shown[0]} "
        f"fewer MACs within {POINTS}, with {_count(many.study)} (`{many.study.name}`) {shown[1]}: "
        f"{ratio_text(found)} as many times fewer, by Welch's interval of the logarithms over "
        f"{ns} seeds and {len(variants)} common variants. That the constrained task prunes further "
        f"is **{verdict}**. {PUBLISHED}."
    )


def _pooled(side: Saved, variants: list[str]) -> Source:
    rows = side.table[side.table["variant"].isin(variants)]
    return geometric(
        f"{TITLE}: fewer MACs in {side.study.name}, common variants",
        "fewer_macs",
        f"study {side.study.name}, variant is one of {', '.join(variants)}, each cell at its last "
        f"level within {POINTS} of validation mean AP: `macs` of level 0 over those of the row",
        rows_of(rows, "fewer_macs"),
    )


def _alike(study: Study) -> tuple[object, ...]:
    """What has to be the same for two studies to be compared: data set and network."""
    model, arguments, options = parse_spec(str(study.levels["model"].iloc[0]), "model")
    apart = {name: value for name, value in options.items() if name != "classes"}
    data = parse_spec(str(study.config.get("data", "")), "data")[0]
    return data, model, arguments, apart


def _classes(study: Study) -> int:
    assert study.detectors is not None
    return len(set(study.detectors["class"])) - 1


def _count(study: Study) -> str:
    count = _classes(study)
    return "one class" if count == 1 else f"{count} classes"
