"""Costs against published counts and sums done by hand."""

import copy
import re

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import lottery
from lottery.costs import LayerCost, cost, latency
from lottery.costs.latency import in_turns
from lottery.costs.layers import printed
from lottery.costs.memory import peak_activation_bytes
from lottery.errors import ConfigError, UsageError


def sfp_shares(names: list[str], keep: float) -> dict[str, float]:
    """What soft filter pruning's authors count for a residual network that keeps this share.

    First layers of blocks read the sum, which stays whole; second ones read and write less. The
    very first block's first layer is counted like a second one, and the last layer in full.
    """
    shares = {name: keep if name.endswith("conv1") else keep**2 for name in names[1:-1]}
    return shares | {"conv": keep, "block1_1.conv1": keep**2}


@pytest.mark.parametrize(
    ("network", "macs", "fewer"),
    [
        ("resnet20", 40.55e6, {0.9: 0.152, 0.8: 0.293, 0.7: 0.422, 0.6: 0.540}),
        ("resnet56", 125.49e6, {0.9: 0.147, 0.8: 0.284, 0.7: 0.411, 0.6: 0.526}),
    ],
)
def test_resnets_cost_what_soft_filter_pruning_counts(
    network: str, macs: float, fewer: dict[float, float]
) -> None:
    found = cost(lottery.build(network), torch.zeros(1, 3, 32, 32))
    assert found.macs == pytest.approx(macs, abs=0.005e6)
    for keep, reduction in fewer.items():
        shares = sfp_shares([layer.name for layer in found.layers], keep)
        left = sum(layer.macs * shares.get(layer.name, 1.0) for layer in found.layers)
        assert 1 - left / found.macs == pytest.approx(reduction, abs=5e-4)


def test_lenet5_has_the_weights_and_flop_of_han_et_al() -> None:
    found = cost(lottery.build("lenet5"), torch.rand(3, 1, 28, 28))
    table = [(layer.weights, 2 * layer.macs) for layer in found.layers]
    assert table == [(500, 576_000), (25_000, 3_200_000), (400_000, 800_000), (5_000, 10_000)]
    assert 2 * found.macs == 4_586_000
    assert found.parameters == 431_080


def test_flop_percent_is_weights_percent_times_act_percent_of_the_layer_before() -> None:
    published = [  # Han et al. 2015, table 4: weights, FLOP, Act %, Weights %, FLOP %
        ("conv1", 500, 576_000, 82, 66, 66),
        ("conv2", 25_000, 3_200_000, 72, 12, 10),
        ("fc1", 400_000, 800_000, 55, 8, 6),
        ("fc2", 5_000, 10_000, 100, 19, 10),
    ]
    before = 1.0
    layers = []
    for (name, weights, flop, act, kept, flop_kept), values in zip(
        published, (2880, 800, 500, 10), strict=True
    ):
        layer = LayerCost(
            name, weights, weights * kept // 100, flop // 2, values, act / 100, before
        )
        assert abs(100 * layer.flop_remaining - flop_kept) < 0.6
        layers.append(layer)
        before = layer.active
    total = printed(layers).splitlines()[-1].split()
    assert total == ["total", "430,500", "4,586,000", "77%", "8%", "16%"]  # as in its last row


def test_activations_that_are_zero_are_those_the_next_layer_reads() -> None:
    model = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0, 0], [0, 1], [-1, 0], [0, 0]]))
        model[0].bias.zero_()
        model[2].bias.fill_(1.0)
    found = cost(model, torch.tensor([[1.0, -1.0], [1.0, 1.0]]))
    first, last = found.layers
    assert first.active == pytest.approx(3 / 8)  # units 0; 0 and 1
    assert (first.nonzero, first.weights, first.weights_remaining) == (3, 8, 3 / 8)
    assert last.flop_remaining == pytest.approx(3 / 8)
    assert last.active == 1.0


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(5, 4))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight.t()


def test_products_outside_layers_count() -> None:
    assert cost(nn.Sequential(nn.Linear(3, 4), Functional()), torch.zeros(2, 3)).macs == 12 + 20


def test_grouped_and_strided_convolutions_count_by_their_outputs() -> None:
    model = nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2)
    assert cost(nn.Sequential(model), torch.zeros(1, 4, 8, 8)).macs == 6 * 4 * 4 * 2 * 9


def test_counts_are_per_example_whatever_the_batch() -> None:
    model = lottery.build("lenet5")
    one, many = (cost(model, torch.ones(n, 1, 28, 28)) for n in (1, 5))
    assert str(one) == str(many)


def test_disk_bytes_are_those_of_the_file(tmp_path) -> None:  # type: ignore[no-untyped-def]
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3))
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    found = cost(model, torch.zeros(1, 1, 5, 5))
    assert found.disk_bytes == (tmp_path / "model.safetensors").stat().st_size


def test_a_shared_weight_is_stored_and_counted_once() -> None:
    shared = nn.Linear(50, 50, bias=False)
    other = nn.Linear(50, 50, bias=False)
    other.weight = shared.weight
    found = cost(nn.Sequential(shared, other), torch.zeros(1, 50))
    assert found.parameters == 2500
    assert 10_000 < found.disk_bytes < 10_500
    assert found.macs == 5000


def test_peak_memory_holds_the_input_a_layer_reads_and_the_output_it_writes() -> None:
    model = nn.Sequential(nn.Linear(10, 100), nn.ReLU(), nn.Linear(100, 5))
    assert peak_activation_bytes(model, torch.zeros(1, 10)) == 4 * (10 + 100 + 100)


def test_results_in_place_and_views_take_no_memory() -> None:
    model = nn.Sequential(nn.Linear(10, 100), nn.ReLU(inplace=True), nn.Unflatten(1, (4, 25)))
    assert peak_activation_bytes(model, torch.zeros(1, 10)) == 4 * (10 + 100)


def test_a_sum_keeps_what_it_will_read_alive() -> None:
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8))

        def forward(self, x: Tensor) -> Tensor:
            start = x * 2
            return start + self.inner(start)

    assert peak_activation_bytes(Residual(), torch.zeros(1, 8)) == 4 * 8 * 4


def test_a_mask_makes_nothing_smaller_and_removal_does() -> None:
    model, images = lottery.build("lenet5"), torch.rand(1, 1, 28, 28)
    graph = lottery.trace(model, images)
    remove = torch.zeros(graph.units, dtype=torch.bool)
    remove[graph.homes["conv1.weight"][:10]] = True
    masked = copy.deepcopy(model)
    lottery.unit_masks(graph, masked, remove).apply(masked)
    whole, same = cost(model, images), cost(masked, images)
    small = cost(lottery.shrink(model, remove, graph), images)
    assert (same.parameters, same.macs) == (whole.parameters, whole.macs)
    assert same.disk_bytes == whole.disk_bytes
    assert small.macs == whole.macs - 288_000 // 2 - 1_600_000 // 2
    assert small.parameters == whole.parameters - 10 * 26 - 10 * 25 * 50
    assert small.activation_bytes < whole.activation_bytes
    assert same.layers[1].weights_remaining == 0.5


def test_cost_and_latency_leave_the_model_as_it_was() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
    model[1].eval()
    before = copy.deepcopy(model.state_dict())
    cost(model, torch.randn(3, 4))
    latency(model, torch.randn(3, 4), [2], passes=1)
    assert [module.training for module in model] == [True, False, True]
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model)


def test_latency_says_how_it_was_measured() -> None:
    sizes: list[int] = []

    class Watch(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            assert not self.training
            sizes.append(len(x))
            return x

    found = latency(Watch(), torch.randn(3, 4), [1, 7], passes=4)
    assert [(one.batch_size, one.seconds.n) for one in found] == [(1, 4), (7, 4)]
    assert (sizes.count(1), sizes.count(7)) == (6, 6)  # two of each do not count
    for one in found:
        assert 0 < one.seconds.low <= one.seconds.median <= one.seconds.high
        assert re.search(rf"n = 4, {torch.get_num_threads()} threads", str(one))


def test_networks_are_timed_in_turns_so_that_a_load_strikes_all_alike() -> None:
    calls: list[str] = []

    class Watch(nn.Module):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

        def forward(self, x: Tensor) -> Tensor:
            assert not self.training
            calls.append(self.name)
            return x

    models = {name: Watch(name) for name in ("large", "small")}
    found = in_turns(models, torch.randn(1, 4), passes=3)
    assert calls == 3 * ["large", "large", "small", "small"]  # one before each does not count
    assert [taken.n for taken in found.values()] == [3, 3]
    assert all(model.training for model in models.values())


def test_bad_input_is_named() -> None:
    model = nn.Sequential(nn.Linear(4, 2))
    with pytest.raises(ConfigError, match="images"):
        cost(model, torch.zeros(0, 4))
    with pytest.raises(UsageError, match=r"does not run on \(1, 5\)"):
        cost(model, torch.zeros(1, 5))
    with pytest.raises(ConfigError, match="latency"):
        latency(model, torch.zeros(1, 4), [0])
    with pytest.raises(ConfigError, match="images"):
        latency(model, torch.zeros(0, 4))
    for measure in (cost, latency):
        with pytest.raises(ConfigError, match=r"images is 'a tuple'; allowed: one tensor; wrap"):
            measure(model, (torch.zeros(1, 4), torch.zeros(1, 4)))
