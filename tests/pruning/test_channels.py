"""Units of networks worked out by hand, and what cannot be followed."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, prune

import lottery
from lottery.errors import ConfigError, UsageError
from lottery.pruning.channels import ChannelGraph, trace

IMAGES = torch.zeros(1, 3, 4, 4)


class Net(nn.Module):
    """Convolutions a (3 -> 4), b and c (4 -> 4), a head of 5, and a user's own way between them."""

    def __init__(self, way: Callable[["Net", Tensor], Tensor], head_inputs: int = 4) -> None:
        super().__init__()
        self.a, self.b, self.c = (nn.Conv2d(n, 4, 3, padding=1) for n in (3, 4, 4))
        self.gate = nn.Conv2d(4, 1, 1)
        self.norm = nn.LayerNorm(4)
        self.scale = nn.Parameter(torch.ones(4))
        self.register_buffer("order", torch.arange(4))
        self.head = nn.Linear(head_inputs, 5)
        self.way = way

    def forward(self, x: Tensor) -> Tensor:
        return self.way(self, x)


def units(graph: ChannelGraph, layer: str) -> list[int]:
    return graph.written[f"{layer}.weight"].tolist()


def columns(graph: ChannelGraph, layer: str) -> list[int]:
    return graph.axes[f"{layer}.weight", 1].tolist()


def test_units_of_a_chain_are_numbered_as_layers_write_them() -> None:
    graph = trace(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2)), torch.zeros(1, 2))
    assert graph.units == 5
    assert {n: u.tolist() for n, u in graph.homes.items()} == {
        "0.weight": [0, 1, 2],
        "2.weight": [],
    }
    assert graph.fixed.tolist() == [False] * 3 + [True] * 2
    assert graph.axes["0.weight", 1].tolist() == [-1, -1]
    assert graph.axes["0.bias", 0].tolist() == [0, 1, 2]
    assert graph.axes["2.weight", 1].tolist() == [0, 1, 2]
    assert set(graph.reasons) == {3, 4}


def pooled(net: Net, x: Tensor) -> Tensor:
    return net.head(x.mean(dim=(2, 3)))


@pytest.mark.parametrize(
    "way",
    [
        lambda net, x: pooled(net, net.a(x) + net.b(net.a(x))),
        lambda net, x: pooled(net, torch.add(net.b(net.a(x)), net.a(x))),
        lambda net, x: pooled(net, net.a(x) * torch.sigmoid(net.b(net.a(x)))),
        lambda net, x: pooled(net, torch.maximum(net.a(x), F.relu(net.b(F.dropout(net.a(x)))))),
    ],
)
def test_a_sum_ties_what_it_adds(way: Callable[[Net, Tensor], Tensor]) -> None:
    graph = trace(Net(way), IMAGES)
    assert units(graph, "a") == units(graph, "b") == columns(graph, "head") == [0, 1, 2, 3]
    assert graph.homes["a.weight"].tolist() == [0, 1, 2, 3]
    assert graph.homes["b.weight"].tolist() == []


FLATTENED = {
    "torch.flatten": lambda x: torch.flatten(x, 1),
    "flatten": lambda x: x.flatten(1),
    "view": lambda x: x.view(x.size(0), -1),
    "reshape": lambda x: x.reshape((x.shape[0], -1)),
    "computed": lambda x: x.view(x.shape[0], x.shape[1] * x.shape[2] * x.shape[3]),
    "nhwc and back": lambda x: x.permute(0, 2, 3, 1).permute(0, 3, 1, 2).contiguous().flatten(1),
}


@pytest.mark.parametrize("form", FLATTENED)
def test_flatten_repeats_each_channel_over_its_positions(form: str) -> None:
    net = Net(lambda net, x: net.head(FLATTENED[form](F.max_pool2d(net.a(x), 2))), 16)
    assert columns(trace(net, IMAGES), "head") == [0] * 4 + [1] * 4 + [2] * 4 + [3] * 4


def test_flatten_of_channels_last_alternates() -> None:
    net = Net(lambda net, x: net.head(F.avg_pool2d(net.a(x), 2).permute(0, 2, 3, 1).flatten(1)), 16)
    assert columns(trace(net, IMAGES), "head") == [0, 1, 2, 3] * 4


def test_concatenation_joins_channels() -> None:
    net = Net(lambda net, x: pooled(net, torch.cat([net.a(x), x], 1)), 7)
    assert columns(trace(net, IMAGES), "head") == [0, 1, 2, 3, -1, -1, -1]


def test_concatenation_of_positions_ties_channels() -> None:
    net = Net(lambda net, x: pooled(net, torch.cat([net.a(x), net.b(net.a(x))], dim=3)))
    graph = trace(net, IMAGES)
    assert units(graph, "a") == units(graph, "b") == columns(graph, "head")


@pytest.mark.parametrize(
    "positions",
    [
        lambda x: x[..., 1::2, ::2],
        lambda x: x[:, :4],
        lambda x: x[:, :, [0, 2]],
        lambda x: x[:, :, None, 1:].squeeze(2),
    ],
)
def test_positions_may_be_selected_and_all_channels(positions: Callable[[Tensor], Tensor]) -> None:
    graph = trace(Net(lambda net, x: pooled(net, positions(net.a(x)))), IMAGES)
    assert units(graph, "a") == columns(graph, "head") == [0, 1, 2, 3]
    assert not graph.fixed[:4].any()


def test_pixel_shuffle_ties_the_channels_it_makes_one_of() -> None:
    net = Net(lambda net, x: net.head(F.pixel_shuffle(net.a(x), 2).flatten(1)), 64)
    graph = trace(net, IMAGES)
    assert units(graph, "a") == [0, 0, 0, 0]


def test_pixel_unshuffle_repeats_each_channel() -> None:
    net = Net(lambda net, x: pooled(net, F.pixel_unshuffle(net.a(x), 2)), 16)
    assert columns(trace(net, IMAGES), "head") == [0] * 4 + [1] * 4 + [2] * 4 + [3] * 4


def test_padding_of_positions_passes_and_of_channels_fixes_what_is_added_to_it() -> None:
    def way(net: Net, x: Tensor) -> Tensor:
        padded = F.pad(net.a(x)[:, :, ::2, ::2], (0, 0, 0, 0, 1, 1))
        return padded + net.wide(F.pad(x, (1, 1, 1, 1)))

    net = Net(lambda net, x: net.last(way(net, x)))
    net.wide = nn.Conv2d(3, 6, 3, stride=2, bias=False)
    net.last = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5))
    net.wide.stride, net.wide.padding = (2, 2), (0, 0)
    graph = trace(net, torch.zeros(1, 3, 5, 5))
    middle = units(graph, "a")
    assert units(graph, "wide")[1:5] == middle
    ends = [units(graph, "wide")[i] for i in (0, 5)]
    assert graph.fixed[ends].all()
    assert not graph.fixed[middle].any()
    assert "padding" in graph.reasons[ends[0]]


def test_a_gate_of_one_channel_does_not_tie_the_channels_it_is_broadcast_over() -> None:
    net = Net(lambda net, x: pooled(net, net.a(x) * torch.sigmoid(net.gate(net.a(x)))))
    graph = trace(net, IMAGES)
    assert sorted(units(graph, "a")) == [0, 1, 2, 3]
    assert graph.fixed[units(graph, "gate")].all()
    assert not graph.fixed[units(graph, "a")].any()


def test_a_parameter_of_the_users_own_is_cut_with_the_channels_it_scales() -> None:
    net = Net(lambda net, x: pooled(net, net.a(x) * net.scale.view(1, -1, 1, 1)))
    assert trace(net, IMAGES).axes["scale", 0].tolist() == [0, 1, 2, 3]


def test_a_layer_used_twice_ties_what_it_reads_to_what_it_read_before() -> None:
    graph = trace(Net(lambda net, x: pooled(net, net.b(net.b(net.a(x))))), IMAGES)
    assert units(graph, "a") == units(graph, "b") == columns(graph, "b")
    assert list(graph.written) == ["a.weight", "b.weight", "head.weight"]


def test_layers_that_share_a_weight_tie_their_units() -> None:
    net = Net(lambda net, x: pooled(net, net.c(net.b(net.a(x)))))
    net.c.weight = net.b.weight
    graph = trace(net, IMAGES)
    assert units(graph, "a") == units(graph, "b")
    assert graph.axes["c.bias", 0].tolist() == units(graph, "a")


def test_linear_layers_on_sequences_read_the_last_dimension() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.GELU(), nn.Linear(3, 2))
    graph = trace(model, torch.zeros(1, 7, 2))
    assert columns(graph, "2") == [0, 1, 2]


def test_grouped_convolutions_are_fixed_with_what_they_read() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1, groups=2), nn.Conv2d(4, 2, 1))
    graph = trace(model, IMAGES)
    assert graph.fixed.all()
    assert "grouped" in graph.reasons[units(graph, "0")[0]]


def test_layers_listed_as_fixed_keep_their_filters() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 3), nn.Linear(3, 2))
    graph = trace(model, torch.zeros(1, 2), fixed=["1"])
    assert [len(own) for own in graph.homes.values()] == [3, 0, 0]
    with pytest.raises(ConfigError, match=r"fixed is '7'.*0, 1, 2"):
        trace(model, torch.zeros(1, 2), fixed=["7"])


NOT_FOLLOWED = {
    "layer norm": (
        lambda net, x: net.head(net.norm(net.a(x).mean((2, 3)))),
        "norm .LayerNorm. normalises",
    ),
    "unknown": (lambda net, x: pooled(net, net.a(x).cumsum(1)), "cumsum"),
    "mean over channels": (
        lambda net, x: pooled(net, net.a(x) * net.b(x[:, :1].repeat(1, 4, 1, 1)).mean(1, True)),
        "mean",
    ),
    "softmax": (lambda net, x: pooled(net, torch.softmax(net.a(x), dim=1)), "softmax"),
    "fixed view": (lambda net, x: net.head(net.a(x).mean((2, 3)).view(-1, 4)), "flatten"),
    "half of the channels": (
        lambda net, x: pooled(net, F.pad(net.a(x)[:, :2], (0, 0, 0, 0, 0, 2))),
        "by their number",
    ),
    "other order": (lambda net, x: pooled(net, net.a(x)[:, [3, 2, 1, 0]]), "by their number"),
    "all by name": (lambda net, x: pooled(net, net.a(x)[:, [0, 1, 2, 3]]), "by their number"),
    "numbers of a buffer": (lambda net, x: pooled(net, net.a(x)[:, net.order]), "getitem"),
    "chunks": (lambda net, x: pooled(net, torch.cat(net.a(x).chunk(2, 1)[::-1], 1)), "chunk"),
    "product": (lambda net, x: net.head(net.a(x).flatten(2) @ torch.ones(16, 4)), "matmul"),
}


@pytest.mark.parametrize("case", NOT_FOLLOWED)
def test_what_is_not_understood_names_node_and_layers_unless_they_are_fixed(case: str) -> None:
    way, named = NOT_FOLLOWED[case]
    net = Net(way)
    with pytest.raises(UsageError, match=named) as caught:
        trace(net, IMAGES)
    message = str(caught.value)
    layers = [layer for layer in ("a", "b") if f"'{layer}'" in message]
    assert layers
    assert f"fixed={layers}" in message
    graph = trace(net, IMAGES, fixed=layers)
    assert not any(len(graph.homes[f"{layer}.weight"]) for layer in layers)


def test_all_that_cannot_be_removed_is_named_at_once() -> None:
    """Each layer under the first that is wrong with it; with all of them fixed the network is."""
    model = nn.Sequential(
        *(nn.Conv2d(3, 4, 1), nn.GroupNorm(2, 4), nn.Conv2d(4, 6, 1), nn.ReLU()),
        *(nn.Conv2d(6, 4, 1), nn.GroupNorm(2, 4), nn.GroupNorm(1, 4), nn.Conv2d(4, 2, 1)),
    )
    with pytest.raises(UsageError) as caught:
        trace(model, IMAGES)
    assert str(caught.value) == (
        "filters of 0 cannot be removed: 1 (GroupNorm) normalises over them; "
        "filters of 4 cannot be removed: 5 (GroupNorm) normalises over them; "
        "or keep all of them: fixed=['0', '4'] of trace, prune.fixed of a study"
    )
    assert len(trace(model, IMAGES, fixed=["0", "4"]).homes["2.weight"]) == 6


def test_networks_that_cannot_be_traced_run_or_cut_say_so() -> None:
    with pytest.raises(UsageError, match=r"Net cannot be traced by torch.fx"):
        trace(Net(lambda net, x: net.a(x) if x.sum() > 0 else net.b(net.a(x))), IMAGES)
    with pytest.raises(UsageError, match=r"Net does not run on \(1, 3, 9, 9\)"):
        trace(Net(lambda net, x: net.head(net.a(x).flatten(1)), 64), torch.zeros(1, 3, 9, 9))
    masked = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    prune.l1_unstructured(masked[0], "weight", 0.5)
    with pytest.raises(UsageError, match=r"weight of 0 .*make it permanent"):
        trace(masked, torch.zeros(1, 2))
    parametrized = nn.Sequential(parametrizations.weight_norm(nn.Linear(2, 3)), nn.Linear(3, 1))
    with pytest.raises(UsageError, match=r"weight of 0 .*make it permanent"):
        trace(parametrized, torch.zeros(1, 2))


def test_the_network_is_left_as_it_was() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout(), nn.Conv2d(4, 2, 1))
    model[1].eval()
    before = copy.deepcopy(model.state_dict())
    state = torch.get_rng_state()
    trace(model, torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0)))
    assert torch.equal(state, torch.get_rng_state())
    assert [module.training for module in model] == [True, False, True, True]
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_several_inputs_and_outputs_are_followed() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left, self.right, self.joint = nn.Linear(2, 3), nn.Linear(4, 3), nn.Linear(3, 2)

        def forward(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
            left = self.left(x)
            return {"joint": self.joint(torch.relu(left + self.right(y))), "x": x}

    graph = trace(Two(), (torch.zeros(1, 2), torch.zeros(1, 4)))
    assert units(graph, "left") == units(graph, "right") == [0, 1, 2]
    assert graph.fixed.tolist() == [False] * 3 + [True] * 2


@pytest.mark.parametrize(
    ("network", "side", "prunable"),
    [
        ("lenet5", (1, 28), 20 + 50 + 500),
        ("vgg16_bn(width=0.125)", (3, 32), 2 * 8 + 2 * 16 + 3 * 32 + 6 * 64),
        # First layers of 9 blocks; the residual stream's 16 channels reach all stages, as zeros
        # are appended to it, and what is added to zeros is fixed.
        ("resnet20", (3, 32), 3 * (16 + 32 + 64) + 16),
    ],
)
def test_filters_that_can_be_removed_from_known_networks(
    network: str, side: tuple[int, int], prunable: int
) -> None:
    channels, size = side
    graph = trace(lottery.build(network), torch.zeros(1, channels, size, size))
    assert sum(len(own) for own in graph.homes.values()) == prunable
