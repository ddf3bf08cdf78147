"""All figures of a study at once, from its tables alone.

The figures themselves take a table and return a matplotlib Figure, so a notebook can show one:
`accuracy_by_weights(levels("lenet"))`.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from lottery.analysis import frames
from lottery.analysis.collapse import layer_collapses
from lottery.analysis.detectors import ALLOWED, as_trained_on, before_retraining, furthest
from lottery.analysis.endpoints import PAIR
from lottery.analysis.figures.detectors import detections, precision_recall, shown
from lottery.analysis.figures.diagnostics import diagnostics_by_weights, panels_of
from lottery.analysis.figures.families import families
from lottery.analysis.figures.filters import (
    accuracy_by_macs,
    accuracy_by_parameters,
    reduction,
    shrinking,
    ways,
)
from lottery.analysis.figures.influence import influence
from lottery.analysis.figures.layer_widths import layer_widths
from lottery.analysis.figures.layers import (
    density_by_layer,
    first_layer_masks,
    has_masks,
    weight_distributions,
)
from lottery.analysis.figures.methods import (
    area_differences,
    reference_scheme,
    scheme_by_method,
)
from lottery.analysis.figures.scale import mechanism_scatter, robustness_by_width
from lottery.analysis.figures.steps import accuracy_before_prunes, accuracy_over_steps
from lottery.analysis.figures.style import file_name, save
from lottery.analysis.figures.variants import accuracy_by_variant, variant_differences
from lottery.analysis.figures.weights import (
    accuracy_by_weights,
    controls_by_weights,
    early_stop_by_weights,
)
from lottery.analysis.influence import design
from lottery.analysis.mechanism import by_layer
from lottery.analysis.sizes import left, of_filters, only_weights
from lottery.analysis.walks import finished, may_end_early, together
from lottery.analysis.widths import is_axis, widths
from lottery.analysis.wording import figure_of_detectors

__all__ = [
    "accuracy_before_prunes",
    "accuracy_by_macs",
    "accuracy_by_parameters",
    "accuracy_by_variant",
    "accuracy_by_weights",
    "accuracy_over_steps",
    "controls_by_weights",
    "density_by_layer",
    "detections",
    "diagnostics_by_weights",
    "early_stop_by_weights",
    "first_layer_masks",
    "influence",
    "layer_widths",
    "mechanism_scatter",
    "precision_recall",
    "reduction",
    "render",
    "robustness_by_width",
    "scheme_by_method",
    "variant_differences",
    "weight_distributions",
]


def render(
    study: str | Path, results: str | Path = "results", plots: str | Path = "plots"
) -> list[Path]:
    """Draw every figure that the study's tables allow into `plots`/<study>; returns the files.

    Of a study with variants these compare its variants, those that have tickets yet.
    """
    folder = Path(plots) / Path(study).resolve().name
    drawings = _drawings(study, results)
    if frames.of_detectors(study, results):
        drawings = {name: partial(_of_detectors, draw) for name, draw in drawings.items()}
    return [path for name, draw in drawings.items() for path in save(draw(), folder / name)]


def _of_detectors(draw: Callable[[], Figure]) -> Figure:
    return figure_of_detectors(draw())


def _drawings(study: str | Path, results: str | Path) -> dict[str, Callable[[], Figure]]:
    """Every figure that the tables allow, by the name of its file.

    Where `prune.stop` ends walks, means go as far as all tickets of a variant.
    """
    whole = levels = frames.levels(study, results)
    variants = frames.variants(study, results)
    config = frames.configuration(study, results)
    layers, curves = frames.layers(study, results), frames.curves(study, results)
    diagnostics = None
    if frames.has_diagnostics(study, results):
        diagnostics = frames.diagnostics(study, results)
    collapses = layer_collapses(layers, diagnostics)
    pruned = set(levels.loc[levels["branch"] == "ticket", "variant"])
    drawn = [variant for variant in variants if variant in pruned]
    detecting = frames.of_detectors(study, results)
    of_whole: dict[str, Callable[[], Figure]] = {}
    if of_filters(levels):
        layers = only_weights(layers)
        settings = design(config, drawn)
        if settings is not None:
            return {"influence": lambda: influence(levels, settings)}
        of_whole = _of_filters(levels, layers, curves, drawn, config if detecting else None)
        if frames.has_detectors(study, results):
            of_whole |= _of_pictures(study, results, levels, drawn)
    early = may_end_early(config)
    if early:
        levels, layers, curves = (together(t, whole) for t in (levels, layers, curves))
        diagnostics = None if diagnostics is None else together(diagnostics, whole)
    if len(variants) > 1:
        several: dict[str, Callable[[], Figure]] = {}
        if drawn and (not of_whole or levels["init"].nunique() > 1):
            several["accuracy_by_variant"] = lambda: accuracy_by_variant(levels, drawn, collapses)
        # Of detectors there are criteria by ways of pruning: more lines than one can read.
        if drawn[:1] == variants[:1] and len(drawn) > 1 and not detecting:
            several["variant_differences"] = lambda: variant_differences(levels, drawn)
        if of_whole:
            several |= _of_tickets(levels, drawn, config)
        if diagnostics is not None:
            drawable = (
                (name, own) for name, own in diagnostics.groupby("variant") if panels_of(own)
            )
            for name, own in drawable:
                several[f"diagnostics_by_weights_{name}"] = partial(
                    diagnostics_by_weights, own, left(levels)
                )
        by_scheme = {} if early else _of_schemes(levels, drawn, diagnostics)
        return of_whole | several | by_scheme
    if detecting and not (levels["level"] > 0).any():  # detectors for other studies to start from
        return of_whole
    tickets = levels[levels["branch"] == "ticket"]
    branches = set(levels["branch"])
    drawings: dict[str, Callable[[], Figure]] = {}
    if branches & {"ticket", "dense"}:
        drawings["accuracy_over_steps"] = lambda: accuracy_over_steps(curves, left(levels))
        if len(families(levels["init"])) == 1:
            drawings["accuracy_before_prunes"] = partial(
                accuracy_before_prunes, curves, left(levels)
            )
    if branches - {"ticket", "dense"}:
        drawings["controls_by_weights"] = lambda: controls_by_weights(levels)
    if len(tickets):
        drawings["accuracy_by_weights"] = lambda: accuracy_by_weights(levels, collapses)
        drawings["density_by_layer"] = lambda: density_by_layer(layers)
        for init in sorted(set(tickets["init"])):
            name = f"weight_distributions_{file_name(init)}"
            drawings[name] = partial(weight_distributions, layers, init)
    if tickets["early_stop_step"].notna().any():
        drawings["early_stop_by_weights"] = lambda: early_stop_by_weights(levels, curves)
    if has_masks(layers):
        drawings["first_layer_masks"] = lambda: first_layer_masks(layers)
    if diagnostics is not None and panels_of(diagnostics):
        drawings["diagnostics_by_weights"] = partial(
            diagnostics_by_weights, diagnostics, left(levels)
        )
    if len(tickets) and not early:
        drawings |= _of_schemes(levels, variants, diagnostics)
    return of_whole | drawings


def _of_filters(
    levels: pd.DataFrame,
    layers: pd.DataFrame,
    curves: pd.DataFrame,
    variants: Sequence[str],
    detecting: dict[str, Any] | None,
) -> dict[str, Callable[[], Figure]]:
    """What shows how much smaller networks become; variants: those with tickets.

    detecting: of a study of detectors its `study.yaml`. Their levels are drawn as they are before
    they are trained too, and their widths are those within the allowed loss.
    """
    known = levels[levels["parameters"].notna() & (levels["level"] > 0)]
    variants = [variant for variant in variants if variant in set(known["variant"])]
    if not variants:
        return {}
    before, beside, of_layers = None, None, partial(layer_widths, layers, variants)
    if detecting is not None:
        kept = [name for name in variants if not _rewinds(detecting, name)]
        before = before_retraining(levels[levels["variant"].isin(kept)], curves)
        beside = as_trained_on(levels, [v for v in variants if frames.starts_anew(detecting, v)])
        ends = furthest(finished(levels, detecting)).set_index(PAIR)["level"]
        done = [name for name in variants if name in ends.index.get_level_values("variant")]
        end = f"within {100 * ALLOWED:g} points of accuracy"
        of_layers = partial(layer_widths, layers, done, ends, end) if done else of_layers
    drawings: dict[str, Callable[[], Figure]] = {
        "accuracy_by_parameters": lambda: accuracy_by_parameters(levels, variants, before, beside),
        "accuracy_by_macs": lambda: accuracy_by_macs(levels, variants, before, beside),
    }
    if "kept_outputs" in layers:
        drawings["layer_widths"] = of_layers
    shrunk = [variant for variant in variants if variant in shrinking(curves)]
    if shrunk:
        common = together(curves, levels)
        drawings["reduction"] = lambda: reduction(common, shrunk)
    return drawings


def _of_pictures(
    study: str | Path, results: str | Path, levels: pd.DataFrame, variants: Sequence[str]
) -> dict[str, Callable[[], Figure]]:
    """What detectors find in pictures: curves for each way of pruning, and boxes."""
    curves, found = (read(study, results) for read in (frames.precision_recall, frames.detections))
    name, pictures = levels["study"].iloc[0], frames.pictures(study, results)
    drawings: dict[str, Callable[[], Figure]] = {}
    for way, group in ways(variants).items():
        own = [variant for variant in group.values() if variant in set(curves["variant"])]
        if own:
            stem = f"precision_recall_{way}" if way else "precision_recall"
            drawings[stem] = partial(precision_recall, curves, name, own)
    best = [variant for variant in shown(levels, variants) if variant in set(found["variant"])]
    if pictures and best:
        drawings["detections"] = lambda: detections(found, levels, pictures, best)
    return drawings


def _of_tickets(
    levels: pd.DataFrame, variants: Sequence[str], config: dict[str, Any]
) -> dict[str, Callable[[], Figure]]:
    """Tickets and controls of each variant that rewinds."""
    drawings: dict[str, Callable[[], Figure]] = {}
    for variant in variants:
        own = levels[levels["variant"] == variant]
        if _rewinds(config, variant) and set(own["branch"]) - {"ticket", "dense"}:
            drawings[f"controls_by_weights_{variant}"] = partial(controls_by_weights, own)
    return drawings


def _rewinds(config: dict[str, Any], variant: str) -> bool:
    """Whether weights go back to earlier values between a variant's levels."""
    return frames.settings(config, variant, "rewind").get("mode") == "weights"


def _of_schemes(
    levels: pd.DataFrame, variants: Sequence[str], diagnostics: pd.DataFrame | None
) -> dict[str, Callable[[], Figure]]:
    """What compares schemes by their width, by pruning method, and by how far weights travel.

    variants: those with tickets.
    """
    tickets = levels[(levels["branch"] == "ticket") & levels["variant"].isin(variants)]
    if not (tickets["level"] > 0).any():
        return {}
    found = widths(tickets)
    drawings: dict[str, Callable[[], Figure]] = {}
    if is_axis(found):
        drawings["robustness_by_width"] = lambda: robustness_by_width(tickets, variants, found)
    reference = reference_scheme(tickets)
    if reference and len(variants) > 1 and area_differences(tickets, variants, reference):
        drawings["scheme_by_method"] = lambda: scheme_by_method(tickets, variants, reference)
    if tickets["init"].nunique() > 1 and diagnostics is not None and len(by_layer(diagnostics)):
        drawings["mechanism"] = lambda: mechanism_scatter(tickets, diagnostics, variants, found)
    return drawings
