"""Initialising a whole network, and schemes that need one: other layers, or training images.

A layer's weights come from a generator addressed by (seed, "init", layer name), so two normal
schemes under one seed draw the same numbers and differ in scale alone, and so do two uniform ones;
a normal and a uniform scheme share only the seed's data.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Generator, Tensor, nn

from lottery.data.images import Examples
from lottery.errors import ConfigError
from lottery.init.schemes import SCHEMES, Fans, fans
from lottery.returned import name_of, unlike
from lottery.seeds import Address, generator

F = TypeVar("F", bound=Callable[..., Any])
Scheme = str | Callable[..., Any]
LayerModule = nn.Linear | nn.modules.conv._ConvNd
Weights = dict[str, Tensor]
"""Values of the weights of linear and convolution layers, by the parameter's name, on the CPU."""


def network_scheme(function: F) -> F:
    """Declare a scheme that draws a whole network: (draw: NetworkDraw, options) -> Weights.

    Usable as a decorator, on functions of one's own too.
    """
    function.leading = 1  # type: ignore[attr-defined]
    return function


def is_network_scheme(function: Callable[..., Any]) -> bool:
    """Whether it was declared as one; other schemes draw layer by layer."""
    return getattr(function, "leading", SCHEMES.leading) == 1


def layers(model: nn.Module) -> dict[str, LayerModule]:
    """Linear and convolution layers by the name of their weight, in the order of the network."""
    return {
        f"{name}.weight" if name else "weight": module
        for name, module in model.named_modules()
        if isinstance(module, LayerModule)
    }


def layer_fans(module: LayerModule) -> Fans:
    """Fans of a linear or convolution layer."""
    transposed = isinstance(module, nn.modules.conv._ConvTransposeNd)
    return fans(module.weight, getattr(module, "groups", 1), transposed)


@dataclass(frozen=True)
class NetworkDraw:
    """One draw of a network's weights: what a scheme of whole networks has at hand."""

    model: nn.Module
    """To look at, or to copy; not to be changed."""
    seed: int = 0
    address: tuple[Address, ...] = ("init",)
    """With the seed, where random streams are found; another address is another draw."""
    examples: Examples | None = None
    """Training examples, if they are given."""
    seeds: tuple[int, ...] = field(default=())
    """All seeds that the scheme is to be used with."""

    def generator(self, layer: str, *purpose: Address) -> Generator:
        """The random stream of the layer with this weight."""
        return generator(self.seed, *self.address, layer.rpartition(".")[0], *purpose)

    @property
    def training(self) -> Examples:
        """The training examples; ConfigError if there are none."""
        if self.examples is None:
            raise ConfigError("examples", None, "training examples, as the scheme looks at them")
        return self.examples

    def images(self, count: int) -> Tensor:
        """Network input of `count` training images, the same for all draws under one seed."""
        training = self.training
        order = torch.randperm(len(training), generator=generator(self.seed, "init", "images"))
        return training.batch(order[:count].to(training.device))[0]

    def weights(self, scheme: Scheme) -> Weights:
        """All layers' weights by any scheme."""
        function = SCHEMES.resolve(scheme)
        if is_network_scheme(function):
            found = function(self)
        else:
            found = {
                name: function(module.weight.shape, layer_fans(module), self.generator(name))
                for name, module in layers(self.model).items()
            }
        if not isinstance(found, Mapping):
            allowed = f"a scheme that returns a dict of weights by layer, not {unlike(found)}"
            raise ConfigError("init", name_of(scheme), allowed)
        for name, module in layers(self.model).items():
            _check_weights(scheme, name, found.get(name), module.weight.shape)
        return dict(found)

    def try_twice(self, scheme: Scheme) -> None:
        """Draw by a scheme of which nothing is known; ConfigError unless it can be drawn again."""
        one, other = self.weights(scheme), self.weights(scheme)
        for name in layers(self.model):
            if not torch.equal(one[name], other[name]):
                allowed = (
                    "a scheme that takes its chance from the generator it is given: drawn twice "
                    f"from one seed, {name!r} differs"
                )
                raise ConfigError("init", name_of(scheme), allowed)


def _check_weights(scheme: Scheme, layer: str, drawn: object, shape: torch.Size) -> None:
    """Refuse what cannot be a layer's weights."""
    wrong = unlike(drawn, shape)
    if not wrong and isinstance(drawn, Tensor) and not drawn.isfinite().all():
        wrong = "NaN or infinite ones"
    if wrong:
        wanted = f"a tensor of finite weights of shape {tuple(shape)} for {layer!r}"
        allowed = f"a scheme that returns {wanted}, not {wrong}"
        raise ConfigError("init", name_of(scheme), allowed)


@torch.no_grad()
def initialise(
    model: nn.Module,
    scheme: Scheme = "xavier_normal",
    seed: int = 0,
    address: tuple[Address, ...] = ("init",),
    examples: Examples | None = None,
) -> nn.Module:
    """Set every linear and convolution layer of `model` by `scheme`, in place; biases to zero.

    scheme: a name such as "xavier_normal", a name with options such as "kaiming_normal(gain=1)",
        "module:function", or a function (shape, fans, generator) -> Tensor of that shape.
    seed, address: where the random streams are found, one per layer; another address is another
        draw under the same seed (the reinit control).
    examples: the training examples, on the model's device, for schemes that look at them.
    Other parameters (batch norm, embeddings) are left as they are.
    """
    weights = NetworkDraw(model, seed, address, examples).weights(scheme)
    for name, module in layers(model).items():
        module.weight.copy_(weights[name])
        if module.bias is not None:
            module.bias.zero_()
    return model


def root_mean_square(weights: Tensor) -> float:
    """√mean(w²): the standard deviation of weights whose distribution has mean zero."""
    return float(weights.double().square().mean().sqrt())
