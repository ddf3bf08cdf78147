"""Data sets for detectors are found by name, downloaded whole or not, composed when needed."""

from pathlib import Path

import pytest

from lottery.data import detection, scene_files, split
from lottery.errors import DataError
from tests.data.digits import mnist_arrays
from tests.data.photographs import photographs, set_lists


def test_a_folder_in_ones_home_is_read_and_cached(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    photographs(tmp_path / "pets")
    found = detection.voc(tmp_path / "data", "~/pets", size=8, anchors=1)
    assert (found.name, found.train.objective.names) == ("pets", ("cat", "dog"))
    assert found.train.images.shape == (2, 8, 8, 3)
    assert [file.suffix for file in (tmp_path / "data").iterdir()] == [".safetensors"]


def test_validation_pictures_are_drawn_from_the_training_pictures_where_there_are_none(tmp_path):
    set_lists(photographs(tmp_path / "pets"), train="abc", test="de")
    data = detection.voc(tmp_path, "pets", size=8, anchors=1)
    draws = [split(data, 1, seed=seed) for seed in range(8)]
    held_out = {drawn.val.images[0, 0, 0, 0].item() for drawn in draws}
    assert held_out == set(data.train.images[:, 0, 0, 0].tolist()), "each of the three by some seed"
    for drawn in draws:
        assert (len(drawn.train), len(drawn.val), len(drawn.test)) == (2, 1, 2)
        assert drawn.train.objective is drawn.val.objective is data.train.objective


@pytest.fixture
def downloads(monkeypatch) -> list[dict[str, str]]:
    """What was asked of torchvision. Test pictures with boxes are those of 2007 alone."""
    asked = []

    def download(name: str, root: Path, **options: str) -> None:
        assert name == "VOCDetection"
        asked.append(options)
        folder = root / "VOCdevkit" / f"VOC{options['year']}"
        folder.mkdir(parents=True, exist_ok=True)
        photographs(folder)
        tests = {"test": "de"} if options["year"] == "2007" else {}
        train, val = ("ab", "c") if tests else ("ab", "cde")
        set_lists(folder, train=train, val=val, trainval=train + val, **tests)

    monkeypatch.setattr(detection.download, "torchvision_download", download)
    return asked


@pytest.mark.parametrize(
    ("name", "expected", "parts"),
    [
        (
            "voc2007",
            [{"year": "2007", "image_set": part} for part in ("trainval", "test")],
            [2, 2, 1],
        ),
        ("voc2012", [{"year": "2012", "image_set": "trainval"}], [2, 3]),
    ],
)
def test_pascal_is_downloaded_once(tmp_path, downloads, name, expected, parts):
    for _ in range(2):
        found = getattr(detection, name)(tmp_path, size=8, anchors=1)
        assert downloads == expected
        assert found.train.objective.names == detection.VOC_CLASSES
        assert found.train.labels[1, :, 0].tolist() == [11, 7]  # dog, cat
        assert [len(part) for part in found.parts.values()] == parts
    assert sorted(path.name[:7] for path in tmp_path.iterdir()) == [name.upper()] * 2


def test_a_failed_download_leaves_nothing_and_tells_what_to_do(tmp_path, monkeypatch):
    def fail(name, root, **options):
        (root / "VOCdevkit").mkdir()
        raise DataError("name or service not known")

    monkeypatch.setattr(detection.download, "torchvision_download", fail)
    with pytest.raises(DataError) as refused:
        detection.voc2007(tmp_path)
    assert "name or service not known" in str(refused.value)
    assert f"copy VOCdevkit/VOC2007 of its archives to {tmp_path / 'VOC2007'}" in str(refused.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("classes", "names"), [("ten", "0123456789"), ("one", "5")])
def test_digit_scenes_are_composed_and_read(tmp_path, monkeypatch, classes, names):
    monkeypatch.setattr(scene_files.sources, "arrays", lambda *_: mnist_arrays())
    found = detection.digit_scenes(tmp_path, 64, classes, train=4, val=2, test=3, anchors=2)
    assert found.train.objective.names == tuple(names)
    assert (len(found.train), len(found.val), len(found.test)) == (4, 2, 3)
    assert found.train.images.shape == (4, 64, 64, 3)
    assert found.train.labels[..., 0].max() <= len(names) - 1
    again = detection.digit_scenes(tmp_path, 64, classes, train=4, val=2, test=3, anchors=2)
    assert again.train.images.equal(found.train.images)
