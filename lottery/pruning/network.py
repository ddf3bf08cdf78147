"""The network that is ranked, its derivatives and activity: what criteria on data are made of."""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from lottery.errors import ConfigError, DivergedError
from lottery.objectives import CLASSIFICATION, Objective
from lottery.pruning.masks import Masks
from lottery.pruning.responses import Activity, Responses

T = TypeVar("T")
Gradients = dict[str, Tensor]
"""By parameter name; zero where the result does not depend on the parameter."""


class Network:
    """A network in one state and some training images. The model it is made of is left alone.

    Derivatives are with respect to the masked parameters, pruned ones included, at weights of which
    the pruned are zero. Each is computed once, for all layers.
    """

    def __init__(
        self,
        model: nn.Module,
        state: Mapping[str, Tensor],
        images: Tensor,
        labels: Tensor,
        masks: Masks | None = None,
        objective: Objective = CLASSIFICATION,
    ) -> None:
        """model: maps images (batch, ...) to what the objective takes. state: its parameters and
        buffers. images and labels: one batch, on the model's device. masks: what is pruned already.
        objective: whose loss is differentiated.
        """
        self._model = model
        self._state = state
        self._batch = images, labels
        self._masks = Masks.ones(model) if masks is None else masks
        self._objective = objective
        self._found: dict[object, object] = {}

    def under(self, masks: Masks) -> "Network":
        """The same network with other masks."""
        return Network(self._model, self._state, *self._batch, masks, self._objective)

    def loss_gradient(self) -> Gradients:
        """Gradient of the mean loss over the images."""
        return self._once("loss", self._loss_gradient)

    def hessian_gradient(self, temperature: float = 1.0) -> Gradients:
        """Hg, for gradient g and Hessian H of the mean loss of outputs / temperature.

        g is that of kept weights alone, so this is half the gradient of g's squared norm.
        """
        return self._once(temperature, lambda: self._hessian_gradient(temperature))

    def flow_gradient(self) -> Gradients:
        """Gradient, in float64, of the flow R with respect to absolute weights.

        R is the sum of outputs for one input of ones where all parameters are their absolute
        values: with ReLUs, the sum over all paths of the product of their weights. Batch norm's
        running statistics are used and left as they are, as their means may be below 0.
        """
        return self._once("flow", self._flow_gradient)

    def loss_gradients(self, batches: int) -> list[Gradients]:
        """Gradient of the mean loss over each of as many mini-batches of the images."""

        def compute() -> list[Gradients]:
            model = self._with_batch_statistics()
            return [self._loss_gradient_on(model, *batch) for batch in self._batches(batches)]

        return self._once(("loss", batches), compute)

    def gate_gradients(self, batches: int) -> dict[str, list[Tensor]]:
        """Per mini-batch, ∂L/∂g of gates g = 1 that multiply a layer's outputs: (images, filters).

        By the layer's weight's name. A gate stands behind the batch norm that follows the layer, if
        one does, and is one for all positions of an image: its gradient is the sum over positions
        of z · ∂L/∂z. L is the mini-batch's mean loss.
        """
        return self._once(("gates", batches), lambda: self._gate_gradients(batches))

    def activity(self) -> dict[str, Activity]:
        """How active the filters of layers are on the images, by their weights' names.

        After the activation function, where nothing but batch norm, pooling and dropout stands
        between it and the layer; before it elsewhere.
        """
        return self._once("activity", lambda: self._forward().activity)

    def scales(self) -> dict[str, Tensor]:
        """Scales γ of the batch norms that follow layers, by the layers' weights' names."""
        return self._once("scales", lambda: self._forward().scales)

    def _once(self, key: object, compute: Callable[[], T]) -> T:
        if key not in self._found:
            with torch.enable_grad():
                self._found[key] = compute()
        return cast(T, self._found[key])

    def _batches(self, count: int) -> list[tuple[Tensor, Tensor]]:
        images, labels = self._batch
        if not 1 <= count <= len(labels) // 2:
            allowed = f"1 to {len(labels) // 2}, half the number of images (prune.images)"
            raise ConfigError("criterion option batches", count, allowed)
        parts = images.tensor_split(count), labels.tensor_split(count)
        return list(zip(*parts, strict=True))

    def _forward(self) -> Responses:
        model = self._with_batch_statistics()
        with Responses(model) as responses, torch.no_grad():
            model(self._batch[0])
        return responses

    def _gate_gradients(self, batches: int) -> dict[str, list[Tensor]]:
        model = self._with_batch_statistics()
        found: dict[str, list[Tensor]] = {}
        for images, labels in self._batches(batches):
            with Responses(model, gates=True) as responses:
                loss = self._objective.loss(model(images), labels)
            uses = [(name, gate) for name, gates in responses.gates.items() for gate in gates]
            slopes = _finite_gradients(loss, [gate for _, gate in uses])
            sums: dict[str, Tensor] = {}
            for (name, _), slope in zip(uses, slopes, strict=True):
                sums[name] = sums[name] + slope if name in sums else slope
            for name, slope in sums.items():
                found.setdefault(name, []).append(slope)
        return found

    def _loss_gradient(self) -> Gradients:
        return self._loss_gradient_on(self._with_batch_statistics(), *self._batch)

    def _loss_gradient_on(self, model: nn.Module, images: Tensor, labels: Tensor) -> Gradients:
        return self._gradients(self._objective.loss(model(images), labels), model)

    def _hessian_gradient(self, temperature: float) -> Gradients:
        model, (images, labels) = self._with_batch_statistics(), self._batch
        loss = self._objective.loss(model(images) / temperature, labels)
        gradients = self._gradients(loss, model, differentiable=True)
        kept = [gradient * self._masks[name] for name, gradient in gradients.items()]
        product = torch.stack([(gradient * gradient.detach()).sum() for gradient in kept]).sum()
        return self._gradients(product, model)

    def _flow_gradient(self) -> Gradients:
        model = self._copy().double()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.abs_()
        ones = torch.ones_like(self._batch[0][:1], dtype=torch.float64)
        return self._gradients(model(ones).sum(), model)

    def _copy(self) -> nn.Module:
        """The network in eval mode, with its masks applied."""
        model = copy.deepcopy(self._model)
        model.load_state_dict(self._state)
        self._masks.apply(model)
        return model.requires_grad_().eval()

    def _with_batch_statistics(self) -> nn.Module:
        """A copy whose batch norm sees the images alone, as in training; dropout is off.

        Running statistics of an untrained network say nothing, and chance has no place in a score.
        """
        model = self._copy()
        for module in model.modules():
            if isinstance(module, _BatchNorm):
                module.train()
        return model

    def _gradients(
        self, value: Tensor, model: nn.Module, differentiable: bool = False
    ) -> Gradients:
        parameters = [model.get_parameter(name) for name in self._masks]
        found = _finite_gradients(value, parameters, differentiable)
        return dict(zip(self._masks, found, strict=True))


def _finite_gradients(
    value: Tensor, tensors: Sequence[Tensor], differentiable: bool = False
) -> tuple[Tensor, ...]:
    """Gradients by tensors; zero where the value does not depend on one."""
    found = torch.autograd.grad(value, tensors, create_graph=differentiable, materialize_grads=True)
    if not all(bool(gradient.isfinite().all()) for gradient in found):
        raise DivergedError("derivatives of the network to prune are not finite numbers")
    return found
