"""Layer by layer: the table of Han et al. (2015, arXiv 1506.02626, tables 3 to 6)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd


@dataclass(frozen=True)
class LayerCost:
    """A convolution or linear layer, for one example."""

    name: str
    weights: int
    """Weights, without biases."""
    nonzero: int
    """Weights that are not zero."""
    macs: int
    """Multiply-accumulates, by the size of the output and without biases."""
    activations: int
    """Values that the next layer to run reads, after activation and pooling; the last's outputs."""
    active: float
    """Act %: mean fraction of these that are not zero."""
    inputs_active: float
    """Act % of the layer before; 1 for the first, whose images count in full."""

    @property
    def weights_remaining(self) -> float:
        """Weights %: fraction of weights that are not zero."""
        return self.nonzero / self.weights if self.weights else 0.0

    @property
    def flop_remaining(self) -> float:
        """FLOP %: what is left where zero weights and zero inputs are skipped."""
        return self.weights_remaining * self.inputs_active


@dataclass
class _Seen:
    macs: int = 0
    inputs: int = 0
    inputs_nonzero: int = 0
    outputs: int = 0
    outputs_nonzero: int = 0


def layer_costs(model: nn.Module, images: Tensor) -> tuple[LayerCost, ...]:
    """The layers in order of use, from one run of the model in the mode it is in.

    images: (batch, ...), over which activations are averaged. A layer used several times counts
    each time.
    """
    seen: dict[str, _Seen] = {}
    modules = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, (nn.Linear, _ConvNd))
    }
    hooks = []
    for name, module in modules.items():

        def listen(
            layer: nn.Module, args: tuple[Tensor, ...], out: Tensor, name: str = name
        ) -> None:
            found = seen.setdefault(name, _Seen())
            found.macs += _macs(layer, args[0], out)
            found.inputs += args[0].numel()
            found.inputs_nonzero += int(args[0].count_nonzero())
            found.outputs += out.numel()
            found.outputs_nonzero += int(out.count_nonzero())

        hooks.append(module.register_forward_hook(listen))
    try:
        with torch.no_grad():
            model(images)
    finally:
        for hook in hooks:
            hook.remove()
    return _table(seen, modules, len(images))


def _macs(layer: nn.Module, value: Tensor, out: Tensor) -> int:
    assert isinstance(layer.weight, Tensor)
    if isinstance(layer, _ConvTransposeNd):  # every input value meets a column of the weight
        return value.numel() * layer.weight[0].numel()
    return out.numel() * layer.weight[0].numel()


def _table(
    seen: Mapping[str, _Seen], modules: Mapping[str, nn.Module], examples: int
) -> tuple[LayerCost, ...]:
    layers: list[LayerCost] = []
    order = list(seen.items())
    for position, (name, own) in enumerate(order):
        if position + 1 < len(order):
            following = order[position + 1][1]
            values, nonzero = following.inputs, following.inputs_nonzero
        else:
            values, nonzero = own.outputs, own.outputs_nonzero
        weight = modules[name].weight
        assert isinstance(weight, Tensor)
        layers.append(
            LayerCost(
                name=name,
                weights=weight.numel(),
                nonzero=int(weight.count_nonzero()),
                macs=own.macs // examples,
                activations=values // examples,
                active=nonzero / values if values else 0.0,
                inputs_active=layers[-1].active if layers else 1.0,
            )
        )
    return tuple(layers)


def printed(layers: Sequence[LayerCost]) -> str:
    """The table as text, with its last row for the whole network."""
    rows = [("layer", "weights", "FLOP", "Act %", "Weights %", "FLOP %")]
    for layer in layers:
        rows.append(
            (
                layer.name,
                f"{layer.weights:,}",
                f"{2 * layer.macs:,}",
                f"{layer.active:.0%}",
                f"{layer.weights_remaining:.0%}",
                f"{layer.flop_remaining:.0%}",
            )
        )
    weights = sum(layer.weights for layer in layers)
    macs = sum(layer.macs for layer in layers)
    values = sum(layer.activations for layer in layers)
    rows.append(
        (
            "total",
            f"{weights:,}",
            f"{2 * macs:,}",
            f"{_ratio(sum(layer.active * layer.activations for layer in layers), values):.0%}",
            f"{_ratio(sum(layer.nonzero for layer in layers), weights):.0%}",
            f"{_ratio(sum(layer.flop_remaining * layer.macs for layer in layers), macs):.0%}",
        )
    )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )


def _ratio(part: float, whole: int) -> float:
    return part / whole if whole else 0.0
