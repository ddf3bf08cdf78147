import pytest
from matplotlib.figure import Figure

from lottery.analysis.figures.style import save
from lottery.errors import StoreError
from lottery.files import whole


def test_a_file_is_not_seen_before_it_is_whole(tmp_path):
    with whole(tmp_path / "new" / "file") as place:
        place.write_text("half")
        assert not (tmp_path / "new" / "file").exists()
        assert place.parent == tmp_path / "new", "a move from elsewhere may be a copy"
    assert (tmp_path / "new" / "file").read_text() == "half"


def test_an_older_file_stays_until_the_new_one_is_whole_and_if_that_fails(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(OSError, match="full"), whole(path) as place:
        place.write_text("ne")
        assert path.read_text() == "old"
        raise OSError("the disk is full")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_appears_with_all_that_is_in_it_or_not_at_all(tmp_path):
    def write(place):
        place.mkdir()
        (place / "one").write_text("1")
        assert not (tmp_path / "folder").exists()

    with pytest.raises(OSError, match="full"), whole(tmp_path / "folder") as place:
        write(place)
        raise OSError("the disk is full")
    assert list(tmp_path.iterdir()) == []
    with whole(tmp_path / "folder") as place:
        write(place)
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["one"]
    with pytest.raises(OSError, match="folder"), whole(tmp_path / "folder") as place:
        place.mkdir()
    assert [path.name for path in tmp_path.iterdir()] == ["folder"], "another was faster"


def test_a_figure_that_cannot_be_drawn_again_leaves_the_one_that_is_there(tmp_path, monkeypatch):
    figure = Figure()
    figure.add_subplot().plot([1, 2])
    written = save(figure, tmp_path / "line")
    before = [path.read_bytes() for path in written]
    assert [content[:4] for content in before] == [b"\x89PNG", b"%PDF"]

    def full(figure, place, **options):
        place.write_bytes(b"half")
        raise OSError("the disk is full")

    monkeypatch.setattr(Figure, "savefig", full)
    with pytest.raises(StoreError, match=r"line\.png cannot be written \(the disk is full\)"):
        save(figure, tmp_path / "line")
    assert [path.read_bytes() for path in written] == before
    assert sorted(tmp_path.iterdir()) == sorted(written)
