"""The programs of detectors: train and prune them, write one to a file, find objects with it."""

import dataclasses
import re
import runpy
import shutil
import sys

import pandas as pd
import pytest
import yaml
from PIL import Image

from experiments import detect, export_detector
from lottery.detectors import load
from tests import squares, tiny
from tests.data.photographs import add_picture, annotation, photographs

PLACE = tiny.ROOT / "experiments"

FIRST = f"""\
model: {squares.MODEL}
data: tests.squares:squares
inits: [kaiming_normal]
seeds: [0, 1]
levels: 0
train: {{duration: 40it, batch_size: 10, lr: 3e-3}}
prune: {{criterion: l2}}
"""
SECOND = (
    FIRST.replace("levels: 0", "levels: 1\nstart: detector-first").replace(
        "prune: {criterion: l2}", "prune: {criterion: l2, scope: global, conv_rate: 0.25}"
    )
    + "rewind: {mode: learning_rate, to: 30it}\n"
)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with two shipped studies, the second of which prunes the detectors of the first."""
    folder = tmp_path_factory.mktemp("detectors")
    (folder / "configs").mkdir()
    (folder / "configs" / "detector-first.yaml").write_text(FIRST)
    (folder / "configs" / "detector-second.yaml").write_text(SECOND)
    return folder


@pytest.fixture
def run_detector(place, capsys, monkeypatch):
    """Run the program in this process; its exit status, output and error output."""
    program = runpy.run_path(str(PLACE / "run_detector.py"))["PROGRAM"]
    program = dataclasses.replace(program, configs=place / "configs")
    monkeypatch.setattr(sys, "argv", ["experiments/run_detector.py"])
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr("lottery.study.program.console._width", 120)

    def run(*arguments, results=place / "results"):
        where = ["--results-dir", results, "--workers", "0"]
        status = program.main([str(a) for a in (*arguments, *where)])
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def ran(run_detector, place):
    """Results of both studies, trained by the first test that needs them."""
    if not (place / "results" / "detector-second" / "detectors.csv").exists():
        assert run_detector("detector-second", "--seeds", "0")[0] == 0
    return place / "results"


def test_the_detectors_that_are_pruned_are_trained_first(ran, run_detector):
    """Of one seed alone, as was asked; the table has AP, sizes and times by level."""
    levels = pd.read_csv(ran / "detector-second" / "levels.csv")
    assert levels["level"].tolist() == [0, 1] and levels["seed"].tolist() == [0, 0]
    assert levels["steps"].tolist() == [40, 10]
    assert pd.read_csv(ran / "detector-first" / "levels.csv")["seed"].tolist() == [0]
    status, printed, error = run_detector("detector-second", "--seeds", "0")
    assert status == 0 and error.count("1 of 1 cell was finished before") == 1
    table = pd.read_csv(ran / "detector-second" / "detectors.csv")
    whole = table[table["class"] == "all"]
    assert "AP (area)" in printed and "latency ms" in printed
    for row in whole.itertuples():
        line = [line for line in printed.splitlines() if f"{row.macs / 1e6:.3g}" in line][-1]
        assert f"{row.parameters / 1e6:.3g}" in line and f"{row.latency_ms:.2f}" in line
        assert f"{100 * row.ap_area:.2f}" in line and f"{100 * row.ap_11:.2f}" in line


def test_a_plan_tells_of_both_studies(ran, run_detector, tmp_path):
    status, printed, _ = run_detector("detector-second", "--dry-run", "--seeds", "0,1")
    assert status == 0
    assert "detector-second prunes these networks; see its plan once they exist" in printed
    status, printed, _ = run_detector("detector-second", "--dry-run", "--seeds", "0")
    assert printed.count("levels to train: 0 steps") == 1  # none is left to train first


def test_detectors_of_any_study_can_be_pruned(ran, run_detector, tmp_path):
    config = SECOND.replace("start: detector-first\n", "")
    (tmp_path / "mine.yaml").write_text(config)
    shutil.copytree(ran / "detector-first", tmp_path / "elsewhere")
    options = ("--seeds", "0", "--detector", tmp_path / "elsewhere")
    status, _, _ = run_detector(tmp_path / "mine.yaml", *options, results=tmp_path / "results")
    assert status == 0
    kept = yaml.safe_load((tmp_path / "results" / "mine" / "study.yaml").read_text())
    assert kept["start"] == str(tmp_path / "elsewhere")
    status, _, error = run_detector("detector-second", "--detector", "nowhere", "--name", "other")
    assert (status, "start is 'nowhere'" in error) == (2, True)


def test_detectors_that_cannot_be_pruned_are_not_trained_first(run_detector, tmp_path):
    wider = squares.MODEL.replace("0.125", "0.25")
    status, _, error = run_detector("detector-second", "--model", wider, results=tmp_path)
    assert status == 2
    assert "start is 'detector-first'; allowed: a study of tiny_yolo_v2(" in error
    assert "width=0.25) on tests.squares:squares, not tiny_yolo_v2(" in error
    assert not (tmp_path / "detector-first").exists()


@pytest.mark.parametrize("how", [(), ("--dry-run",)])
def test_what_cannot_prune_them_is_said_before_they_are_trained(run_detector, tmp_path, how):
    """Seen at the first pruned level alone: a length that does not end in it."""
    options = ("--prune.during", "shrinkage(threshold=0.1, every=90it)", *how)
    status, _, error = run_detector("detector-second", *options, results=tmp_path)
    assert status == 2
    assert "prune.during's every is '90it'; allowed: a length that ends in a level" in error
    assert not (tmp_path / "detector-first").exists()


def test_results_at_a_url_are_refused_before_any_training(run_detector):
    status, _, error = run_detector("detector-first", results="memory://detectors")
    assert status == 2
    assert "results_dir is 'memory://detectors'; allowed: a folder" in error


def test_all_that_is_wrong_with_the_data_is_listed_at_once(run_detector, tmp_path):
    folder = photographs(tmp_path / "data" / "mine")
    data = "voc(mine, anchors=2, size=8)"
    options = ("--check-data", "--data-dir", tmp_path / "data", "--data", data)
    status, printed, _ = run_detector("detector-first", *options)
    assert status == 0
    assert printed.splitlines() == [
        "train: 2 pictures; boxes: cat 2, dog 1",
        "val: 1 picture; boxes: cat 1, dog 0",
        "test: 2 pictures; boxes: cat 1, dog 0",
        f"{data}: no problems",
    ]
    add_picture(folder, "a", annotation(("cat", 5, 1, 4, 4), ("cat", 1, 1, 40, 4)))
    (folder / "JPEGImages" / "d.png").unlink()
    status, printed, _ = run_detector("detector-first", *options)
    assert status == 1
    assert printed.count("Annotations/a.xml: box") == 2
    assert "JPEGImages/d.jpg: there is no such file" in printed
    assert "test.txt: no box for test is not difficult" in printed, "d alone had one"
    assert printed.endswith(f"{data}: 4 problems\n")
    status, printed, _ = run_detector("detector-first", *options[:3], "--data", "voc(absent)")
    assert (status, "there is no such folder" in printed) == (1, True)


def test_data_without_boxes_are_refused_where_they_are_checked_too(run_detector):
    status, _, error = run_detector("detector-first", "--check-data", "--data", "tests.tiny:images")
    assert status == 2
    assert "allowed: pictures with boxes" in error


def test_help_lists_the_studies_of_detectors_alone(run_detector, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    with pytest.raises(SystemExit):
        run_detector("--help")
    text = " ".join(capsys.readouterr().out.split())
    assert "or one of: detector-first, detector-second (default: detector-digits)" in text
    assert "--check-data" in text and "--detector STUDY" in text
    known = re.findall(r"[\w()=.]+", text)
    for name in ("yolo_v2", "tiny_yolo_v2", "digit_scenes", "voc(folder)", "voc2007", "voc2012"):
        assert name in known, "the networks and data that it is for"


def shipped():
    """The studies that come with the program, by name."""
    files = sorted((PLACE / "configs").glob("detector-*.yaml"))
    return {file.stem: yaml.safe_load(file.read_text()) for file in files}


PRUNING = [name for name, study in shipped().items() if "start" in study]
"""Those that prune the detectors of another study."""


def steps(length):
    return int(length.removesuffix("it"))


@pytest.mark.parametrize("name", PRUNING)
def test_a_shipped_study_prunes_the_detectors_of_another_that_ships(name):
    """Of the same network and data, and trained on in the same way, only shorter and slower."""
    study = shipped()[name]
    first = shipped()[study["start"]]
    for setting in ("model", "data", "inits", "seeds"):
        assert study[setting] == first[setting], setting
    own = {"duration", "lr", "warmup", "eval_every", "eval_start", "eval_actions"}
    before, after = (each["train"] for each in (first, study))
    alike = before.keys() - own
    assert {key: after[key] for key in alike} == {key: before[key] for key in alike}
    assert after.keys() - own == alike and after["eval_start"]
    assert steps(after["duration"]) < steps(before["duration"]) / 5
    assert after["lr"] < before["lr"]
    assert study["rewind"] == {"mode": "learning_rate"}, "weights stay, and the schedule is whole"
    assert first["prune"]["criterion"] == "l2" and first["levels"] == 0


def test_five_studies_prune_the_detectors_of_others():
    assert set(PRUNING) == {
        f"detector-{data}" for data in ("digits", "digit", "bccd", "digits-full", "bccd-full")
    }


@pytest.mark.parametrize("name", PRUNING)
def test_variants_of_a_shipped_study_can_be_compared(name):
    """At one level all are equally large, but those that are called global; and all alike in all
    studies, but that some studies have fewer."""
    study, ten = shipped()[name], shipped()["detector-digits"]
    variants = study["variants"]
    assert variants.items() <= ten["variants"].items() and "random_filters_hard" in variants
    assert name != "detector-bccd" or variants == ten["variants"]
    for variant, settings in variants.items():
        prune = study["prune"] | settings.get("prune", {})
        assert prune.get("scope", "layer") == ("global" if "_global" in variant else "layer")
        assert settings.keys() <= {"prune"}
        assert prune["conv_rate"] == study["prune"]["conv_rate"]
        during = prune.get("during", "none")
        if "soft" in variant:
            every = int(re.search(r"every=(\d+)it", during)[1])
            assert steps(study["train"]["duration"]) >= 10 * every, "again and again in a round"
    if "full" not in name:
        for setting in ("prune", "rewind", "levels", "seeds"):
            assert study[setting] == ten[setting], setting


def test_the_best_detector_goes_to_a_file_and_finds_objects(ran, tmp_path, capsys):
    out = tmp_path / "new" / "detector.safetensors"
    options = ["--results-dir", str(ran), "--out", str(out)]
    assert export_detector.main(["detector-second", *options, "--lose", "1"]) == 0
    levels = pd.read_csv(ran / "detector-second" / "levels.csv")
    detectors = pd.read_csv(ran / "detector-second" / "detectors.csv")
    whole = detectors[detectors["class"] == "all"]
    precision = " → ".join(f"{100 * value:.2f} %" for value in levels["test_accuracy"])
    assert capsys.readouterr().out.splitlines() == [
        f"{out}: {levels['cell'][1]}, level 1",
        f"  average precision on test pictures, as the study measured it: {precision}",
        "  parameters: {:,} → {:,}".format(*levels["parameters"]),
        "  multiply-accumulates: {:,} → {:,}".format(*levels["macs"]),
        "  bytes: {:,.0f} → {:,.0f}".format(*whole["bytes"]),
    ]
    parameters = sum(p.numel() for p in load(out).model.parameters())
    assert parameters == levels["parameters"][1] < levels["parameters"][0]
    picture = ran / "detector-second" / "pictures" / "0.jpg"
    (tmp_path / "bad.png").write_text("no picture")
    images = [str(picture), str(tmp_path / "bad.png")]
    options = ["--detector", str(out), "--threshold", "0.01", "--out", str(tmp_path / "found")]
    assert detect.main([*images, *options]) == 1
    printed, error = capsys.readouterr()
    assert printed.startswith(f"{tmp_path / 'found' / '0-detected.jpg'}: ")
    assert "red" in printed or "green" in printed
    assert error.startswith("detect.py: ") and "bad.png" in error
    drawn = Image.open(tmp_path / "found" / "0-detected.jpg")
    assert drawn.size == (480, 480), "32 pixels are too few to read labels in"
    assert drawn.tobytes() != Image.open(picture).resize((480, 480)).tobytes()


def test_the_file_that_onnx_would_overwrite_is_refused(ran, tmp_path, capsys):
    out = tmp_path / "detector.onnx"
    options = ["--results-dir", str(ran), "--out", str(out)]
    assert export_detector.main(["detector-second", *options, "--onnx"]) == 2
    assert "another ending than .onnx" in capsys.readouterr().err and not out.exists()


def test_data_without_boxes_are_refused_before_anything_is_trained(run_detector, tmp_path):
    other = ["--data", "tests.tiny:images", "--model", "tests.tiny:net"]
    status, _, error = run_detector("detector-first", *other, results=tmp_path / "results")
    assert status == 2 and "allowed: pictures with boxes" in error
    assert not (tmp_path / "results").exists()


def test_a_cell_and_a_level_can_be_asked_for(ran, tmp_path, capsys):
    cell = pd.read_csv(ran / "detector-second" / "levels.csv")["cell"][0]
    out = tmp_path / "detector.safetensors"
    options = ["--results-dir", str(ran), "--out", str(out), "--cell", cell]
    assert export_detector.main(["detector-second", *options]) == 2
    assert "--cell and --level go together" in capsys.readouterr().err
    assert export_detector.main(["detector-second", *options, "--level", "0"]) == 0
    assert export_detector.main(["detector-second", *options, "--level", "7"]) == 2
    assert "level is 7; allowed: a level of" in capsys.readouterr().err
    assert export_detector.main(["absent", *options[:4]]) == 2


def test_an_unpruned_detector_is_called_so(ran, tmp_path, capsys):
    """At level 1 average precision on validation pictures lies below any that is allowed."""
    shutil.copytree(ran / "detector-second", tmp_path / "detector-second")
    table = pd.read_csv(tmp_path / "detector-second" / "levels.csv")
    table.loc[table["level"] == 1, "val_accuracy"] = -1.0
    table.to_csv(tmp_path / "detector-second" / "levels.csv", index=False)
    assert export_detector.main(["detector-second", "--results-dir", str(tmp_path)]) == 0
    first, second = capsys.readouterr().out.splitlines()[:2]
    assert first == "No pruned detector loses 0.02 or less: an unpruned one follows."
    assert second.endswith("level 0")


@pytest.mark.parametrize("lose", ["2", "-0.1", "nan"])
def test_a_loss_that_is_no_fraction_is_refused(ran, capsys, lose):
    options = ["--results-dir", str(ran), "--lose", lose]
    assert export_detector.main(["detector-second", *options]) == 2
    assert f"lose is {float(lose)}; allowed: a fraction from 0 to 1" in capsys.readouterr().err


@pytest.fixture
def exported(ran, tmp_path, monkeypatch, capsys):
    """An empty folder to work in, but for results of which one study has an exported detector."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "results" / "detector-second" / "detector.safetensors"
    options = ["--results-dir", str(ran), "--out", str(file), "--lose", "1"]
    assert export_detector.main(["detector-second", *options]) == 0
    capsys.readouterr()
    return tmp_path


def test_without_a_name_the_exported_detector_is_taken(exported, ran, capsys):
    Image.new("RGB", (32, 32)).save("photo.png")
    assert detect.main(["photo.png", "--threshold", "1"]) == 0
    printed = capsys.readouterr()
    assert printed.out == "photo-detected.png: nothing\n"
    assert printed.err == "with results/detector-second/detector.safetensors\n"
    shutil.rmtree("results")
    assert detect.main(["photo.png"]) == 2
    assert "name one with --detector FILE" in capsys.readouterr().err


def test_copies_are_kept_apart_from_each_other_and_from_pictures(exported, capsys):
    """Two are called photo.png; and the copy of the third would lie on the fourth."""
    colours = {"a/photo.png": 10, "b/photo.png": 20, "x.png": 30, "x-detected.png": 40}
    for name, grey in colours.items():
        (exported / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (32, 32), (grey,) * 3).save(name)
    assert detect.main([*list(colours)[:2], "--threshold", "1", "--out", "found"]) == 0
    copies = [Image.open(f"found/photo-detected{n}.png").getpixel((0, 0))[0] for n in ("", "-2")]
    assert copies == [10, 20]
    assert detect.main([*list(colours)[2:], "--threshold", "1"]) == 0
    assert Image.open("x-detected.png").getpixel((0, 0))[0] == 40
    assert Image.open("x-detected-2.png").getpixel((0, 0))[0] == 30
    assert detect.main(["x.png", "--threshold", "1"]) == 0, "again: its own copy is replaced"
    assert Image.open("x-detected.png").getpixel((0, 0))[0] == 30


def test_a_photograph_taken_upright_is_searched_and_saved_upright(exported, ran):
    """Cameras store it lying down, and write how it has to be turned."""
    upright = Image.open(ran / "detector-second" / "pictures" / "0.jpg").resize((24, 48))
    turned = upright.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90° clockwise
    turned.save("photo.png", exif=exif)
    upright.save("straight.png")
    assert detect.main(["photo.png", "straight.png", "--threshold", "0.01"]) == 0
    drawn = [Image.open(f"{name}-detected.png") for name in ("photo", "straight")]
    assert drawn[0].size == (480, 960)
    assert drawn[0].tobytes() == drawn[1].tobytes() != upright.resize((480, 960), 0).tobytes()


@pytest.mark.parametrize("threshold", ["7", "-1", "nan"])
def test_a_threshold_that_is_no_score_is_refused(exported, capsys, threshold):
    assert detect.main(["photo.png", "--threshold", threshold]) == 2
    assert f"threshold is {float(threshold)}; allowed: a score" in capsys.readouterr().err


def test_a_file_that_is_no_detector_is_said_in_a_line(tmp_path, capsys):
    (tmp_path / "x.safetensors").write_text("no")
    assert detect.main(["a.jpg", "--detector", str(tmp_path / "x.safetensors")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
