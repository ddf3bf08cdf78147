"""Other schemes for the first and the output layer: where in a network a scheme matters."""

from collections.abc import Callable
from typing import TypeVar

from torch import nn

from lottery.errors import within
from lottery.init.network import NetworkDraw, Weights, layers, network_scheme
from lottery.init.schemes import SCHEMES

T = TypeVar("T")


@SCHEMES.register
@network_scheme
def by_layer(
    draw: NetworkDraw, rest: str, first: str | None = None, output: str | None = None
) -> Weights:
    """`first` in the first layer, `output` in the last, `rest` (the default of both) in between.

    Every layer has the weights that its scheme would give it in a network of that scheme alone. A
    network's only layer is its output.
    """
    return choose_by_layer(draw.model, draw.weights, rest, first, output)


def choose_by_layer(
    model: nn.Module,
    values: Callable[[str], dict[str, T]],
    rest: str,
    first: str | None = None,
    output: str | None = None,
) -> dict[str, T]:
    """Of the values by layer that `values` gives for each scheme, those of the layer's scheme."""
    found = layers(model)
    modules = list(found.values())
    schemes = dict.fromkeys(found, rest)
    # A weight that layers share is one layer, in the place where it comes first.
    own = [m for i, m in enumerate(modules) if all(m.weight is not n.weight for n in modules[:i])]
    for position, scheme in ((0, first), (-1, output)):
        if scheme is not None and (position == -1 or len(own) > 1):
            schemes |= {n: scheme for n, m in found.items() if m.weight is own[position].weight}
    by_scheme: dict[str, dict[str, T]] = {}
    for option, scheme in {"rest": rest, "first": first, "output": output}.items():
        if scheme is not None and scheme in schemes.values() and scheme not in by_scheme:
            with within(f"by_layer's {option}"):
                by_scheme[scheme] = values(scheme)
    return {name: by_scheme[scheme][name] for name, scheme in schemes.items()}
