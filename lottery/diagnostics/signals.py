"""What a network does with some images: its gradient, activations and dead units."""

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from lottery.data.images import Examples
from lottery.diagnostics.quantities import ALL, Quantities, ratios
from lottery.pruning.masks import Masks, prunable
from lottery.training.loop import in_batches

RECTIFIERS = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU)


def signals_at_start(model: nn.Module, masks: Masks, examples: Examples) -> Quantities:
    """Quantities of the weights that training starts from, in eval mode.

    gradient_norm: L2 norm of the mean loss's gradient on kept weights. gradient_flow: the squared
    norm over all parameters, pruned weights left out, which is what one small step of gradient
    descent takes off the loss, per unit of learning rate (Evci et al. 2022). activation_variance:
    of a layer's outputs before its activation, over units, images and positions.
    start_dead_units: see `dead_units`.
    """
    with _listening(model, masks) as heard:
        squares = _squared_gradient(model, masks, examples)
    weights = {name: squares[name] for name in masks}
    return {
        "gradient_norm": {
            name: value**0.5 for name, value in (weights | {ALL: sum(weights.values())}).items()
        },
        "gradient_flow": {ALL: sum(squares.values())},
        "activation_variance": heard.variances(),
        "start_dead_units": heard.dead_units(),
    }


def dead_units(model: nn.Module, masks: Masks, examples: Examples) -> dict[str, float]:
    """Share of a hidden layer's units whose activation is above 0 for none of the images.

    A layer's activation is the first module of type ReLU, ReLU6, LeakyReLU or PReLU to run after it
    and before the next masked layer; the units of layers without one are not counted. A
    convolution's units are its channels.
    """
    with _listening(model, masks) as heard, torch.no_grad():
        model.eval()
        for images, _ in in_batches(examples):
            model(images)
    return heard.dead_units()


def _squared_gradient(model: nn.Module, masks: Masks, examples: Examples) -> dict[str, float]:
    """Squared L2 norm of the mean loss's gradient by parameter, pruned weights left out."""
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    totals = {name: torch.zeros_like(parameter) for name, parameter in named.items()}
    model.eval()
    for images, labels in in_batches(examples):
        loss = examples.objective.loss(model(images).float(), labels)
        loss = loss * (len(labels) / len(examples))
        gradients = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
        for total, gradient in zip(totals.values(), gradients, strict=True):
            if gradient is not None:
                total += gradient
    for name, mask in masks.items():
        if name in totals:
            totals[name] *= mask
    squares = {name: float(total.double().square().sum()) for name, total in totals.items()}
    return dict.fromkeys(masks, 0.0) | squares


class _Heard:
    """Sums over the forward passes of a network, by layer."""

    def __init__(self) -> None:
        self._moments: dict[str, tuple[int, float, float]] = {}
        self._highest: dict[str, Tensor] = {}
        self._latest: tuple[str, int, int] | None = None

    def layer(self, name: str, module: nn.Module, output: Tensor) -> None:
        """A masked layer ran: `output` before its activation."""
        values = output.detach()
        count, total, square = self._moments.get(name, (0, 0.0, 0.0))
        self._moments[name] = (
            count + values.numel(),
            total + float(values.sum(dtype=torch.float64)),
            square + float(values.square().sum(dtype=torch.float64)),
        )
        dimension = values.dim() - 1 if isinstance(module, nn.Linear) else 1
        self._latest = name, dimension, values.shape[dimension]

    def activation(self, output: Tensor) -> None:
        """An activation ran: of the layer that ran last, if it is the first after it."""
        if self._latest is None:
            return
        (name, dimension, units), self._latest = self._latest, None
        if output.dim() <= dimension or output.shape[dimension] != units:
            return
        highest = output.detach().transpose(0, dimension).flatten(1).amax(dim=1)
        if name in self._highest:
            highest = torch.maximum(highest, self._highest[name])
        self._highest[name] = highest

    def variances(self) -> dict[str, float]:
        return {
            name: max(0.0, square / count - (total / count) ** 2)
            for name, (count, total, square) in self._moments.items()
        }

    def dead_units(self) -> dict[str, float]:
        found = {n: (int((h <= 0).sum()), len(h)) for n, h in self._highest.items()}
        return ratios(found) if found else {}


@contextlib.contextmanager
def _listening(model: nn.Module, masks: Masks) -> Iterator[_Heard]:
    """Follow the model's forward passes."""
    heard = _Heard()
    hooks = []
    for module in model.modules():
        if isinstance(module, RECTIFIERS):
            hooks.append(
                module.register_forward_hook(lambda _, __, output: heard.activation(output))
            )
    for name in prunable(model):
        if name not in masks:
            continue
        path = name.rpartition(".")[0]

        def listen(module: nn.Module, _: object, output: Tensor, name: str = name) -> None:
            heard.layer(name, module, output)

        hooks.append(model.get_submodule(path).register_forward_hook(listen))
    try:
        yield heard
    finally:
        for hook in hooks:
            hook.remove()
