"""Every method that docs/methods.md lists is a working variant of a study, as it stands there."""

import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml

from lottery.analysis import frames, layer_collapses
from lottery.diagnostics import DiagnosticsConfig
from lottery.pruning.criteria import CRITERIA
from lottery.pruning.masks import Masks, prunable
from lottery.pruning.schedule import PruneConfig, keep_counts
from lottery.study import ControlsConfig, StudyConfig
from lottery.study.grid import cells
from lottery.study.store import StudyStore
from tests import tiny

GUIDE = (Path(__file__).parents[2] / "docs" / "methods.md").read_text(encoding="utf-8")
VARIANTS = yaml.safe_load(re.search(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)[1])["variants"]
VARIANTS["rewind_k"] = {"rewind": {"to": "5it"}}  # levels of these tests have 20 steps
AT_INITIAL = [name for name, set_ in VARIANTS.items() if set_.get("prune", {}).get("at")]


def config(**settings) -> StudyConfig:
    return tiny.config(**{"seeds": [0], "inits": ["xavier_normal"], **settings})


def masks_of(config: StudyConfig, place: Path) -> dict[str, list[Masks]]:
    """Of the tickets' levels by variant."""
    store = StudyStore(place, config.name)
    return {
        cell.variant: [store.cell(cell.name).ticket(level)[0] for level in cell.levels]
        for cell in cells(config)
        if cell.branch == "ticket"
    }


@pytest.fixture(scope="module", params=["tests.tiny:net", "tests.tiny:conv_net"])
def ran(request, tmp_path_factory):
    """A study of all methods on one network, run in one go."""
    chosen, place = config(model=request.param, variants=VARIANTS), tmp_path_factory.mktemp("all")
    result = tiny.run_here(chosen, place)
    assert not result.failures
    return chosen, place


def test_the_guide_names_every_criterion_and_every_method_it_is_to_name():
    for name in CRITERIA:
        assert f"`{name}" in GUIDE
    assert set(VARIANTS) >= {
        *("magnitude", "global", "magnitude_over_std", "lamp", "movement", "random_erk", "snip"),
        *("grasp", "synflow", "one_shot", "rewind_k", "learning_rate", "fine_tuning"),
    }


def test_all_methods_meet_at_the_same_weights_remaining(ran):
    chosen, place = ran
    model = tiny.net() if chosen.model == "tests.tiny:net" else tiny.conv_net()
    sizes, kinds = Masks.ones(model).sizes, prunable(model)
    for name, levels in masks_of(chosen, place).items():
        for level, masks in enumerate(levels):
            expected = keep_counts(sizes, kinds, chosen.prune, level)
            assert sum(masks.remaining.values()) == sum(expected.values()), name
            if chosen.variant(name).prune.scope == "layer" and "allocation" not in str(
                VARIANTS[name]
            ):
                assert masks.remaining == expected, name


def test_masks_nest_unless_levels_are_found_in_many_iterations(ran):
    chosen, place = ran
    for name, levels in masks_of(chosen, place).items():
        prune = chosen.variant(name).prune
        if prune.iterations == 1:
            assert all(later.is_within(earlier) for earlier, later in pairwise(levels)), name


def test_methods_differ(ran):
    """At level 2 no two methods that rank differently keep the same weights."""
    chosen, place = ran
    masks = {name: levels[2] for name, levels in masks_of(chosen, place).items()}
    distinct = {
        str({n: m.int().flatten().tolist() for n, m in masks[name].items()}): name for name in masks
    }
    after_training_alone = {"magnitude", "rewind_k", "learning_rate", "fine_tuning"}
    assert len(distinct) >= len(masks) - len(after_training_alone)


def test_a_run_in_two_parts_gives_the_same_numbers(ran, tmp_path):
    chosen, place = ran
    few = {name: VARIANTS[name] for name in ("lamp", "grasp", "synflow", "random_erk")}
    chosen = replace(chosen, variants=few)
    tiny.run_here(replace(chosen, levels=1), tmp_path)
    again = tiny.run_here(chosen, tmp_path).levels.drop(columns="seconds")
    whole = pd.read_csv(place / "tiny" / "levels.csv").drop(columns="seconds")
    whole = whole[whole["variant"].isin(few)].set_index(["cell", "level"]).sort_index()
    again = again.set_index(["cell", "level"]).sort_index()
    pd.testing.assert_frame_equal(again, whole, check_exact=True, check_dtype=False)


def test_masks_of_untrained_networks_are_the_same_on_every_engine(tmp_path):
    variants = {name: VARIANTS[name] for name in AT_INITIAL}
    found = {}
    for engine in ("reference", "sparse", "stacked"):
        chosen = config(variants=variants, engine=engine)
        result = tiny.run_here(chosen, tmp_path / engine)
        assert not result.failures
        found[engine] = masks_of(chosen, tmp_path / engine), result.levels
    for masks, levels in (found["sparse"], found["stacked"]):
        for name, own in masks.items():
            for one, other in zip(own, found["reference"][0][name], strict=True):
                assert all(torch.equal(mask, other[layer]) for layer, mask in one.items())
        gap = levels["test_loss"] - found["reference"][1]["test_loss"]
        assert gap.abs().max() < 1e-4


def test_ablations_of_methods_at_initialisation_use_their_masks_and_change_them(tmp_path):
    """Shuffling that does nothing would seem to show that positions do not matter."""
    variants = {name: VARIANTS[name] for name in ("snip", "grasp", "synflow")}
    controls = ControlsConfig(reinit=1, shuffle_layer=1, shuffle_global=1, retrain=1)
    chosen = config(variants=variants, controls=controls)
    assert not tiny.run_here(chosen, tmp_path).failures
    tickets, store = masks_of(chosen, tmp_path), StudyStore(tmp_path, chosen.name)
    branches = set()
    for cell in cells(chosen):
        for level in cell.levels if cell.needs else ():
            branches.add(cell.branch)
            masks, trained = store.cell(cell.name).ticket(level)
            ticket = tickets[cell.variant][level]
            same = all(torch.equal(mask, ticket[name]) for name, mask in masks.items())
            assert same == (not cell.branch.startswith("shuffle"))
            assert sum(masks.remaining.values()) == sum(ticket.remaining.values())
            if cell.branch != "shuffle_global":
                assert masks.remaining == ticket.remaining
            assert all(not trained[name][~mask].any() for name, mask in masks.items())
    assert branches == {"reinit", "shuffle_layer", "shuffle_global", "retrain"}


def test_learning_rate_rewinding_is_fine_tuning_where_the_rate_is_constant(tmp_path):
    variants = {name: VARIANTS[name] for name in ("learning_rate", "fine_tuning")}
    levels = tiny.run_here(config(variants=variants), tmp_path).levels
    one, other = (levels[levels["variant"] == name].reset_index() for name in variants)
    pd.testing.assert_series_equal(one["test_loss"], other["test_loss"])


def output_first(layer, context):
    """A criterion that prunes the output layer before anything else."""
    return layer.weight.abs() - (100 if layer.name == "3.weight" else 0)


@pytest.mark.parametrize("engine", ["reference", "sparse", "stacked"])
def test_a_collapsed_network_is_trained_recorded_and_found(engine, tmp_path):
    """No engine or diagnostic fails on a layer without weights, and nothing keeps it alive."""
    prune = PruneConfig(criterion=f"{__name__}:output_first", scope="global")
    diagnostics = DiagnosticsConfig(record=True)
    chosen = config(prune=prune, engine=engine, diagnostics=diagnostics)
    result = tiny.run_here(chosen, tmp_path)
    assert not result.failures
    assert result.levels["test_accuracy"].between(0, 1).all()
    tables = [read("tiny", tmp_path) for read in (frames.layers, frames.diagnostics)]
    for given in (tables, tables[:1]):
        found = layer_collapses(*given)
        assert found["level"].tolist() == [1, 2]
        assert found["layers"].tolist() == ["3.weight", "3.weight"]
