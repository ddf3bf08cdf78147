"""The written-out layers compute what autograd computes, dense and in CSR."""

from collections import OrderedDict

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from lottery.models import build
from lottery.training import head
from lottery.training.head import CsrLayer, DenseLayer, Trained, has_csr_kernels, split_head


@settings(deadline=None)  # the first use of a kernel takes its time
@given(
    outputs=st.integers(1, 7),
    inputs=st.integers(1, 9),
    batch=st.integers(1, 6),
    density=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    bias=st.booleans(),
    negative_slope=st.sampled_from([None, 0.0, 0.05, 1.5]),
    csr=st.booleans(),
    seed=st.integers(0, 99),
)
def test_a_layer_and_its_gradients_are_those_of_autograd(
    outputs, inputs, batch, density, bias, negative_slope, csr, seed
):
    chance = torch.Generator().manual_seed(seed)
    mask = torch.rand(outputs, inputs, generator=chance) < density
    weight = (torch.randn(outputs, inputs, generator=chance) * mask).requires_grad_()
    shift = torch.randn(outputs, generator=chance).requires_grad_()
    x = torch.randn(batch, inputs, generator=chance).requires_grad_()
    slope = torch.randn(batch, outputs, generator=chance)
    output = F.linear(x, weight, shift if bias else None)
    output = output if negative_slope is None else F.leaky_relu(output, negative_slope)
    output.backward(slope)

    shifts = Trained(shift.detach(), torch.full((outputs,), 9.0)) if bias else None
    if csr:
        kept = mask.flatten().nonzero().squeeze(1)
        weights = Trained(weight.detach()[mask], torch.full((len(kept),), 9.0))
        options = {"kept": kept, "shape": weight.shape}
        layer = CsrLayer(weights, shifts, negative_slope=negative_slope, **options)
    else:
        weights = Trained(weight.detach(), torch.full(weight.shape, 9.0), mask.float())
        layer = DenseLayer(weights, shifts, negative_slope=negative_slope)
    columns = x.detach().t().contiguous()
    found = layer.forward(columns)
    torch.testing.assert_close(found.t(), output.detach())
    before_relu = layer.backward(slope.t().contiguous(), columns, found)
    gradient = weight.grad * mask
    torch.testing.assert_close(weights.gradient, gradient[mask] if csr else gradient)
    if shifts:
        torch.testing.assert_close(shifts.gradient, shift.grad)
    torch.testing.assert_close(layer.input_slope(before_relu).t(), x.grad)


def test_a_csr_layer_computes_with_the_values_as_they_are_now():
    values = torch.tensor([1.0, 2.0])
    layer = CsrLayer(
        Trained(values, torch.zeros(2)),
        None,
        negative_slope=None,
        kept=torch.tensor([0, 3]),
        shape=(2, 2),
    )
    values.mul_(10)
    ones = torch.ones(2, 1)
    assert layer.forward(ones).flatten().tolist() == [10, 20]
    assert layer.input_slope(ones).flatten().tolist() == [10, 20]


def names(model: nn.Module) -> tuple[list[type], list[tuple[str, float | None]]]:
    trunk, layers = split_head(model)
    return [type(part) for part in trunk], [(layer.name, layer.negative_slope) for layer in layers]


def test_all_of_lenet_is_head_and_of_a_conv_net_what_follows_the_pooling():
    assert names(build("lenet_300_100")) == ([], [("fc1", 0), ("fc2", 0), ("fc3", None)])
    leaky = build("lenet_300_100(negative_slope=0.05)")
    assert names(leaky) == ([], [("fc1", 0.05), ("fc2", 0.05), ("fc3", None)])
    trunk, layers = names(build("conv2"))
    assert trunk == [nn.Conv2d, nn.ReLU, nn.Conv2d, nn.ReLU, nn.MaxPool2d]
    assert layers == [("fc1", 0), ("fc2", 0), ("fc3", None)]


def test_networks_within_networks_and_a_relu_used_twice_are_read_in_order():
    relu = nn.ReLU()
    inner = nn.Sequential(OrderedDict(a=nn.Linear(6, 5), r=relu, b=nn.Linear(5, 4)))
    model = nn.Sequential(OrderedDict(inner=inner, r=relu, c=nn.Linear(4, 3), end=nn.ReLU()))
    assert names(model) == ([], [("inner.a", 0), ("inner.b", 0), ("c", 0)])


@pytest.mark.parametrize(
    ("parts", "trunk", "head_layers"),
    [
        ([nn.Linear(4, 4), nn.Dropout(), nn.Linear(4, 3)], [nn.Linear, nn.Dropout], ["2"]),
        ([nn.ReLU(), nn.Linear(4, 3)], [nn.ReLU], ["1"]),
        ([nn.ReLU(), nn.ReLU(), nn.Linear(4, 3)], [nn.ReLU, nn.ReLU], ["2"]),
        ([nn.Linear(4, 3), nn.ReLU(), nn.ReLU()], [nn.Linear, nn.ReLU, nn.ReLU], []),
        ([nn.Linear(4, 3), nn.Softmax(1)], [nn.Linear, nn.Softmax], []),
        ([nn.Linear(4, 3), nn.Flatten()], [nn.Linear, nn.Flatten], []),
        ([nn.Flatten(), nn.Flatten(), nn.Linear(4, 3)], [nn.Flatten], ["2"]),
        ([nn.ReLU()], [nn.ReLU], []),
        ([], [], []),
    ],
)
def test_the_head_ends_where_something_else_than_linear_and_relu_begins(parts, trunk, head_layers):
    found, layers = names(nn.Sequential(*parts))
    assert found == trunk
    assert [name for name, _ in layers] == head_layers


def test_a_network_that_does_not_say_what_follows_what_has_no_head(own):
    class Scaled(nn.Sequential):
        def forward(self, x):
            return 2 * super().forward(x)

    class OwnLinear(nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    for model in (own(), Scaled(nn.Linear(4, 3)), nn.Sequential(OwnLinear(4, 3)), nn.Linear(4, 3)):
        assert split_head(model)[1] == []


def test_kernels_that_are_missing_or_wrong_are_noticed(monkeypatch):
    assert has_csr_kernels()
    for broken in (RuntimeError("not built with MKL"), None):

        def sampled_addmm(matrix, *args, broken=broken, **options):
            if broken:
                raise broken
            return matrix

        monkeypatch.setattr(head.torch.sparse, "sampled_addmm", sampled_addmm)
        has_csr_kernels.cache_clear()
        assert not has_csr_kernels()
        monkeypatch.undo()
        has_csr_kernels.cache_clear()
