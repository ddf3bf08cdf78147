"""Criteria on filters: worked examples, loops written out, and the traps that others fell into."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from torch import Tensor, nn
from torch.nn import functional as F

from lottery.errors import ConfigError
from lottery.pruning.criteria import CRITERIA, Context, Layer
from lottery.pruning.criteria.filters import weiszfeld
from lottery.pruning.network import Network


def score(spec: str, weight: Tensor, network: Network | None = None, name: str = "w") -> Tensor:
    context = Context(torch.Generator().manual_seed(0), network)
    return CRITERIA.resolve(spec)(Layer(name, weight, weight), context)


FILTERS = torch.tensor([[3.0, 4.0], [0.0, -2.0], [1.0, -1.0]])
MEAN = 5 + 2 + 2**0.5
"""Thrice the mean of their norms."""


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("l1", [7, 2, 2]),
        ("l1(normalise=max)", [1, 2 / 7, 2 / 7]),
        ("l2(normalise=none)", [12.5, 2, 1]),
        ("l2", [12.5 / 161.25**0.5, 2 / 161.25**0.5, 1 / 161.25**0.5]),
        ("l2(form=rms, normalise=none)", [12.5**0.5, 2**0.5, 1]),
        ("l2(form=plain, normalise=none)", [5, 2, 2**0.5]),
        ("l2(form=plain, normalise=mean)", [15 / MEAN, 6 / MEAN, 3 * 2**0.5 / MEAN]),
        ("inverted(l1)", [-7, -2, -2]),
        ("inverted(of='l2(normalise=max)')", [-1, -0.16, -0.08]),
        ("l1(normalise=mean)", [21 / 11, 6 / 11, 6 / 11]),
        ("inverted(l1(normalise=max))", [-1, -2 / 7, -2 / 7]),
    ],
)
def test_norms_are_those_of_a_worked_example(spec, expected):
    found = score(spec, FILTERS)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))
    assert torch.equal(score(spec, FILTERS.view(3, 2, 1, 1)), found)


def test_the_mean_square_is_divided_by_all_of_a_filters_size():
    """Σw² / a·b·c, read from left to right, is Σw² · b·c / a: a mistake that was made."""
    weight = torch.full((2, 2, 3, 5), 2.0)
    assert score("l2(normalise=none)", weight).tolist() == [4, 4]


@pytest.mark.parametrize(("by", "scale"), [("l2", 0.5), ("mean", 1.0), ("max", 1.0)])
def test_only_the_l2_normaliser_takes_more_from_wide_layers(by, scale):
    narrow, wide = (score(f"l2(normalise={by})", torch.ones(n, 3)) for n in (4, 16))
    torch.testing.assert_close(wide[0] / narrow[0], torch.tensor(scale, dtype=torch.float64))


def test_a_layer_of_zeros_has_scores():
    for spec in ("l1(normalise=l2)", "l2", "l2(normalise=mean)", "geometric_median(normalise=l2)"):
        assert score(spec, torch.zeros(3, 2)).tolist() == [0, 0, 0]


def test_options_that_do_not_exist_are_refused():
    with pytest.raises(ConfigError, match="form is 'cubic'; allowed: mean, rms, plain"):
        score("l2(form=cubic)", FILTERS)
    with pytest.raises(ConfigError, match="normalise is 'l3'; allowed: l2, mean, max, none"):
        score("l1(normalise=l3)", FILTERS)
    with pytest.raises(ConfigError, match="criterion is 'l7'"):
        score("inverted(l7)", FILTERS)


# Geometric median


def test_the_relaxed_median_sums_distances():
    line = torch.tensor([[1.0], [2.0], [10.0]])
    assert score("geometric_median", line).tolist() == [10, 9, 17]
    loops = [sum(math.dist(a, b) for b in FILTERS) for a in FILTERS]
    assert score("geometric_median", FILTERS).tolist() == pytest.approx(loops)


def test_squared_distances_would_find_another_filter():
    """The median of 1, 2, 3, 4, 100 is 3; what minimises squares is their mean, next to 4."""
    line = torch.tensor([[1.0], [2.0], [3.0], [4.0], [100.0]])
    for spec in ("geometric_median", "geometric_median(exact=true)"):
        assert int(score(spec, line).argmin()) == 2
    torch.testing.assert_close(
        score("geometric_median(exact=true)", line),
        torch.tensor([2.0, 1, 0, 1, 97], dtype=torch.float64),
        atol=1e-6,
        rtol=0,
    )


@pytest.mark.parametrize("exact", ["true", "false"])
def test_zero_filters_are_no_replacement_for_each_other(exact):
    """Two zero filters are at distance 0; counted, they would draw the median to themselves."""
    weights = torch.tensor([[5.0, 0], [0, 0], [6, 0], [0, 0], [7, 0]])
    scores = score(f"geometric_median(exact={exact})", weights)
    without = score(f"geometric_median(exact={exact})", weights[[0, 2, 4]])
    assert scores[[1, 3]].tolist() == [0, 0]
    assert torch.equal(scores[[0, 2, 4]], without)
    assert int(without.argmin()) == 1


def test_equal_filters_are_at_no_distance_however_many_there_are():
    """Distances by way of matrix products, which torch takes from 26 rows on, say otherwise."""
    filters = torch.full((40, 300), 0.1)
    assert score("geometric_median", filters).tolist() == [0] * 40


points = st.lists(st.tuples(*[st.floats(-4, 4, width=16)] * 2), min_size=1, max_size=9)


@settings(deadline=None)
@given(points)
def test_the_exact_median_has_the_least_sum_of_distances(values):
    rows = torch.tensor(values, dtype=torch.float64)

    def total(x) -> float:
        return float((rows - torch.as_tensor(x)).norm(dim=1).sum())

    rivals = [*rows, rows.mean(0), rows.median(0).values]
    least = min(map(total, rivals))
    least = min(least, minimize(total, rows.mean(0).numpy(), method="Nelder-Mead").fun)
    assert total(weiszfeld(rows)) <= least + 1e-4 * (1 + least)


def test_the_median_leaves_a_point_that_it_hits_and_is_not_the_median():
    """Weiszfeld's own iteration starts at the mean, divides by 0 there, or stays for good."""
    rows = torch.tensor([[0.0], [1], [1], [-12], [10]], dtype=torch.float64)
    assert float(rows.mean()) == 0
    torch.testing.assert_close(weiszfeld(rows), torch.ones(1).double(), atol=1e-5, rtol=0)


def test_filters_are_drawn_by_the_stream_alone():
    draws = {tuple(score("random_filters", torch.ones(5, 2)).tolist()) for _ in range(2)}
    assert len(draws) == 1
    assert len(set(draws.pop())) == 5


# Criteria on data


class Small(nn.Module):
    """A convolution with batch norm and a functional ReLU in place, one without, and a neuron."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Conv2d(1, 3, 3, bias=False)
        self.norm = nn.BatchNorm2d(3)
        self.two = nn.Conv2d(3, 2, 2)
        self.act = nn.ReLU(inplace=True)
        self.fc = nn.Linear(2, 4)
        self.out = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.one(x)), inplace=True)
        x = self.act(F.max_pool2d(self.two(x), 2))
        return self.out(torch.tanh(self.fc(x.mean(dim=(2, 3)))))


@pytest.fixture(scope="module")
def small() -> tuple[Small, Tensor, Tensor, Network]:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = Small().double()
        for values in (model.norm.weight, model.norm.bias, model.two.bias):
            nn.init.normal_(values)
        images, labels = torch.randn(12, 1, 7, 7).double(), torch.arange(12) % 3
    return model, images, labels, Network(model, model.state_dict(), images, labels)


def scores(spec: str, small, name: str) -> Tensor:
    model, _, _, network = small
    return score(spec, model.get_parameter(name).detach(), network, name)


def by_hand(model: Small, images: Tensor, gates: dict[str, Tensor]) -> tuple[Tensor, dict]:
    """Logits, and activations, of the network written out, gates (images, filters) included."""
    x = F.conv2d(images, model.one.weight)
    mean, var = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), keepdim=True, unbiased=False)
    x = (x - mean) / (var + 1e-5).sqrt() * model.norm.weight.view(3, 1, 1)
    x = (x + model.norm.bias.view(3, 1, 1)) * gates["one.weight"][..., None, None]
    one = x.clamp(min=0)
    x = F.conv2d(one, model.two.weight, model.two.bias) * gates["two.weight"][..., None, None]
    two = F.max_pool2d(x, 2).clamp(min=0)
    x = (two.mean((2, 3)) @ model.fc.weight.T + model.fc.bias) * gates["fc.weight"]
    fc = x.tanh()
    logits = fc @ model.out.weight.T + model.out.bias
    return logits, {"one.weight": one, "two.weight": two, "fc.weight": fc}


LAYERS = {"one.weight": 3, "two.weight": 2, "fc.weight": 4}


def ones(count: int) -> dict[str, Tensor]:
    return {name: torch.ones(count, filters).double() for name, filters in LAYERS.items()}


@pytest.mark.parametrize("name", LAYERS)
def test_taylor_squares_the_effect_of_a_filter_in_each_mini_batch(small, name):
    """By central differences: the loss of a mini-batch where one filter's outputs are scaled."""
    model, images, labels, _ = small
    with torch.no_grad():
        for filter_ in range(LAYERS[name]):
            effects = []
            for part in (slice(0, 4), slice(4, 8), slice(8, 12)):
                losses = []
                for step in (1e-5, -1e-5):
                    gates = ones(4)
                    gates[name][:, filter_] += step
                    logits, _ = by_hand(model, images[part], gates)
                    losses.append(float(F.cross_entropy(logits, labels[part])))
                effects.append(((losses[0] - losses[1]) / 2e-5) ** 2)
            found = float(scores("taylor(batches=3)", small, name)[filter_])
            assert found == pytest.approx(sum(effects) / 3, rel=1e-4, abs=1e-12)


def test_taylor_does_not_cancel_over_mini_batches():
    """Of two mini-batches that pull a filter in opposite directions; their mean gradient is 0."""
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 2, bias=False))
    with torch.no_grad():
        model[0].weight.fill_(1)
        model[1].weight.copy_(torch.tensor([[1.0], [-1.0]]))
    network = Network(model, model.state_dict(), torch.ones(4, 1), torch.tensor([0, 0, 1, 1]))
    p = 1 / (1 + math.exp(-2))  # of label 0; the loss's slopes by the gate are −2(1 − p) and 2p
    expected = (4 * (1 - p) ** 2 + 4 * p**2) / 2
    for spec in ("taylor(batches=2)", "taylor_weights(batches=2)"):
        found = score(spec, model[0].weight.detach(), network, "0.weight")
        assert float(found) == pytest.approx(expected)
    one = score("taylor(batches=1)", model[0].weight.detach(), network, "0.weight")
    assert float(one) == pytest.approx((2 * p - 1) ** 2)


@pytest.mark.parametrize("name", LAYERS)
def test_taylor_of_2016_averages_the_absolute_effect_on_each_image(small, name):
    model, images, labels, _ = small
    found: list[Tensor] = []
    for part in (slice(0, 6), slice(6, 12)):
        gates = {n: g.requires_grad_() for n, g in ones(6).items()}
        logits, _ = by_hand(model, images[part], gates)
        loss = F.cross_entropy(logits, labels[part], reduction="sum")
        found.extend(torch.autograd.grad(loss, gates[name])[0].abs())
    mean = torch.stack(found).mean(0)
    spec = "taylor_absolute(batches=2"
    torch.testing.assert_close(scores(f"{spec})", small, name), mean / mean.norm())
    torch.testing.assert_close(scores(f"{spec}, normalise=none)", small, name), mean)


@pytest.mark.parametrize("group", [False, True])
def test_taylor_of_weights_sums_over_the_filter_before_or_after_squaring(small, group):
    model, images, labels, _ = small
    found = scores(f"taylor_weights(batches=2, group={str(group).lower()})", small, "two.weight")
    expected = [0.0, 0.0]
    for part in (slice(0, 6), slice(6, 12)):
        logits, _ = by_hand(model, images[part], ones(6))
        loss = F.cross_entropy(logits, labels[part])
        (gradient,) = torch.autograd.grad(loss, model.two.weight)
        for filter_ in range(2):
            effects = [
                float((w * g).detach())
                for w, g in zip(
                    model.two.weight[filter_].flatten(), gradient[filter_].flatten(), strict=True
                )
            ]
            value = sum(effects) ** 2 if group else sum(e * e for e in effects)
            expected[filter_] += value / 2
    assert found.tolist() == pytest.approx(expected)


@pytest.mark.parametrize("name", LAYERS)
def test_activity_is_counted_behind_the_activation_function(small, name):
    model, images, _, _ = small
    _, activations = by_hand(model, images, ones(12))
    values = activations[name].detach().movedim(1, 0).flatten(1)
    means = [float(row.abs().mean()) for row in values]
    zeros = [sum(float(v) == 0 for v in row) / len(row) for row in values]
    found = scores("mean_activation(normalise=none)", small, name)
    assert found.tolist() == pytest.approx(means)
    assert scores("apoz", small, name).tolist() == pytest.approx([1 - share for share in zeros])


@pytest.mark.parametrize("spec", ["taylor", "taylor_weights", "apoz", "mean_activation"])
def test_scores_on_data_are_normalised_if_asked_for(small, spec):
    batches = "batches=2, " if "taylor" in spec else ""
    plain = scores(f"{spec}({batches}normalise=none)", small, "two.weight")
    found = scores(f"{spec}({batches}normalise=max)", small, "two.weight")
    torch.testing.assert_close(found, plain / plain.abs().max())


def test_a_dead_filter_is_the_first_to_go_by_activity():
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[5.0, 5], [1, 0], [-1, 1]]))
        model[0].bias.copy_(torch.tensor([-100.0, 0, 0]))
    images = torch.tensor([[1.0, 2], [-1, 0], [2, 3], [1, 0]])
    network = Network(model, model.state_dict(), images, torch.zeros(4, dtype=torch.int64))
    assert score("apoz", model[0].weight, network, "0.weight").tolist() == [0, 0.75, 0.75]
    found = score("mean_activation(normalise=none)", model[0].weight, network, "0.weight")
    assert found.tolist() == [0, 1, 0.75]


def test_scales_are_of_the_batch_norm_that_follows(small):
    model = small[0]
    assert torch.equal(scores("bn_scale", small, "one.weight"), model.norm.weight.abs())
    with pytest.raises(ConfigError, match=r"no batch norm with scales follows two\.weight"):
        scores("bn_scale", small, "two.weight")


def test_a_layer_that_is_used_twice_counts_with_both_uses():
    layer = nn.Linear(2, 2, bias=False)

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(self.layer(x))

    model, images, labels = Twice(), torch.randn(4, 2), torch.tensor([0, 1, 0, 1])
    network = Network(model, model.state_dict(), images, labels)
    gate = torch.ones(2, requires_grad=True)
    loss = F.cross_entropy(layer(layer(images) * gate) * gate, labels)
    expected = torch.autograd.grad(loss, gate)[0].square()
    torch.testing.assert_close(
        score("taylor(batches=1)", layer.weight, network, "layer.weight"), expected
    )


def test_too_many_mini_batches_and_a_missing_network_are_refused(small):
    with pytest.raises(ConfigError, match="batches is 7; allowed: 1 to 6, half the number"):
        scores("taylor(batches=7)", small, "fc.weight")
    for spec in ("taylor", "taylor_weights", "taylor_absolute", "mean_activation", "apoz"):
        with pytest.raises(ConfigError, match=f"criterion is '{spec}'; allowed: others, unless"):
            score(spec, FILTERS)


def test_looking_at_a_network_changes_neither_it_nor_its_outputs(small):
    model, images, labels, _ = small
    state = {name: value.clone() for name, value in model.state_dict().items()}
    network = Network(model, model.state_dict(), images, labels)
    network.gate_gradients(2), network.activity()
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())
