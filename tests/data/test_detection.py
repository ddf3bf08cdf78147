"""Data sets for detectors are found by name, downloaded whole or not, composed when needed."""

from pathlib import Path

import pytest

from lottery.data import detection, scene_files
from lottery.errors import DataError
from tests.data.digits import mnist_arrays
from tests.data.photographs import photographs


def test_a_folder_in_ones_home_is_read_and_cached(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    photographs(tmp_path / "pets")
    found = detection.voc(tmp_path / "data", "~/pets", size=8, anchors=1)
    assert (found.name, found.train.objective.names) == ("pets", ("cat", "dog"))
    assert found.train.images.shape == (2, 8, 8, 3)
    assert [file.suffix for file in (tmp_path / "data").iterdir()] == [".safetensors"]


@pytest.fixture
def downloads(monkeypatch) -> list[dict[str, str]]:
    """What was asked of torchvision, which brings five pictures each time."""
    asked = []

    def download(name: str, root: Path, **options: str) -> None:
        assert name == "VOCDetection"
        asked.append(options)
        folder = root / "VOCdevkit" / f"VOC{options['year']}"
        folder.mkdir(parents=True, exist_ok=True)
        photographs(folder)

    monkeypatch.setattr(detection.download, "torchvision_download", download)
    return asked


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "voc2007",
            [{"year": "2007", "image_set": part} for part in ("trainval", "test")],
        ),
        ("voc2012", [{"year": "2012", "image_set": "trainval"}]),
    ],
)
def test_pascal_is_downloaded_once(tmp_path, downloads, name, expected):
    for _ in range(2):
        found = getattr(detection, name)(tmp_path, size=8, anchors=1)
        assert downloads == expected
        assert found.train.objective.names == detection.VOC_CLASSES
        assert found.train.labels[1, :, 0].tolist() == [11, 7]  # dog, cat
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
