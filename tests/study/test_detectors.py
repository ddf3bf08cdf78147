"""What is measured of a study's detectors: those without the filters that went."""

import dataclasses
import json
import math
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lottery.analysis import frames
from lottery.analysis.columns import NO_SEED
from lottery.costs import cost
from lottery.costs.timing import Timing
from lottery.detection import detections
from lottery.errors import ConfigError, StoreError
from lottery.models import build
from lottery.study import cells
from lottery.study.detector_choice import best, pick
from lottery.study.detectors import measure, measure_detectors, small_network
from lottery.study.store import StudyStore
from lottery.tickets.imp import RewindConfig
from tests import squares, tiny


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """The results of a study of detectors, and what is measured of them."""
    place = tmp_path_factory.mktemp("detectors")
    assert not tiny.run_here(squares.config(), place).failures
    return place, measure_detectors(squares.config(), place)


@pytest.fixture
def copied(ran, tmp_path):
    shutil.copytree(ran[0], tmp_path / "results")
    return tmp_path / "results"


def test_the_smaller_network_is_as_precise_as_the_masked_one(ran):
    """levels.csv is of the masked network: parameters of both count the same filters."""
    place, table = ran
    levels = pd.read_csv(place / "squares" / "levels.csv").set_index("level")
    whole = table[table["class"] == "all"].set_index("level")
    assert list(whole.index) == [0, 1]
    for level in (0, 1):
        assert whole.loc[level, "ap_area"] == pytest.approx(levels.loc[level, "test_accuracy"])
        assert whole.loc[level, "parameters"] == levels.loc[level, "parameters"]
        assert whole.loc[level, "macs"] == levels.loc[level, "macs"]
    assert whole.loc[0, "ap_area"] > 0.2, "nothing was learnt, so nothing was tested"
    assert whole.loc[1, "parameters"] < 0.8 * whole.loc[0, "parameters"]
    assert whole.loc[1, "bytes"] < 0.8 * whole.loc[0, "bytes"]
    assert (whole["latency_low"] <= whole["latency_ms"]).all()
    assert (whole["latency_ms"] <= whole["latency_high"]).all()
    assert (whole["latency_n"] == 50).all() and (whole["pictures"] == 12).all()


def test_a_level_is_timed_in_turns_with_level_0_and_the_load_is_told(copied, monkeypatch):
    turns = []

    def in_turns(networks, picture, passes):
        turns.append({level: cost(each, picture).macs for level, each in networks.items()})
        return {level: Timing(passes, level + 0.5, 0.4, 2.0) for level in networks}

    monkeypatch.setattr("lottery.study.detectors.in_turns", in_turns)
    monkeypatch.setattr("lottery.study.detectors.OtherLoad", lambda: lambda: 1.25)
    for cached in copied.rglob("detector_*.json"):
        cached.unlink()
    table = measure_detectors(squares.config(), copied)
    rows = table[table["class"] == "all"].set_index("level")
    first, both = {0: rows["macs"][0]}, {0: rows["macs"][0], 1: rows["macs"][1]}
    assert turns == [first, first, both, both], "a pass to see how many there is time for"
    assert rows["unpruned_ms"].tolist() == [500.0, 500.0]
    assert rows["latency_ms"].tolist() == [500.0, 1500.0]
    assert rows["busy_cores"].tolist() == [1.25, 1.25]


@pytest.mark.parametrize(("seconds", "passes"), [(1e-3, 50), (0.1, 25), (2.0, 5)])
def test_latency_is_of_as_many_passes_as_there_is_time_for(copied, monkeypatch, seconds, passes):
    """10 seconds for both networks, of which each pass follows one that is not timed."""

    def in_turns(networks, picture, passes):
        return {level: Timing(passes, seconds, seconds, seconds) for level in networks}

    monkeypatch.setattr("lottery.study.detectors.in_turns", in_turns)
    next(copied.rglob("detector_01.json")).unlink()
    table = measure_detectors(squares.config(), copied)
    assert (
        table.loc[(table["level"] == 1) & (table["class"] == "all"), "latency_n"].item() == passes
    )


def test_an_unpruned_network_that_variants_share_is_measured_once(tmp_path, monkeypatch):
    """It is taken from an earlier study; a variant of another precision measures it anew."""
    train = dataclasses.replace(squares.config().train, duration="20it", eval_every="20it")
    rewind = RewindConfig(mode="learning_rate", to="10it")
    first = squares.config(name="first", train=train, rewind=rewind, levels=0)
    variants = {
        "l2": {},
        "random": {"prune": {"criterion": "random_filters"}},
        "rounded": {"train": {"precision": "bfloat16"}},
    }
    second = dataclasses.replace(first, name="second", start="first", levels=1, variants=variants)
    for config in (first, second):
        assert not tiny.run_here(config, tmp_path).failures
    measured = []

    def count(model, examples, objective, device, precision):
        measured.append((cost(model, examples.batch(slice(0, 1))[0]).macs, precision))
        return measure(model, examples, objective, device, precision)

    monkeypatch.setattr("lottery.study.detectors.measure", count)
    table = measure_detectors(second, tmp_path)
    whole = table[(table["class"] == "all")].set_index(["variant", "level"])
    unpruned = whole.loc[("l2", 0), "macs"]
    assert [precision for macs, precision in measured if macs == unpruned] == [
        "float32",
        "bfloat16",
    ]
    assert len(measured) == 2 + 3
    first, same, other = (whole.loc[(name, 0), "latency_ms"] for name in variants)
    assert first == same != other
    (cell,) = (cell.name for cell in cells(second) if cell.variant == "random")
    (StudyStore(tmp_path, "second").cell(cell).folder / "detector_00.json").unlink()
    measured.clear()
    again = measure_detectors(second, tmp_path)
    assert again.equals(table) and not measured, "that of another variant is still there"


def test_average_precision_is_that_of_the_study_in_bfloat16_too(tmp_path):
    train = dataclasses.replace(squares.config().train, precision="bfloat16")
    config = squares.config(train=train, data="tests.squares:squares(test=60)")
    assert not tiny.run_here(config, tmp_path).failures
    table = measure_detectors(config, tmp_path)
    levels = pd.read_csv(tmp_path / "squares" / "levels.csv")
    found = table.loc[table["class"] == "all", "ap_area"]
    assert found.tolist() == pytest.approx(levels["test_accuracy"].tolist())


def test_average_precision_before_retraining_is_that_of_the_levels_first_evaluation(tmp_path):
    train = dataclasses.replace(squares.config().train, duration="60it", eval_start=True)
    rewind = RewindConfig(mode="learning_rate", to="40it")
    variants = {
        "hard": {},
        "soft": {"prune": {"iterative": False, "during": "soft(every=20it)"}},
        "back": {"rewind": {"mode": "weights", "to": "0it"}},
    }
    config = squares.config(train=train, rewind=rewind, variants=variants)
    assert not tiny.run_here(config, tmp_path).failures
    table = measure_detectors(config, tmp_path)
    before = table[table["ap_before"].notna()]
    assert before[["class", "variant", "level"]].values.tolist() == [["all", "hard", 1]]
    curves = pd.read_parquet(tmp_path / "squares" / "curves.parquet")
    own = curves[(curves["variant"] == "hard") & (curves["level"] == 1)]
    assert own["step"].tolist() == [40, 60]
    assert before["ap_before"].item() == own["test_accuracy"].iloc[0]


def test_classes_have_rows_of_their_own(ran):
    """12 test pictures, every other one green, every fifth difficult: numbers 4 and 9."""
    _, table = ran
    rows = table[table["level"] == 0].set_index("class")
    assert list(rows.index) == ["all", "red", "green"]
    assert rows["boxes"].tolist() == [10, 5, 5]
    assert rows.loc["all", "ap_11"] == pytest.approx(rows.loc[["red", "green"], "ap_11"].mean())
    assert (
        rows.loc[["red", "green"], ["parameters", "latency_ms", "pictures"]].isna().all(axis=None)
    )


def test_the_small_network_computes_what_the_masked_one_does(ran):
    place, _ = ran
    config = squares.config()
    store, data = StudyStore(place, "squares"), squares.squares(None)
    (cell,) = cells(config)
    small = small_network(config, store, cell, 1, data.test)
    masked = build(config.model)
    masked.load_state_dict(store.cell(cell.name).ticket(1)[1])
    images, _ = data.test.batch(slice(None))
    with torch.no_grad():
        expected = masked.eval()(images)
        assert torch.allclose(small(images), expected, atol=1e-4)
    assert cost(small, images).macs < cost(masked, images).macs


def test_nothing_is_measured_twice(copied, monkeypatch):
    def refuse(*arguments):
        raise AssertionError("measured again")

    before = pd.read_csv(copied / "squares" / "detectors.csv")
    monkeypatch.setattr("lottery.study.detectors.measure", refuse)
    measure_detectors(squares.config(), copied)
    for name in ("detectors.csv", "detections.parquet"):
        (copied / "squares" / name).unlink()
    measure_detectors(squares.config(), copied)
    assert pd.read_csv(copied / "squares" / "detectors.csv").equals(before)
    (cell,) = cells(squares.config())
    (StudyStore(copied, "squares").cell(cell.name).path(1)).touch()  # trained anew
    with pytest.raises(AssertionError, match="measured again"):
        measure_detectors(squares.config(), copied)


def test_rows_of_networks_that_are_elsewhere_stay(copied):
    """Another seed's row, as of tables committed from another machine."""
    file = copied / "squares" / "detectors.csv"
    table = pd.read_csv(file, dtype="str", keep_default_na=False)
    other = table.assign(cell="elsewhere", seed="7")
    pd.concat([table, other]).to_csv(file, index=False)
    for cached in copied.rglob("detector_*.json"):
        cached.unlink()
    found = measure_detectors(squares.config(), copied)
    assert sorted(found["seed"].unique()) == [0, 7]
    assert len(found) == 2 * len(table)


def validation_falls(study, lost):
    """Write into levels.csv that level 1 lost so much on the validation pictures."""
    table = pd.read_csv(study / "levels.csv")
    first = table.loc[table["level"] == 0, "val_accuracy"].item()
    table.loc[table["level"] == 1, "val_accuracy"] = first - lost
    table.to_csv(study / "levels.csv", index=False)


def test_curves_and_detections_are_of_level_0_and_of_the_furthest_at_the_allowed_loss(copied):
    study = copied / "squares"
    for lost, levels in ((0.02, [0, 1]), (0.03, [0])):
        validation_falls(study, lost)
        (study / "detections.parquet").unlink()
        measure_detectors(squares.config(), copied)
        curves = pd.read_parquet(study / "precision_recall.parquet")
        assert sorted(curves["level"].unique()) == levels
        for _, curve in curves.groupby(["level", "class"]):
            assert curve["recall"].tolist() == pytest.approx(np.linspace(0, 1, 101).tolist())
            assert (curve["precision"].diff().dropna() <= 0).all(), "not an envelope"
        assert len(curves) == len(levels) * 2 * 101
        found = pd.read_parquet(study / "detections.parquet")
        assert set(found["level"]) <= set(levels)


def test_detections_are_beside_the_boxes_that_there_are(ran):
    place, _ = ran
    table = pd.read_parquet(place / "squares" / "detections.parquet")
    truth, found = (table[table["variant"] == variant] for variant in ("truth", "base"))
    test = squares.squares(None).test
    assert truth["picture"].tolist() == [0, 1, 2, 3]
    assert truth["class"].tolist() == ["red", "green", "red", "green"]
    assert truth[["x0", "y0", "x1", "y1"]].to_numpy() == pytest.approx(
        test.labels[:4, 0, 1:5].numpy()
    )
    assert truth["score"].isna().all()
    assert set(truth["seed"]) == {NO_SEED}
    config = squares.config()
    (cell,) = cells(config)
    model = small_network(config, StudyStore(place, "squares"), cell, 0, test)
    with torch.no_grad():
        rows = detections(model(test.batch(slice(0, 4))[0]), test.objective.anchors, 0.25)
    expected = rows[rows[..., 0] >= 0]
    own = found[found["level"] == 0]
    assert len(own) == len(expected) > 0
    assert own["score"].to_numpy() == pytest.approx(expected[:, 5].numpy(), abs=1e-4)
    pictures = sorted((place / "squares" / "pictures").iterdir())
    assert [path.name for path in pictures] == ["0.jpg", "1.jpg", "2.jpg", "3.jpg"]
    assert Image.open(pictures[0]).size == (32, 32)


def test_detections_are_drawn_in_tensorboard_at_each_level(ran):
    (folder,) = (ran[0] / "squares" / "tensorboard").iterdir()
    found = EventAccumulator(str(folder), size_guidance={"images": 0}).Reload()
    drawn = found.Images("detections")
    assert [event.step for event in drawn] == [300, 400]
    assert drawn[0].width > 2 * 320, "small pictures are too small to read"


def test_a_study_of_classes_has_no_detectors_to_measure(tmp_path):
    config = tiny.config(levels=0, inits=["xavier_normal"], seeds=[0])
    tiny.run_here(config, tmp_path)
    with pytest.raises(ConfigError, match="allowed: pictures with boxes: digit_scenes"):
        measure_detectors(config, tmp_path)


def test_fresh_discards_what_was_measured(copied):
    store = StudyStore(copied, "squares")
    with store.open(squares.config(), fresh=True):
        assert [path.name for path in store.root.iterdir()] == [".lock"]


def test_the_best_is_the_cheapest_that_is_good_enough(copied):
    (cell,) = cells(squares.config())
    for lost, level in ((0.02, 1), (0.03, 0)):
        validation_falls(copied / "squares", lost)
        assert best(copied / "squares", 0.02) == (cell.name, level)


def test_a_detector_is_picked_with_what_its_output_means(ran):
    folder = ran[0] / "squares"
    (cell,) = cells(squares.config())
    detector = pick(folder, cell.name, 1)
    assert (detector.spec, detector.size) == (squares.config().model, 32)
    assert detector.objective.names == ("red", "green")
    found = detector.find(Image.open(folder / "pictures" / "0.jpg").resize((64, 48)), 0.01)
    assert found.shape[1] == 6 and (found[:, 0] >= 0).all()
    with pytest.raises(ConfigError, match="cell is 'none'; allowed: a ticket of"):
        pick(folder, "none", 1)


def test_a_detector_of_which_only_tables_are_here_is_said_to_be_trained_again(copied):
    (cell,) = cells(squares.config())
    shutil.rmtree(copied / "squares" / "cells")
    with pytest.raises(StoreError, match=r"not committed; `python .*run_detector.py squares --res"):
        pick(copied / "squares", cell.name, 1)


def test_a_detector_is_not_picked_with_the_anchors_of_other_pictures(copied):
    """Anchors are found among the training boxes, so a mended box would change them."""
    file = copied / "squares" / "manifest.json"
    manifest = json.loads(file.read_text())
    manifest["runs"][-1]["data_sha256"]["train_labels"] = "another"
    file.write_text(json.dumps(manifest))
    (cell,) = cells(squares.config())
    with pytest.raises(StoreError, match=r"is not what .* was trained on: its anchors"):
        pick(copied / "squares", cell.name, 1)


def test_pictures_without_boxes_or_detections_make_an_empty_table(copied, monkeypatch):
    (copied / "squares" / "detections.parquet").unlink()
    monkeypatch.setattr("lottery.study.detector_tables._truth", lambda *_: [])
    for cached in copied.rglob("detector_*.json"):
        cached.write_text(json.dumps(json.loads(cached.read_text()) | {"detections": []}))
    measure_detectors(squares.config(), copied)
    assert frames.detections("squares", copied).empty


def test_what_is_kept_of_a_level_is_json(ran):
    (first, second) = sorted(ran[0].rglob("detector_*.json"))
    found = json.loads(first.read_text())
    assert set(found) == {"rows", "curves", "detections"}
    assert not math.isnan(found["rows"][0]["ap_area"])
    assert second.name == "detector_01.json"
