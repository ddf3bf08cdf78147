"""The table of a report on detectors: each variant at its furthest level at the allowed loss."""

from lottery.analysis.frames import settings
from lottery.analysis.report.document import ABSENT, listed, table
from lottery.analysis.report.filters import CHANCE, references
from lottery.analysis.report.saved import POINTS, Saved, disturbed, text
from lottery.analysis.report.sources import Source, Sources
from lottery.analysis.report.study import Study
from lottery.analysis.report.tested import FEW, corrected, told, with_test
from lottery.words import plural

SHARES = ("parameters_removed", "bytes_removed", "macs_removed")


def variants(own: Saved, sources: Sources) -> str:
    """A row per variant: what is saved at the furthest level, and what it cost."""
    tests = less_random(own)
    beside = own.beside
    detectors = own.study.detectors
    several = detectors is not None and detectors["class"].nunique() > 2  # one of them is the mean
    rows = []
    for variant in own.variants:
        cells = own.table[own.table["variant"] == variant]
        levels = sorted({int(level) for level in cells["level"]})
        row = [variant, "–".join(str(level) for level in dict.fromkeys((levels[0], levels[-1])))]
        for column in SHARES:
            source = own.source(variant, column)
            row.append(sources.link(source, told(source, 100, 1)))
        row += [
            text(own.source(variant, column), column, sources)
            for column in ("fewer_macs", "speed_up")
        ]
        row.append(own.trained(variant, [variant], sources))
        before = own.source(variant, "ap_before")
        known = told(before, 100, 1)
        row.append(sources.link(before, known) if before.values else ABSENT)
        change = own.source(variant, "ap_change")
        row.append(sources.link(change, told(change, 100, 1, sign=True)))
        if several:
            worst = own.source(variant, "worst_change")
            row.append(sources.link(worst, told(worst, 100, 1, sign=True)))
        if beside is not None:
            less = own.less_trained_on(variant)
            known = told(less, 100, 1, sign=True)
            row.append(sources.link(less, known) if less.values else ABSENT)
            share = beside.source(variant, "parameters_removed")
            row.append(sources.link(share, told(share, 100, 1)) if share.values else ABSENT)
        if variant in tests:
            _, source, p = tests[variant]
            difference, said = with_test(source, p, 100, 1)
            row.append(f"{sources.link(source, difference)} {said}")
        else:
            row.append(ABSENT)
        row.append(f"{int(cells['censored'].sum())} of {len(cells)}")
        rows.append([*row, str(cells["seed"].nunique())])
    header = [
        *("Variant", "Level", "Parameters removed (%)", "Bytes removed (%)", "MACs removed (%)"),
        *("Fewer MACs", "Faster", "Steps", "AP as pruned (%)", "AP change (pp)"),
        *(["Worst class (pp)"] if several else []),
        *(["Less trained on (pp)", "Removed beside it (%)"] if beside is not None else []),
        *("Parameters less random's (pp)", "Never fell", "n"),
    ]
    return (
        f"Each ticket at its last level before mean AP on validation pictures falls by more than "
        f"{POINTS} below its unpruned network's; at level 0, and nothing is removed, where the "
        "first level does. Test pictures judge the choice: *AP change* is the mean AP (area) on "
        "them less the unpruned, *AP as pruned* that of the network that the level's training "
        f"began with, where filters had been removed.{_of_classes(several)}{_together(own, beside)}"
        f"{_without_before(own)} Sizes are those of the physically smaller network: *bytes* on "
        "disk, *faster* by the median latency of one picture, taken in turns with the unpruned "
        f"network's; *steps* are those of training since the unpruned network."
        f"{disturbed(own.table)} Mean ± half of the 95 % t-interval over seeds, {FEW}; schemes of "
        "a seed averaged first, ratios geometrically. *Less random's*: paired by scheme and seed, "
        "Holm's p over the column. *Never fell*: tickets whose walk ended without such a fall."
        f"{_left_out(own)}\n\n" + table(header, rows, aligned="l" + "r" * (len(header) - 1))
    )


def _of_classes(several: bool) -> str:
    return " *Worst class* is the AP change of the class that lost most." if several else ""


def _together(own: Saved, beside: Saved | None) -> str:
    """That pruned networks are compared with one that was trained for less long, or as long.

    Where weights go back all levels are trained alike, the unpruned among them.
    """
    if beside is not None:
        return (
            " *Less trained on* is test mean AP less that of the unpruned network, trained on for "
            "as many steps in the same way: AP change without what training alone adds. *Removed "
            "beside it* are the parameters gone at the last level before validation mean AP lies "
            f"more than {POINTS} below that network's at equal steps: the bound rises with what "
            "training alone adds, so that walks of unequal length are judged alike"
            f"{_stopped_before(beside)}."
        )
    modes = {settings(own.study.config, v, "rewind").get("mode") for v in own.variants}
    if modes == {"weights"}:
        return ""
    return (
        " No detector was trained on without being pruned, so that changes of AP are of pruning "
        "and of the training after it together."
    )


def _stopped_before(beside: Saved) -> str:
    censored = int(beside.table["censored"].sum())
    if not censored:
        return ""
    tickets = plural(censored, "ticket")
    return f"; {tickets} ended before reaching it, and might have gone further"


def _left_out(own: Saved) -> str:
    if not own.missing:
        return ""
    return (
        f" Left out are {plural(own.missing, 'ticket')} whose walk is not at its end yet, or "
        "whose last level was not measured."
    )


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


def less_random(own: Saved) -> dict[str, tuple[str, Source, float]]:
    """By variant its reference of random filters, the parameters removed less its, Holm's p."""
    of = {
        variant: reference
        for variant, reference in references(own.study, own.variants).items()
        if criterion(own.study, reference) == CHANCE
    }
    found = {v: own.less(v, reference, "parameters_removed") for v, reference in of.items()}
    p = corrected(list(found.values()))
    return {v: (of[v], found[v], q) for v, q in zip(found, p, strict=True)}


def criterion(study: Study, variant: str) -> str:
    """What a variant ranks filters by."""
    return str(settings(study.config, variant, "prune").get("criterion", ""))
