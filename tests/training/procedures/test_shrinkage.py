"""The proximal step of a group lasso, to the letter, on either side of a filter."""

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lottery.errors import ConfigError, UsageError
from lottery.pruning.schedule import PruneConfig
from lottery.training.config import TrainConfig
from lottery.training.procedures.base import Acting
from lottery.training.procedures.shrinkage import Shrinkage
from tests.training.procedures.scenes import everything, network, scene


def shrunk(model, step=20, **options):
    """The scene and the masks after one shrinkage."""
    at, masks = scene(model), everything(model)
    options = {"every": "1ep"} | options
    return at, Acting(Shrinkage(**options), at, masks, None, 0).act(step, masks)


def test_a_hand_worked_layer():
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 3), nn.ReLU(), nn.Linear(3, 2))
    with torch.no_grad():
        model[1].weight.zero_()
        model[1].weight[0, :2] = torch.tensor([3.0, 4.0])  # norm 5 -> 4: times 0.8
        model[1].weight[1, 5] = -1.0  # norm 1 -> 0
        model[1].weight[2, 7] = -2.0  # norm 2 -> 1
        model[1].bias.fill_(7.0)
        last = model[3].weight.detach().clone()
    _, masks = shrunk(model, threshold=1.0)
    assert model[1].weight[0, :2].tolist() == pytest.approx([2.4, 3.2])
    assert model[1].weight[2, 7].item() == pytest.approx(-1.0)
    assert model[1].bias.tolist() == [7.0, 0.0, 7.0]
    assert masks["1.weight"].any(dim=1).tolist() == [True, False, True]
    assert masks["1.bias"].tolist() == [True, False, True]
    # The outputs are never shrunk, but no longer read the neuron.
    assert torch.equal(model[3].weight[:, [0, 2]], last[:, [0, 2]])
    assert not model[3].weight[:, 1].any() and masks["3.weight"][:, 1].sum() == 0


def test_by_input_the_columns_of_a_channel_behind_a_flatten_are_one_group():
    model = network()
    columns = model[6].weight.detach().view(5, 4, 16)  # 4 channels of U = 16
    tau = float(columns[:, 2].norm()) + 1e-4  # just the whole of channel 2
    with torch.no_grad():
        model[6].weight.view(5, 4, 16)[:, [0, 1, 3]] *= 10
        for reader in (model[3], model[8]):
            reader.weight.mul_(10)
        first = model[0].weight.detach().clone()
    before = model[6].weight.detach().clone().view(5, 4, 16)
    _, masks = shrunk(model, threshold=tau, group="input")
    after = model[6].weight.view(5, 4, 16)
    for channel in (0, 1, 3):
        factor = 1 - tau / before[:, channel].norm()
        assert torch.allclose(after[:, channel], factor * before[:, channel], atol=1e-6)
    assert not after[:, 2].any()
    assert masks["3.weight"].flatten(1).any(dim=1).tolist() == [True, True, False, True]
    assert torch.equal(model[0].weight, first), "nothing reads the first layer's rows"


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.floats(0.01, 0.99), st.sampled_from(["output", "input"]))
def test_relative_shrinkage_never_empties_a_layer(seed, ratio, group):
    model = network()
    chance = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for values in model.parameters():
            values.copy_(torch.randn(values.shape, generator=chance))
    norms = model[0].weight.detach().flatten(1).norm(dim=1)
    at, masks = shrunk(model, ratio=ratio, group=group)
    for name, home in at.graph.homes.items():
        assert masks[name].any() or not len(home)
    if group == "output":
        expected = (norms - ratio * norms.max()).clamp(min=0)
        kept = masks["0.weight"].flatten(1).any(dim=1)
        found = model[0].weight.detach().flatten(1).norm(dim=1)
        assert torch.allclose(found, expected, atol=1e-5)
        assert torch.equal(kept, expected > 0)


def test_layers_take_turns():
    """Three layers can be shrunk, in 20 steps of which the last 2 are free: 6 for each."""
    before = {name: values.detach().clone() for name, values in network().named_parameters()}
    for step, layer in ((3, "0"), (6, "0"), (9, "3"), (12, "3"), (15, "6"), (18, "6")):
        model = network()
        at, _ = shrunk(model, step, ratio=0.01, in_turn=True, every="3it", free="2it")
        assert Shrinkage(ratio=0.1, every="3it", free="2it").steps(at) == [3, 6, 9, 12, 15, 18]
        changed = {n for n, v in model.named_parameters() if not torch.equal(v, before[n])}
        assert changed == {f"{layer}.weight"}, step


def test_filters_that_are_gone_stay_gone_and_shrink_no_more():
    model = network()
    at, masks = scene(model), everything(model)
    acting = Acting(Shrinkage(ratio=0.9, every="5it"), at, masks, None, 0)
    assert acting.steps == {5, 10, 15, 20}
    before = masks
    for step in (5, 10, 15):
        after = acting.act(step, before)
        assert after.is_within(before)
        before = after
    assert before.weights_remaining < 0.5


def test_a_threshold_that_empties_a_layer_names_it_and_the_way_out():
    with pytest.raises(UsageError, match=r"0\.weight no filter at level 1, step 20.*lower thresh"):
        shrunk(network(), threshold=100.0)


def test_the_levels_free_end_has_no_reductions():
    at = dataclasses.replace(scene(network()), last_step=45, start=10)
    assert Shrinkage(ratio=0.1, every="1ep", free="1ep").steps(at) == [20, 30]


@pytest.mark.parametrize("options", [{"every": "3ep"}, {"every": "1ep", "free": "15it"}])
def test_a_level_too_short_for_any_reduction_is_refused(options):
    """Of 20 steps, 10 an epoch: nothing would ever be shrunk, and no word of it said."""
    named = rf"every is '{options['every']}'; allowed: a length that ends in a level of 20 steps"
    with pytest.raises(ConfigError, match=named):
        shrunk(network(), ratio=0.1, **options)


def test_layers_of_which_one_has_no_shrinkage_in_its_turn_are_refused():
    """Of 20 steps two are shrinkages, for three layers; every 6 steps is one in each third."""
    named = r"every is '1ep'; allowed: a length that ends in the part of the level of each of 3 lay"
    with pytest.raises(ConfigError, match=named):
        shrunk(network(), ratio=0.1, in_turn=True, every="1ep")
    shrunk(network(), 18, ratio=0.1, in_turn=True, every="6it")


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 30), st.integers(0, 19))
def test_in_turn_every_layer_is_shrunk_or_the_length_is_refused(every, free):
    at, masks = scene(network()), everything(network())
    procedure = Shrinkage(ratio=0.01, in_turn=True, every=f"{every}it", free=f"{free}it")
    before = {name: values.detach().clone() for name, values in at.model.named_parameters()}
    try:
        acting = Acting(procedure, at, masks, None, 0)
    except ConfigError:
        return
    for step in sorted(acting.steps):
        acting.act(step, masks)
    changed = {n for n, v in at.model.named_parameters() if not torch.equal(v, before[n])}
    assert changed == {"0.weight", "3.weight", "6.weight"}


@pytest.mark.parametrize("every", ["0ep", "0it"])
def test_a_length_of_nothing_is_refused(every):
    with pytest.raises(ConfigError, match=f"every is '{every}'; allowed: a length of one step or"):
        shrunk(network(), ratio=0.1, every=every)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({}, "threshold is None"),
        ({"threshold": 0.1, "ratio": 0.1}, "threshold is 0.1"),
        ({"threshold": -1.0}, "threshold is -1"),
        ({"ratio": 1.0}, "ratio is 1"),
        ({"ratio": 0.1, "group": "both"}, "group is 'both'"),
    ],
)
def test_what_is_no_threshold_is_refused(options, named):
    with pytest.raises(ConfigError, match=named):
        Shrinkage(**options).check(TrainConfig(), PruneConfig(criterion="l2"), weights_go_back=True)
