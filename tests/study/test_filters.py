"""Filter criteria in a study: tables tell the real size, and runs in parts end the same."""

import dataclasses

import pandas as pd
import pytest
import torch

from lottery.analysis import frames
from lottery.diagnostics import DiagnosticsConfig
from lottery.errors import UsageError
from lottery.pruning.schedule import PruneConfig
from lottery.study import ControlsConfig, StudyConfig
from lottery.study.grid import cells
from lottery.study.store import StudyStore
from lottery.training.config import TrainConfig
from lottery.training.procedures import Procedure
from tests import tiny

VARIANTS = {
    "l2": {"prune": {"criterion": "l2", "conv_rate": 0.25}},
    "taylor": {"prune": {"criterion": "taylor", "scope": "global", "iterations": 2}},
    "activity": {"prune": {"criterion": "apoz", "iterative": False}},
    "untrained": {"prune": {"criterion": "geometric_median", "at": "initial"}},
    "weights": {},
}


def config(**settings) -> StudyConfig:
    defaults = {
        "model": "tests.tiny:conv_net",
        "seeds": [0],
        "inits": ["xavier_normal"],
        "variants": VARIANTS,
        "controls": ControlsConfig(dense=True, reinit=1, shuffle_layer=1, random=1),
        "diagnostics": DiagnosticsConfig(record=True, images=50),
    }
    return tiny.config(**{**defaults, **settings})


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    chosen, place = config(), tmp_path_factory.mktemp("filters")
    result = tiny.run_here(chosen, place)
    assert not result.failures
    return chosen, place


def test_levels_tell_the_size_of_the_smaller_network(ran):
    """The convolution has 4 filters of 9 weights, each read by 16 weights of each of 3 outputs."""
    table = frames.levels("tiny", ran[1])
    filters = table[table["variant"] == "l2"]
    assert set(filters["branch"]) == {"ticket", "dense", "reinit", "shuffle_layer", "random"}
    for row in filters[filters["branch"] != "dense"].itertuples():
        kept = {0: 4, 1: 3, 2: 2}[row.level]
        assert row.parameters == kept * (9 + 1 + 2 + 3 * 16) + 3
        assert row.macs == kept * 16 * (9 + 3)
        assert row.weights_remaining == pytest.approx(row.parameters / (4 * 60 + 3))
    weights = table[(table["variant"] == "weights") | (table["branch"] == "dense")]
    assert weights[["parameters", "macs"]].isna().all(axis=None)
    text = pd.read_csv(ran[1] / "tiny" / "levels.csv", dtype="str")["parameters"].dropna()
    assert not text.str.contains(".", regex=False).any(), "numbers of parameters have decimals"


def test_layers_tell_the_filters_kept(ran):
    table = frames.layers("tiny", ran[1])
    conv = table[(table["layer"] == "0.weight") & (table["variant"] == "l2")]
    conv = conv[conv["branch"] != "dense"]
    for level, kept in ((0, 4), (1, 3), (2, 2)):
        assert (conv.loc[conv["level"] == level, "kept_outputs"] == kept).all()
    rows = table[(table["variant"] == "l2") & (table["branch"] == "ticket")]
    assert set(rows["kind"]) == {"conv", "norm", "output"}
    assert (rows.loc[rows["kind"] == "output", "kept_outputs"] == 3).all()


def test_a_finished_level_is_read_back_as_it_was(ran):
    chosen, place = ran
    store = StudyStore(place, chosen.name)
    for cell in cells(chosen):
        memory = store.cell(cell.name)
        level = memory.load_level(2, {}) if cell.branch == "ticket" else None
        if level is None:
            continue
        assert (level.size is None) == (cell.variant == "weights")
        row = memory.record(2)["level"]
        if level.size:
            assert dataclasses.asdict(level.size) == {k: row[k] for k in ("parameters", "macs")}
            assert level.weights_remaining == pytest.approx(level.size.parameters / 243)
            assert level.masks["1.weight"].dtype == torch.bool


@pytest.mark.parametrize("finished", [1, 2])
def test_a_run_in_two_parts_gives_the_same_numbers(finished, ran, tmp_path):
    """The second part starts from what is on disk, as after a kill between two levels."""
    chosen, place = ran
    tiny.run_here(chosen, tmp_path)
    store = StudyStore(tmp_path, chosen.name)
    for cell in cells(chosen):
        memory = store.cell(cell.name)
        for level in memory.finished_levels():
            if level >= finished:
                memory.path(level).unlink()
        (memory.folder / "checkpoint.pt").unlink(missing_ok=True)
    result = tiny.run_here(chosen, tmp_path)
    assert not result.failures
    tiny.assert_same_tables(place / "tiny", tmp_path / "tiny")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"prune": PruneConfig(criterion="bn_scale", at="initial")},
            "criterion is 'bn_scale'; allowed: one that tells weights apart before training",
        ),
        (
            {"prune": PruneConfig(criterion="l1", biases=True)},
            "prune.biases is True; allowed: false, as filters take their biases along",
        ),
        (
            {
                "prune": PruneConfig(criterion="l1"),
                "controls": ControlsConfig(shuffle_global=1),
            },
            "controls.shuffle_global is 1; allowed: 0, as whole filters are pruned",
        ),
        ({"prune": PruneConfig(criterion="inverted(l9)")}, "criterion is 'l9'; allowed: apoz"),
        (
            {"prune": PruneConfig(criterion=f"{__name__}:misshapen")},
            r"shape \(4, 4\) or \(4,\) for a linear layer of 4 neurons, not one of shape \(\)",
        ),
        (
            {"prune": PruneConfig(criterion=f"{__name__}:of_convolutions")},
            r"criterion with its options, as tried on a linear layer of 4 neurons \(Dimension out",
        ),
        (
            {"prune": PruneConfig(criterion=f"{__name__}:of_convolutions", during="shrinkage(1)")},
            r"as tried on a linear layer of 4 neurons \(Dimension out",
        ),
        (
            {"prune": PruneConfig(criterion="taylor(batches=30)", images=59)},
            r"batches is 30; allowed: 1 to 29, half the number of images \(prune\.images\)",
        ),
        ({"prune": PruneConfig(fixed=["0"])}, r"prune\.fixed is \['0'\]; allowed: nothing, unless"),
        ({"prune": PruneConfig(multiple_of=8)}, "prune.multiple_of is 8; allowed: 1, unless"),
    ],
)
def test_settings_that_do_not_go_together_are_refused_before_any_training(settings, message):
    with pytest.raises(UsageError, match=message):
        config(variants={}, **settings)


def misshapen(layer, context):
    """A criterion that scores inputs."""
    return layer.weight.sum()


def of_convolutions(layer, context):
    """A criterion that forgets linear layers."""
    return layer.weight.abs().sum((1, 2, 3))


@pytest.mark.parametrize("criterion", ["taylor", "taylor_weights", "taylor_absolute"])
def test_as_many_mini_batches_as_the_images_give_are_allowed(criterion):
    """The authors of Taylor pruning have 30."""
    prune = PruneConfig(criterion=f"{criterion}(batches=30)", images=60)
    assert config(variants={}, prune=prune).prune == prune


def grouped():
    """Two convolutions, of which the second's channels are normalised in groups."""
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.Conv2d(4, 6, 3, padding=1),
        torch.nn.GroupNorm(2, 6),
        torch.nn.ReLU(),
        torch.nn.Flatten(),
        torch.nn.Linear(96, 3),
    )


@pytest.mark.parametrize("during", ["none", "shrinkage(ratio=0.6, every=1it)"])
def test_layers_listed_as_fixed_stay_whole_in_tickets_and_controls(during, tmp_path):
    controls = ControlsConfig(reinit=1, shuffle_layer=1, random=1, one_shot=1)
    prune = PruneConfig(criterion="l2", conv_rate=0.5, fixed=["2"], during=during)
    chosen = config(
        variants={}, model=f"{__name__}:grouped", prune=prune, controls=controls, levels=1
    )
    assert not tiny.run_here(chosen, tmp_path).failures
    table = frames.layers("tiny", tmp_path)
    pruned = table[table["level"] == 1].set_index("layer")["kept_outputs"]
    assert (pruned["2.weight"] == 6).all()
    assert (pruned["0.weight"] < 4).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"model": f"{__name__}:grouped", "prune": PruneConfig(criterion="l2")},
            r"filters of 2 cannot be removed: 3 \(GroupNorm\).*fixed=\['2'\].*prune\.fixed of a st",
        ),
        ({"prune": PruneConfig(criterion="l2", fixed=["9"])}, "fixed is '9'; allowed: layers with"),
        (
            {
                "model": f"{__name__}:grouped",
                "prune": PruneConfig(criterion="bn_scale", fixed=["2"]),
            },
            r"bn_scale.*no batch norm with scales follows 0\.weight",
        ),
        (
            {"prune": PruneConfig(criterion="l2", during="shrinkage(ratio=0.1, every=9ep)")},
            "every is '9ep'; allowed: a length that ends in a level of 20 steps",
        ),
        (
            {"prune": PruneConfig(criterion="l2", during="soft(every=0ep)")},
            "every is '0ep'; allowed: a length of one step or more",
        ),
        (
            {
                "prune": PruneConfig(criterion="l2", during="centripetal(strength=99)"),
                "train": TrainConfig(optimizer="sgd", lr=0.1, duration="20it"),
            },
            "strength is '99'; allowed: at most",
        ),
        (
            {"prune": PruneConfig(criterion="l2", during=f"{__name__}:Unready")},
            r"prune is 'criterion l2, during .*Unready'; allowed: .*\(RuntimeError: not today\)",
        ),
    ],
)
def test_what_does_not_fit_the_network_is_found_before_any_training(settings, message, tmp_path):
    chosen = config(variants={}, controls=ControlsConfig(), **settings)
    with pytest.raises(UsageError, match=message):
        tiny.run_here(chosen, tmp_path)
    assert not list(tmp_path.iterdir())


class Unready(Procedure):
    """A procedure of one's own that fails as it begins."""

    def begin(self, scene, masks):
        raise RuntimeError("not today")


def undecided(layer, context):
    """Scores of what training moved, which is nothing at first: 0 / 0."""
    moved = (layer.weight - layer.initial).abs().flatten(1).sum(1)
    return moved / moved.sum()


def test_a_criterion_that_ranks_trained_networks_alone_is_not_refused_before_training(tmp_path):
    prune = PruneConfig(criterion=f"{__name__}:undecided", conv_rate=0.25)
    chosen = config(variants={}, prune=prune, controls=ControlsConfig(), levels=1)
    assert not tiny.run_here(chosen, tmp_path).failures


def test_a_criterion_of_ones_own_prunes_filters(tmp_path):
    prune = PruneConfig(criterion=f"{__name__}:by_bias_order", conv_rate=0.5)
    chosen = config(variants={}, prune=prune, controls=ControlsConfig(), levels=1)
    assert not tiny.run_here(chosen, tmp_path).failures
    (cell,) = cells(chosen)
    masks, _ = StudyStore(tmp_path, "tiny").cell(cell.name).ticket(1)
    assert masks["0.weight"].flatten(1).all(1).tolist() == [False, False, True, True]


def by_bias_order(layer, context):
    """Later filters are kept."""
    return torch.arange(len(layer.weight))
