import os
import random
import runpy
import shutil
import signal
import sys
import time

import pandas as pd
import pytest
import yaml

from lottery.study import StudyConfig, cells, run_study
from lottery.study.command_line import SETTINGS, parse_study
from lottery.study.store import StudyStore
from lottery.tickets.imp import RewindConfig
from tests import tiny
from tests.tiny import assert_same_tables

CONFIGS = tiny.ROOT / "experiments" / "configs"
SHIPPED = sorted(path.stem for path in CONFIGS.glob("*.yaml"))


@pytest.fixture(scope="module")
def program():
    return runpy.run_path(str(tiny.RUN_GRID))["PROGRAM"]


@pytest.fixture
def study(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(tiny.YAML)
    return path


@pytest.fixture
def run_grid(program, tmp_path, capsys, monkeypatch):
    """Run the program in this process; its exit status, output and error output."""
    monkeypatch.setattr(sys, "argv", ["experiments/run_grid.py"])
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr("lottery.study.program.console._width", 100)

    def run(*arguments, results=tmp_path / "results", workers=0):
        place = ["--results-dir", results, "--workers", workers]
        status = program.main([str(a) for a in (*arguments, *place)])
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def parsed(program):
    def parse(*arguments):
        argv = [str(argument) for argument in arguments]
        return parse_study(program.make_parser(), argv, tiny.ROOT / "experiments/configs")[1]

    return parse


def level_files(folder):
    found = sorted(folder.glob("cells/*/level_*.safetensors"))
    return {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in found}


# Arguments and configuration.


def test_a_file_and_the_same_settings_in_python_are_one_configuration(parsed, study):
    assert parsed(study) == tiny.config()


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_studies_are_valid_and_named_after_their_file(parsed, name):
    config = parsed(name)
    assert config.name == name
    assert cells(config)


def test_the_default_study_is_lenet_quick(parsed):
    assert parsed() == parsed("lenet-quick")


def test_lists_are_written_with_commas(parsed, study):
    config = parsed(study, "--inits", "normal(0.1),kaiming_normal(gain=1,mode=fan_out)")
    assert config.inits == ["normal(0.1)", "kaiming_normal(gain=1, mode=fan_out)"]
    config = parsed(study, "--inits", "by_layer(normal(1),first=normal(2),output=f(2)),normal(3)")
    assert config.inits == ["by_layer(normal(1), first=normal(2), output=f(2))", "normal(3)"]
    assert parsed(study, "--seeds=0,1").seeds == [0, 1]
    assert parsed(study, "--seeds", "4, 7").seeds == [4, 7]
    assert parsed(study, "--seeds", "[3, 4]").seeds == [3, 4]
    assert parsed(study, "--inits=orthogonal").inits == ["orthogonal"]
    assert parsed(study, "--controls.levels", "1,2").controls.levels == [1, 2]
    assert parsed(study, "--controls.levels", "null").controls.levels is None
    schedule = ["--train.lr_schedule", "step", "--train.lr_milestones=5it,1ep"]
    assert parsed(study, *schedule).train.lr_milestones == ["5it", "1ep"]


def test_any_setting_can_be_given_by_its_dotted_name(parsed, study):
    config = parsed(
        *(study, "--train.lr", "1e-3", "--prune.linear_rate=0.4", "--rewind.to", "5it"),
        *("--controls.dense", "true", "--controls.reinit", "3", "--levels", "1", "--name", "mine"),
    )
    assert config.train == tiny.train(lr=0.001)
    assert (config.prune.linear_rate, config.prune.conv_rate) == (0.4, 0.2)
    assert config.rewind.to == "5it"
    assert (config.controls.dense, config.controls.reinit) == (True, 3)
    assert (config.levels, config.name) == (1, "mine")
    assert config.train.duration == "20it", "a flag for one setting of a group reset the others"


def test_flags_win_over_the_file_wherever_they_stand(parsed, study):
    assert parsed("--levels", "1", study).levels == parsed(study, "--levels", "1").levels == 1


def test_the_files_own_name_wins_over_its_file_name(parsed, study):
    study.write_text(tiny.YAML + "name: other\n")
    assert parsed(study).name == "other"


def test_help_documents_every_field(program, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    with pytest.raises(SystemExit) as leaving:
        program.main(["--help"])
    assert leaving.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    for name in SETTINGS:
        assert f"--{name}" in text
    flags = ("workers", "device", "executor", "ray-address", "results-dir", "data-dir")
    for name in (*flags, "dry-run", "fresh"):
        assert f"--{name}" in text
    for sentence in (
        "Images per step.",
        "Initialisation schemes, with options as in",
        "The ticket's masks with newly drawn initial weights.",
        "by default half of linear_rate",
        '"0it" is the initialisation',
        "Interrupt it at any time",
        *SHIPPED,
    ):
        assert sentence in text


BAD_ARGUMENTS = {
    "--levels -1": "levels is -1; allowed: at least 0",
    "--levels two": "levels is 'two'; allowed: a whole number",
    "--levels 1.5": "levels is '1.5'; allowed: a whole number",
    "--levels=": "levels is ''; allowed: a whole number",
    "--levels": "argument --levels: expected one argument",
    "--seeds a": "seeds is 'a'; allowed: a whole number",
    "--seeds 0,": "seeds is ''; allowed: a whole number",
    "--seeds 0,0": "seeds is [0, 0]; allowed: one or more values, each once",
    "--seeds 0,-1": "seeds is [0, -1]; allowed: whole numbers from 0 on",
    "--seeds true": "seeds is 'True'; allowed: a whole number",
    "--inits he": "init is 'he'; allowed: by_layer, data_aware_first, delta_orthogonal, kaiming",
    "--inits @x": "init is '@x'; allowed: by_layer,",
    "--inits {a": "init is '{a'; allowed: by_layer,",
    "--inits [a": "inits is '[a'; allowed: a list",
    "--inits normal": "init is 'normal'; allowed: normal(std=...): option std is missing",
    "--inits kaiming_normal(gain=a)": "init kaiming_normal's option gain is 'a'; allowed: a number",
    "--inits normal(-1)": "inits is 'normal(-1)'; allowed: a scheme with its options (normal expe",
    "--inits normal(sd=1)": "init normal's option is 'sd'; allowed: std",
    "--inits normal(0.1": "init is 'normal(0.1'; allowed: a name, or name(option=value, ...)",
    "--inits uniform(mode=x)": "init uniform's option is 'mode'; allowed: bound",
    "--inits kaiming_normal(mode=x)": "mode is 'x'; allowed: fan_in, fan_out, fan_avg",
    "--inits nowhere:f": "init is 'nowhere:f'; allowed: an importable module:function",
    "--inits tests.tiny:f": "init is 'tests.tiny:f'; allowed: an importable module:function",
    "--model vgg": "model is 'vgg'; allowed: cifar_quick, conv2, conv4, conv6, lenet5,",
    "--model conv6(widht=2)": "model conv6's option is 'widht'; allowed: width, classes",
    "--model conv6(width=x)": "model conv6's option width is 'x'; allowed: a number",
    "--model conv6": "model is 'conv6'; allowed: a network from (1, 4, 4) inputs to 3 classes",
    "--data svhn": "data is 'svhn'; allowed: cifar10, digit_scenes, mnist, voc",
    "--data tests.tiny:net": "data is 'tests.tiny:net'; allowed: a data set that can be loaded",
    "--data tests.tiny:images(n=1)": "data tests.tiny:images's option is 'n'; allowed: side,",
    "--prune.criterion wish": "criterion is 'wish'; allowed: apoz, bn_scale, diff_sign,",
    "--prune.scope row": "prune.scope is 'row'; allowed: layer, global",
    "--prune.linear_rate 1": "prune.linear_rate is 1.0; allowed: a fraction of at least 0 below 1",
    "--prune.linear_rate a": "prune.linear_rate is 'a'; allowed: a number",
    "--prune.output_rate a": "prune.output_rate is 'a'; allowed: a number, null",
    "--prune.iterative 2": "prune.iterative is '2'; allowed: true or false",
    "--train.lr -1": "train.lr is -1.0; allowed: a number above 0",
    "--train.lr fast": "train.lr is 'fast'; allowed: a number",
    "--train.duration 5": "train.duration is '5'; allowed: a number of epochs \"5ep\" or of steps",
    "--train.optimizer lamb": "train.optimizer is 'lamb'; allowed: adam, sgd",
    "--train.batch_size 500": "train.batch_size is 500; allowed: 1 to 150",
    "--train.rate 1": "train.rate is not a setting; allowed: train.duration, train.batch_size,",
    "--colour red": "colour is not a setting; allowed: name, model, data, validation,",
    "--rewind.to 20it": "rewind.to is '20it'; allowed: less than train.duration (20it)",
    "--rewind.mode back": "rewind.mode is 'back'; allowed: weights, learning_rate, none",
    "--controls.reinit -1": "controls.reinit is -1; allowed: a number of draws, at least 0",
    "--controls.levels a": "controls.levels is \"['a']\"; allowed: a list of whole numbers, null",
    "--controls.levels 0": "controls.levels is [0]; allowed: levels from 1 on, each once",
    "--controls.dense maybe": "controls.dense is 'maybe'; allowed: true or false",
    "--engine warp": "engine is 'warp'; allowed: auto, reference",
    "--device tpu": "device is 'tpu'; allowed: auto, cpu, cuda",
    "--executor slurm": "executor is 'slurm'; allowed: local, ray",
    "--executor ray": "workers is 0; allowed: none with --executor ray, where cluster.cpus and",
    "--ray-address auto": "ray_address is 'auto'; allowed: none without --executor ray",
    "--cluster.cpus 0": "cluster.cpus is 0.0; allowed: a number from 0.0001 on",
    "--cluster.gpus 2": "cluster.gpus is 2.0; allowed: 0, or 0.0001 to 1, the share of one GPU",
    "--cluster.retries -1": "cluster.retries is -1; allowed: at least 0",
    "--cluster.nodes 2": "cluster.nodes is not a setting; allowed: cluster.cpus, cluster.gpus,",
    "--validation 200": "validation is 200; allowed: 1 to 199",
    "--name a/b": "name is 'a/b'; allowed: letters, digits, '.', '_' and '-'",
    "another": "unrecognized arguments: another",
}


@pytest.mark.parametrize("flags", BAD_ARGUMENTS)
def test_a_bad_argument_is_named_with_what_is_allowed_and_status_2(
    flags, run_grid, study, tmp_path
):
    status, printed, error = run_grid(study, *flags.split(" "))
    assert status == 2
    assert BAD_ARGUMENTS[flags] in error
    assert error.startswith("run_grid.py: ")
    assert error.count("\n") == 1, "more than a line"
    assert printed == ""
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("dry", [["--dry-run"], []])
def test_a_negative_number_of_workers_is_refused(dry, run_grid, study):
    status, _, error = run_grid(study, *dry, workers=-1)
    assert (status, error) == (2, "run_grid.py: workers is -1; allowed: at least 0\n")
    status, _, error = run_grid(study, *dry, workers="some")
    assert (status, error) == (2, "run_grid.py: workers is 'some'; allowed: a whole number, null\n")


BAD_FILES = {
    "seeds: [0]\nlevels: [": "STUDY is '{path}'; allowed: a file of valid YAML (line 2, column 10",
    "\tlevels: 1": "STUDY is '{path}'; allowed: a file of valid YAML (line 1, column 1: found char",
    "levels: \x80": "STUDY is '{path}'; allowed: a file of valid YAML (unacceptable character",
    "levels: 1\nprune: {}\nlevels: 3": "STUDY is '{path}'; allowed: a file of valid YAML (line 3, "
    "column 1: levels is there a second time)",
    "train: {lr: 1,\n  lr: 2}": "STUDY is '{path}'; allowed: a file of valid YAML (line 2, column "
    "3: lr is there a second time)",
    "- 1": "STUDY is '{path}'; allowed: a file of settings, such as levels: 10",
    "": "STUDY is '{path}'; allowed: a file of settings, such as levels: 10",
    "colour: red": "colour is not a setting; allowed: name, model, data,",
    "prune: {rate: 1}": "prune.rate is not a setting; allowed: prune.criterion, prune.at,",
    "prune: 3": "prune is 3; allowed: prune.criterion, prune.at, prune.scope,",
    "train:": "train is None; allowed: train.duration,",
    "levels: two": "levels is 'two'; allowed: a whole number",
    "levels: -1": "levels is -1; allowed: at least 0",
    "levels: null": "levels is None; allowed: a value, such as 10",
    "train: {lr: null}": "train.lr is None; allowed: a value, such as 0.0012",
    "seeds: 0": "seeds is '0'; allowed: a list",
    "inits: [he]": "init is 'he'; allowed: by_layer,",
    "inits: [normal]": "init is 'normal'; allowed: normal(std=...): option std is missing",
    "train: {lr: fast}": "train.lr is 'fast'; allowed: a number",
    "train: {optimizer: lamb}": "train.optimizer is 'lamb'; allowed: adam, sgd",
    "name: a b": "name is 'a b'; allowed: letters, digits,",
}


@pytest.mark.parametrize("text", BAD_FILES)
def test_a_bad_file_is_named_with_what_is_allowed_and_status_2(text, run_grid, tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    status, printed, error = run_grid(path)
    assert status == 2
    assert error.startswith(f"run_grid.py: {BAD_FILES[text].format(path=path)}")
    assert error.count("\n") == 1, "more than a line"
    assert "Traceback" not in error
    assert printed == ""


def test_a_key_of_a_merged_group_may_be_set_anew(parsed, study):
    """Which YAML allows: it is not there twice."""
    variants = "{one: {train: &train {lr: 1, batch_size: 20}}, two: {train: {<<: *train, lr: 2}}}"
    study.write_text(f"{tiny.YAML}variants: {variants}\n")
    trains = [parsed(study).variant(name).train for name in ("one", "two")]
    assert [(train.lr, train.batch_size) for train in trains] == [(1, 20), (2, 20)]


@pytest.mark.parametrize("value", ["{a: {}}", "{a: {prune: {scope: global}}}", "{}", "3"])
def test_a_misspelt_field_is_answered_with_all_there_are(value, run_grid, study):
    study.write_text(f"{tiny.YAML}varients: {value}\n")
    status, _, error = run_grid(study)
    known = ", ".join(StudyConfig.__dataclass_fields__)
    assert (status, error) == (2, f"run_grid.py: varients is not a setting; allowed: {known}\n")


def test_variants_are_planned_run_and_shown_each_by_itself(run_grid, tmp_path):
    path = tmp_path / "several.yaml"
    path.write_text(f"{tiny.YAML}variants: {{base: {{}}, short: {{train: {{duration: 10it}}}}}}\n")
    status, printed, _ = run_grid(path, "--dry-run")
    assert status == 0
    assert "levels 0 to 2, 20 steps and 3 evaluations each" in printed
    assert "short: levels 0 to 2, 10 steps and 2 evaluations each" in printed
    assert "24 levels to train: 360 steps" in printed
    text = " ".join(printed.split())
    assert "┃ variant ┃ branch ┃ cells ┃ to run ┃" in text
    assert "│ base │ ticket │ 4 │ 4 │ │ short │ ticket │ 4 │ 4 │" in text
    status, printed, error = run_grid(path, "--seeds", "0")
    assert status == 0
    assert " short: Test accuracy of tickets in %, n = 1 seed ┏" in " ".join(printed.split())
    assert "interval" not in printed
    assert "short: xavier_normal seed 0 ticket: level 2" in error


def test_a_file_that_is_no_text_is_refused(run_grid, tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_bytes(b"\xff\xfe\x80levels: 1")
    status, _, error = run_grid(path)
    assert status == 2
    assert f"STUDY is '{path}'; allowed: a file of valid YAML" in error


@pytest.mark.parametrize("name", ["nowhere.yaml", "no/where.yml"])
def test_a_path_where_no_file_is_is_told_so(name, run_grid):
    message = "a file that exists; there is none of this path"
    assert run_grid(name) == (2, "", f"run_grid.py: STUDY is {name!r}; allowed: {message}\n")


@pytest.mark.parametrize("name", ["nonesuch", ""])
def test_an_unknown_study_lists_the_known_ones(name, run_grid):
    status, _, error = run_grid(name)
    assert status == 2
    known = ", ".join(SHIPPED)
    assert error == (
        f"run_grid.py: STUDY is {name!r}; allowed: a path to a YAML file, or one of: {known}\n"
    )


@pytest.mark.parametrize("dry", [["--dry-run"], []])
@pytest.mark.parametrize("place", ["file", "/proc/results"])
def test_a_place_that_cannot_be_written_is_named(dry, place, run_grid, study, tmp_path):
    """Root may write wherever access rights alone forbid it, and still not in /proc."""
    (tmp_path / "file").touch()
    status, printed, error = run_grid(study, *dry, results=tmp_path / place)
    assert (status, printed) == (2, "")
    assert f"results_dir is '{tmp_path / place}'; allowed: a folder to write in" in error
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "tiny.yaml"]


def test_long_titles_break_between_words(run_grid, study):
    model = "tests.tiny:net(hidden=12, inputs=16)"
    _, printed, _ = run_grid(study, "--dry-run", "--model", model, "--name", "a-study-of-one")
    assert f"a-study-of-one: {model} on" in " ".join(printed.split())


def test_part_of_the_levels_can_be_run_where_controls_have_some_beyond(run_grid, study):
    controls = ("--controls.reinit", "1", "--controls.levels", "1,2")
    status, printed, _ = run_grid(study, *controls, "--levels", "1", "--dry-run")
    assert status == 0
    assert "12 levels to train" in printed


# Running.


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    place = tmp_path_factory.mktemp("finished")
    run_study(tiny.config(), results_dir=place, workers=0, quiet=True)
    return place


def test_a_dry_run_says_what_there_is_to_do_and_does_none_of_it(run_grid, study, tmp_path):
    status, printed, error = run_grid(study, "--dry-run", "--controls.dense", "true", workers=2)
    assert (status, error) == (0, "")
    text = " ".join(printed.split())
    assert "tiny: tests.tiny:net on tests.tiny:images" in text
    assert "│ ticket │ 4 │ 4 │ │ dense │ 4 │ 4 │" in text
    assert "2 schemes: xavier_normal, normal(0.3); seeds [0, 1]" in text
    assert "levels 0 to 2, 20 steps and 3 evaluations each" in text
    assert "24 levels to train: 480 steps, about 0:0" in text
    assert "with 2 at once" in text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiny.yaml"]


def test_a_dry_run_of_a_finished_study_has_nothing_to_do_unless_fresh(run_grid, study, finished):
    _, printed, _ = run_grid(study, "--dry-run", results=finished)
    assert "0 levels to train: 0 steps, about 0:00" in printed
    _, printed, _ = run_grid(study, "--dry-run", "--fresh", results=finished)
    assert "12 levels to train: 240 steps" in printed
    assert len(level_files(finished / "tiny")) == 12


def test_it_ends_with_a_table_where_everything_is_and_what_to_type_next(
    run_grid, study, finished, tmp_path
):
    results = tmp_path / "my results"
    shutil.copytree(finished, results)
    status, printed, error = run_grid(study, results=results)
    assert (status, error) == (0, "4 of 4 cells were finished before\n")
    levels = pd.read_csv(results / "tiny" / "levels.csv")
    of = levels[(levels["init"] == "xavier_normal") & (levels["level"] == 1)]["test_accuracy"]
    half = 12.706 * of.std() / 2**0.5
    text = " ".join(printed.split())
    assert "xavier_normal ┃ normal(0.3) ┃" in text
    assert f"│ 81.58% │ {100 * of.mean():.2f} ± {100 * half:.2f} │" in text
    assert f"0 cells computed now. Tables and manifest: '{results}/tiny'" in text
    assert f"make_figures.py tiny --results-dir '{results}'" in text
    assert f"tensorboard --logdir '{results}/tiny'/tensorboard" in text


def test_other_settings_in_the_same_place_are_refused_until_fresh(
    run_grid, study, finished, tmp_path
):
    shutil.copytree(finished, tmp_path / "results")
    folder = tmp_path / "results" / "tiny"
    before = level_files(folder)
    status, _, error = run_grid(study, "--train.lr", "0.02")
    assert status == 2
    assert "train.lr is 0.02; allowed: 0.01, with which" in error
    assert "--name" in error
    assert "--fresh" in error
    assert level_files(folder) == before
    status, _, _ = run_grid(study, "--train.lr", "0.02", "--fresh", "--seeds", "1")
    assert status == 0
    assert set(pd.read_csv(folder / "levels.csv")["seed"]) == {1}
    assert not set(before) & set(level_files(folder))
    assert yaml.safe_load((folder / "study.yaml").read_text())["train"]["lr"] == 0.02


def test_a_second_run_at_the_same_time_is_refused(run_grid, study, tmp_path):
    with StudyStore(tmp_path / "results", "tiny").open(tiny.config()):
        status, _, error = run_grid(study)
    assert status == 1
    assert error == f"run_grid.py: {tmp_path / 'results' / 'tiny'} is in use by another run\n"


def test_a_failed_cell_is_named_with_its_reason_and_status_1(run_grid, study):
    status, printed, error = run_grid(
        study, "--inits", "normal(1e30),xavier_normal", "--seeds", "0", "--controls.reinit", "1"
    )
    assert status == 1
    ticket, control = (line for line in error.splitlines() if line.startswith("failed "))
    assert ticket.startswith("failed normal(1e+30) seed 0 ticket: ")
    assert "loss is nan at level 0, step 8: training diverged; try a train.lr below 0.01" in ticket
    assert control.startswith("failed normal(1e+30) seed 0 reinit 0: the ticket it needs failed: ")
    last = "2 cells failed as said above; once that is mended, the same command tries again\n"
    assert error.endswith(f"run_grid.py: {last}")
    assert error.count("training diverged") == 1, "told twice"
    assert "2 cells computed now. Tables and manifest: " in printed
    assert "Traceback" not in error


def test_a_study_whose_every_cell_fails_is_no_traceback(run_grid, study):
    status, printed, error = run_grid(study, "--inits", "tests.tiny:broken", "--seeds", "0")
    assert status == 1
    assert "failed tests.tiny:broken seed 0 ticket: ValueError: no weights [/for] you tod" in error
    assert error.count("no weights") == 1, "told twice"
    text = "0 cells computed now. No level is finished, so there are no tables. Settings and"
    assert printed.startswith(text), "nothing else is there to be shown, or to be done next"
    assert printed.count("\n") == 1


def test_a_disk_too_full_for_the_tables_is_no_traceback(run_grid, study, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_csv", full)
    status, _, error = run_grid(study, "--seeds", "0")
    assert status == 1
    assert error.endswith("run_grid.py: OSError: [Errno 28] No space left on device\n")


def test_ctrl_c_in_this_process_says_how_to_resume_without_fresh(run_grid, study, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("lottery.study.run.run_here", interrupted)
    status, _, error = run_grid(study, "--fresh", "--inits", "normal(0.1)")
    assert status == 130
    assert error.startswith(
        f"run_grid.py: interrupted; to go on from here: python experiments/run_grid.py {study} "
        "--inits 'normal(0.1)' --results-dir "
    )
    assert "--fresh" not in error


def test_a_study_at_a_url_ends_with_where_its_tables_are(run_grid, study, tmp_path):
    url = f"file://{tmp_path}/there"
    status, printed, _ = run_grid(study, "--seeds", "0", results=url)
    assert status == 0
    assert f"2 cells computed now. Tables and manifest: {url}/tiny\n" in printed
    assert "make_figures.py" not in printed, "it reads folders"
    _, printed, _ = run_grid(study, "--dry-run", results=url)
    assert "6 levels to train" in printed


def test_a_url_that_cannot_be_opened_is_one_line_and_status_2(run_grid, study):
    status, printed, error = run_grid(study, results="nonesuch://bucket/x")
    assert (status, printed) == (2, "")
    assert error.startswith("run_grid.py: results_dir is 'nonesuch://bucket/x'; allowed: a folder")
    assert error.count("\n") == 1


# Killed for real.


@pytest.fixture
def slow_study(tmp_path):
    """Dense and reinit controls, batch norm and dropout, rewinding to a step, a kept optimiser."""
    config = tiny.with_controls(
        model="tests.tiny:conv_net",
        inits=["xavier_normal"],
        seeds=[0],
        train=tiny.train(duration="480it", eval_every="20it"),
        rewind=RewindConfig(to="50it", optimizer="kept"),
    )
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(config.to_dict()))
    # Every process of the command saves a checkpoint at every evaluation.
    (tmp_path / "sitecustomize.py").write_text(
        "from lottery.study.cell_store import CellStore\nCellStore.__init__.__defaults__ = (0.0,)\n"
    )
    return path, config


def interrupt(process, how):
    """End the command as the user or the machine would; returns what it said."""
    if how == "its parent is killed":
        os.kill(process.pid, signal.SIGKILL)
    else:
        os.killpg(process.pid, signal.SIGINT if how == "Ctrl-C" else signal.SIGKILL)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == (130 if how == "Ctrl-C" else -signal.SIGKILL), output
    gone = tiny.wait_until(lambda: not tiny.alive(process.pid), seconds=20)
    assert gone, "workers outlive their parent"
    return output


def assert_clean_interruption(output, path):
    assert f"interrupted; to go on from here: python {tiny.RUN_GRID} {path} --results" in output
    assert "Traceback" not in output
    assert "KeyboardInterrupt" not in output


def test_a_study_ended_at_any_moment_has_the_tables_of_one_that_was_not(slow_study, tmp_path):
    path, config = slow_study
    whole = run_study(config, results_dir=tmp_path / "whole", workers=0, quiet=True)
    folder = tmp_path / "killed" / "tiny"
    arguments = (path, "--results-dir", tmp_path / "killed", "--workers", 2)
    files = {}
    for number, how in enumerate(("all is killed", "Ctrl-C", "its parent is killed")):
        process = tiny.start_grid(*arguments, path=(tmp_path,))
        # Within the first level, and later after one more level at least.
        sign = "cells/*/level_*" if number else "cells/*/checkpoint.pt"
        count = len(files) + 1
        started = tiny.wait_until(lambda s=sign, n=count: len(list(folder.glob(s))) >= n)
        assert started, process.communicate()
        time.sleep(random.uniform(0, 0.4))
        output = interrupt(process, how)
        if how == "Ctrl-C":
            assert_clean_interruption(output, path)
            assert len(pd.read_csv(folder / "levels.csv")) == len(level_files(folder))
        now = level_files(folder)
        assert now.items() >= files.items(), "a finished level was computed again"
        files = now
    assert 0 < len(files) < 8, "nothing was left to do"
    process = tiny.start_grid(*arguments, path=(tmp_path,))
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert level_files(folder).items() >= files.items(), "a finished level was computed again"
    assert len(level_files(folder)) == 8
    assert_same_tables(folder, whole.folder)
    assert not list(folder.rglob("*.tmp"))


def test_ctrl_c_while_workers_start_ends_cleanly_too(slow_study, tmp_path):
    path, _ = slow_study
    process = tiny.start_grid(path, "--results-dir", tmp_path / "results", path=(tmp_path,))
    assert tiny.wait_until((tmp_path / "results" / "tiny" / "study.yaml").exists)
    time.sleep(0.3)
    assert_clean_interruption(interrupt(process, "Ctrl-C"), path)
