"""Tables of a study of detectors, as they are read."""

import inspect

import pytest
import yaml

from lottery.analysis import frames
from lottery.analysis.columns import NO_SEED, TRUTH
from lottery.data import detection
from lottery.data.images import DATASETS
from lottery.errors import StoreError
from tests.analysis.detectors import CLASSES, write_detector_study
from tests.analysis.filters import write_filter_study

READERS = {
    "detectors.csv": frames.detectors,
    "precision_recall.parquet": frames.precision_recall,
    "detections.parquet": frames.detections,
}


@pytest.fixture
def folder(tmp_path):
    return write_detector_study(tmp_path, {"l2": {}}, lambda *_: 0.5, lambda *_: 0.8)


def test_detectors_of_a_study_were_measured_if_they_have_a_table(folder, tmp_path):
    write_filter_study(tmp_path, {"l2": {}}, lambda *_: 0.5, lambda *_: 0.8)
    assert frames.has_detectors("detectors", tmp_path)
    assert not frames.has_detectors("filters", tmp_path)


@pytest.mark.parametrize(
    ("model", "data", "detecting"),
    [
        ("tiny_yolo_v2(width=0.25)", "mine:pictures", True),
        ("mine:network", "voc(BCCD, size=192)", True),
        ("mine:network", "mine:pictures(size=3)", False),
        ("lenet5", "mnist", False),
    ],
)
def test_network_or_data_tell_detectors_that_were_not_measured_yet(
    tmp_path, model, data, detecting
):
    folder = write_filter_study(
        tmp_path, {"l2": {}}, lambda *_: 0.5, lambda *_: 0.8, model=model, levels=1
    )
    config = yaml.safe_load((folder / "study.yaml").read_text())
    (folder / "study.yaml").write_text(yaml.safe_dump(config | {"data": data}))
    assert not frames.has_detectors("filters", tmp_path)
    assert frames.of_detectors("filters", tmp_path) == detecting


def test_all_data_sets_with_boxes_are_known():
    own = {
        name
        for name in DATASETS
        if inspect.unwrap(DATASETS.resolve(f"{name}(x)" if name == "voc" else name)).__module__
        == detection.__name__
    }
    assert own == set(frames.BOXES)


def test_classes_that_look_like_numbers_are_text_and_sizes_may_be_missing(folder):
    table = frames.detectors(folder)
    assert set(table["class"]) == {"all", *CLASSES}
    sizes = table.set_index("class")["bytes"]
    assert sizes.dtype == "Int64"
    assert sizes["all"].notna().all()
    assert sizes["0"].isna().all()


def test_boxes_that_are_there_belong_to_no_seed_as_the_study_writes_them(folder):
    table = frames.detections(folder)
    assert set(table.loc[table["variant"] == TRUTH, "seed"]) == {NO_SEED}
    assert set(table["picture"]) == set(frames.pictures(folder)) == {0, 1, 2, 3}


@pytest.mark.parametrize("name", READERS)
def test_a_missing_table_names_the_program_that_measures_detectors(folder, name):
    (folder / name).unlink()
    with pytest.raises(StoreError, match=r"`python experiments/run_detector\.py "):
        READERS[name](folder)
