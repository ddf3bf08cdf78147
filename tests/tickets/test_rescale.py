"""Rescaled weights give a sparse layer's outputs the variance of the dense layer's."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some
from torch import nn

from lottery.errors import ConfigError
from lottery.init import initialise
from lottery.pruning.masks import Masks
from lottery.pruning.schedule import PruneConfig
from lottery.study.cell_store import CellStore
from lottery.tickets import Memory, RewindConfig, find_tickets, run_control
from lottery.tickets.rescale import rescaled
from lottery.training.level import snapshot


def masked(shape, density, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < density


def kept(state, masks):
    return {name: state[name] * masks[name] for name in masks}


def test_none_gives_the_very_weights(plain):
    state = snapshot(plain())
    assert rescaled(state, Masks.ones(plain()), "none") is state


def test_by_layer_each_layer_is_divided_by_the_root_of_its_own_density(plain):
    model = initialise(plain())
    state = snapshot(model)
    before = copy.deepcopy(state)
    masks = Masks({"0.weight": masked((10, 6), 0.4), "2.weight": masked((8, 10), 0.1)})
    found = rescaled(state, masks, "layer")
    for name in masks:
        density = masks.densities[name]
        torch.testing.assert_close(found[name], state[name] / density**0.5)
    assert torch.equal(found["4.weight"], state["4.weight"]), "not pruned"
    assert torch.equal(found["0.bias"], state["0.bias"])
    assert all(torch.equal(state[name], before[name]) for name in state)


@pytest.mark.parametrize(("shape"), [(4, 10), (4, 2, 5, 1)])
def test_by_unit_each_unit_is_divided_by_the_root_of_its_own_density(shape):
    mask = torch.zeros(4, 10, dtype=torch.bool)
    for unit, count in enumerate((10, 4, 1, 0)):
        mask[unit, :count] = True
    weights = {"weight": torch.ones(shape), "bias": torch.ones(4)}
    masks = Masks({"weight": mask.view(shape), "bias": torch.tensor([True, False, True, True])})
    found = rescaled(weights, masks, "unit")
    expected = torch.tensor([1, 2.5**0.5, 10**0.5, 0])
    torch.testing.assert_close(found["weight"].flatten(1)[:, 0], expected)
    assert torch.isfinite(found["weight"]).all()
    assert torch.equal(found["bias"], weights["bias"])


@pytest.mark.parametrize("how", ["layer", "unit"])
def test_outputs_vary_as_those_of_the_dense_layer(how):
    layer = initialise(nn.Linear(2000, 500), "kaiming_normal", 1)
    state, masks = snapshot(layer), Masks({"weight": masked((500, 2000), 0.05)})
    images = torch.randn(200, 2000, generator=torch.Generator().manual_seed(2))
    dense = (images @ state["weight"].T).var()
    sparse = images @ kept(rescaled(state, masks, how), masks)["weight"].T
    assert float(sparse.var() / dense) == pytest.approx(1, abs=0.02)
    assert float((images @ kept(state, masks)["weight"].T).var() / dense) < 0.06


def test_by_unit_units_of_few_inputs_vary_as_much_as_others():
    state = snapshot(initialise(nn.Linear(1000, 60), "normal(0.1)", 1))
    mask = torch.cat([masked((30, 1000), 0.5), masked((30, 1000), 0.02)])
    masks = Masks({"weight": mask})
    images = torch.randn(4000, 1000, generator=torch.Generator().manual_seed(2))

    def share(how):
        outputs = images @ kept(rescaled(state, masks, how), masks)["weight"].T
        return float(outputs[:, 30:].var() / outputs[:, :30].var())

    assert share("layer") < 0.06
    assert share("unit") == pytest.approx(1, abs=0.15)


@given(density=some.floats(0.05, 1), seed=some.integers(0, 100), out=some.sampled_from([20, 60]))
@settings(max_examples=25, deadline=None)
def test_the_second_moment_of_a_constant_magnitude_layer_is_the_dense_ones(density, seed, out):
    mask = masked((out, 40), density, seed)
    if not mask.any():
        return
    state, masks = {"weight": torch.full((out, 40), 0.3)}, Masks({"weight": mask})
    found = kept(rescaled(state, masks, "layer"), masks)["weight"]
    assert float(found.square().sum()) == pytest.approx(0.09 * out * 40, rel=1e-4)
    found = kept(rescaled(state, masks, "unit"), masks)["weight"]
    sums = found.square().sum(dim=1)[mask.any(dim=1)]
    torch.testing.assert_close(sums, torch.full_like(sums, 0.09 * 40), rtol=1e-4, atol=0)


# Isometry


def distance(matrix: torch.Tensor, gain: float) -> float:
    """‖A·Aᵀ − g²·I‖ / g², of the smaller of the two products."""
    matrix = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    return float((matrix @ matrix.T / gain**2 - torch.eye(len(matrix))).norm())


@pytest.mark.parametrize("shape", [(40, 90), (90, 40), (40, 10, 3, 3)])
def test_isometry_moves_what_is_left_towards_equal_singular_values(shape):
    layer = nn.Linear(shape[1], shape[0]) if len(shape) == 2 else nn.Conv2d(shape[1], shape[0], 3)
    state = snapshot(initialise(layer, "orthogonal", 1))
    masks = Masks({"weight": masked(shape, 0.3)})
    gain = 2**0.5
    found = rescaled(state, masks, "isometry")["weight"]
    assert found.shape == shape
    assert not found[~masks["weight"]].any()
    by_layer = kept(rescaled(state, masks, "layer"), masks)["weight"]
    nearest = distance(by_layer.flatten(1), gain)
    assert distance(found.flatten(1), gain) < 0.2 * nearest


def test_isometry_leaves_an_unpruned_orthogonal_layer_as_it_is():
    for layer in (nn.Linear(30, 20), nn.Linear(20, 30), nn.Linear(20, 20)):
        state = snapshot(initialise(layer, "orthogonal(gain=0.7)", 1))
        found = rescaled(state, Masks.ones(layer), "isometry")["weight"]
        torch.testing.assert_close(found, state["weight"], atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", ["layer", "unit", "isometry"])
def test_nothing_left_is_nothing(kind):
    state, masks = {"weight": torch.ones(3, 4)}, Masks({"weight": torch.zeros(3, 4).bool()})
    found = rescaled(state, masks, kind)["weight"]
    assert torch.isfinite(found).all()
    assert not kept({"weight": found}, masks)["weight"].any()


def test_an_unknown_way_is_named():
    with pytest.raises(ConfigError, match="rescale is 'units'; allowed: none, layer, unit"):
        rescaled({}, Masks({}), "units")


# In tickets


def first_starts(spy, levels):
    """What the engine began with at each level after the first."""
    firsts = {}
    for call in spy:
        firsts.setdefault(call.level, call)
    return [firsts[level] for level in levels]


@pytest.mark.parametrize("how", ["layer", "unit", "isometry"])
def test_every_level_starts_from_the_initial_weights_rescaled_by_its_own_mask(
    how, plain, data, quick, spy
):
    rewind = RewindConfig(rescale=how)
    found = list(find_tickets(plain(), data, levels=2, train=quick, rewind=rewind, engine="spy"))
    initial = found[0].initial
    for call, record in zip(first_starts(spy, (1, 2)), found[1:], strict=True):
        expected = rescaled(initial, record.masks, how)
        assert not torch.equal(expected["0.weight"], initial["0.weight"])
        for name, mask in record.masks.items():
            assert torch.equal(call.before[name], expected[name] * mask)
            assert torch.equal(record.initial[name], expected[name])
    assert torch.equal(spy[0].before["0.weight"], initial["0.weight"])


def test_none_trains_as_ever(plain, data, quick):
    one = list(find_tickets(plain(), data, levels=2, train=quick))
    other = list(
        find_tickets(plain(), data, levels=2, train=quick, rewind=RewindConfig(rescale="none"))
    )
    for left, right in zip(one, other, strict=True):
        assert all(torch.equal(left.trained[n], right.trained[n]) for n in left.trained)
        assert all(torch.equal(left.initial[n], right.initial[n]) for n in left.initial)


def test_the_weights_of_a_later_step_are_rescaled_too(plain, data, quick, spy):
    rewind, memory = RewindConfig(to="3it", rescale="layer"), Memory()
    found = list(
        find_tickets(
            plain(), data, levels=1, train=quick, rewind=rewind, engine="spy", memory=memory
        )
    )
    point = memory.load_rewind_point()
    (call,) = first_starts(spy, (1,))
    for name, mask in found[1].masks.items():
        expected = point.model[name] / found[1].masks.densities[name] ** 0.5 * mask
        torch.testing.assert_close(call.before[name], expected)


def test_a_finished_level_is_read_back_with_the_weights_that_it_started_from(
    plain, data, quick, tmp_path
):
    def run():
        return list(
            find_tickets(
                plain(),
                data,
                levels=2,
                train=quick,
                rewind=RewindConfig(rescale="unit"),
                memory=CellStore(tmp_path),
            )
        )

    for new, old in zip(run(), run(), strict=True):
        assert all(torch.equal(new.initial[name], old.initial[name]) for name in new.initial)


def test_controls_are_rescaled_by_their_own_masks(plain, data, quick, spy):
    tickets = list(find_tickets(plain(), data, levels=1, train=quick, prune=PruneConfig()))
    spy.clear()
    for control in ("reinit", "shuffle_layer"):
        (record,) = run_control(
            control,
            plain(),
            data,
            lambda level: (tickets[level].masks, tickets[level].trained),
            levels=[1],
            train=quick,
            rescale="unit",
            engine="spy",
        )
        (plainly,) = run_control(
            control,
            plain(),
            data,
            lambda level: (tickets[level].masks, tickets[level].trained),
            levels=[1],
            train=quick,
        )
        expected = rescaled(plainly.initial, plainly.masks, "unit")
        for name in record.masks:
            assert torch.equal(record.masks[name], plainly.masks[name])
            assert torch.equal(record.initial[name], expected[name])
            assert torch.equal(spy[0].before[name], expected[name] * record.masks[name])
        spy.clear()


def test_without_weights_to_go_back_to_there_is_nothing_to_rescale():
    for mode in ("learning_rate", "none"):
        with pytest.raises(ConfigError, match=r"rewind.rescale is 'unit'; allowed: none, unless"):
            RewindConfig(mode=mode, rescale="unit")
    with pytest.raises(ConfigError, match=r"rewind.rescale is 'units'; allowed: none, layer"):
        RewindConfig(rescale="units")
