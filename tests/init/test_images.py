"""What schemes take from training images: widths of inputs, and unit variance of outputs."""

import math

import pytest
import torch
from torch import nn

from lottery import build
from lottery.data.images import Examples
from lottery.errors import ConfigError
from lottery.init import initialise
from lottery.init.images import input_deviations


def examples(images: torch.Tensor) -> Examples:
    return Examples(images, torch.zeros(len(images), dtype=torch.int64))


def digits(count: int = 60) -> Examples:
    """Pixels 0 to 255 of 4 × 4; the border is black but for one faint pixel in one image."""
    pixels = torch.zeros(count, 4, 4, dtype=torch.uint8)
    stream = torch.Generator().manual_seed(0)
    pixels[:, 1:3, 1:3] = torch.randint(0, 256, (count, 2, 2), generator=stream).byte()
    pixels[7, 0, 0] = 3
    return examples(pixels)


def mlp(inputs: int = 16) -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(inputs, 400), nn.ReLU(), nn.Linear(400, 50), nn.ReLU()
    )


def test_columns_of_constant_pixels_are_zero_and_others_go_with_the_inverse_deviation():
    data = digits()
    base = initialise(mlp(), "normal(0.2)", 3)[1].weight.detach()
    model = initialise(mlp(), "data_aware_first(base=normal(0.2), floor=0.25)", 3, examples=data)
    weight = model[1].weight.detach()
    deviations = data.images.flatten(1).double().div(255).std(0, correction=0)
    dark = deviations == 0
    assert int(dark.sum()) == 11
    assert (weight[:, dark] == 0).all()
    factors = (weight / base)[:, ~dark].double()
    torch.testing.assert_close(factors, factors[:1].expand_as(factors), rtol=1e-4, atol=0)
    expected = 1 / (deviations + 0.25 * deviations.max())[~dark]
    torch.testing.assert_close(
        factors[0] / factors[0, 0], expected / expected[0], rtol=1e-4, atol=0
    )
    assert float(weight.square().mean().sqrt()) == pytest.approx(
        float(base.square().mean().sqrt()), rel=1e-5
    )
    other = initialise(mlp(), "normal(0.2)", 3)
    assert torch.equal(model[3].weight, other[3].weight)


def test_a_pixel_that_hardly_ever_varies_does_not_outweigh_the_rest():
    weight = initialise(mlp(), "data_aware_first", examples=digits())[1].weight
    faint, bright = weight[:, 0].norm(), weight[:, 5].norm()
    assert 5 < faint / bright < 11.1


def test_deviations_are_of_all_images_however_many_and_exact_for_constant_ones():
    images = torch.rand(2300, 3, 5, generator=torch.Generator().manual_seed(1))
    images[:, 1, 1] = 0.1  # whose sums are not exact
    found = input_deviations(nn.Linear(15, 2), examples(images))
    expected = images.flatten(1).double().std(0, correction=0)
    expected[6] = 0
    torch.testing.assert_close(found, expected)
    assert found[6] == 0


def test_inputs_of_a_convolution_are_channels():
    stream = torch.Generator().manual_seed(2)
    images = torch.randint(0, 256, (40, 6, 6, 3), generator=stream, dtype=torch.uint8)
    images[..., 1] //= 4
    images[..., 2] = 7
    found = input_deviations(nn.Conv2d(3, 4, 3), examples(images))
    expected = images.double().div(255).flatten(0, 2).std(0, correction=0)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)
    model = initialise(nn.Conv2d(3, 4, 3), "data_aware_first", examples=examples(images))
    norms = model.weight.detach().square().sum(dim=(0, 2, 3)).sqrt()
    assert norms[2] == 0
    assert norms[1] > 2 * norms[0]


@pytest.mark.parametrize("first", [nn.Linear(15, 2), nn.Conv2d(2, 4, 3)])
def test_a_first_layer_that_does_not_see_the_images_is_refused(first):
    with pytest.raises(ConfigError, match="inputs'; allowed: a network whose first layer sees"):
        initialise(first, "data_aware_first", examples=digits())


def test_images_that_are_all_alike_and_a_negative_floor_are_refused():
    alike = examples(torch.full((5, 4, 4), 9, dtype=torch.uint8))
    with pytest.raises(ConfigError, match="images that differ"):
        initialise(mlp(), "data_aware_first", examples=alike)
    with pytest.raises(ConfigError, match="floor is -1; allowed: at least 0"):
        initialise(mlp(), "data_aware_first(floor=-1)", examples=digits())


# Layer-sequential unit variance


class Heard:
    """Outputs of the layers of a network for some images."""

    def __init__(self, model: nn.Module, images: torch.Tensor) -> None:
        self.outputs: dict[str, torch.Tensor] = {}
        for name, module in model.named_modules():
            if isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d)):
                module.register_forward_hook(
                    lambda _, __, output, name=name: self.outputs.__setitem__(name, output)
                )
        with torch.no_grad():
            model.eval()(images)


@pytest.mark.parametrize("base", ["orthogonal", "normal(3)", "uniform(0.001)", "sign_constant"])
def test_every_layer_has_outputs_of_unit_variance(base):
    colours = torch.rand(64, 32, 32, 3, generator=torch.Generator().manual_seed(0))
    data = examples((colours * 255).byte())
    model = build("conv2(width=0.1)")
    initialise(model, f"lsuv(base={base}, images=64)", examples=data)
    heard = Heard(model, data.batch(slice(None))[0])
    assert list(heard.outputs) == ["conv1", "conv2", "fc1", "fc2", "fc3"]
    for name, output in heard.outputs.items():
        assert float(output.var(correction=0)) == pytest.approx(1, abs=0.01), name


def test_layers_keep_the_direction_of_the_base_scheme(plain, data):
    base = initialise(plain(), "orthogonal", 5)
    model = initialise(plain(), "lsuv", 5, examples=data.train)
    for index in (0, 2, 4):
        ratio = (model[index].weight / base[index].weight).detach()
        torch.testing.assert_close(ratio, ratio.mean().expand_as(ratio), rtol=1e-4, atol=0)
        assert not math.isclose(float(ratio.mean()), 1, rel_tol=1e-3)


def test_two_passes_are_enough_whatever_the_depth(data):
    passes = []
    model = nn.Sequential(*(nn.Linear(6, 6) for _ in range(9)))
    model.register_forward_hook(lambda *_: passes.append(1))
    initialise(model, "lsuv(base=normal(5))", examples=data.train)
    assert len(passes) == 2  # one that rescales and one that finds nothing to do


class Backwards(nn.Module):
    """Runs its layers in another order than that of their names, one of them twice."""

    def __init__(self) -> None:
        super().__init__()
        self.last, self.unused = nn.Linear(6, 3), nn.Linear(6, 6)
        self.first = nn.Linear(6, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(torch.relu(self.first(torch.relu(self.first(x)))))


def test_the_order_is_that_in_which_layers_run(data):
    # Widened after the layer before it is, the last layer has unit variance only in this order.
    model = initialise(Backwards(), "lsuv(base=normal(2))", 1, examples=data.train)
    heard = Heard(model, data.train.images)
    assert float(heard.outputs["last"].var(correction=0)) == pytest.approx(1, abs=0.01)
    unused = initialise(Backwards(), "normal(2)", 1).unused.weight
    assert torch.equal(model.unused.weight, unused)


def test_a_layer_without_signal_is_left_alone(plain, data):
    dark = Examples(torch.zeros_like(data.train.images), data.train.labels)
    model, base = initialise(plain(), "lsuv", examples=dark), initialise(plain(), "orthogonal")
    assert torch.equal(model[0].weight, base[0].weight)
    assert torch.isfinite(model[4].weight).all()


def test_another_draw_under_a_seed_looks_at_the_same_images(plain, data, monkeypatch):
    seen = []
    batch = Examples.batch

    def spy(self, index):
        seen.append(index)
        return batch(self, index)

    monkeypatch.setattr(Examples, "batch", spy)
    for seed, address in ((0, ("init",)), (0, ("reinit", 0, 3)), (1, ("init",))):
        initialise(plain(), "lsuv(images=20)", seed, address, data.train)
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[0], seen[2])
    assert len(seen[0]) == len(set(seen[0].tolist())) == 20
