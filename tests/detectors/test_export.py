"""A detector in a file is as small as it was, finds the same, and is nothing but numbers."""

import copy
import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import safetensors.torch
import torch
from PIL import Image

import lottery
from lottery.detection import Detection, decode
from lottery.detectors import Detector, export_onnx, load, save
from lottery.errors import ConfigError, UsageError


@pytest.fixture(scope="module", params=["tiny_yolo_v2", "yolo_v2"])
def detector(request):
    """Half of the filters of a random network are gone, of each layer another share."""
    spec = f"{request.param}(width=0.125, classes=2, anchors=1)"
    model = lottery.initialise(lottery.build(spec), "kaiming_normal", 0)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # or mean and variance would be 0 and 1
            module.running_mean.normal_(generator=torch.Generator().manual_seed(1))
            module.running_var.uniform_(0.5, 2, generator=torch.Generator().manual_seed(2))
    graph = lottery.trace(model, torch.rand(1, 3, 64, 64))
    gone = lottery.prune_units(model, graph, 0.5, criterion="random_filters")
    small = lottery.shrink(copy.deepcopy(model), gone, graph).eval()
    return Detector(small, spec, Detection(("red", "green"), torch.tensor([[0.3, 0.4]])), 64)


@pytest.fixture
def images():
    return torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def test_a_file_gives_back_the_smaller_detector(detector, images, tmp_path):
    save(detector, tmp_path / "detector.safetensors")
    found = load(tmp_path / "detector.safetensors")
    assert (found.spec, found.size) == (detector.spec, 64)
    assert found.objective.names == ("red", "green")
    assert torch.equal(found.objective.anchors, detector.objective.anchors)
    assert not any(module.training for module in found.model.modules())
    with torch.no_grad():
        assert torch.equal(found.model(images), detector.model(images))
    whole = lottery.cost(lottery.build(detector.spec), images)
    assert lottery.cost(found.model, images) == lottery.cost(detector.model, images)
    assert (tmp_path / "detector.safetensors").stat().st_size < 0.6 * whole.disk_bytes
    again = lottery.trace(found.model, images[:1])  # layers know their sizes: it can be pruned on
    gone = lottery.prune_units(found.model, again, 0.5)
    assert lottery.shrink(found.model, gone, again)(images).shape == (3, 7, 2, 2)


def changed(path, **about):
    """The file with other texts in it."""
    with safetensors.safe_open(path, framework="pt") as file:
        texts, names = file.metadata(), list(file.keys())
        tensors = {name: file.get_tensor(name) for name in names}
    path.write_bytes(safetensors.torch.save(tensors, texts | about))
    return path


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ({"format": "pt"}, "is no detector: its format is pt, not lottery.detector.1"),
        ({"model": "os:getcwd"}, "cannot be read: model is 'os:getcwd'; allowed: cifar_quick"),
        ({"model": "lenet5"}, "cannot be read: not a network like"),
        ({"classes": json.dumps(["red"])}, "is no detector: its output is .* 1 classes with 1"),
        ({"size": "big"}, "is no detector: invalid literal"),
    ],
)
def test_what_is_no_detector_is_said_in_a_line(about, message, detector, tmp_path):
    save(detector, tmp_path / "detector.safetensors")
    with pytest.raises(UsageError, match=message) as error:
        load(changed(tmp_path / "detector.safetensors", **about))
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there_or_no_safetensors_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"absent.safetensors cannot be read: .*[Nn]o such file"):
        load(tmp_path / "absent.safetensors")
    (tmp_path / "text.safetensors").write_text("hello, world")
    with pytest.raises(UsageError, match=r"text.safetensors cannot be read"):
        load(tmp_path / "text.safetensors")


def test_a_network_of_ones_own_is_not_saved_as_it_could_not_be_read(detector, tmp_path):
    own = Detector(detector.model, "tests.tiny:conv_net", detector.objective, 64)
    with pytest.raises(ConfigError, match=r"model is 'tests.tiny:conv_net'"):
        save(own, tmp_path / "detector.safetensors")
    assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("ignore")  # the exporter's own
@pytest.mark.parametrize("export", [save, export_onnx])
def test_a_detector_that_cannot_be_written_leaves_the_one_that_is_there(
    export, detector, tmp_path, monkeypatch
):
    path = tmp_path / "new" / "detector"
    export(detector, path)
    before = path.read_bytes()

    def full(*arguments, **options):
        place = next(each for each in arguments if isinstance(each, Path))
        with place.open("wb") as file:
            file.write(b"half")
        raise OSError("the disk is full")

    monkeypatch.setattr(Path, "write_bytes", full)
    monkeypatch.setattr(torch.onnx.ONNXProgram, "save", full)
    with pytest.raises(OSError, match="full"):
        export(detector, path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.filterwarnings("ignore")  # the exporter's own
def test_onnx_gives_the_same_boxes_for_any_number_of_pictures(detector, images, tmp_path):
    """onnxruntime is the oracle: another implementation of all operations."""
    export_onnx(detector, tmp_path / "detector.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["detector.onnx"], "weights lie apart"
    session = onnxruntime.InferenceSession(str(tmp_path / "detector.onnx"))
    about = session.get_modelmeta().custom_metadata_map
    assert json.loads(about["classes"]) == ["red", "green"] and about["size"] == "64"
    assert json.loads(about["anchors"]) == detector.objective.anchors.tolist()
    for batch in (images, images[:1]):
        boxes, scores = session.run(["boxes", "scores"], {"images": batch.numpy()})
        with torch.no_grad():
            expected = decode(detector.model(batch), detector.objective.anchors)
        assert np.allclose(boxes, expected[0], atol=1e-4)
        assert np.allclose(scores, expected[1], atol=1e-4)


def test_a_picture_of_any_size_and_mode_is_stretched_to_the_detectors(detector):
    """The network sees what it was trained on: the pixels of `read_voc`."""
    seen = []

    class Spy(torch.nn.Module):
        def forward(self, images):
            seen.append(images)
            return detector.model(images)

    spy = Detector(Spy(), detector.spec, detector.objective, 64)
    picture = Image.new("L", (200, 100), 51)
    rows = spy.find(picture, threshold=0.0)
    assert torch.equal(seen[0], torch.full((1, 3, 64, 64), 0.2))
    assert rows.shape[1] == 6 and len(rows) > 0
    assert (rows[:, 5].diff() <= 0).all() and (rows[:, 0] >= 0).all()
    assert not len(spy.find(picture, threshold=1.0))
