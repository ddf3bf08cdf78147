"""Digit scenes on disk: sound, split before composition, whole or not there, told in a manifest."""

import json
from collections import Counter
from xml.etree import ElementTree

import pytest
import torch

from lottery.data import digit_scene_files
from lottery.data.digit_scene_files import SceneSet, scene_folder, source_images
from lottery.data.voc_check import check_voc
from lottery.errors import ConfigError, DataError
from tests.data.digits import mnist_arrays

SMALL = SceneSet(size=64, train=5, val=3, test=4)


@pytest.fixture(autouse=True)
def mnist(monkeypatch) -> list[str]:
    """Stands for the published digits; counts how often they are asked for."""
    asked = []

    def arrays(name, directory):
        asked.append(name)
        return mnist_arrays()

    monkeypatch.setattr(digit_scene_files.sources, "arrays", arrays)
    return asked


def broken(folder, names=None):
    """What is wrong with pictures: a part of so few of them may well lack a digit, or all."""
    return [each for each in check_voc(folder, names) if not each.startswith("ImageSets")]


def test_what_is_written_is_sound_and_complete(tmp_path):
    folder = scene_folder(SMALL, tmp_path)
    assert broken(folder, [str(digit) for digit in range(10)]) == []
    for part, total in (("train", 5), ("val", 3), ("test", 4)):
        names = (folder / "ImageSets/Main" / f"{part}.txt").read_text().split()
        assert len(names) == total
    assert len(list((folder / "JPEGImages").iterdir())) == 12
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


@pytest.mark.parametrize("ink", [90, 255])
def test_thin_and_faint_digits_make_no_picture_that_cannot_be_read(tmp_path, monkeypatch, ink):
    """Strokes of a pixel: shrunk, they are too pale to be seen or as narrow as a pixel."""
    arrays = mnist_arrays()
    for part in ("train", "test"):
        arrays[f"{part}_images"] = torch.zeros_like(arrays[f"{part}_images"])
        arrays[f"{part}_images"][:, 4:24, 14] = ink
        arrays[f"{part}_images"][::2, 14, 5:24] = ink
    monkeypatch.setattr(digit_scene_files.sources, "arrays", lambda *_: arrays)
    folder = scene_folder(SceneSet(size=64, train=60, val=1, test=1), tmp_path)
    assert broken(folder) == []
    annotations = [file.read_text() for file in (folder / "Annotations").iterdir()]
    assert any("<object>" in each for each in annotations)


def test_no_source_image_is_in_two_parts(tmp_path, monkeypatch):
    used = {}

    def compose(digits, *others):
        shades = set(digits.images.flatten(1).amax(dim=1).tolist())  # tells each image apart
        used.setdefault(len(used), shades)
        return torch.zeros(64, 64, 3, dtype=torch.uint8), []

    monkeypatch.setattr(digit_scene_files, "compose", compose)
    scene_folder(SceneSet(size=64, train=1, val=1, test=1), tmp_path)
    train, val, test = used.values()
    assert (len(train), len(val), len(test)) == (100, 20, 30)
    assert train | val == set(range(100, 220))
    assert test == set(range(220, 250))


def test_held_out_images_depend_on_the_seed_and_are_of_all_kinds():
    labels = torch.arange(600) % 10
    one, other = (source_images(labels, labels[:50], seed) for seed in (0, 1))
    assert not torch.equal(one["val"], other["val"])
    assert labels[one["val"]].unique().tolist() == list(range(10))
    assert torch.cat([one["train"], one["val"]]).sort().values.tolist() == list(range(600))


def test_the_manifest_counts_what_is_there(tmp_path):
    folder = scene_folder(SceneSet(size=64, train=12, val=3, test=4, seed=5), tmp_path)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["version"] == digit_scene_files.VERSION
    assert (manifest["seed"], manifest["size"], manifest["classes"]) == (5, 64, "ten")
    assert len(manifest["mnist_sha256"]) == 4
    for part, told in manifest["parts"].items():
        files = list((folder / "Annotations").glob(f"{part}_*.xml"))
        objects = [o for f in files for o in ElementTree.parse(f).iter("object")]
        names = Counter(o.findtext("name") for o in objects)
        assert told["pictures"] == len(files)
        assert {name: n for name, n in told["objects"].items() if n} == names
        assert told["truncated"] == sum(o.findtext("truncated") == "1" for o in objects)
        assert told["difficult"] == sum(o.findtext("difficult") == "1" for o in objects)
    sources = [part["source_images"] for part in manifest["parts"].values()]
    assert len({source["sha256"] for source in sources}) == 3


def test_what_is_there_is_not_composed_again(tmp_path, mnist):
    folder = scene_folder(SMALL, tmp_path)
    before = (folder / "manifest.json").stat().st_mtime_ns
    assert scene_folder(SMALL, tmp_path) == folder
    assert (folder / "manifest.json").stat().st_mtime_ns == before
    assert mnist == ["mnist"]


@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_a_picture_does_not_depend_on_how_many_there_are(tmp_path, part):
    few = scene_folder(SMALL, tmp_path)
    more = scene_folder(SceneSet(size=64, train=6, val=5, test=6), tmp_path)
    assert few != more
    for kind in ("Annotations", "JPEGImages"):
        files = sorted((few / kind).glob(f"{part}_*"))
        assert len(files) >= 3
        for file in files:
            assert file.read_bytes() == (more / kind / file.name).read_bytes()


@pytest.mark.parametrize("other", [{"seed": 1}, {"classes": "one"}, {"size": 65}, {"train": 6}])
def test_other_scenes_lie_in_another_folder(other):
    assert SceneSet(**other).folder != SceneSet().folder


def test_parts_and_seeds_show_different_pictures(tmp_path):
    folders = [scene_folder(SceneSet(64, "ten", 2, 2, 2, seed), tmp_path) for seed in (0, 1)]
    files = [file for folder in folders for file in (folder / "Annotations").iterdir()]
    told = [file.read_text().partition("</filename>")[2] for file in files]
    assert len(set(told)) == len(told) == 12


def test_an_interrupted_composition_leaves_nothing(tmp_path, monkeypatch):
    threads = torch.get_num_threads()

    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(digit_scene_files.annotation, "write", interrupt)
        with pytest.raises(KeyboardInterrupt):
            scene_folder(SMALL, tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert torch.get_num_threads() == threads
    assert broken(scene_folder(SMALL, tmp_path)) == []


def test_a_process_that_was_faster_wins(tmp_path, monkeypatch):
    write = digit_scene_files._write

    def slowly(scenes, arrays, folder):
        write(scenes, arrays, folder)
        write(scenes, arrays, tmp_path / scenes.folder)
        (tmp_path / scenes.folder / "theirs").touch()

    monkeypatch.setattr(digit_scene_files, "_write", slowly)
    folder = scene_folder(SMALL, tmp_path)
    assert (folder / "theirs").exists()
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


def test_a_folder_that_cannot_be_written_is_one_clear_error(tmp_path):
    (tmp_path / "data").write_text("not a folder")
    with pytest.raises(DataError, match=r"cannot write .*digit_scenes"):
        scene_folder(SMALL, tmp_path / "data")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"classes": "all"}, "classes is 'all'; allowed: ten, one"),
        ({"size": 63}, "size is 63; allowed: a whole number of pixels, 64 or more"),
        ({"size": 96.5}, "size is 96.5; allowed: a whole number of pixels, 64 or more"),
        ({"train": 2.5}, "train is 2.5; allowed: a whole number of pictures, 1 or more"),
        ({"val": 0}, "val is 0; allowed: a whole number of pictures, 1 or more"),
    ],
)
def test_settings_that_give_no_scenes_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        SceneSet(**settings)
