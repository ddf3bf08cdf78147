"""Each layer gets the weights of its own scheme, and no other layer's change with it."""

import pytest
import torch
from torch import nn

from lottery import build
from lottery.errors import ConfigError
from lottery.init import initialise
from lottery.init.by_layer import choose_by_layer


def weights(model: nn.Module, spec: str, seed: int = 0, **options) -> dict[str, torch.Tensor]:
    initialise(model, spec, seed, **options)
    return {n: p.detach().clone() for n, p in model.named_parameters() if p.dim() > 1}


LENET = ["fc1.weight", "fc2.weight", "fc3.weight"]
CONV2 = ["conv1.weight", "conv2.weight", "fc1.weight", "fc2.weight", "fc3.weight"]


@pytest.mark.parametrize(
    ("model", "names"), [("lenet_300_100", LENET), ("conv2(width=0.1)", CONV2)]
)
def test_first_rest_and_output_are_the_networks_layers(model, names):
    network = build(model)
    spec = "by_layer(first=kaiming_normal(gain=3), rest=uniform(0.1), output=sign_constant)"
    found = weights(network, spec)
    assert list(found) == names
    expected = [
        weights(network, one) for one in ("kaiming_normal(gain=3)", "uniform(0.1)", "sign_constant")
    ]
    for name, values in found.items():
        chosen = 0 if name == names[0] else 2 if name == names[-1] else 1
        assert torch.equal(values, expected[chosen][name]), name


def test_by_default_all_layers_are_the_rest(plain):
    one, other = weights(plain(), "by_layer(rest=normal(2))"), weights(plain(), "normal(2)")
    assert all(torch.equal(one[name], other[name]) for name in other)


def test_schemes_of_networks_can_be_chosen_too(plain, data):
    spec = "by_layer(first=data_aware_first(base=normal(1)), rest=lsuv)"
    found = weights(plain(), spec, examples=data.train)
    first = weights(plain(), "data_aware_first(base=normal(1))", examples=data.train)
    rest = weights(plain(), "lsuv", examples=data.train)
    assert torch.equal(found["0.weight"], first["0.weight"])
    assert torch.equal(found["2.weight"], rest["2.weight"])
    assert torch.equal(found["4.weight"], rest["4.weight"])


def test_the_only_layer_is_the_output():
    layer = nn.Linear(4, 4)
    found = weights(layer, "by_layer(first=normal(1), rest=normal(2), output=sign_constant)")
    assert torch.equal(found["weight"], weights(layer, "sign_constant")["weight"])
    found = weights(layer, "by_layer(first=normal(1), rest=normal(2))")
    assert torch.equal(found["weight"], weights(layer, "normal(2)")["weight"])


def test_a_shared_weight_is_the_layer_where_it_comes_first():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4))
    model[2].weight = model[0].weight  # so the second layer is the last one of its own
    initialise(model, "by_layer(first=normal(1), rest=normal(2), output=normal(3))")
    output = initialise(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)), "normal(3)")
    assert torch.equal(model[1].weight, output[1].weight)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("by_layer(rest=he)", "by_layer's rest: init is 'he'; allowed: by_layer, "),
        ("by_layer(rest=normal(1), output=he)", "by_layer's output: init is 'he'; allowed: by_"),
        (
            "by_layer(rest=normal(1), first=normal(sd=1))",
            "by_layer's first: init normal's option is 'sd'; allowed: std",
        ),
        ("by_layer(rest=lsuv(base=he))", "by_layer's rest: lsuv's base: init is 'he'; allowed: "),
        ("data_aware_first(base=he)", "data_aware_first's base: init is 'he'; allowed: by_layer"),
    ],
)
def test_a_wrong_scheme_within_is_named_with_its_place(spec, message, plain, data):
    with pytest.raises(ConfigError) as error:
        initialise(plain(), spec, examples=data.train)
    assert str(error.value).startswith(message)


def test_a_scheme_of_several_layers_is_drawn_once():
    drawn = []

    def values(scheme):
        drawn.append(scheme)
        return dict.fromkeys(LENET, scheme)

    found = choose_by_layer(build("lenet_300_100"), values, "lsuv", "normal(1)", "lsuv")
    assert found == dict(zip(LENET, ["normal(1)", "lsuv", "lsuv"], strict=True))
    assert sorted(drawn) == ["lsuv", "normal(1)"]
