"""Annotations are read as VOC wrote them, and what is written is read the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lottery.data.annotation import Annotation, Object, parse, write
from lottery.errors import DataError

FROM_VOC = b"""<?xml version="1.0"?>
<annotation>
 <folder>VOC2007</folder><filename>000001.jpg</filename>
 <size><width>353</width><height>500</height><depth>3</depth></size>
 <object>
  <name>person</name><pose>Left</pose><truncated>1</truncated><difficult>1</difficult>
  <bndbox><xmin>8</xmin><ymin>12</ymin><xmax>352</xmax><ymax>498</ymax></bndbox>
  <part><name>head</name>
   <bndbox><xmin>1</xmin><ymin>2</ymin><xmax>3</xmax><ymax>4</ymax></bndbox></part>
 </object>
 <object>
  <part><name>hand</name>
   <bndbox><xmin>1</xmin><ymin>2</ymin><xmax>3</xmax><ymax>4</ymax></bndbox></part>
  <name> dog </name>
  <bndbox><ymax>371.5</ymax><xmax>195</xmax><ymin>240</ymin><xmin>48.25</xmin></bndbox>
 </object>
</annotation>"""


def test_objects_are_read_and_their_parts_are_passed_over():
    person = Object("person", (8, 12, 352, 498), difficult=True, truncated=True)
    dog = Object("dog", (48.25, 240, 195, 371.5))
    assert parse(FROM_VOC) == (Annotation(353, 500, (person, dog)), [])


corner = st.integers(1, 500) | st.floats(1, 500).map(lambda x: round(x, 2))
objects = st.builds(
    Object,
    st.text("abc <&>\"'é", min_size=1).map(str.strip).filter(bool),
    st.tuples(corner, corner, corner, corner),
    st.booleans(),
    st.booleans(),
)


@given(st.lists(objects, max_size=4))
def test_what_is_written_is_read(several):
    written = write("a<b.jpg", 500, 400, several)
    assert parse(written) == (Annotation(500, 400, tuple(several)), [])


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (b"</object>", b"", "is no XML: mismatched tag: line 17"),
        (b"<width>353</width>", b"", "has no size/width"),
        (b"353", b"wide", "has size/width 'wide', which is no number"),
        (b"353", b"nan", "has size/width 'nan', which is no number"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(old, new, problem):
    with pytest.raises(DataError, match=f"^{problem}"):
        parse(FROM_VOC.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (b"<name> dog </name>", b"", "object 2 has no name"),
        (b"<name> dog </name>", b"<name> </name>", "object 2 has no name"),
        (b"<xmax>352</xmax>", b"", "object 1 has no bndbox/xmax"),
        (b"371.5", b"inf", "object 2 has bndbox/ymax 'inf', which is no number"),
        (b"371.5", b"", "object 2 has bndbox/ymax '', which is no number"),
        (b"<difficult>1<", b"<difficult>yes<", "object 1 has difficult 'yes', which is neither"),
    ],
)
def test_an_object_that_cannot_be_used_is_told_and_the_others_are_read(old, new, problem):
    found, problems = parse(FROM_VOC.replace(old, new))
    assert len(problems) == 1
    assert problems[0].startswith(problem)
    assert len(found.objects) == 1


@pytest.mark.parametrize(
    "declaration",
    [
        b'<!DOCTYPE annotation [<!ENTITY x SYSTEM "file:///etc/hostname">]>',
        b'<!DOCTYPE annotation [<!ENTITY a "aaaa"><!ENTITY x "&a;&a;&a;">]>',
        b'<!DOCTYPE annotation SYSTEM "http://127.0.0.1:9/a.dtd">',
    ],
)
def test_entities_of_a_file_are_not_followed(declaration):
    content = FROM_VOC.replace(b"<annotation>", declaration + b"<annotation>", 1)
    with pytest.raises(DataError, match="document type"):
        parse(content.replace(b" dog ", b"&x;"))


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b'<?xml version="1.0" encoding="?"?>'])
def test_what_is_no_text_is_no_xml(content):
    with pytest.raises(DataError, match="is no XML"):
        parse(content)
