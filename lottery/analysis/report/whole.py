"""The report as a whole: its sections in order, and its two files."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd

from lottery.analysis import frames
from lottery.analysis.choice import Choice
from lottery.analysis.claims import judge
from lottery.analysis.figures import render
from lottery.analysis.report import acceptance as custom
from lottery.analysis.report import choice as chosen
from lottery.analysis.report import others
from lottery.analysis.report.accuracy import accuracy, controls
from lottery.analysis.report.answer import answer
from lottery.analysis.report.collapse import layer_collapse
from lottery.analysis.report.contrasts import contrasts
from lottery.analysis.report.detectors import TITLE as DETECTOR
from lottery.analysis.report.detectors import detector
from lottery.analysis.report.detectors import short as saving
from lottery.analysis.report.document import anchor
from lottery.analysis.report.endpoints import robustness, sparse_outcomes, speed
from lottery.analysis.report.figures import figures as captioned
from lottery.analysis.report.filters import TITLE, filters
from lottery.analysis.report.html import page
from lottery.analysis.report.influence import settings
from lottery.analysis.report.making import again, limits
from lottery.analysis.report.protocol import networks, protocol
from lottery.analysis.report.scale import scale, travel
from lottery.analysis.report.schemes import schemes
from lottery.analysis.report.sources import Sources
from lottery.analysis.report.study import Study, load
from lottery.analysis.report.variants import variants
from lottery.analysis.report.verdicts import verdicts
from lottery.analysis.report.why import explanation, short, why
from lottery.analysis.sizes import of_filters
from lottery.analysis.wording import of_detectors
from lottery.errors import StoreError
from lottery.files import whole


def write(
    study: str | Path,
    results: str | Path = "results",
    plots: str | Path = "plots",
    choice: Choice | None = None,
) -> list[Path]:
    """Write report.md and report.html beside the study's tables; returns both paths.

    Draws the study's figures too (into `plots`/<study>), so that figures and text agree. choice:
    of a custom scheme, which reports of studies that judge it speak about.
    """
    tables = load(study, results)
    drawn = render(study, results, plots)
    others = _others(tables.name, results)
    rivals = _detectors(tables.name, results) if tables.detecting else []
    markdown = compose(tables, drawn, others, choice, rivals)
    return [
        _written(tables.folder / "report.md", markdown),
        _written(tables.folder / "report.html", page(markdown, tables.folder)),
    ]


def compose(
    study: Study,
    drawn: list[Path],
    levels: pd.DataFrame | None = None,
    choice: Choice | None = None,
    rivals: Iterable[Study] = (),
) -> str:
    """The report in Markdown; sections without data are left out.

    So are those that average over levels, or compare networks by such means, where `prune.stop`
    ends walks: the levels of two tickets are not the same.

    drawn: the study's figures. levels: of other studies, for claims that compare networks
    and for the rule by which a custom scheme is judged. choice: that scheme, if there is one.
    rivals: other studies of detectors.
    """
    sources = Sources()
    found, explained = [], None
    if not study.ends_early:
        found, explained = judge(study.levels, levels), explanation(study)
    unexplained = study.ends_early or of_filters(study.levels)
    common = study.together()

    def averaging(section: Callable[..., str], *arguments: Any) -> str:
        return "" if study.ends_early else section(study, *arguments)

    whose = f" (variant {study.variants[0]})" if len(study.variants) > 1 else ""
    more = (
        *saving(study, sources),
        averaging(chosen.short, choice),
        averaging(custom.short, levels, choice, sources),
        "" if explained is None and unexplained else short(explained),
    )
    sections = {
        "Question and short answer": answer(study, found, more, sources),
        "Protocol": protocol(study),
        "Networks": networks(common),
        "Initialisation schemes": schemes(study),
        "Figures": captioned(drawn, study.folder, study.inits),
        f"Accuracy by {study.left}{whose}": accuracy(common, sources),
        f"Tickets against their controls{whose}": controls(common, sources),
        f"Early stopping{whose}": averaging(speed, sources),
        f"Robustness of each scheme{whose}": averaging(robustness, sources),
        f"Do the schemes differ?{whose}": averaging(contrasts, sources),
        others.TITLE: averaging(others.others, sources),
        f"Few weights left{whose}": sparse_outcomes(common, sources),
        chosen.TITLE: averaging(chosen.choice_made, choice, sources),
        custom.TITLE: averaging(custom.acceptance, levels, choice, sources),
        "Scale, shape or place": averaging(scale, sources),
        "Travel of weights": averaging(travel, sources),
        DETECTOR: detector(study, rivals, sources),
        TITLE: filters(common, sources),
        "Influence of the settings": averaging(settings),
        "Layer collapse": layer_collapse(study, sources),
        "Variants of the protocol": averaging(variants, sources),
        "Published claims and verdicts": verdicts(found, sources),
        f"Why{whose}": why(explained, sources),
        "Limits": limits(study),
        "How to make it again": again(study),
    }
    sections["Where every number comes from"] = _appendix(sources)
    sections = {title: text for title, text in sections.items() if text}
    if study.detecting:
        sections = {of_detectors(title): of_detectors(text) for title, text in sections.items()}
    contents = "\n".join(f"- [{title}](#{anchor(title)})" for title in sections)
    parts = [f"# {study.name}: a report", contents]
    parts += [f"## {title}\n\n{text}" for title, text in sections.items()]
    return "\n\n".join(parts) + "\n"


def _others(study: str, results: str | Path) -> pd.DataFrame | None:
    """Levels of all other studies that can be read; the reports of those that cannot say so."""
    found = []
    for name in frames.studies(results):
        if name != study:
            with suppress(StoreError):
                found.append(frames.levels(name, results))
    return pd.concat(found, ignore_index=True) if found else None


def _detectors(study: str, results: str | Path) -> list[Study]:
    """All other studies of detectors that can be read."""
    found = []
    for name in frames.studies(results):
        if name != study and frames.has_detectors(name, results):
            with suppress(StoreError):
                found.append(load(name, results))
    return found


def _appendix(sources: Sources) -> str:
    return (
        "Each entry names a table of this study's folder, which of its rows were taken, and per "
        "seed the values, with the cell in brackets and the level. Cells are short for names in "
        "the column `cell`, listed first. What is subtracted or divided by has a minus sign. "
        "Values stand as in the table: accuracies are fractions.\n\n" + sources.appendix()
    )


def _written(path: Path, text: str) -> Path:
    try:
        with whole(path) as place:
            place.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise StoreError(f"{path} cannot be written ({error})") from error
    return path
