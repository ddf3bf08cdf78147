"""Schemes that draw whole networks: repeatable, paired, and told apart from those of layers."""

import json

import pytest
import torch
from torch import nn

from lottery.errors import ConfigError
from lottery.init import SCHEMES, initialise, is_network_scheme, layers, network_scheme
from lottery.init.ticket_informed import TicketFit, fit


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """Of a fit to the networks of `plain` and `noisy`."""
    path = tmp_path_factory.mktemp("fits") / "fit.json"
    stream = torch.Generator().manual_seed(0)
    names = ["0.weight", "2.weight", "4.weight", "8.weight"]
    kept = {name: torch.randn(500, generator=stream) for name in names}
    path.write_text(TicketFit({}, [90], fit(kept)).to_json())
    return str(path)


def specs(file):
    return {
        "by_layer": "by_layer(rest=xavier_normal, first=kaiming_normal)",
        "data_aware_first": "data_aware_first",
        "lsuv": "lsuv(images=20)",
        "ticket_informed": f"ticket_informed({file!r})",
    }


NAMES = ["by_layer", "data_aware_first", "lsuv", "ticket_informed"]


def test_every_scheme_of_networks_is_tested_here():
    found = [name for name in SCHEMES if is_network_scheme(SCHEMES._functions[name])]
    assert found == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_draws_repeat_and_differ_by_seed_and_address(name, file, noisy, data):
    spec, state = specs(file)[name], torch.get_rng_state()

    def draw(*where):
        model = initialise(noisy(), spec, *where, examples=data.train)
        return {key: value.clone() for key, value in model.state_dict().items()}

    torch.set_rng_state(state)
    one, same, other, redrawn = draw(3), draw(3), draw(4), draw(3, ("reinit", 0))
    for key in ("0.weight", "4.weight", "8.weight"):
        assert torch.equal(one[key], same[key])
        assert not torch.equal(one[key], other[key])
        assert not torch.equal(one[key], redrawn[key])
    assert not one["0.bias"].any()
    assert torch.equal(one["1.running_mean"], noisy().state_dict()["1.running_mean"])
    assert one["1.num_batches_tracked"] == 0


@pytest.mark.parametrize("name", NAMES)
def test_a_draw_leaves_the_process_and_the_model_as_they_were(name, file, noisy, data):
    model = noisy().train()
    state = torch.get_rng_state()
    initialise(model, specs(file)[name], 1, examples=data.train)
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    assert all(not module._forward_hooks for module in model.modules())
    assert all(p.grad_fn is None and p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("name", ["data_aware_first", "lsuv"])
def test_a_scheme_that_needs_images_says_so(name, plain):
    with pytest.raises(ConfigError, match="examples is None; allowed: training examples, as"):
        initialise(plain(), name)


@network_scheme
def fading(draw, first=1.0):
    """Each layer half as wide as the one before."""
    widths = {name: first / 2**depth for depth, name in enumerate(layers(draw.model))}
    base = draw.weights("normal(1)")
    return {name: width * base[name] for name, width in widths.items()}


@network_scheme
def forgetful(draw):
    return {name: values for name, values in draw.weights("normal(1)").items() if "2" not in name}


def test_a_users_function_of_networks_is_a_scheme(plain):
    base = initialise(plain(), "normal(1)")
    for spec in (fading, f"{__name__}:fading", f"by_layer(rest={__name__}:fading(first=1))"):
        model = initialise(plain(), spec)
        for depth, index in enumerate((0, 2, 4)):
            assert torch.equal(model[index].weight, base[index].weight / 2**depth)
    with pytest.raises(ConfigError, match="fading's option is 'draw'; allowed: first"):
        initialise(plain(), f"{__name__}:fading(draw=1)")


def test_a_scheme_that_forgets_a_layer_is_named_with_it(plain):
    message = r"init is 'forgetful'; .* weights of shape \(8, 10\) for '2\.weight', not None"
    with pytest.raises(ConfigError, match=message):
        initialise(plain(), forgetful)


@network_scheme
def listed(draw):
    return list(draw.weights("normal(1)").values())


def test_a_scheme_that_returns_no_dict_is_told_so(plain):
    message = "init is 'listed'; allowed: a scheme that returns a dict of weights by layer, not"
    with pytest.raises(ConfigError, match=message):
        initialise(plain(), listed)


def test_layers_come_in_the_networks_order_under_their_weights_names(own):
    assert list(layers(own())) == [
        *("stem.weight", "blocks.0.mix.weight", "blocks.1.mix.weight", "heads.classes.weight")
    ]
    assert list(layers(nn.Linear(2, 2))) == ["weight"]


def test_the_file_of_the_fixture_is_what_a_command_writes(file):
    with open(file) as text:
        assert json.load(text).keys() == {"source", "seeds", "layers"}
