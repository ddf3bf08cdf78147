"""Data sets for detectors are found by name, downloaded whole or not, composed when needed."""

from pathlib import Path

import pytest
import torch

from lottery.data import detection, digit_scene_files, split
from lottery.errors import DataError
from tests.data.digits import mnist_arrays
from tests.data.photographs import add_picture, annotation, photographs, set_lists


def test_a_folder_in_ones_home_is_read_and_cached(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    photographs(tmp_path / "pets")
    found = detection.voc(tmp_path / "data", "~/pets", size=8, anchors=1)
    assert (found.name, found.train.objective.names) == ("pets", ("cat", "dog"))
    assert found.train.images.shape == (2, 8, 8, 3)
    assert [file.suffix for file in (tmp_path / "data").iterdir()] == [".safetensors"]


@pytest.mark.parametrize(("total", "held_out"), [(2, 1), (3, 1), (12, 2), (20, 2)])
def test_an_eighth_of_the_training_pictures_is_for_validation_where_there_are_no_others(
    tmp_path, total, held_out
):
    """Whatever number a study has for data without any: 5,000 of VOC 2012's 5,717, by default."""
    folder = photographs(tmp_path / "pets")
    names = [chr(ord("A") + number) for number in range(total)]
    for name in names:
        add_picture(folder, name, annotation(("cat", 1, 1, 4, 4)))
    set_lists(folder, train=names, test="de")
    data = detection.voc(tmp_path, "pets", size=8, anchors=1)
    draws = [split(data, 5000, seed=seed) for seed in range(2)]
    for drawn in draws:
        sizes = [len(part) for part in (drawn.train, drawn.val, drawn.test)]
        assert sizes == [total - held_out, held_out, 2]
        assert drawn.train.objective is drawn.val.objective
    shades = [set(part.images[:, 0, 0, 0].tolist()) for part in (data.train, data.val)]
    assert len(shades[0] | shades[1]) == total and not shades[0] & shades[1]
    again = detection.voc(tmp_path, "pets", size=8, anchors=1)
    assert again.val.images.equal(data.val.images)


def test_a_single_training_picture_is_not_held_out(tmp_path):
    set_lists(photographs(tmp_path / "pets"), train="a", test="de")
    data = detection.voc(tmp_path, "pets", size=8, anchors=1)
    assert (len(data.train), data.val) == (1, None)


def test_classes_that_cannot_be_learnt_are_warned_of(tmp_path, caplog):
    set_lists(photographs(tmp_path / "pets"), train="a", val="b", test="d")
    detection.voc(tmp_path, "pets", size=8, anchors=1)
    assert [record.message for record in caplog.records if "no picture" in record.message] == [
        "no picture to train on has a 'dog' that is not difficult, but others have: its average "
        "precision will be 0"
    ]


@pytest.mark.parametrize("drop_broken", [False, True])
def test_what_loading_would_refuse_is_a_problem_too(tmp_path, drop_broken, caplog):
    """Three sizes of box, and five anchors; with a broken box, too, if such are left out."""
    folder = photographs(tmp_path / "pets")
    spec = f"voc(pets, size=8, drop_broken={str(drop_broken).lower()})"
    few = "anchors is 5; allowed: 1 to 3, as there are so many sizes of box"
    assert detection.problems(spec, tmp_path) == [few]
    assert detection.problems(spec.replace(")", ", anchors=3)"), tmp_path) == []
    (folder / "Annotations/d.xml").write_text(annotation(("cat", 1, 1, 4, 4), ("cat", 3, 1, 3, 4)))
    broken = "Annotations/d.xml: box 3 1 3 4 (cat) is empty: a pixel wide or high"
    assert detection.problems(spec, tmp_path) == [broken, few][: 1 + drop_broken]
    assert not caplog.messages, "all is in the list"


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
        ("voc2012", [{"year": "2012", "image_set": "trainval"}], [1, 3, 1]),
    ],
)
def test_pascal_is_downloaded_once(tmp_path, downloads, name, expected, parts):
    for _ in range(2):
        found = getattr(detection, name)(tmp_path, size=8, anchors=1)
        assert downloads == expected
        assert found.train.objective.names == detection.VOC_CLASSES
        labels = torch.cat([part.labels[..., 0].flatten() for part in found.parts.values()])
        assert set(labels.tolist()) == {-1, 7, 11}  # cat, dog
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
    monkeypatch.setattr(digit_scene_files.sources, "arrays", lambda *_: mnist_arrays())
    found = detection.digit_scenes(tmp_path, 64, classes, train=4, val=2, test=3, anchors=2)
    assert found.train.objective.names == tuple(names)
    assert (len(found.train), len(found.val), len(found.test)) == (4, 2, 3)
    assert found.train.images.shape == (4, 64, 64, 3)
    assert found.train.labels[..., 0].max() <= len(names) - 1
    again = detection.digit_scenes(tmp_path, 64, classes, train=4, val=2, test=3, anchors=2)
    assert again.train.images.equal(found.train.images)
