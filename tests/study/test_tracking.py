import math
import shutil
import time

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2
from tensorboard.util import tensor_util

from lottery.pruning.masks import Masks
from lottery.study import cells, run_study
from lottery.study.cell_store import CellStore
from lottery.study.tracking import TensorBoard, mask_image
from lottery.training.engines import ENGINES
from tests import tiny

EVERYTHING = dict.fromkeys(("scalars", "histograms", "images", "tensors"), 0)


def events(folder):
    return EventAccumulator(str(folder), size_guidance=EVERYTHING).Reload()


def scalars(found, tag):
    return {event.step: event.value for event in found.Scalars(tag)}


@pytest.fixture(scope="module")
def ticket(finished, finished_config):
    """Events and rows of the first ticket."""
    cell = cells(finished_config)[0]
    rows = finished.levels[finished.levels["cell"] == cell.name]
    return cell, events(finished.folder / "tensorboard" / cell.name), rows


def test_every_evaluation_is_a_point_over_all_steps(ticket):
    _, found, rows = ticket
    every = [20 * level + step for level in range(3) for step in (8, 16, 20)]
    for quantity in ("loss", "accuracy"):
        for part in ("train", "validation", "test"):
            assert [e.step for e in found.Scalars(f"{quantity}/{part}")] == every
    ends = scalars(found, "accuracy/test")
    assert [ends[20], ends[40], ends[60]] == pytest.approx(list(rows["test_accuracy"]))
    ends = scalars(found, "loss/validation")
    assert [ends[20], ends[40], ends[60]] == pytest.approx(list(rows["val_loss"]))


def test_weights_remaining_are_shown_overall_and_per_layer(ticket):
    _, found, _ = ticket
    for tag, expected in {
        "all": [1, 186 / 228, 152 / 228],
        "1.weight": [1, 154 / 192, 123 / 192],
        "3.weight": [1, 32 / 36, 29 / 36],
    }.items():
        values = scalars(found, f"weights_remaining/{tag}")
        assert [values[step] for step in (8, 28, 60)] == pytest.approx(expected)


def test_histograms_of_kept_weights_are_drawn_at_each_levels_end(ticket):
    _, found, _ = ticket
    for layer, counts in {"1.weight": [192, 154, 123], "3.weight": [36, 32, 29]}.items():
        for when in ("initial", "trained"):
            drawn = found.Histograms(f"{layer}/{when}")
            assert [event.step for event in drawn] == [20, 40, 60]
            assert [event.histogram_value.num for event in drawn] == counts


def test_the_configuration_can_be_read(ticket):
    cell, found, _ = ticket
    (event,) = found.Tensors("configuration/text_summary")
    (text,) = tensor_util.make_ndarray(event.tensor_proto)
    assert cell.name in text.decode()
    assert "model: tests.tiny:net\n" in text.decode()
    assert "lr: 0.01\n" in text.decode()


def test_hyperparameters_come_with_their_metrics(ticket):
    cell, found, rows = ticket

    def content(tag):
        metadata = found.SummaryMetadata(tag)
        assert metadata.plugin_data.plugin_name == "hparams"
        return plugin_data_pb2.HParamsPluginData.FromString(metadata.plugin_data.content)

    start = content("_hparams_/session_start_info").session_start_info.hparams
    assert start["init"].string_value == cell.init
    assert start["branch"].string_value == "ticket"
    assert start["seed"].number_value == cell.seed
    assert start["draw"].number_value == 0
    assert start["lr"].number_value == 0.01
    assert start["study"].string_value == "tiny"
    experiment = content("_hparams_/experiment").experiment
    for info in experiment.metric_infos:
        assert info.name.tag in found.Tags()["scalars"], "a metric without a value"
    (last,) = scalars(found, "last/test_accuracy").values()
    assert last == pytest.approx(rows["test_accuracy"].iloc[-1])
    best = rows.loc[rows["val_accuracy"].idxmax()]
    (value,) = scalars(found, "best/test_accuracy").values()
    assert value == pytest.approx(best["test_accuracy"])
    (value,) = scalars(found, "best/weights_remaining").values()
    assert value == pytest.approx(best["weights_remaining"])


def test_the_first_layers_mask_is_an_image_per_level(ticket):
    _, found, _ = ticket
    images = found.Images("first_layer_mask")
    assert [image.step for image in images] == [20, 40, 60]
    assert {(image.width, image.height) for image in images} == {(4, 4)}


def test_the_image_is_the_density_of_each_pixel_as_it_lies_in_the_image():
    mask = torch.zeros((10, 784), dtype=torch.bool)
    mask[:4, 28 * 5 + 7] = True  # row 5, column 7
    mask[:8, 28 * 20 + 3] = True
    image = mask_image(Masks({"fc1.weight": mask, "fc2.weight": torch.ones(3, 10).bool()}))
    assert image.shape == (1, 28, 28)
    # 1 + log10(density) / 3: all is white, a tenth two thirds, a thousandth black.
    assert image[0, 20, 3] == pytest.approx(1 + math.log10(0.8) / 3)
    assert image[0, 5, 7] == pytest.approx(1 + math.log10(0.4) / 3)
    assert (image > 1e-6).sum() == 2


@pytest.mark.parametrize("shape", [(4, 1, 4, 4), (5, 3072), (5, 12)])
def test_layers_that_see_no_square_grey_image_have_none(shape):
    assert mask_image(Masks({"first": torch.ones(shape, dtype=torch.bool)})) is None


def test_a_mask_of_nothing_is_black():
    assert abs(mask_image(Masks({"w": torch.zeros((2, 9), dtype=torch.bool)})).max()) < 1e-6


def test_an_unpruned_mask_is_white():
    assert mask_image(Masks({"w": torch.ones((2, 9), dtype=torch.bool)})).min() == 1.0


@pytest.mark.parametrize("checkpoint_seconds", [0.0, 1000.0])
@pytest.mark.parametrize("kill_at", [1, 2, 4, 5, 8])
def test_a_killed_run_leaves_no_gap_and_no_point_twice(
    kill_at, checkpoint_seconds, finished, tmp_path, monkeypatch
):
    """The folder is copied at the kill, as a killed process leaves it: nothing is closed."""
    config = tiny.config(inits=["xavier_normal"], seeds=[0])
    (cell,) = cells(config)
    engines, calls = dict(ENGINES), []

    def until_killed(segments):
        if segments[0].stop > segments[0].start:
            if len(calls) == kill_at:
                shutil.copytree(tmp_path / "run" / "tiny", tmp_path / "killed" / "tiny")
                raise KeyboardInterrupt
            calls.append(1)
        return engines[segments[0].engine](segments)

    for name in engines:
        monkeypatch.setitem(ENGINES, name, until_killed)
    monkeypatch.setattr(CellStore.__init__, "__defaults__", (checkpoint_seconds,))
    with pytest.raises(KeyboardInterrupt):
        run_study(config, results_dir=tmp_path / "run", workers=0, quiet=True)
    ENGINES.update(engines)
    run_study(config, results_dir=tmp_path / "killed", workers=0, quiet=True)
    found = events(tmp_path / "killed" / "tiny" / "tensorboard" / cell.name)
    whole = events(finished.folder / "tensorboard" / cell.name)
    for tag in whole.Tags()["scalars"]:
        assert [(e.step, e.value) for e in found.Scalars(tag)] == [
            (e.step, e.value) for e in whole.Scalars(tag)
        ], tag
    for tag in whole.Tags()["histograms"]:
        assert [e.step for e in found.Histograms(tag)] == [20, 40, 60], tag
    assert [e.step for e in found.Images("first_layer_mask")] == [20, 40, 60]
    assert len(found.Tensors("configuration/text_summary")) == 1


def test_what_goes_on_within_the_second_in_which_it_was_stopped_is_read_last(tmp_path):
    """TensorBoard takes files by name: seconds, then machine and process, here a late one."""
    config = tiny.config(inits=["xavier_normal"], seeds=[0])
    (cell,) = cells(config)
    data = tiny.images(tmp_path)
    first = tmp_path / f"events.out.tfevents.{int(time.time()):010}.zzz.99999.0"
    first.touch()
    TensorBoard(tmp_path, config, cell, 0, data.test).close([])
    names = sorted(path.name for path in tmp_path.glob("events.*"))
    assert len(names) == 2
    assert names[0] == first.name
