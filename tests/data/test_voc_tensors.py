"""Pictures and boxes become the right tensors, are cached, and are refused when broken."""

import logging
import os

import numpy as np
import pytest
import torch
from PIL import Image

from lottery.data import voc_tensors
from lottery.data.voc_tensors import read_voc
from lottery.errors import ConfigError, DataError
from tests.data.photographs import add_picture, annotation, photographs, set_lists


def test_pixels_counted_from_one_become_fractions(tmp_path):
    found = read_voc(photographs(tmp_path / "pets"), 4)
    assert (found.name, found.names) == ("pets", ("cat", "dog"))
    assert (len(found.train.images), len(found.val.images), len(found.test.images)) == (2, 1, 2)
    cat, padding = [0, 0, 0, 0.5, 1, 0], [-1, 0, 0, 0, 0, 0]
    assert found.train.boxes.tolist() == [
        [cat, padding],
        [[1, 1 / 8, 0, 3 / 8, 1 / 2, 0], [0, 4 / 8, 2 / 4, 1, 1, 0]],
    ]
    assert found.val.boxes.tolist() == [[cat]]
    assert found.test.boxes.tolist() == [[cat], [padding]]


def test_the_order_of_names_is_the_callers_or_the_alphabets(tmp_path):
    folder = photographs(tmp_path)
    found = read_voc(folder, 4, ["dog", "bird", "cat"])
    assert found.names == ("dog", "bird", "cat")
    assert found.train.boxes[1, :, 0].tolist() == [0, 2]


def test_boxes_off_by_one_are_clipped_and_difficult_ones_marked(tmp_path):
    folder = photographs(tmp_path)
    more = "<difficult>1</difficult></object>"
    xml = annotation(("cat", 0, 1, 9, 5), ("cat", 1, 0, 2, 4)).replace("</object>", more, 1)
    (folder / "Annotations/c.xml").write_text(xml)
    assert read_voc(folder, 4).val.boxes[0].tolist() == [
        [0, 0, 0, 1, 1, 1],
        [0, 0, 0, 0.25, 1, 0],
    ]


def test_pictures_are_stretched_to_a_square_with_their_content_in_place(tmp_path):
    folder = photographs(tmp_path)
    left = np.zeros((4, 8, 3), dtype=np.uint8)
    left[:2, :4] = (255, 0, 10)  # top left quarter
    Image.fromarray(left).save(folder / "JPEGImages/c.png")
    image = read_voc(folder, 16).val.images[0]
    assert image.shape == (16, 16, 3)
    assert image.dtype == torch.uint8
    assert image[:6, :6].reshape(-1, 3).unique(dim=0).tolist() == [[255, 0, 10]]
    assert image[10:].max() == 0
    assert image[:, 10:].max() == 0


def test_a_picture_made_smaller_is_averaged_not_sampled(tmp_path):
    folder = tmp_path / "lines"
    for name in "ab":
        add_picture(folder, name, annotation(("x", 1, 1, 64, 64), size=(64, 64)), size=(64, 64))
    stripes = np.zeros((64, 64, 3), dtype=np.uint8)
    stripes[:, ::2] = 200
    Image.fromarray(stripes).save(folder / "JPEGImages/a.png")
    set_lists(folder, train="a", test="b")
    image = read_voc(folder, 8).train.images.float()
    assert image.sub(100).abs().max() < 20


def test_grey_pictures_have_three_equal_channels(tmp_path):
    folder = photographs(tmp_path)
    Image.new("L", (8, 4), 77).save(folder / "JPEGImages/c.png")
    assert read_voc(folder, 4).val.images.unique().tolist() == [77]


def broken(folder):
    """Of five pictures one without annotation, and one with two bad boxes."""
    photographs(folder)
    (folder / "Annotations/a.xml").unlink()
    boxes = (("cat", 1, 1, 1, 1), ("dog", 1, 1, 4, 4), ("dog", 4, 4, 1, 1))
    (folder / "Annotations/b.xml").write_text(annotation(*boxes))
    return folder


def test_broken_data_are_refused_with_number_and_advice(tmp_path):
    with pytest.raises(DataError) as refused:
        read_voc(broken(tmp_path), 4, cache_dir=tmp_path / "cache")
    first, *lines = str(refused.value).splitlines()
    assert first == f"{tmp_path} has 3 problems:"
    assert [line.split(":")[0].strip() for line in lines[:3]] == [
        "Annotations/a.xml",
        "Annotations/b.xml",
        "Annotations/b.xml",
    ]
    assert "drop_broken=true" in lines[3]
    assert not (tmp_path / "cache").exists()


def test_what_is_broken_can_be_left_out_which_is_told_every_time(tmp_path, caplog):
    folder = broken(tmp_path / "pets")
    for _ in range(2):  # decoded, and from the cache
        caplog.clear()
        with caplog.at_level(logging.WARNING, "lottery"):
            found = read_voc(folder, 4, drop_broken=True, cache_dir=tmp_path)
        assert found.train.boxes.tolist() == [[[1, 0, 0, 0.5, 1, 0]]]
        assert len(found.train.images) == 1
        assert "has 3 problems" in caplog.text
        assert "Annotations/a.xml" in caplog.text
        assert "left out" in caplog.text


def test_one_class_of_several_can_be_picked(tmp_path):
    folder = photographs(tmp_path)
    with pytest.raises(DataError, match="class 'cat' is unknown; known: dog"):
        read_voc(folder, 4, ["dog"])
    found = read_voc(folder, 4, ["dog"], drop_broken=True)
    assert found.train.boxes.tolist() == [
        [[-1, 0, 0, 0, 0, 0]],
        [[0, 1 / 8, 0, 3 / 8, 1 / 2, 0]],
    ]


def test_a_part_of_which_nothing_is_left_is_an_error(tmp_path):
    folder = photographs(tmp_path)
    (folder / "JPEGImages/c.png").unlink()
    with pytest.raises(DataError, match="nothing that can be used in val"):
        read_voc(folder, 4, drop_broken=True)


def test_data_without_any_object_are_an_error(tmp_path):
    folder = photographs(tmp_path)
    for name in "abcde":
        (folder / f"Annotations/{name}.xml").write_text(annotation())
    with pytest.raises(DataError, match="nothing that can be used in any part"):
        read_voc(folder, 4)


def test_without_a_test_list_the_validation_pictures_are_for_test(tmp_path):
    folder = photographs(tmp_path)
    set_lists(folder, train="abc", val="de")
    found = read_voc(folder, 4, cache_dir=tmp_path)
    assert found.val is None
    assert len(found.test.images) == 2


@pytest.mark.parametrize("size", [0, 10.5, "big", None])
def test_a_size_that_is_none_is_refused(tmp_path, size):
    with pytest.raises(ConfigError, match=f"size is {size!r}; allowed: a whole number of pixels"):
        read_voc(photographs(tmp_path), size)


@pytest.mark.parametrize("names", ["cat", 2, ["cat", 2]])
def test_names_that_are_no_list_of_names_are_refused(tmp_path, names):
    """The letters of one name are no classes."""
    with pytest.raises(ConfigError, match=r"^names is .*; allowed: a list of names"):
        read_voc(photographs(tmp_path), 8, names)


@pytest.fixture
def decodings(monkeypatch) -> list[str]:
    """The pictures that were decoded since."""
    seen = []
    original = voc_tensors._decode

    def decode(folder, parts, *others):
        seen.extend(name for names in parts.values() for name in names)
        return original(folder, parts, *others)

    monkeypatch.setattr(voc_tensors, "_decode", decode)
    return seen


def test_a_second_reading_decodes_nothing_and_gives_the_same(tmp_path, decodings):
    folder = photographs(tmp_path / "pets")
    first = read_voc(folder, 4, cache_dir=tmp_path / "cache")
    assert decodings == list("abcde")
    again = read_voc(folder, 4, cache_dir=tmp_path / "cache")
    assert decodings == list("abcde")
    assert again.names == first.names
    for part in ("train", "val", "test"):
        assert torch.equal(getattr(again, part).images, getattr(first, part).images)
        assert torch.equal(getattr(again, part).boxes, getattr(first, part).boxes)
    assert len(list((tmp_path / "cache").iterdir())) == 1


def _touched(folder):
    os.utime(folder / "JPEGImages/a.png", ns=(1, 1))


def _relabelled(folder):
    (folder / "Annotations/a.xml").write_text(annotation(("dog", 1, 1, 4, 4)))


def _regrouped(folder):
    set_lists(folder, train="ba", val="c", test="de")


@pytest.mark.parametrize("change", [_touched, _relabelled, _regrouped])
def test_a_change_of_the_data_is_noticed(tmp_path, decodings, change):
    folder = photographs(tmp_path / "pets")
    read_voc(folder, 4, cache_dir=tmp_path)
    change(folder)
    changed = read_voc(folder, 4, cache_dir=tmp_path)
    assert len(decodings) == 10
    assert torch.equal(changed.train.boxes, read_voc(folder, 4).train.boxes)


@pytest.mark.parametrize("settings", [{"size": 5}, {"names": ["dog", "cat"]}])
def test_other_settings_are_not_answered_from_the_same_cache(tmp_path, settings):
    folder = photographs(tmp_path / "pets")
    read_voc(folder, 4, cache_dir=tmp_path)
    wanted = {"size": 4} | settings
    found, expected = read_voc(folder, **wanted, cache_dir=tmp_path), read_voc(folder, **wanted)
    assert found.names == expected.names
    assert torch.equal(found.train.images, expected.train.images)
    assert torch.equal(found.train.boxes, expected.train.boxes)


def test_a_broken_cache_is_refused_and_written_anew(tmp_path, decodings, caplog):
    folder = photographs(tmp_path / "pets")
    read_voc(folder, 4, cache_dir=tmp_path)
    (file,) = tmp_path.glob("pets-4-*.safetensors")
    file.write_bytes(file.read_bytes()[:100])
    for _ in range(2):
        found = read_voc(folder, 4, cache_dir=tmp_path)
        assert torch.equal(found.train.images, read_voc(folder, 4).train.images)
    assert "is refused" in caplog.text
    assert len(decodings) == 5 * (1 + 1 + 2)  # twice for the comparison, which has no cache
