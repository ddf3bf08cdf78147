"""Gradients, activations and dead units, by hand and by finite differences."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lottery.data.images import Examples
from lottery.diagnostics import signals
from lottery.pruning.masks import Masks
from lottery.training import loop


def linear(weight, bias=None):
    weight = torch.tensor(weight)
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.copy_(torch.tensor(bias) if bias else torch.zeros(len(weight)))
    return layer


@pytest.fixture
def toy():
    """Two inputs, three hidden units, two classes; two images."""
    model = nn.Sequential(
        linear([[1.0, 0.0], [-1.0, -1.0], [0.0, 2.0]]),
        nn.ReLU(),
        linear([[1.0, 1.0, 0.0], [0.0, 1.0, -1.0]]),
    )
    examples = Examples(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 1]))
    masks = {name: torch.ones_like(mask) for name, mask in Masks.ones(model).items()}
    masks["0.weight"][0, 1] = masks["0.weight"][2, 0] = False
    masks["2.weight"][0, 2] = masks["2.weight"][1, 0] = False
    return model, Masks(masks), examples


def test_the_toy_by_hand(toy):
    # Hidden: (1, -1, 0) and (0, -1, 2), so unit 1 never fires. Logits: (1, 0) and (0, -2).
    model, masks, examples = toy
    found = signals.signals_at_start(model, masks, examples)
    assert found["start_dead_units"] == {"0.weight": 1 / 3, "all": 1 / 3}
    hidden = [1, -1, 0, 0, -1, 2]
    mean = sum(hidden) / 6
    assert found["activation_variance"] == pytest.approx(
        {
            "0.weight": sum((value - mean) ** 2 for value in hidden) / 6,
            "2.weight": sum((value + 0.25) ** 2 for value in (1, 0, 0, -2)) / 4,
        }
    )
    # Softmax less label, halved: first image (p − 1, 1 − p) with p = σ(1), second (q, −q) with
    # q = σ(2).
    p, q = 1 / (1 + math.exp(-1)), 1 / (1 + math.exp(-2))
    first, second = (p - 1) / 2, q / 2
    # fc2's kept weights: [0, 0] sees hidden 0 of image one; [1, 2] hidden 2 of image two; column 1
    # sees zeros.
    output = math.hypot(first * 1, -second * 2)
    # fc1's kept: [0, 0] gets first · w[0, 0] · 1; [2, 1] gets (−second) · w[1, 2] · 1; unit 1 none.
    hidden_norm = math.hypot(first * 1, -second * -1)
    assert found["gradient_norm"] == pytest.approx(
        {"0.weight": hidden_norm, "2.weight": output, "all": math.hypot(hidden_norm, output)}
    )
    # Biases: of fc2 (first + second, −(first + second)), of fc1 (first, 0, second).
    biases = 2 * (first + second) ** 2 + first**2 + second**2
    assert found["gradient_flow"] == pytest.approx({"all": hidden_norm**2 + output**2 + biases})


def test_gradient_flow_is_what_a_small_step_takes_off_the_loss():
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3)).double()
    masks = Masks({n: torch.rand(m.shape) < 0.6 for n, m in Masks.ones(model).items()})
    masks.apply(model)
    examples = Examples(torch.randn(20, 5, dtype=torch.float64), torch.arange(20) % 3)
    flow = signals.signals_at_start(model, masks, examples)["gradient_flow"]["all"]

    def loss():
        return F.cross_entropy(model(examples.images).float(), examples.labels)

    step = 1e-2
    before = loss()
    before.backward()
    masks.apply_to_gradients(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter -= step * parameter.grad
    assert float((before - loss()).detach()) / step == pytest.approx(flow, rel=0.02)


def test_batches_of_the_sample_add_up(toy, monkeypatch):
    model, masks, examples = toy
    whole = signals.signals_at_start(model, masks, examples)
    monkeypatch.setattr(loop, "EVALUATION_VALUES", 2)  # one image at a time
    for quantity, values in signals.signals_at_start(model, masks, examples).items():
        assert values == pytest.approx(whole[quantity]), quantity


def test_a_unit_is_dead_only_if_no_image_wakes_it(toy, monkeypatch):
    model, masks, _ = toy
    monkeypatch.setattr(loop, "EVALUATION_VALUES", 2)
    one = Examples(torch.tensor([[-5.0, 1.0]]), torch.tensor([0]))
    woken = Examples(torch.tensor([[-5.0, 1.0], [1.0, 0.0]]), torch.tensor([0, 1]))
    assert signals.dead_units(model, masks, one)["all"] == 1 / 3
    assert signals.dead_units(model, masks, woken)["all"] == 0


def test_channels_are_a_convolutions_units_and_all_layers_count_together():
    model = nn.Sequential(
        nn.Conv2d(1, 4, 1, bias=False), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(4, 2, bias=False), nn.LeakyReLU(0.05), nn.Linear(2, 2),
    )  # fmt: skip
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([1.0, -1.0, -1.0, 0.0]).view(4, 1, 1, 1))
        model[4].weight.copy_(torch.tensor([[1.0, 0, 0, 0], [-1.0, 0, 0, 0]]))
    images = torch.rand(3, 1, 2, 2) + 0.1
    found = signals.dead_units(model, Masks.ones(model), Examples(images, torch.arange(3) % 2))
    assert found == {"0.weight": 3 / 4, "4.weight": 1 / 2, "all": 4 / 6}


def test_an_activation_belongs_to_the_layer_it_follows_and_to_no_other():
    model = nn.Sequential(
        nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.ReLU(),
        nn.Linear(3, 2),
    )  # fmt: skip
    with torch.no_grad():
        model[3].bias.copy_(torch.tensor([-9.0, 9.0, 9.0]))
        model[0].weight.zero_()
        model[2].weight.zero_()
        model[2].bias.zero_()
    examples = Examples(torch.rand(4, 2), torch.arange(4) % 2)
    found = signals.dead_units(model, Masks.ones(model), examples)
    assert found == {"2.weight": 1 / 3, "all": 1 / 3}


def test_a_network_without_rectifiers_has_no_dead_units_to_count():
    model = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 2))
    examples = Examples(torch.rand(4, 2), torch.arange(4) % 2)
    assert signals.dead_units(model, Masks.ones(model), examples) == {}


def test_the_network_is_left_without_hooks_or_gradients(toy):
    model, masks, examples = toy
    signals.signals_at_start(model, masks, examples)
    signals.dead_units(model, masks, examples)
    assert not any(module._forward_hooks for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_frozen_and_unused_parameters_have_no_gradient(toy):
    model, masks, examples = toy
    model[2].weight.requires_grad_(False)
    found = signals.signals_at_start(model, masks, examples)["gradient_norm"]
    assert found["2.weight"] == 0
    assert found["all"] == found["0.weight"] > 0


def test_a_users_own_network_has_signals_too(own):
    torch.manual_seed(0)
    model = own()
    examples = Examples(torch.randn(9, 6), torch.arange(9) % 3)
    masks = Masks.ones(model)
    found = signals.signals_at_start(model, masks, examples)
    assert found["gradient_norm"].keys() == {*masks, "all"}
    assert found["activation_variance"].keys() == masks.keys()
    assert all(value > 0 for value in found["activation_variance"].values())


def test_a_masked_norm_takes_no_dead_units_from_its_layer():
    """As where whole filters are pruned: batch norm's scales are masked, and stand in between."""
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.ReLU(), nn.Linear(2, 2))
    masks = {name: torch.ones_like(p, dtype=torch.bool) for name, p in model.named_parameters()}
    examples = Examples(torch.randn(4, 2), torch.arange(4) % 2)
    found = signals.signals_at_start(model, Masks(masks), examples)
    assert set(found["start_dead_units"]) == {"0.weight", "all"}
    assert set(found["activation_variance"]) == {"0.weight", "3.weight"}
