import json
import shutil
from dataclasses import replace

import pandas as pd
import pytest
import torch
from pandas.testing import assert_frame_equal

from lottery.errors import ConfigError
from lottery.init import NetworkDraw, network_scheme
from lottery.study import ControlsConfig, cells, run_study
from lottery.study.cell_store import CellStore
from lottery.study.run import check, choose_device, choose_workers
from lottery.study.store import TABLES, StudyStore
from lottery.tickets.imp import RewindConfig
from lottery.training.engines import ENGINES
from tests import squares, tiny
from tests.tiny import assert_same_tables
from tests.tiny import run_here as run

COLUMNS = [
    "study",
    "cell",
    "model",
    "variant",
    "init",
    "seed",
    "branch",
    "draw",
    "level",
    "weights_remaining",
    "test_accuracy",
    "val_accuracy",
    "train_accuracy",
    "test_loss",
    "val_loss",
    "train_loss",
    "early_stop_step",
    "test_accuracy_at_early_stop",
    "val_accuracy_at_early_stop",
    "steps",
    "seconds",
    "engine",
    "device",
]


def level_files(folder):
    """Identity of every finished level's file: another write is another file."""
    found = sorted(folder.glob("cells/*/level_*.safetensors"))
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in found}


@pytest.fixture
def steps(monkeypatch):
    """Steps trained so far, as [(start, stop), ...]; may be told to interrupt at the n-th call."""
    trained: list[tuple[int, int]] = []
    engines = dict(ENGINES)

    def counting(segments):
        (segment,) = segments
        if segment.stop > segment.start:
            if counting.interrupt_at == len(trained):
                raise KeyboardInterrupt
            trained.append((segment.start, segment.stop))
        return engines[segment.engine](segments)

    counting.interrupt_at = None
    counting.trained = trained
    for name in engines:
        monkeypatch.setitem(ENGINES, name, counting)
    return counting


@pytest.fixture
def save_every_checkpoint(monkeypatch):
    monkeypatch.setattr(CellStore.__init__, "__defaults__", (0.0,))


def test_levels_has_its_columns_and_a_row_per_cell_and_level(finished, finished_config):
    table = pd.read_csv(finished.folder / "levels.csv")
    assert list(table) == COLUMNS
    assert not table.isna().any().any()
    expected = {(c.name, level) for c in cells(finished_config) for level in c.levels}
    assert set(zip(table["cell"], table["level"], strict=True)) == expected
    assert len(table) == len(expected) == 4 * (3 + 3 + 2)
    assert_frame_equal(finished.levels, table)
    assert (finished.computed, finished.failures) == (12, {})


def test_weights_remaining_are_exact_counts_of_the_network(finished):
    table = pd.read_csv(finished.folder / "levels.csv")
    # 192 and 36 weights at 20 % and 10 %: 154 + 32, then 123 + 29.
    kept = table[table["branch"] != "dense"].groupby("level")["weights_remaining"].unique()
    assert {level: list(found) for level, found in kept.items()} == {
        0: [1.0],
        1: [186 / 228],
        2: [152 / 228],
    }
    assert set(table.loc[table["branch"] == "dense", "weights_remaining"]) == {1.0}


def test_accuracies_are_counts_over_the_right_set(finished):
    """Of 150 training, 50 validation and 90 test images: sets mixed up would not divide."""
    table = pd.read_csv(finished.folder / "levels.csv")
    for column, images in [("train", 150), ("val", 50), ("test", 90)]:
        counts = table[f"{column}_accuracy"] * images
        assert (counts - counts.round()).abs().max() < 1e-9
    assert (table["test_accuracy"] * 50 % 1 > 1e-6).any()


def test_curves_run_on_over_all_steps_of_a_cell(finished, finished_config):
    curves = pd.read_parquet(finished.folder / "curves.parquet")
    assert list(curves)[:7] == ["study", "cell", "variant", "init", "seed", "branch", "draw"]
    for cell in cells(finished_config):
        rows = curves[curves["cell"] == cell.name]
        count = len(cell.levels)
        assert list(rows["step"]) == [8, 16, 20] * count
        assert list(rows["total_step"]) == [
            20 * n + step for n in range(count) for step in (8, 16, 20)
        ]
        assert list(rows["level"]) == [level for level in cell.levels for _ in range(3)]


def test_the_last_point_of_a_curve_is_the_levels_row(finished):
    curves = pd.read_parquet(finished.folder / "curves.parquet")
    levels = pd.read_csv(finished.folder / "levels.csv")
    last = curves[curves["step"] == 20].merge(levels, on=["cell", "level"], suffixes=("", "_l"))
    assert len(last) == len(levels)
    for column in ("test_accuracy", "val_accuracy", "val_loss", "weights_remaining"):
        assert (last[column] == last[f"{column}_l"]).all()


def test_layers_agree_with_levels(finished):
    layers = pd.read_parquet(finished.folder / "layers.parquet")
    levels = pd.read_csv(finished.folder / "levels.csv")
    assert set(layers["layer"]) == {"1.weight", "3.weight"}
    kept = layers.groupby(["cell", "level"])[["remaining", "weights"]].sum().reset_index()
    both = kept.merge(levels, on=["cell", "level"])
    assert ((both["remaining"] / both["weights"]) == both["weights_remaining"]).all()
    for row in layers.itertuples():
        assert sum(row.initial_histogram) == sum(row.final_histogram) == row.remaining
        first = row.layer == "1.weight"
        assert (row.kept_inputs is not None) == first
        if first:
            assert sum(row.kept_inputs) == row.remaining
            assert (len(row.kept_inputs), row.outputs, row.kind) == (16, 12, "linear")
        else:
            assert row.kind == "output"


def test_the_manifest_says_how_the_results_were_made(finished):
    manifest = json.loads((finished.folder / "manifest.json").read_text())
    assert manifest["study"] == "tiny"
    (made,) = manifest["runs"]
    assert made["cells_computed"] == 12
    assert made["cells_failed"] == 0
    assert made["seconds"] > 0
    assert (made["device"], made["workers"]) == ("cpu", 0)
    assert set(made["data_sha256"]) == {
        "train_images",
        "train_labels",
        "test_images",
        "test_labels",
    }


def test_the_same_study_elsewhere_gives_the_same_numbers(finished, finished_config, tmp_path):
    again = run(finished_config, tmp_path)
    assert_same_tables(again.folder, finished.folder)


def test_one_worker_two_workers_and_none_give_the_same_numbers(tmp_path):
    config = tiny.with_controls(inits=["xavier_normal"], levels=1)
    for workers in (0, 1, 2):
        result = run(config, tmp_path / str(workers), workers=workers)
        assert result.failures == {}
        assert result.computed == 6
    for workers in (1, 2):
        assert_same_tables(tmp_path / "0" / "tiny", tmp_path / str(workers) / "tiny")


def test_a_variant_has_the_numbers_of_a_study_with_its_settings(tmp_path):
    half = {"prune": {"output_rate": 0.4}, "train": {"duration": "10it"}}
    both = tiny.with_controls(variants={"base": {}, "half": half}, seeds=[0])
    rows = run(both, tmp_path / "both").levels
    for name in ("base", "half"):
        alone = run(replace(both.variant(name), variants={}), tmp_path / name).levels
        own = rows[rows["variant"] == name].reset_index(drop=True)
        assert len(own) == len(alone) == 2 * 8
        apart = ["variant", "seconds"]
        assert_frame_equal(own.drop(columns=apart), alone.drop(columns=apart))


@pytest.mark.parametrize("workers", [0, 2])
def test_variants_share_a_baseline_that_is_trained_once(workers, tmp_path):
    half = {"prune": {"output_rate": 0.4}}
    both = tiny.config(
        variants={"base": {}, "half": half},
        controls=ControlsConfig(dense=True),
        seeds=[0],
        inits=["xavier_normal"],
    )
    result = run(both, tmp_path, workers=workers)
    assert result.computed == 3
    rows = result.levels[result.levels["branch"] == "dense"]
    assert rows["cell"].nunique() == 1
    assert rows["variant"].tolist() == ["base"] * 3 + ["half"] * 3
    # A run with one variant leaves the other's rows in place, and adds its baselines to both.
    more = run(replace(both, variants={"half": half}, seeds=[0, 1]), tmp_path, workers=workers)
    assert set(more.levels["variant"]) == {"half"}
    assert run(both, tmp_path).computed == 0
    table = pd.read_csv(tmp_path / "tiny" / "levels.csv")
    assert table.groupby(["variant", "branch"]).size().to_dict() == {
        ("base", "dense"): 6,
        ("base", "ticket"): 3,
        ("half", "dense"): 6,
        ("half", "ticket"): 6,
    }


def test_tickets_and_their_controls_are_rescaled_and_nothing_else_is(tmp_path):
    losses = {}
    for how in ("none", "unit"):
        config = tiny.with_controls(rewind=RewindConfig(rescale=how), seeds=[0])
        rows = run(config, tmp_path / how).levels
        losses[how] = rows.set_index(["init", "branch", "level"])["train_loss"]
    same = losses["none"] == losses["unit"]
    assert same[[branch == "dense" or level == 0 for _, branch, level in same.index]].all()
    assert not same[[branch != "dense" and level > 0 for _, branch, level in same.index]].any()
    assert set(same.index.get_level_values("branch")) == {"ticket", "dense", "reinit"}


def test_a_second_run_computes_nothing(finished, finished_config, tmp_path, steps):
    shutil.copytree(finished.folder, tmp_path / "tiny")
    files = [path for path in (tmp_path / "tiny").rglob("*.*") if path.is_file()]
    before = {path: path.read_bytes() for path in files}
    result = run(finished_config, tmp_path)
    assert (result.computed, result.failures, steps.trained) == (0, {}, [])
    assert_frame_equal(result.levels, finished.levels)
    for path, content in before.items():
        assert path.read_bytes() == content, f"{path.name} was changed"


def test_committed_tables_are_kept_and_extended(finished, finished_config, tmp_path, steps):
    (tmp_path / "tiny").mkdir()
    for name in (*TABLES, "study.yaml"):
        shutil.copy(finished.folder / name, tmp_path / "tiny")
    assert run(finished_config, tmp_path).computed == 0
    for name in TABLES:
        assert (tmp_path / "tiny" / name).read_bytes() == (finished.folder / name).read_bytes()
    more = replace(finished_config, seeds=[0, 1, 2])
    result = run(more, tmp_path)
    assert result.computed == 6
    assert len(result.levels) == 6 * (3 + 3 + 2)
    whole = run(more, tmp_path / "at_once")
    assert_same_tables(tmp_path / "tiny", whole.folder)


def test_more_levels_go_on_from_those_there(tmp_path, steps):
    few = tiny.config(levels=1, inits=["xavier_normal"], seeds=[0])
    run(few, tmp_path)
    steps.trained.clear()
    files = level_files(tmp_path / "tiny")
    result = run(replace(few, levels=3), tmp_path)
    assert steps.trained == [(0, 8), (8, 16), (16, 20)] * 2
    assert level_files(tmp_path / "tiny").items() >= files.items()
    assert result.computed == 1
    run(replace(few, levels=3), tmp_path / "at_once")
    assert_same_tables(tmp_path / "tiny", tmp_path / "at_once" / "tiny")


def test_levels_that_were_cut_off_go_on_with_their_controls(tmp_path, steps):
    controls = ControlsConfig(reinit=1, levels=[1, 2])
    whole = tiny.config(controls=controls, inits=["xavier_normal"], seeds=[0])
    first = run(replace(whole, levels=1), tmp_path)
    assert list(first.levels[first.levels["branch"] == "reinit"]["level"]) == [1]
    assert len(steps.trained) == 3 * 3
    result = run(whole, tmp_path)
    assert list(result.levels[result.levels["branch"] == "reinit"]["level"]) == [1, 2]
    assert len(steps.trained) == 5 * 3
    assert StudyStore(tmp_path, "tiny").config() == whole


def test_only_cells_that_were_asked_for_are_in_the_result(finished, finished_config, tmp_path):
    shutil.copytree(finished.folder, tmp_path / "tiny")
    result = run(replace(finished_config, seeds=[1], inits=["normal(0.3)"]), tmp_path)
    assert set(result.levels["seed"]) == {1}
    assert set(result.levels["init"]) == {"normal(0.3)"}
    assert len(pd.read_csv(tmp_path / "tiny" / "levels.csv")) == len(finished.levels)


PROTOCOLS = {
    "plain": {},
    "rewind to a step": {"rewind": RewindConfig(to="5it", optimizer="rewound")},
    "kept optimiser": {"rewind": RewindConfig(mode="learning_rate", optimizer="kept")},
    "rewind, kept": {"rewind": RewindConfig(to="5it", optimizer="kept")},
    "fine-tuning": {"rewind": RewindConfig(mode="none")},
}


@pytest.mark.parametrize("model", ["net", "conv_net"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_study_interrupted_over_and_over_ends_as_if_it_never_was(
    protocol, model, tmp_path, steps, save_every_checkpoint
):
    """Stopped before the work of every second evaluation, with batch norm and dropout too."""
    config = tiny.with_controls(
        inits=["xavier_normal"],
        seeds=[0],
        model=f"tests.tiny:{model}",
        train=tiny.train(optimizer="sgd", momentum=0.9, weight_decay=1e-3),
        **PROTOCOLS[protocol],
    )
    run(config, tmp_path / "whole")
    work = list(steps.trained)
    steps.trained.clear()
    interruptions = 0
    while True:
        steps.interrupt_at = len(steps.trained) + 2
        try:
            result = run(config, tmp_path / "pieces")
        except KeyboardInterrupt:
            interruptions += 1
            assert interruptions < len(work), "interrupted at the same place for ever"
            files = level_files(tmp_path / "pieces" / "tiny")
            continue
        break
    assert result.failures == {}
    assert interruptions == (len(work) - 1) // 2
    assert steps.trained == work, "an interruption cost steps, or skipped some"
    assert level_files(tmp_path / "pieces" / "tiny").items() >= files.items()
    assert_same_tables(tmp_path / "pieces" / "tiny", tmp_path / "whole" / "tiny")


def test_without_a_checkpoint_only_the_unfinished_level_is_trained_again(tmp_path, steps):
    config = tiny.config(inits=["xavier_normal"], seeds=[0])
    steps.interrupt_at = 5
    with pytest.raises(KeyboardInterrupt):
        run(config, tmp_path)
    steps.interrupt_at = None
    steps.trained.clear()
    run(config, tmp_path)
    assert steps.trained == [(0, 8), (8, 16), (16, 20)] * 2
    run(config, tmp_path / "whole")
    assert_same_tables(tmp_path / "tiny", tmp_path / "whole" / "tiny")


def test_an_interrupted_study_has_the_tables_of_what_is_finished(tmp_path, steps):
    steps.interrupt_at = 8
    with pytest.raises(KeyboardInterrupt):
        run(tiny.config(), tmp_path)
    assert len(pd.read_csv(tmp_path / "tiny" / "levels.csv")) == 2
    (made,) = json.loads((tmp_path / "tiny" / "manifest.json").read_text())["runs"]
    assert made["cells_computed"] == 0


def test_a_run_that_is_killed_has_left_its_entry_in_the_manifest(tmp_path, monkeypatch):
    def read(tasks, note):
        entries.extend(json.loads((tmp_path / "tiny" / "manifest.json").read_text())["runs"])

    entries = []
    monkeypatch.setattr("lottery.study.run.run_here", read)
    run(tiny.config(), tmp_path)
    (made,) = entries
    assert made["data_sha256"] and "seconds" not in made


@pytest.mark.parametrize("protocol", ["plain", "rewind to a step"])
def test_a_truncated_level_is_trained_again_and_comes_out_the_same(protocol, tmp_path, steps):
    config = tiny.config(inits=["xavier_normal"], seeds=[0], **PROTOCOLS[protocol])
    run(config, tmp_path)
    shutil.copytree(tmp_path / "tiny", tmp_path / "before")
    path = next((tmp_path / "tiny").glob("cells/*/level_01.safetensors"))
    path.write_bytes(path.read_bytes()[:-20])
    (tmp_path / "tiny" / "levels.csv").unlink()
    steps.trained.clear()
    result = run(config, tmp_path)
    assert len(steps.trained) == 3
    assert result.failures == {}
    assert_same_tables(tmp_path / "tiny", tmp_path / "before")


def test_a_truncated_checkpoint_is_passed_over(tmp_path, steps, save_every_checkpoint):
    config = tiny.config(inits=["xavier_normal"], seeds=[0])
    steps.interrupt_at = 5
    with pytest.raises(KeyboardInterrupt):
        run(config, tmp_path)
    path = next((tmp_path / "tiny").glob("cells/*/checkpoint.pt"))
    path.write_bytes(path.read_bytes()[:100])
    steps.interrupt_at = None
    steps.trained.clear()
    assert run(config, tmp_path).failures == {}
    assert steps.trained == [(0, 8), (8, 16), (16, 20)] * 2, "more than level 1 and 2, or less"
    run(config, tmp_path / "whole")
    assert_same_tables(tmp_path / "tiny", tmp_path / "whole" / "tiny")


def test_a_diverged_cell_is_named_and_the_others_finish(tmp_path):
    config = tiny.with_controls(inits=["normal(1e+30)", "xavier_normal"], seeds=[0])
    result = run(config, tmp_path)
    names = {cell.label: cell.name for cell in cells(config)}
    failed = {
        label: result.failures[name] for label, name in names.items() if name in result.failures
    }
    assert set(failed) == {f"normal(1e+30) seed 0 {b}" for b in ("ticket", "dense", "reinit 0")}
    assert (
        "loss is nan at level 0, step 8: training diverged" in failed["normal(1e+30) seed 0 dense"]
    )
    ticket = names["normal(1e+30) seed 0 ticket"]
    assert failed["normal(1e+30) seed 0 reinit 0"] == f"the ticket it needs failed: {ticket}"
    assert result.computed == 3
    assert set(result.levels["init"]) == {"xavier_normal"}
    (made,) = json.loads((result.folder / "manifest.json").read_text())["runs"]
    assert (made["cells_computed"], made["cells_failed"]) == (3, 3)


def test_a_failure_of_ones_own_code_is_named_and_its_traceback_kept(tmp_path):
    config = tiny.config(inits=["tests.tiny:broken", "xavier_normal"], seeds=[0])
    result = run(config, tmp_path)
    ((name, reason),) = result.failures.items()
    assert reason.startswith("ValueError: no weights [/for] you today (traceback in ")
    trace = (result.folder / "cells" / name / "error.txt").read_text()
    assert "Traceback" in trace
    assert "in broken" in trace
    assert result.computed == 1


def test_a_full_disk_is_named_and_the_others_finish(tmp_path, monkeypatch):
    config = tiny.config(seeds=[0])
    save = CellStore.save_level

    def full(store, level):
        if "normal_0.3" in store.folder.name and level.level == 1:
            raise OSError(28, "No space left on device")
        save(store, level)

    monkeypatch.setattr(CellStore, "save_level", full)
    result = run(config, tmp_path)
    ((name, reason),) = result.failures.items()
    assert name.startswith("normal_0.3-s0-ticket")
    assert "OSError: [Errno 28] No space left on device" in reason
    assert result.computed == 1
    monkeypatch.undo()
    assert run(config, tmp_path).computed == 1, "room was made, yet the cell is not gone on with"


def test_a_disk_too_full_for_the_traceback_shows_it_instead(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(CellStore, "save_level", full)
    monkeypatch.setattr("pathlib.Path.write_text", full)
    monkeypatch.setattr("lottery.study.store.StudyStore._write", lambda *_: None)
    monkeypatch.setattr("lottery.study.store.StudyStore.end_run", lambda *_: None)
    result = run(tiny.config(seeds=[0], inits=["xavier_normal"]), tmp_path)
    (reason,) = result.failures.values()
    assert "No space left on device" in reason
    assert "Traceback" in reason


def test_a_study_whose_every_cell_fails_still_ends(tmp_path):
    result = run(tiny.config(inits=["normal(1e+30)"]), tmp_path)
    assert len(result.failures) == 2
    assert len(result.levels) == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"validation": 200}, "validation is 200; allowed: 1 to 199"),
        ({"train": tiny.train(batch_size=151)}, "train.batch_size is 151; allowed: 1 to 150"),
        ({"rewind": RewindConfig(to="20it")}, "rewind.to is '20it'; allowed: less than"),
        ({"rewind": RewindConfig(to="4ep")}, "rewind.to is '4ep'; allowed: less than"),
        ({"model": "lenet_300_100"}, "model is 'lenet_300_100'; allowed: a network from (1, 4, 4)"),
        (
            {"model": "tests.tiny:net(hidden=0.5)"},
            "model is 'tests.tiny:net(hidden=0.5)'; allowed: a",
        ),
        ({"model": "torch.nn:Flatten"}, "model is 'Flatten'; allowed: a module with linear or"),
        ({"data": "tests.tiny:net"}, "data is 'tests.tiny:net'; allowed: a data set that can be"),
        ({"data": "tests.tiny:environment"}, "data is 'tests.tiny:environment'; allowed: "),
    ],
)
def test_settings_that_do_not_fit_the_data_are_found_before_any_training(
    settings, message, tmp_path, steps
):
    with pytest.raises(ConfigError) as error:
        run(tiny.config(**settings), tmp_path)
    assert str(error.value).startswith(message)
    assert steps.trained == []
    assert list(tmp_path.iterdir()) == []


@network_scheme
def unseeded(draw, base="normal(1)"):
    return {name: torch.randn(values.shape) for name, values in draw.weights(base).items()}


@pytest.mark.parametrize(
    "init", [f"{__name__}:unseeded", f"by_layer(rest=normal(1), first='{__name__}:unseeded')"]
)
def test_a_scheme_of_networks_that_does_not_draw_from_its_generators_is_refused(
    init, tmp_path, steps
):
    message = "takes its chance from the generator it is given: drawn twice .*, '1.weight' differs"
    with pytest.raises(ConfigError, match=message):
        run(tiny.config(inits=[init]), tmp_path)
    assert steps.trained == []


def test_a_scheme_that_comes_with_it_is_drawn_once_to_try_it(tmp_path, monkeypatch):
    """Those of networks look at images, which takes its time."""
    drawn, weights = [], NetworkDraw.weights

    def counted(draw, scheme):
        drawn.append(scheme)
        return weights(draw, scheme)

    config = tiny.config(inits=["lsuv(base=normal(1))"])
    monkeypatch.setattr(NetworkDraw, "weights", counted)
    check(config, tmp_path)
    assert drawn == ["lsuv(base=normal(1))", "normal(1)"]


def test_devices_and_workers_are_checked():
    with pytest.raises(ConfigError, match="device is 'tpu'; allowed: auto, cpu, cuda"):
        choose_device("tpu")
    with pytest.raises(ConfigError, match="workers is -1; allowed: at least 0"):
        choose_workers(-1, "cpu")
    assert choose_device("cpu") == "cpu"
    assert choose_workers(3, "cpu") == 3
    assert choose_workers(0, "cpu") == 0
    assert choose_workers(3, "cuda") == 0, "a GPU is shared by processes"
    assert choose_workers(None, "cpu") >= 1
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="device is 'cuda'; allowed: auto or cpu"):
            choose_device("cuda")


def test_a_run_leaves_the_process_as_it_found_it(tmp_path):
    torch.set_num_threads(2)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    run(tiny.config(seeds=[0], levels=0, controls=ControlsConfig()), tmp_path)
    assert torch.equal(torch.rand(3), expected), "training drew from the global generator"
    assert torch.get_num_threads() == 2


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize(("net", "engine"), [("net", "stacked"), ("conv_net", "reference")])
def test_a_study_on_a_gpu_repeats_bit_for_bit(net, engine, tmp_path):
    config = tiny.with_controls(model=f"tests.tiny:{net}")
    results = [
        run_study(config, results_dir=tmp_path / place, device="cuda", quiet=True)
        for place in ("one", "two")
    ]
    first, second = (result.levels.drop(columns="seconds") for result in results)
    assert_frame_equal(first, second)
    assert set(first["device"]) == {"cuda"}
    assert set(first["engine"]) == {engine}


def test_a_size_that_the_network_cannot_take_is_found_before_training(tmp_path):
    """YOLOv2 halves its images five times, and so takes sides of 64 pixels but not of 80."""
    model = "yolo_v2(width=0.03125, classes=2, anchors=1)"
    train = replace(squares.config().train, sizes=[64, 80])
    with pytest.raises(ConfigError, match=r"train.sizes is \[64, 80\].*takes, which 80 is not \("):
        tiny.run_here(squares.config(model=model, train=train), tmp_path)
    assert list(tmp_path.iterdir()) == []
    fitting = replace(train, duration="12it", eval_every="12it", sizes=[32, 64])
    rewind = RewindConfig(mode="learning_rate", to="8it")
    config = squares.config(model=model, train=fitting, rewind=rewind)
    assert not tiny.run_here(config, tmp_path).failures
