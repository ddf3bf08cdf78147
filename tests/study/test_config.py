import pytest
import torch
import yaml

from lottery.errors import ConfigError, UsageError
from lottery.pruning.schedule import PruneConfig
from lottery.study import ControlsConfig, StudyConfig
from lottery.tickets.imp import RewindConfig
from tests import tiny


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"levels": -1}, "levels is -1; allowed: at least 0"),
        ({"validation": 0}, "validation is 0; allowed: at least 1"),
        ({"seeds": []}, "seeds is []; allowed: one or more values, each once"),
        ({"seeds": [1, 1]}, "seeds is [1, 1]; allowed: one or more values, each once"),
        ({"inits": []}, "inits is []; allowed: one or more"),
        ({"name": "a/b"}, "name is 'a/b'; allowed: letters, digits"),
        ({"name": ".."}, "name is '..'; allowed: letters, digits"),
        ({"name": ""}, "name is ''; allowed: letters, digits"),
        ({"engine": "warp"}, "engine is 'warp'; allowed: auto, reference"),
        ({"model": "resnet"}, "model is 'resnet'; allowed: cifar_quick, conv2, conv4, conv6,"),
        ({"data": "imagenet"}, "data is 'imagenet'; allowed: cifar10, digit_scenes, mnist"),
        ({"inits": ["he"]}, "init is 'he'; allowed: by_layer,"),
        ({"seeds": [0, -1]}, "seeds is [0, -1]; allowed: whole numbers from 0 on"),
        ({"inits": ["normal"]}, "init is 'normal'; allowed: normal(std=...): option std is"),
        ({"inits": ["normal(-1)"]}, "inits is 'normal(-1)'; allowed: a scheme with its options"),
        ({"inits": ["normal(a)"]}, "init normal's option std is 'a'; allowed: a number"),
        ({"inits": ["normal(sd=1)"]}, "init normal's option is 'sd'; allowed: std"),
        ({"inits": ["kaiming_normal(mode=out)"]}, "mode is 'out'; allowed: fan_in, fan_out"),
        ({"inits": ["nowhere:f"]}, "init is 'nowhere:f'; allowed: an importable module:function"),
    ],
)
def test_a_bad_setting_is_named_with_its_value_and_what_is_allowed(settings, message):
    with pytest.raises(ConfigError) as error:
        tiny.config(**settings)
    assert str(error.value).startswith(message) or message in str(error.value)


def unfinite(shape, fans, generator):
    return torch.full(shape, torch.nan)


def nothing(*_):
    return None


@pytest.mark.parametrize(
    ("scheme", "returned"), [("unfinite", "NaN or infinite ones"), ("nothing", "None")]
)
def test_a_scheme_of_no_weights_is_found_before_training(scheme, returned):
    with pytest.raises(ConfigError) as error:
        tiny.config(inits=[f"{__name__}:{scheme}"])
    assert str(error.value) == (
        f"init is '{__name__}:{scheme}'; allowed: a scheme that returns a tensor of finite weights "
        f"of shape (4, 4) for 'trial.weight', not {returned}"
    )


def unseeded(shape, fans, generator):
    return torch.randn(shape)


def test_a_scheme_that_does_not_draw_from_its_generator_is_refused():
    """Its cells could be neither repeated nor resumed, nor compared under one seed."""
    with pytest.raises(ConfigError) as error:
        tiny.config(inits=[f"{__name__}:unseeded"])
    assert str(error.value) == (
        f"init is '{__name__}:unseeded'; allowed: a scheme that takes its chance from the "
        "generator it is given: drawn twice from one seed, 'trial.weight' differs"
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"reinit": -1}, "controls.reinit is -1; allowed: a number of draws, at least 0"),
        ({"levels": [0]}, "controls.levels is [0]; allowed: levels from 1 on"),
        ({"levels": [1, 1]}, "controls.levels is [1, 1]; allowed: levels from 1 on, each once"),
    ],
)
def test_a_bad_control_is_named(settings, message):
    with pytest.raises(ConfigError) as error:
        ControlsConfig(**settings)
    assert str(error.value).startswith(message)


VARIANTS = {"base": {}, "half": {"prune": {"output_rate": 0.1}, "train": {"lr": 0.5}}}


def test_a_variant_is_the_study_with_some_settings_changed():
    study = tiny.config(variants=VARIANTS)
    half = study.variant("half")
    assert (half.prune.output_rate, half.train.lr, half.train.duration) == (0.1, 0.5, "20it")
    assert study.variant("base") == tiny.config()
    assert study.variant_names == ["base", "half"]
    assert tiny.config().variant_names == ["base"]


def test_numbers_that_yaml_reads_as_text_are_numbers():
    """As lr: 1e-3 in a file that another program wrote or read."""
    texts = {"train": {"lr": "1e-3", "batch_size": "40"}, "prune": {"biases": "true"}}
    odd = tiny.config(variants={"odd": texts}).variant("odd")
    assert (odd.train.lr, odd.train.batch_size, odd.prune.biases) == (0.001, 40, True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"seeds": [1]},
            "variants.odd is {'seeds': [1]}; allowed: settings of model, train, prune",
        ),
        ({"train": {"rate": 1}}, "variants.odd: train.rate is not a setting; allowed: duration,"),
        ({"train": {"lr": "fast"}}, "variants.odd: train.lr is 'fast'; allowed: float"),
        ({"train": {"lr": None}}, "variants.odd: train.lr is None; allowed: float"),
        ({"model": None}, "variants.odd: model is None; allowed: str"),
        ({"train": {"lr": -1}}, "variants.odd: train.lr is -1.0; allowed: a number above 0"),
        ({"prune": {"output_rate": "x"}}, "prune.output_rate is 'x'; allowed: float, null"),
        ({"prune": {"scope": "net"}}, "prune.scope is 'net'; allowed: layer, global"),
        ({"prune": 3}, "variants.odd: prune is 3; allowed: settings by name"),
        ({"prune": {"criterion": "wish"}}, "criterion is 'wish'"),
        ({}, "variants.odd is {}; allowed: settings that differ from those of base"),
    ],
)
def test_a_bad_variant_is_named(changes, message):
    with pytest.raises(UsageError) as error:
        tiny.config(variants={"base": {}, "odd": changes})
    assert message in str(error.value)


def test_a_variant_needs_a_name_that_can_be_a_folders():
    with pytest.raises(ConfigError, match="variants is 'a/b'; allowed: names of letters"):
        tiny.config(variants={"a/b": {}})


def test_controls_and_a_reset_to_other_weights_do_not_go_together():
    with pytest.raises(ConfigError, match=r"rewind.init is 'torch_default'; allowed: nothing in a"):
        tiny.config(
            rewind=RewindConfig(init="torch_default"), controls=ControlsConfig(shuffle_layer=1)
        )
    with pytest.raises(ConfigError, match=r"init is 'normal'; allowed: normal\(std=...\)"):
        tiny.config(rewind=RewindConfig(init="normal"))


def test_a_criterion_nobody_knows_is_refused():
    with pytest.raises(ConfigError, match=r"criterion is 'wish'; allowed: apoz, bn_scale,"):
        tiny.config(prune=PruneConfig(criterion="wish"))


def test_the_plain_values_survive_a_round_trip_through_yaml():
    config = tiny.with_controls(rewind=RewindConfig(to="5it", optimizer="rewound"))
    values = config.to_dict()
    assert yaml.safe_load(yaml.safe_dump(values)) == values
    assert list(values) == list(StudyConfig.__dataclass_fields__)
    rewind = {"mode": "weights", "to": "5it", "init": None}
    rewind |= {"rescale": "none", "optimizer": "rewound"}
    assert values["rewind"] == rewind


def test_a_configuration_is_frozen_and_shares_nothing_with_others():
    config = tiny.config()
    with pytest.raises(AttributeError):
        config.levels = 3
    assert StudyConfig().inits is not StudyConfig().inits, "studies share one list"


def test_one_scheme_in_two_spellings_is_one_scheme():
    assert tiny.config(inits=["normal( std=0.1 )"]).inits == ["normal(std=0.1)"]
    with pytest.raises(ConfigError, match="each once"):
        tiny.config(inits=["normal(std=0.1)", "normal( std = 0.1)"])


def test_a_criterion_without_its_options_is_found_before_training():
    with pytest.raises(ConfigError, match=r"'magnitude\(3\)'; allowed: magnitude, which has no op"):
        tiny.config(prune=PruneConfig(criterion="magnitude(3)"))


@pytest.mark.parametrize("criterion", ["movement", "magnitude_increase", "same_sign(of=movement)"])
def test_a_criterion_that_is_blind_before_training_is_refused_there(criterion):
    """All scores would be equal, and the masks random, without a word."""
    with pytest.raises(ConfigError, match=r"prune\.criterion is .*tells weights apart before"):
        tiny.config(prune=PruneConfig(criterion=criterion, at="initial"))
    tiny.config(prune=PruneConfig(criterion=criterion))


def relative_movement(layer, context):
    return (layer.weight - layer.initial).abs() / (layer.weight - layer.initial).abs().amax()


def root(layer, context):
    return layer.weight.sqrt()


def test_a_criterion_that_gives_nan_is_refused_before_training():
    with pytest.raises(ConfigError) as error:
        tiny.config(prune=PruneConfig(criterion=f"{__name__}:root"))
    assert str(error.value) == (
        f"prune.criterion is '{__name__}:root'; allowed: one whose scores are numbers, not NaN, as "
        "for a linear layer of 4 neurons with random weights"
    )


def test_a_criterion_that_gives_nan_for_weights_that_have_not_moved_may_rank_trained_ones():
    tiny.config(prune=PruneConfig(criterion=f"{__name__}:relative_movement"))
    with pytest.raises(ConfigError, match="not NaN"):
        tiny.config(prune=PruneConfig(criterion=f"{__name__}:relative_movement", at="initial"))


def test_one_criterion_in_two_spellings_is_one_criterion():
    one, other = "grasp(temperature=1)", " grasp( temperature = 1 )"
    assert PruneConfig(criterion=one) == PruneConfig(criterion=other)
