import pandas as pd
import pytest

from lottery.analysis import curves, layers, levels
from lottery.analysis.frames import studies
from lottery.errors import StoreError
from tests.analysis.synthetic import write_study

READERS = {"levels.csv": levels, "curves.parquet": curves, "layers.parquet": layers}


def test_a_study_is_found_by_name_and_by_path(tmp_path):
    folder = write_study(tmp_path, "mine", levels=1)
    pd.testing.assert_frame_equal(levels("mine", tmp_path), levels(folder))
    assert studies(tmp_path) == ["mine"]


@pytest.mark.parametrize("name", READERS)
def test_a_missing_table_names_the_file_and_the_command_that_makes_it(tmp_path, name):
    path = write_study(tmp_path, "lenet", levels=1) / name
    path.unlink()
    with pytest.raises(StoreError) as error:
        READERS[name]("lenet", tmp_path)
    assert str(path) in str(error.value)
    command = f"`python experiments/run_grid.py lenet --results-dir {tmp_path}`"
    assert command in str(error.value)


def test_a_study_that_is_not_shipped_is_made_from_its_file(tmp_path):
    """By a bare name `run_grid.py` would not find it."""
    folder = tmp_path / "my results" / "mine"
    command = f"`python experiments/run_grid.py %s --results-dir '{folder.parent}'`"
    with pytest.raises(StoreError) as error:
        levels("mine", folder.parent)
    assert command % "mine.yaml" in str(error.value)
    folder.mkdir(parents=True)
    (folder / "study.yaml").touch()
    with pytest.raises(StoreError) as error:
        levels("mine", folder.parent)
    assert command % f"'{folder}/study.yaml'" in str(error.value)


def test_the_default_results_folder_is_not_repeated_in_the_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StoreError, match=r"`python experiments/run_grid\.py lenet`$"):
        levels("lenet")


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("content", [b"", b"PAR1 half a fi", b"\xff\xfe\x00garbage", b"a,b\n1,2\n"])
def test_a_broken_table_is_one_store_error(tmp_path, name, content):
    path = write_study(tmp_path, "mine", levels=1) / name
    path.write_bytes(content)
    with pytest.raises(StoreError) as error:
        READERS[name]("mine", tmp_path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_csv_cut_in_its_last_line_is_refused(tmp_path):
    path = write_study(tmp_path, "mine", levels=1) / "levels.csv"
    text = path.read_text()
    path.write_text(text[: text.rindex(",reference")])
    with pytest.raises(StoreError, match="cannot be read"):
        levels("mine", tmp_path)


def test_a_table_without_rows_is_refused(tmp_path):
    path = write_study(tmp_path, "mine", levels=1) / "levels.csv"
    path.write_text(path.read_text().splitlines()[0] + "\n")
    with pytest.raises(StoreError, match="no finished level"):
        levels("mine", tmp_path)


def test_column_types_do_not_depend_on_the_values(tmp_path):
    """Whole numbers in a float column, an empty step and a study called 007 change no type."""
    write_study(tmp_path, "plain", levels=1)
    path = write_study(tmp_path, "007", levels=1) / "levels.csv"
    frame = pd.read_csv(path, dtype={"study": str})
    frame["init"], frame["test_accuracy"], frame["seconds"] = "none", 1, 2
    frame["early_stop_step"] = None
    frame["val_loss"] = None
    frame.to_csv(path, index=False)
    odd = levels("007", tmp_path)
    assert odd.dtypes.equals(levels("plain", tmp_path).dtypes)
    assert set(odd["study"]) == {"007"}
    assert set(odd["init"]) == {"none"}


def test_accuracies_come_back_to_the_last_bit(tmp_path):
    path = write_study(tmp_path, "mine", levels=0) / "levels.csv"
    frame = pd.read_csv(path)
    frame["test_accuracy"] = 0.1 + 0.2 + 1e-17 * frame.index
    frame.to_csv(path, index=False)
    assert levels("mine", tmp_path)["test_accuracy"].tolist() == frame["test_accuracy"].tolist()


def test_a_convolutional_first_layer_has_no_input_counts(tmp_path):
    write_study(tmp_path, "conv", "conv6", seeds=[0], levels=1)
    assert layers("conv", tmp_path)["kept_inputs"].isna().all()
