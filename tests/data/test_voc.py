"""Everything that is wrong with a data set in VOC layout is listed, with its file and value."""

import pytest
from PIL import Image

from lottery.data.voc import parts
from lottery.data.voc_check import check_voc
from lottery.errors import DataError
from tests.data.photographs import add_picture, annotation, photographs, set_lists


def test_sound_data_has_no_problems(tmp_path):
    folder = photographs(tmp_path)
    assert check_voc(folder) == []
    assert check_voc(str(folder), ["dog", "cat", "bird"]) == []
    assert parts(folder) == {"train": ["a", "b"], "val": ["c"], "test": ["d", "e"]}


@pytest.mark.parametrize(
    ("box", "problem"),
    [
        (("cat", 5, 1, 3, 4), "box 5 1 3 4 (cat) is upside down: its end lies before its start"),
        (("cat", 1, 4, 3, 2), "box 1 4 3 2 (cat) is upside down: its end lies before its start"),
        (("cat", 3, 1, 3, 4), "box 3 1 3 4 (cat) is empty: a pixel wide or high"),
        (("cat", 1, 2, 3, 2), "box 1 2 3 2 (cat) is empty: a pixel wide or high"),
        (("cat", 1, 1, 10, 4), "box 1 1 10 4 (cat) lies outside the image of 8x4"),
        (("cat", 1, 1, 8, 6), "box 1 1 8 6 (cat) lies outside the image of 8x4"),
        (("cat", -1, 1, 8, 4), "box -1 1 8 4 (cat) lies outside the image of 8x4"),
        (("cat", 8, 1, 9, 4), "box 8 1 9 4 (cat) is empty: a pixel wide or high"),
        (("bird", 1, 1, 2, 2), "class 'bird' is unknown; known: cat, dog"),
    ],
)
def test_a_broken_box_is_told_with_its_file(tmp_path, box, problem):
    folder = photographs(tmp_path)
    (folder / "Annotations/c.xml").write_text(annotation(("dog", 1, 1, 2, 2), box))
    assert check_voc(folder, ["cat", "dog"]) == [f"Annotations/c.xml: {problem}"]


@pytest.mark.parametrize("box", [("cat", 0, 0, 8, 4), ("cat", 1, 1, 9, 5), ("cat", 7, 3, 8, 4)])
def test_a_box_off_by_one_at_the_border_is_no_problem(tmp_path, box):
    folder = photographs(tmp_path)
    (folder / "Annotations/c.xml").write_text(annotation(box))
    assert check_voc(folder) == []


def test_all_problems_are_listed_at_once(tmp_path):
    folder = photographs(tmp_path)
    (folder / "Annotations/a.xml").write_text("<annotation>")
    (folder / "Annotations/b.xml").unlink()
    (folder / "JPEGImages/c.png").unlink()
    (folder / "Annotations/d.xml").write_text(annotation(size=(8, 5)))
    bad = "<object><name>cat</name></object><object><bndbox/></object>"
    (folder / "Annotations/e.xml").write_text(annotation(("cat", 3, 1, 2, 4), more=bad))
    whole = (folder / "JPEGImages/e.png").read_bytes()
    add_picture(folder, "f", annotation())
    (folder / "JPEGImages/f.png").write_bytes(whole[: len(whole) // 2])
    add_picture(folder, "g", annotation())
    (folder / "JPEGImages/g.png").write_text("no picture")
    set_lists(folder, train="ab", val="c", test=[*"defg", "h i", "d"])
    problems = check_voc(folder)
    starts = [
        "ImageSets/Main: d is listed twice for test",
        "Annotations/a.xml: is no XML: no element found",
        "Annotations/b.xml: there is no such file, but b is listed",
        "JPEGImages/c.jpg: there is no such file, nor a .png",
        "Annotations/d.xml: size is 8x5, but the picture has 8x4",
        "Annotations/e.xml: object 2 has no bndbox/xmin",
        "Annotations/e.xml: object 3 has no name",
        "Annotations/e.xml: box 3 1 2 4 (cat) is upside down",
        "JPEGImages/f.png: ",
        "JPEGImages/g.png: cannot identify image file",
        "Annotations/h i.xml: there is no such file, but h i is listed",
        "JPEGImages/h i.jpg: there is no such file, nor a .png",
        "ImageSets/Main/train.txt: no picture for train can be used",
        "ImageSets/Main/val.txt: no picture for val can be used",
        "ImageSets/Main/test.txt: no box for test is not difficult",
    ]
    assert len(problems) == len(starts)
    for problem, start in zip(problems, starts, strict=True):
        assert problem.startswith(start)


def test_a_class_that_is_asked_for_and_never_learnt_is_told(tmp_path):
    """There is a dog for validation; that on the training picture is difficult."""
    folder = photographs(tmp_path)
    difficult = annotation(("cat", 1, 1, 4, 4), ("dog", 5, 1, 8, 4)).replace(
        "<name>dog</name>", "<name>dog</name><difficult>1</difficult>"
    )
    (folder / "Annotations/a.xml").write_text(difficult)
    (folder / "Annotations/c.xml").write_text(annotation(("dog", 1, 1, 4, 4)))
    set_lists(folder, train="a", val="c", test="bd")
    problem = "class 'dog' is never to be learnt, but in val and test"
    assert check_voc(folder) == [f"ImageSets/Main/train.txt: {problem}"]
    set_lists(folder, trainval="ac", val="c", test="d")
    assert check_voc(folder) == [
        "ImageSets/Main/trainval.txt: class 'dog' is never to be learnt, but in val"
    ]


def test_a_part_whose_boxes_are_all_difficult_is_told(tmp_path):
    folder = photographs(tmp_path)
    set_lists(folder, train="ab", val="e", test="d")
    problem = "no box for val is not difficult"
    assert check_voc(folder) == [f"ImageSets/Main/val.txt: {problem}"]


def test_a_picture_in_two_parts_is_told_for_each_pair(tmp_path):
    folder = photographs(tmp_path)
    set_lists(folder, train="abc", val="c", test="acde")
    assert check_voc(folder) == [
        "ImageSets/Main: c is listed for train and val",
        "ImageSets/Main: a is listed for train and test",
        "ImageSets/Main: c is listed for train and test",
        "ImageSets/Main: c is listed for val and test",
    ]


def test_empty_and_missing_lists_are_told(tmp_path):
    folder = photographs(tmp_path)
    set_lists(folder, train="", val="a", test="b")
    assert check_voc(folder) == ["ImageSets/Main/train.txt: no picture is listed for train"]
    set_lists(folder, trainval="a", val="a", test="b")
    assert check_voc(folder) == ["ImageSets/Main/trainval.txt: no picture is listed for train"]
    set_lists(folder, train="a", val="")
    assert check_voc(folder) == ["ImageSets/Main/val.txt: no picture is listed for test"]
    set_lists(folder, val="a")
    assert check_voc(folder) == ["ImageSets/Main: there is no train.txt and no trainval.txt"]
    set_lists(folder, train="a")
    assert check_voc(folder) == ["ImageSets/Main: there is no test.txt and no val.txt"]
    assert check_voc(tmp_path / "none") == [f"{tmp_path / 'none'}: there is no such folder"]


@pytest.mark.parametrize(
    ("lists", "expected"),
    [
        ({"train": "a", "trainval": "abc", "test": "d"}, {"train": ["a"], "test": ["d"]}),
        ({"trainval": "abc", "test": "d"}, {"train": ["a", "b", "c"], "test": ["d"]}),
        (
            {"trainval": "abc", "val": "b", "test": "d"},
            {"train": ["a", "c"], "val": ["b"], "test": ["d"]},
        ),
        ({"train": "ab", "val": "cd"}, {"train": ["a", "b"], "test": ["c", "d"]}),
        ({"trainval": "abc", "val": "b"}, {"train": ["a", "c"], "test": ["b"]}),
    ],
)
def test_parts_are_made_of_the_lists_that_are_there(tmp_path, lists, expected):
    folder = photographs(tmp_path)
    set_lists(folder, **lists)
    assert parts(folder) == expected


def test_lists_that_contradict_themselves_are_refused_in_one_message(tmp_path):
    folder = photographs(tmp_path)
    set_lists(folder, train="abcdeabcde", test="abcde")
    with pytest.raises(DataError) as refused:
        parts(folder)
    lines = str(refused.value).splitlines()
    assert lines[0] == f"{folder} has 10 problems:"
    assert len(lines) == 7
    assert lines[-1] == "  ... and 5 more"


@pytest.mark.parametrize("suffix", ["jpg", "JPG", "jpeg", "PNG"])
def test_pictures_may_be_of_either_kind(tmp_path, suffix):
    folder = photographs(tmp_path)
    (folder / "JPEGImages/a.png").unlink()
    Image.new("L", (8, 4)).save(folder / f"JPEGImages/a.{suffix}")
    assert check_voc(folder) == []
