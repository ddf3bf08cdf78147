"""Criteria on gradients, against finite differences and the laws of their papers."""

import copy
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lottery.errors import ConfigError, DivergedError
from lottery.init import initialise
from lottery.pruning.criteria import CRITERIA, Context, Layer
from lottery.pruning.masks import Masks, State
from lottery.pruning.network import Network
from lottery.pruning.weights import prune


def smooth() -> nn.Module:
    """Two layers without kinks, in float64, so that finite differences are exact to many digits."""
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()
    return initialise(model, "normal(0.7)", 3)


def batch(count: int = 12, inputs: int = 4, dtype: torch.dtype = torch.float64):
    stream = torch.Generator().manual_seed(5)
    images = torch.randn((count, inputs), generator=stream, dtype=torch.float64).to(dtype)
    return images, torch.arange(count) % 3


def state_of(model: nn.Module) -> State:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def network_of(model: nn.Module, images: Tensor, labels: Tensor, masks: Masks | None = None):
    return Network(model, state_of(model), images, labels, masks)


def scores_of(spec: str, model: nn.Module, images: Tensor, labels: Tensor) -> State:
    state, network = state_of(model), network_of(model, images, labels)
    context = Context(torch.Generator(), network)
    return {
        name: CRITERIA.resolve(spec)(Layer(name, state[name], state[name]), context)
        for name in Masks.ones(model)
    }


def pruned(model: nn.Module, keep: dict[str, int], batch, **options) -> Masks:
    state = state_of(model)
    network = Network(model, state, *batch)
    return prune(Masks.ones(model), state, state, keep, network=network, **options)


def effect_of_shrinking(function, model: nn.Module) -> State:
    """Derivative of function(model) as each weight is shrunk to 0, by central differences."""
    effects, step = {}, 1e-4
    for name in Masks.ones(model):
        weight = model.get_parameter(name)
        effects[name] = torch.zeros_like(weight)
        for place in range(weight.numel()):
            values = []
            for sign in (1, -1):
                moved = copy.deepcopy(model)
                with torch.no_grad():
                    moved.get_parameter(name).view(-1)[place] *= 1 - sign * step
                values.append(float(function(moved).detach()))
            effects[name].view(-1)[place] = (values[0] - values[1]) / (2 * step)
    return effects


def flow(model: nn.Module, images: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """Squared norm of the loss's gradient with respect to the weights of layers."""
    weights = [model.get_parameter(name) for name in Masks.ones(model)]
    loss = F.cross_entropy(model(images) / temperature, labels)
    return sum(g.square().sum() for g in torch.autograd.grad(loss, weights))


# SNIP


def test_snip_is_the_change_of_the_loss_as_a_weight_shrinks():
    model, (images, labels) = smooth(), batch()
    effects = effect_of_shrinking(lambda m: F.cross_entropy(m(images), labels), model)
    assert any((effect < 0).any() and (effect > 0).any() for effect in effects.values())
    for name, found in scores_of("snip", model, images, labels).items():
        torch.testing.assert_close(found, effects[name].abs(), rtol=1e-6, atol=1e-9)


def test_snip_ranks_all_layers_together_by_their_absolute_effect():
    model, given = smooth(), batch()
    masks = pruned(model, {"0.weight": 5, "2.weight": 5}, given, criterion="snip", scope="global")
    scores = scores_of("snip", model, *given)
    joined = torch.cat([scores[name].flatten() for name in masks])
    kept = torch.cat([mask.flatten() for mask in masks.values()])
    assert int(kept.sum()) == 10
    assert joined[kept].min() > joined[~kept].max()


# GraSP


@pytest.mark.parametrize("temperature", [200.0, 1.0])
def test_grasp_is_minus_half_the_change_of_gradient_flow_as_a_weight_shrinks(temperature):
    """The sign is the classic mistake: kept are weights without which the flow would fall."""
    model, (images, labels) = smooth(), batch()
    effects = effect_of_shrinking(lambda m: flow(m, images, labels, temperature), model)
    scores = scores_of(f"grasp(temperature={temperature})", model, images, labels)
    for name, found in scores.items():
        torch.testing.assert_close(found, -effects[name] / 2, rtol=1e-4, atol=1e-13)


def test_grasp_keeps_the_weights_whose_removal_takes_most_flow():
    model, (images, labels) = smooth(), batch()
    effects = effect_of_shrinking(lambda m: flow(m, images, labels, 200.0), model)
    masks = pruned(
        model,
        {"0.weight": 8, "2.weight": 8},
        (images, labels),
        criterion="grasp",
        scope="global",
    )
    joined = torch.cat([effects[name].flatten() for name in masks])
    kept = torch.cat([mask.flatten() for mask in masks.values()])
    assert joined[kept].max() < joined[~kept].min()
    assert joined[~kept].max() > 0, "the largest are kept by size, not by sign"


def test_the_temperature_of_grasp_is_200_unless_told():
    model, given = smooth(), batch()
    default, told = (scores_of(spec, model, *given) for spec in ("grasp", "grasp(temperature=200)"))
    hot = scores_of("grasp(temperature=1)", model, *given)
    for name, found in default.items():
        assert torch.equal(found, told[name])
        assert not torch.allclose(found / found.norm(), hot[name] / hot[name].norm())


def test_grasp_under_masks_is_about_the_flow_of_what_is_kept():
    model, (images, labels) = smooth(), batch()
    full = Masks.ones(model)
    masks = Masks({name: torch.rand(mask.shape) < 0.6 for name, mask in full.items()})
    network = network_of(model, images, labels).under(masks)
    masks.apply(model)

    def kept_flow(moved: nn.Module) -> Tensor:
        loss = F.cross_entropy(moved(images), labels)
        gradients = torch.autograd.grad(loss, [moved.get_parameter(name) for name in masks])
        return sum((g * masks[n]).square().sum() for n, g in zip(masks, gradients, strict=True))

    effects = effect_of_shrinking(kept_flow, model)
    for name, gradient in network.hessian_gradient().items():
        score = model.get_parameter(name).detach() * gradient
        torch.testing.assert_close(score, -effects[name] / 2, rtol=1e-4, atol=1e-11)


# SynFlow


def without_biases(*widths: int) -> nn.Module:
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs, bias=False), nn.ReLU()]
    return initialise(nn.Sequential(*layers[:-1]), "xavier_normal", 0)


def vgg() -> nn.Module:
    """Eight convolutions and a linear layer, 29,336 weights."""
    layers: list[nn.Module] = []
    for number, (inputs, outputs) in enumerate(
        [(3, 8), (8, 8), (8, 16), (16, 16), (16, 24), (24, 24), (24, 32), (32, 32)], start=1
    ):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()]
        if number % 2 == 0:
            layers.append(nn.MaxPool2d(2))
    return initialise(nn.Sequential(*layers, nn.Flatten(), nn.Linear(32, 10)), "kaiming_normal", 0)


def test_synflow_is_the_sum_over_all_paths_through_a_weight():
    model = without_biases(2, 3, 2)
    first, second = (model[k].weight.detach().double().abs() for k in (0, 2))
    scores = scores_of("synflow", model, torch.rand(1, 2), torch.zeros(1, dtype=torch.int64))
    for j in range(3):
        for i in range(2):
            through = first[j, i] * second[:, j].sum()
            assert float(scores["0.weight"][j, i]) == pytest.approx(float(through))
        for k in range(2):
            through = second[k, j] * first[j].sum()
            assert float(scores["2.weight"][k, j]) == pytest.approx(float(through))


def test_synflow_is_conserved_by_every_hidden_unit_and_every_layer():
    """Theorems 1 and 2 of Tanaka et al. 2020: scores into a unit equal those out of it."""
    model = without_biases(6, 9, 7, 4)
    scores = scores_of("synflow", model, torch.randn(5, 6), torch.zeros(5, dtype=torch.int64))
    layers = list(scores.values())
    for into, out in pairwise(layers):
        torch.testing.assert_close(into.sum(dim=1), out.sum(dim=0))
    totals = torch.stack([layer.sum() for layer in layers])
    torch.testing.assert_close(totals, totals[0].expand(3))


def test_synflow_of_convolutions_is_conserved_by_every_channel():
    model = initialise(
        nn.Sequential(
            nn.Conv2d(3, 5, 3, bias=False, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(5, 4, 3, bias=False),
            nn.Flatten(),
            nn.Linear(16, 2, bias=False),
        ),
        "kaiming_uniform",
        1,
    )
    scores = scores_of("synflow", model, torch.rand(2, 3, 8, 8), torch.zeros(2, dtype=torch.int64))
    one, two, three = scores.values()
    torch.testing.assert_close(one.sum(dim=(1, 2, 3)), two.sum(dim=(0, 2, 3)))
    torch.testing.assert_close(two.sum(dim=(1, 2, 3)), three.sum(dim=0).view(4, 4).sum(dim=1))


def test_synflow_sees_no_data():
    model = without_biases(6, 9, 4)
    one, other = (
        scores_of("synflow", model, images, torch.zeros(3, dtype=torch.int64))
        for images in (torch.randn(3, 6), torch.full((3, 6), -7.0))
    )
    assert all(torch.equal(one[name], other[name]) for name in one)


SYNFLOW = {"criterion": "synflow", "scope": "global"}
PICTURES = torch.rand(20, 3, 16, 16), torch.arange(20) % 10


def thousandth(model: nn.Module) -> dict[str, int]:
    """Counts that sum to one weight in a thousand."""
    sizes = Masks.ones(model).sizes
    keep = {name: size // 1000 for name, size in sizes.items()}
    return {**keep, "0.weight": round(sum(sizes.values()) / 1000) - sum(list(keep.values())[1:])}


def test_synflow_in_a_hundred_iterations_loses_no_layer_at_a_thousandth_of_the_weights():
    model = vgg()
    keep = thousandth(model)
    masks = pruned(model, keep, PICTURES, **SYNFLOW, iterations=100)
    assert sum(masks.remaining.values()) == sum(keep.values()) == 29
    assert min(masks.remaining.values()) >= 1, "a layer was lost"
    once = pruned(model, keep, PICTURES, **SYNFLOW)
    assert min(once.remaining.values()) == 0, "nothing is shown by this network"


def test_synflow_leaves_batch_norms_running_statistics_alone():
    """Means may be below zero, and the network must be as it was."""
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))
    initialise(model, "kaiming_normal", 0)
    with torch.no_grad():
        model[1].running_mean.copy_(torch.tensor([-2.0, -1.0, -3.0, -0.5]))
        model[1].running_var.copy_(torch.tensor([0.5, 2.0, 1.0, 4.0]))
        model[1].weight.copy_(torch.tensor([-1.0, 0.5, 2.0, -0.3]))
        model[1].bias.copy_(torch.tensor([-1.0, 0.5, 0.0, -0.3]))
        model[0].bias.copy_(torch.tensor([-1.0, 0.5, 0.0, -0.3]))
    before = state_of(model)
    scores = scores_of("synflow", model, torch.rand(4, 3), torch.zeros(4, dtype=torch.int64))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.training
    first, second, norm = model[0], model[3], model[1]
    scale = norm.weight.abs().double() / (norm.running_var.double() + norm.eps).sqrt()
    hidden = first.weight.abs().double().sum(dim=1) + first.bias.abs() - norm.running_mean
    hidden = torch.relu(hidden * scale + norm.bias.abs())
    torch.testing.assert_close(scores["3.weight"], second.weight.abs().double() * hidden)
    through = second.weight.abs().double().sum(dim=0) * scale
    torch.testing.assert_close(scores["0.weight"], first.weight.abs().double() * through[:, None])


def test_synflow_of_a_deep_network_neither_vanishes_nor_overflows():
    """Products over 30 layers leave float32 on both sides."""
    for scale in (1e-2, 1e3):
        model = without_biases(*[8] * 31)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(scale)
        scores = scores_of("synflow", model, torch.rand(1, 8), torch.zeros(1, dtype=torch.int64))
        for layer in scores.values():
            assert layer.isfinite().all()
            assert (layer > 0).all()


def test_derivatives_that_overflow_are_refused():
    """Infinite scores are all alike, so that chance would decide."""
    model = without_biases(*[8] * 12)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(1e38)
    keep = dict.fromkeys(Masks.ones(model), 10)
    with pytest.raises(DivergedError, match="not finite"):
        pruned(model, keep, (torch.rand(1, 8), torch.zeros(1, dtype=torch.int64)), **SYNFLOW)


# All of them


def test_a_hidden_units_scores_move_with_it(noisy):
    model = initialise(noisy(), "kaiming_normal", 2)
    order = torch.tensor([3, 1, 0, 2, 4, 5, 6, 9, 8, 7])
    moved = copy.deepcopy(model)
    with torch.no_grad():
        moved[0].weight.copy_(model[0].weight[order])
        moved[4].weight.copy_(model[4].weight[:, order])
    images, labels = batch(20, 6, torch.float32)
    for spec in ("snip", "grasp", "synflow"):
        one, other = (scores_of(spec, net, images, labels) for net in (model, moved))
        tolerance = {"rtol": 1e-3, "atol": 1e-5 * float(one["0.weight"].abs().max())}
        torch.testing.assert_close(other["0.weight"], one["0.weight"][order], **tolerance)
        torch.testing.assert_close(other["4.weight"], one["4.weight"][:, order], **tolerance)


@pytest.mark.parametrize("spec", ["snip", "grasp", "synflow"])
def test_ranking_changes_nothing_of_the_network_and_needs_no_chance(spec, noisy):
    model = initialise(noisy(), "kaiming_normal", 2)
    before, images_and_labels = state_of(model), batch(20, 6, torch.float32)
    torch.manual_seed(1)
    one = scores_of(spec, model, *images_and_labels)
    torch.manual_seed(2)
    with torch.no_grad():
        other = scores_of(spec, model, *images_and_labels)
    assert all(torch.equal(one[name], other[name]) for name in one), "dropout is on"
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert model.training


def test_batch_norm_normalises_by_the_images_and_not_by_what_it_has_not_seen(noisy):
    model = initialise(noisy(), "kaiming_normal", 2)
    images, labels = batch(20, 6, torch.float32)
    images = 5 * images + 3
    trained = copy.deepcopy(model).train()
    for module in trained.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    F.cross_entropy(trained(images), labels).backward()
    for name, gradient in network_of(model, images, labels).loss_gradient().items():
        torch.testing.assert_close(gradient, trained.get_parameter(name).grad)


def test_derivatives_are_computed_once_for_all_layers(plain, monkeypatch):
    calls = []
    compute = Network._gradients
    monkeypatch.setattr(Network, "_gradients", lambda *a, **k: calls.append(a) or compute(*a, **k))
    model, given = plain(), batch(20, 6, torch.float32)
    keep = {"0.weight": 20, "2.weight": 20, "4.weight": 10}
    for spec, needed in (("magnitude", 0), ("snip", 1), ("synflow", 1), ("grasp", 2)):
        pruned(model, keep, given, criterion=spec)
        assert len(calls) == needed
        calls.clear()
    pruned(model, keep, given, criterion="snip", iterations=3)
    assert len(calls) == 3, "not ranked anew after each cut"


def test_each_iteration_ranks_the_network_that_the_last_one_left(plain):
    """Brute force: the same by single rankings, one after another."""
    model, given = initialise(plain(), seed=1), batch(20, 6, torch.float32)
    state, masks = state_of(model), Masks.ones(model)
    sizes = masks.sizes
    keep = {"0.weight": 6, "2.weight": 8, "4.weight": 3}
    for k in (1, 2, 3, 4):
        counts = {n: round(s * (keep[n] / s) ** (k / 4)) for n, s in sizes.items()}
        left = copy.deepcopy(model)
        masks.apply(left)
        network = Network(left, state_of(left), *given)
        masks = prune(masks, state, state, counts, criterion="snip", network=network)
    at_once = pruned(model, keep, given, criterion="snip", iterations=4)
    assert all(torch.equal(mask, at_once[name]) for name, mask in masks.items())
    single = pruned(model, keep, given, criterion="snip")
    assert any(not torch.equal(mask, single[name]) for name, mask in masks.items())


def test_weights_that_no_output_depends_on_score_nothing():
    class Idle(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.idle = nn.Linear(4, 3), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.used(x)

    images, labels = batch(12, 4, torch.float32)
    for spec in ("snip", "grasp", "synflow"):
        scores = scores_of(spec, Idle(), images, labels)
        assert not scores["idle.weight"].any()
        assert scores["used.weight"].any()


def test_a_criterion_on_gradients_without_a_network_is_refused(plain):
    state = state_of(plain())
    masks = Masks.ones(plain())
    for spec in ("snip", "grasp", "synflow"):
        with pytest.raises(
            ConfigError, match=f"criterion is '{spec}'.*images are given.*network= of p"
        ):
            prune(masks, state, state, masks.remaining, criterion=spec)


def test_a_user_may_build_a_criterion_on_the_same_gradients():
    def gradient_size(layer: Layer, context: Context) -> Tensor:
        return context.network.loss_gradient()[layer.name].abs()

    model, given = smooth(), batch()
    masks = pruned(model, {"0.weight": 7, "2.weight": 5}, given, criterion=gradient_size)
    F.cross_entropy(model(given[0]), given[1]).backward()
    for name, mask in masks.items():
        size = model.get_parameter(name).grad.abs()
        assert size[mask].min() > size[~mask].max()
