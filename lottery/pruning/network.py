"""The network that is ranked, and its derivatives: what criteria on gradients are made of."""

import copy
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from lottery.errors import DivergedError
from lottery.pruning.masks import Masks

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
    ) -> None:
        """model: maps images (batch, ...) to logits. state: its parameters and buffers. images and
        labels: one batch, on the model's device. masks: what is pruned already.
        """
        self._model = model
        self._state = state
        self._batch = images, labels
        self._masks = Masks.ones(model) if masks is None else masks
        self._found: dict[object, Gradients] = {}

    def under(self, masks: Masks) -> "Network":
        """The same network with other masks."""
        return Network(self._model, self._state, *self._batch, masks)

    def loss_gradient(self) -> Gradients:
        """Gradient of the mean cross-entropy over the images."""
        return self._once("loss", self._loss_gradient)

    def hessian_gradient(self, temperature: float = 1.0) -> Gradients:
        """Hg, for gradient g and Hessian H of the mean cross-entropy of logits / temperature.

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

    def _once(self, key: object, compute: Callable[[], Gradients]) -> Gradients:
        if key not in self._found:
            with torch.enable_grad():
                self._found[key] = compute()
        return self._found[key]

    def _loss_gradient(self) -> Gradients:
        model, (images, labels) = self._with_batch_statistics(), self._batch
        return self._gradients(F.cross_entropy(model(images), labels), model)

    def _hessian_gradient(self, temperature: float) -> Gradients:
        model, (images, labels) = self._with_batch_statistics(), self._batch
        loss = F.cross_entropy(model(images) / temperature, labels)
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
        found = torch.autograd.grad(
            value, parameters, create_graph=differentiable, materialize_grads=True
        )
        if not all(bool(gradient.isfinite().all()) for gradient in found):
            raise DivergedError("derivatives of the network to prune are not finite numbers")
        return dict(zip(self._masks, found, strict=True))
