"""Every scheme draws from the distribution its formula says, from its layer's own stream."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Size, nn

from lottery.errors import ConfigError
from lottery.init import SCHEMES, Fans, fans, initialise, is_network_scheme
from lottery.seeds import generator

LINEAR, CONV = nn.Linear(600, 200), nn.Conv2d(32, 96, (3, 5), groups=2)
"""Fans 600 and 200; 16·15 = 240 and 48·15 = 720."""


def weights(spec: str, layer: nn.Module, seed: int = 0) -> torch.Tensor:
    initialise(layer, spec, seed)
    return layer.weight.detach().clone()


def normal(std: float):
    return stats.norm(0, std)


def uniform(bound: float):
    return stats.uniform(-bound, 2 * bound)


def cut(std: float):
    """A normal cut at two of its own σ, with `std` after the cut."""
    return stats.truncnorm(-2, 2, scale=std / stats.truncnorm(-2, 2).std())


EXPECTED = [
    ("xavier_normal", LINEAR, normal(math.sqrt(2 / 800))),
    ("xavier_normal", CONV, normal(math.sqrt(2 / 960))),
    ("xavier_normal(gain=3)", LINEAR, normal(3 * math.sqrt(2 / 800))),
    ("xavier_uniform", LINEAR, uniform(math.sqrt(6 / 800))),
    ("xavier_uniform(gain=0.5)", CONV, uniform(0.5 * math.sqrt(6 / 960))),
    ("kaiming_normal", LINEAR, normal(math.sqrt(2 / 600))),
    ("kaiming_normal", CONV, normal(math.sqrt(2 / 240))),
    ("kaiming_normal(mode=fan_out)", LINEAR, normal(math.sqrt(2 / 200))),
    ("kaiming_normal(mode=fan_out)", CONV, normal(math.sqrt(2 / 720))),
    ("kaiming_normal(gain=1, mode=fan_avg)", LINEAR, normal(1 / math.sqrt(400))),
    ("kaiming_uniform", LINEAR, uniform(math.sqrt(6 / 600))),
    ("kaiming_uniform", CONV, uniform(math.sqrt(6 / 240))),
    ("kaiming_uniform(gain=1, mode=fan_out)", CONV, uniform(math.sqrt(3 / 720))),
    ("truncated_normal", LINEAR, cut(math.sqrt(2 / 800))),
    ("truncated_normal(gain=2, mode=fan_in)", CONV, cut(2 / math.sqrt(240))),
    ("normal(0.1)", LINEAR, normal(0.1)),
    ("normal(std=0.1)", CONV, normal(0.1)),
    ("uniform(0.25)", LINEAR, uniform(0.25)),
    ("uniform(bound=0.25)", CONV, uniform(0.25)),
    ("torch_default", LINEAR, uniform(1 / math.sqrt(600))),
    ("torch_default", CONV, uniform(1 / math.sqrt(240))),
]


@pytest.mark.parametrize(("spec", "layer", "law"), EXPECTED)
def test_mean_variance_bounds_and_shape_follow_the_formula(spec, layer, law):
    values = weights(spec, layer).double().flatten()
    n, std = len(values), law.std()
    kurtosis = float(law.stats("k")) + 3
    spread = math.sqrt((kurtosis - 1) / (4 * n))  # relative standard error of a standard deviation
    assert abs(values.mean()) < 4 * std / math.sqrt(n)
    assert abs(values.std() / std - 1) < 4 * spread
    assert float((values / std).pow(4).mean()) == pytest.approx(kurtosis, rel=0.06)
    low, high = law.support()
    assert values.min() >= low * (1 + 1e-6) if math.isfinite(low) else values.min() < -3 * std
    assert values.max() <= high * (1 + 1e-6) if math.isfinite(high) else values.max() > 3 * std
    assert stats.kstest(values.numpy(), law.cdf).pvalue > 1e-3


def test_uniform_and_normal_of_one_name_have_one_standard_deviation():
    for family in ("xavier", "kaiming"):
        one, other = (weights(f"{family}_{shape}", LINEAR) for shape in ("normal", "uniform"))
        assert float(one.std() / other.std()) == pytest.approx(1, abs=0.01)
        near_zero = [float((w.abs() < 0.1 * w.std()).float().mean()) for w in (one, other)]
        assert near_zero == pytest.approx([0.0797, 0.0577], abs=0.003)


def test_the_head_of_conv_6_is_where_xavier_and_kaiming_differ_most():
    first = nn.Conv2d(3, 64, 3)
    ratio = weights("kaiming_normal", first) / weights("xavier_normal", first)
    assert fans(first.weight) == Fans(27, 576)
    torch.testing.assert_close(ratio, torch.full_like(ratio, 4.7258), rtol=1e-4, atol=0)


@pytest.mark.parametrize("gain", [None, 1.0, 0.3])
@pytest.mark.parametrize(("out", "into"), [(40, 90), (90, 40), (50, 50)])
def test_orthogonal_has_orthonormal_rows_or_columns_times_the_gain(out, into, gain):
    spec = "orthogonal" if gain is None else f"orthogonal(gain={gain})"
    for layer in (nn.Linear(into, out), nn.Conv2d(into // 10, out, (2, 5))):
        matrix = weights(spec, layer).flatten(1).double()
        gram = matrix @ matrix.T if out <= into else matrix.T @ matrix
        expected = (math.sqrt(2) if gain is None else gain) ** 2 * torch.eye(min(out, into))
        torch.testing.assert_close(gram, expected.double(), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("out", "into"), [(12, 8), (8, 12), (8, 8)])
def test_delta_orthogonal_keeps_norms_through_a_convolution(out, into):
    layer = nn.Conv2d(into, out, 3, padding=1, bias=False)
    kernel = weights("delta_orthogonal(gain=1)", layer)
    assert int((kernel != 0).sum()) == out * into
    assert (kernel[:, :, 1, 1] != 0).all()
    images = torch.randn(5, into, 6, 7, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        outputs = layer(images)
    norms = outputs.norm(dim=1) / images.norm(dim=1)
    if out >= into:
        torch.testing.assert_close(norms, torch.ones_like(norms), rtol=1e-5, atol=0)
    else:
        assert (norms < 1).all()
        gram = kernel[:, :, 1, 1] @ kernel[:, :, 1, 1].T
        torch.testing.assert_close(gram, torch.eye(out), atol=1e-5, rtol=0)


def test_delta_orthogonal_is_orthogonal_in_linear_layers_and_has_the_gain_of_a_relu():
    assert torch.equal(weights("delta_orthogonal", LINEAR), weights("orthogonal", LINEAR))
    taps = weights("delta_orthogonal", nn.Conv1d(4, 6, 5))[:, :, 2]
    torch.testing.assert_close(taps.T @ taps, 2 * torch.eye(4), atol=1e-5, rtol=0)


def test_sign_constant_has_one_magnitude_and_both_signs():
    for spec, magnitude in (
        ("sign_constant", math.sqrt(2 / 240)),
        ("sign_constant(gain=1, mode=fan_out)", math.sqrt(1 / 720)),
    ):
        values = weights(spec, CONV)
        torch.testing.assert_close(values.abs(), torch.full_like(values, magnitude))
        assert len(values.abs().unique()) == 1
        assert float((values > 0).float().mean()) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("shape", [(200, 600), (96, 32, 3, 5), (8, 4, 3), (4, 2, 3, 3, 3)])
@pytest.mark.parametrize(
    ("spec", "reference"),
    [
        ("xavier_normal", nn.init.xavier_normal_),
        ("xavier_normal(gain=2)", lambda w, generator: nn.init.xavier_normal_(w, 2.0, generator)),
        ("xavier_uniform", nn.init.xavier_uniform_),
        ("kaiming_normal", nn.init.kaiming_normal_),
        (
            "kaiming_normal(mode=fan_out)",
            lambda w, generator: nn.init.kaiming_normal_(
                w, mode="fan_out", nonlinearity="relu", generator=generator
            ),
        ),
        ("kaiming_uniform", nn.init.kaiming_uniform_),
        (
            "kaiming_uniform(gain=1)",
            lambda w, generator: nn.init.kaiming_uniform_(
                w, nonlinearity="linear", generator=generator
            ),
        ),
        (
            "torch_default",
            lambda w, generator: nn.init.kaiming_uniform_(w, math.sqrt(5), generator=generator),
        ),
        ("orthogonal(gain=1)", nn.init.orthogonal_),
        ("normal(0.1)", lambda w, generator: nn.init.normal_(w, 0, 0.1, generator)),
        ("uniform(0.1)", lambda w, generator: nn.init.uniform_(w, -0.1, 0.1, generator)),
    ],
)
def test_a_scheme_equals_torchs_own_under_the_same_generator(spec, reference, shape):
    ours, theirs = (torch.Generator().manual_seed(11) for _ in range(2))
    values = SCHEMES.resolve(spec)(Size(shape), fans(torch.empty(shape)), ours)
    expected = reference(torch.empty(shape), generator=theirs)
    torch.testing.assert_close(values, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    "make",
    [lambda: nn.Linear(60, 20), lambda: nn.Conv2d(8, 12, 3, groups=4), lambda: nn.Conv1d(4, 6, 5)],
)
def test_torch_default_is_what_torch_gives_its_layers(make):
    torch.manual_seed(3)
    layer = make()
    shape = layer.weight.shape
    values = SCHEMES.resolve("torch_default")(
        shape, fans(layer.weight), torch.Generator().manual_seed(3)
    )
    torch.testing.assert_close(values, layer.weight.detach(), rtol=1e-6, atol=1e-9)


def test_truncated_normal_is_the_normal_of_keras():
    values = weights("truncated_normal", LINEAR)
    std = math.sqrt(2 / 800) / 0.87962566103423978
    assert float(values.abs().max()) == pytest.approx(2 * std, rel=1e-3)
    assert values.abs().max() <= 2 * std


SPECS = [
    "xavier_normal",
    "xavier_uniform",
    "kaiming_normal",
    "kaiming_uniform",
    "truncated_normal",
    "orthogonal",
    "delta_orthogonal",
    "sign_constant",
    "normal(0.1)",
    "uniform(0.1)",
    "torch_default",
]


def test_every_scheme_of_a_layer_is_tested_here():
    of_layers = {name for name in SCHEMES if not is_network_scheme(SCHEMES._functions[name])}
    assert {spec.partition("(")[0] for spec in SPECS} == of_layers


@pytest.mark.parametrize("spec", SPECS)
def test_the_same_seed_gives_the_same_weights_whatever_else_runs(spec, noisy):
    torch.manual_seed(1)
    one = initialise(noisy(), spec, 4)
    torch.manual_seed(2)
    longer = nn.Sequential(*noisy().children(), nn.Linear(3, 5))
    longer[1] = nn.Linear(10, 10)  # a layer more, between the others
    state = torch.get_rng_state()
    initialise(longer, spec, 4)
    assert torch.equal(torch.get_rng_state(), state)
    for name in ("0.weight", "4.weight", "8.weight"):
        assert torch.equal(one.get_parameter(name), longer.get_parameter(name))
        other = initialise(noisy(), spec, 5)
        assert not torch.equal(one.get_parameter(name), other.get_parameter(name))
        redrawn = initialise(noisy(), spec, 4, ("reinit", 0))
        assert not torch.equal(one.get_parameter(name), redrawn.get_parameter(name))


def test_equal_layers_get_different_weights():
    twins = initialise(nn.Sequential(nn.Linear(50, 50), nn.Linear(50, 50)), "xavier_normal")
    pair = torch.stack([twins[0].weight.flatten(), twins[1].weight.flatten()])
    assert abs(torch.corrcoef(pair)[0, 1]) < 0.08


@pytest.mark.parametrize(
    "family",
    [
        ["xavier_normal", "kaiming_normal", "kaiming_normal(gain=1, mode=fan_out)", "normal(0.1)"],
        ["xavier_uniform", "kaiming_uniform", "uniform(0.1)", "torch_default"],
    ],
)
def test_schemes_under_one_seed_are_scalings_of_one_another(family, own):
    first = initialise(own(), family[0], 2)
    for spec in family[1:]:
        model = initialise(own(), spec, 2)
        for name in ("stem.weight", "blocks.0.mix.weight", "heads.classes.weight"):
            ratio = model.get_parameter(name) / first.get_parameter(name)
            torch.testing.assert_close(ratio, ratio.mean().expand_as(ratio), rtol=1e-3, atol=0)


def test_sign_constant_has_the_signs_of_the_normal_under_the_same_seed():
    assert torch.equal(
        weights("sign_constant", LINEAR).sign(), weights("xavier_normal", LINEAR).sign()
    )


def test_biases_are_zero_and_what_is_no_layer_is_left_alone(own):
    model = own()
    with torch.no_grad():
        model.blocks[0].norm.weight.fill_(0.7)
        model.blocks[0].norm.running_mean.fill_(0.3)
    parameters = dict(model.named_parameters())
    assert initialise(model, "kaiming_normal") is model
    assert not model.stem.bias.any()
    assert not model.heads["classes"].bias.any()
    assert (model.blocks[0].norm.weight == 0.7).all()
    assert (model.blocks[0].norm.running_mean == 0.3).all()
    assert (model.blocks[0].scale == 0.5).all()
    for name, parameter in model.named_parameters():
        assert parameter is parameters[name], "an optimiser made before would hold dead tensors"
        assert parameter.requires_grad
        assert parameter.grad_fn is None


@pytest.mark.parametrize(
    ("layer", "groups", "expected"),
    [
        (nn.Linear(7, 5), 1, (7, 5)),
        (nn.Conv1d(4, 6, 5), 1, (20, 30)),
        (nn.Conv2d(4, 6, (2, 3)), 1, (24, 36)),
        (nn.Conv2d(4, 6, 3, groups=2), 2, (18, 27)),
        (nn.Conv2d(8, 8, 3, groups=8), 8, (9, 9)),
        (nn.Conv3d(2, 3, 2), 1, (16, 24)),
    ],
)
def test_fans_count_connections(layer, groups, expected):
    assert fans(layer.weight, groups) == expected
    # Counted by hand: with all weights one, a middle input reaches fan_out outputs, and back.
    with torch.no_grad():
        layer.weight.fill_(1)
        layer.bias.zero_()
    kernel = layer.weight.shape[2:]
    image = torch.ones(1, layer.weight.shape[1] * groups, *(9 for _ in kernel), requires_grad=True)
    output = layer(image)
    output.sum().backward()
    assert (output.max(), image.grad.max()) == expected


def test_a_users_function_is_a_scheme(plain):
    def rows(shape, fans, generator):
        return torch.full(shape, float(fans.fan_in))

    model = initialise(plain(), rows)
    assert (model[2].weight == 10).all()
    assert (model[4].weight == 8).all()


def ranked(shape, fans, generator, top=1.0):
    return torch.rand(shape, generator=generator) * top


def test_a_users_function_is_found_by_reference_with_options(plain):
    model = initialise(plain(), f"{__name__}:ranked(top=5)", 3)
    expected = 5 * torch.rand(10, 6, generator=generator(3, "init", "0"))
    torch.testing.assert_close(model[0].weight.detach(), expected)


@pytest.mark.parametrize(
    ("returned", "wrong"),
    [
        (torch.zeros(1), "one of shape (1,)"),
        (torch.full((10, 6), torch.nan), "NaN or infinite ones"),
        (torch.full((10, 6), -torch.inf), "NaN or infinite ones"),
        (np.zeros((10, 6)), "an object of type ndarray"),
        (None, "None"),
    ],
)
def test_a_scheme_that_returns_no_weights_is_named_with_the_layer_and_changes_nothing(
    plain, returned, wrong
):
    def mine(shape, fans, generator):
        return returned

    model = plain()
    before = model[0].weight.clone()
    with pytest.raises(ConfigError) as error:
        initialise(model, mine)
    assert str(error.value) == (
        "init is 'mine'; allowed: a scheme that returns a tensor of finite weights of shape "
        f"(10, 6) for '0.weight', not {wrong}"
    )
    assert torch.equal(model[0].weight, before)


def test_a_scheme_within_another_is_the_one_that_is_named(plain):
    with pytest.raises(ConfigError, match=r"init is 'normal\(1e\+39\)'; allowed: a scheme that"):
        initialise(plain(), "by_layer(rest=normal(1), output=normal(1e39))")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("xavier", "init is 'xavier'; allowed: by_layer, "),
        ("kaiming_normal(mode=fan_sum)", "mode is 'fan_sum'; allowed: fan_in, fan_out, fan_avg"),
        ("kaiming_normal(gian=1)", "init kaiming_normal.s option is .gian."),
    ],
)
def test_a_wrong_scheme_says_what_is_allowed(plain, spec, message):
    with pytest.raises(ConfigError, match=message):
        initialise(plain(), spec)


def test_a_transposed_convolution_has_its_fans_the_other_way_round():
    layer = torch.nn.ConvTranspose2d(6, 4, 3, groups=2)
    assert fans(layer.weight, layer.groups, transposed=True) == (6 // 2 * 9, 4 // 2 * 9)
    initialise(layer, "kaiming_normal(gain=1)", seed=0)
    assert layer.weight.std().item() == pytest.approx((1 / 27) ** 0.5, rel=0.2)
