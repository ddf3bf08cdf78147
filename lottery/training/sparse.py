"""The sparse engine: on a CPU, linear layers that masks have emptied are trained in CSR.

It speeds up the head of an `nn.Sequential`: the linear layers and (leaky) ReLUs it ends in, which
may be all of it. Layers less dense than `CSR_DENSITY` run in CSR, the others dense, so layers
switch one by one. None of them is left to autograd, whose overhead is a good part of a small
network's step; what comes before the head (convolutions, say) is.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lottery.objectives import Metrics
from lottery.pruning.masks import Masks
from lottery.training.head import (
    CsrLayer,
    DenseLayer,
    HeadLayer,
    Layer,
    Trained,
    has_csr_kernels,
    split_head,
)
from lottery.training.loop import evaluate, noise
from lottery.training.replicas import has_hooks
from lottery.training.segment import Segment
from lottery.training.updates import make_update

CSR_DENSITY = 0.2
"""Density below which a linear layer runs in CSR.

`experiments/benchmark.py` measures where both are equal: from 0.18 (16384×256) to 0.25 (784×300). A
last layer of ten outputs never gains, and loses some 6 µs a step."""


def obstacle(model: nn.Module, precision: str = "float32") -> str | None:
    """Why this engine cannot train `model`; None if it can."""
    parameters = list(model.parameters())
    if precision != "float32":
        return "it computes in float32 only"
    if not has_csr_kernels():
        return "this build of PyTorch lacks the CSR kernels"
    if any(parameter.device.type != "cpu" for parameter in parameters):
        return "it runs on CPUs only"
    if any(parameter.dtype != torch.float32 for parameter in parameters):
        return "it computes in float32 only"
    if len(parameters) < len(list(model.named_parameters(remove_duplicate=False))):
        return "layers share weights"
    if has_hooks(model):
        return "layers or weights have hooks"
    head = split_head(model)[1]
    if not head:
        return "the network is not an nn.Sequential that ends in linear layers and ReLUs"
    weights = [parameter for layer in head for parameter in layer.linear.parameters()]
    if not all(parameter.requires_grad for parameter in weights):
        return "some of its last layers' weights are frozen"
    if not all(parameter.is_contiguous() for parameter in weights):
        return "weights are not contiguous in memory"
    return None


def pays(model: nn.Module, masks: Masks) -> bool:
    """Whether the engine is faster than the reference: with a head alone, or one in CSR."""
    trunk, head = split_head(model)
    return len(trunk) == 0 or any(_in_csr(masks, f"{layer.name}.weight") for layer in head)


def _in_csr(masks: Masks, name: str) -> bool:
    return name in masks and masks.densities[name] < CSR_DENSITY


def run_sparse(segments: Sequence[Segment]) -> list[list[Metrics]]:
    """Work off one segment after the other."""
    results = []
    for segment in segments:
        with noise(segment.noise, torch.device("cpu")):
            network = CompactNetwork(segment.model, segment.masks, segment.optimizer)
            network.train_steps(segment)
            results.append([evaluate(network, part) for part in segment.examples])
            network.write_back()
    return results


Pieces = dict[Tensor, Tensor]
"""A tensor of numbers by parameter."""


class Compact:
    """Some parameters as one vector of what is trained of them.

    kept: positions in the flattened parameter, ascending, that the vector has; None for all.
    """

    def __init__(self, kept: dict[Tensor, Tensor | None]) -> None:
        self.kept = kept
        self._sizes = [p.numel() if at is None else len(at) for p, at in kept.items()]

    def gather(self, tensors: Pieces) -> Tensor:
        """A vector out of a tensor like each parameter."""
        flat = [(tensors[p].detach().view(-1), at) for p, at in self.kept.items()]
        return torch.cat([f if at is None else f.index_select(0, at) for f, at in flat])

    def pieces(self, vector: Tensor) -> dict[Tensor, Tensor]:
        """The part of a vector that belongs to each parameter."""
        return dict(zip(self.kept, vector.split(self._sizes), strict=True))

    def scatter(self, vector: Tensor, tensors: Pieces) -> None:
        """Write a vector into a tensor like each parameter; what is not kept stays as it is."""
        for parameter, piece in self.pieces(vector).items():
            at, flat = self.kept[parameter], tensors[parameter].detach().view(-1)
            flat.copy_(piece) if at is None else flat.index_copy_(0, at, piece)


class CompactNetwork(nn.Module):
    """A network whose head is written out, and whose optimiser knows nothing of dead weight.

    What is trained of the head is one vector, as are its gradients and each of the optimiser's
    memories of it, so that the optimiser has one tensor to update. The trunk is the model's own.
    """

    def __init__(self, model: nn.Module, masks: Masks, optimizer: Optimizer) -> None:
        """masks: already applied to `model` and `optimizer`."""
        super().__init__()
        self.trunk, head = split_head(model)
        self._model, self._masks, self._source = model, masks, optimizer
        kept: dict[Tensor, Tensor | None] = {}
        for layer in head:
            for name, parameter in layer.linear.named_parameters(layer.name):
                csr = parameter is layer.linear.weight and _in_csr(masks, name)
                kept[parameter] = masks[name].view(-1).nonzero().squeeze(1) if csr else None
                parameter.grad = None  # so that the optimiser's own step passes over it
        self._compact = Compact(kept)
        self._values = self._compact.gather({parameter: parameter for parameter in kept})
        gradient = torch.zeros_like(self._values)
        values, gradients = map(self._compact.pieces, (self._values, gradient))
        self._layers = [self._layer(layer, values, gradients) for layer in head]
        self._memories = self._gathered_memories()
        self._update = make_update(optimizer, self._values, gradient, self._memories)
        self._targets = torch.eye(head[-1].linear.out_features)

    def _layer(self, layer: HeadLayer, values: Pieces, gradients: Pieces) -> Layer:
        trained = {}
        for name, parameter in layer.linear.named_parameters():
            numbers, slopes, factor = values[parameter], gradients[parameter], None
            if self._compact.kept[parameter] is None:
                mask = self._masks.get(f"{layer.name}.{name}")
                factor = None if mask is None or bool(mask.all()) else mask.float()
                numbers, slopes = numbers.view_as(parameter), slopes.view_as(parameter)
            trained[name] = Trained(numbers, slopes, factor)
        weight, bias = trained["weight"], trained.get("bias")
        at, shape = self._compact.kept[layer.linear.weight], layer.linear.weight.shape
        if at is None:
            return DenseLayer(weight, bias, negative_slope=layer.negative_slope)
        return CsrLayer(weight, bias, negative_slope=layer.negative_slope, kept=at, shape=shape)

    def _gathered_memories(self) -> dict[str, Tensor]:
        """What the optimiser remembers of the head, each as one vector; nothing if it is fresh."""
        states = {p: self._source.state.get(p, {}) for p in self._compact.kept}
        example = next(iter(states))
        found = {}
        for name, memory in states[example].items():
            if memory is not None:
                like = memory.shape == example.shape
                tensors = {p: state[name] for p, state in states.items()}
                found[name] = self._compact.gather(tensors) if like else memory.clone()
        return found

    def write_back(self) -> None:
        """Bring the model and its optimiser up to date."""
        self._compact.scatter(self._values, {p: p for p in self._compact.kept})
        for name, memory in self._memories.items():
            states = {p: self._source.state[p] for p in self._compact.kept}
            if memory.shape != self._values.shape:
                for state in states.values():
                    state[name] = memory.clone()
                continue
            for parameter, state in states.items():
                state.setdefault(name, torch.zeros_like(parameter))
            self._compact.scatter(memory, {p: state[name] for p, state in states.items()})

    def forward(self, images: Tensor) -> Tensor:
        """Images (batch, ...) -> logits (batch, classes), without gradients of the head."""
        return self._activations(self.trunk(images))[-1].t()

    def _activations(self, features: Tensor) -> list[Tensor]:
        """The head's input and every layer's output, (features, batch)."""
        x = features.flatten(1).t()
        activations = [x.contiguous() if isinstance(self._layers[0], CsrLayer) else x]
        for layer in self._layers:
            activations.append(layer.forward(activations[-1]))
        return activations

    def train_steps(self, segment: Segment) -> None:
        """Train with cross-entropy, as the reference engine does."""
        self.train()
        rates = segment.rates
        for group in self._source.param_groups if rates else ():
            group["lr"] = rates[-1]
        steps = segment.batches.steps(segment.start, segment.stop)
        if len(self.trunk):
            for (images, labels), rate in zip(steps, rates, strict=True):
                features = self.trunk(images)
                with torch.no_grad():
                    slope = self._step(features, labels, rate)
                if slope is not None:
                    self._step_trunk(features, slope, rate)
        else:
            with torch.inference_mode():
                for (images, labels), rate in zip(steps, rates, strict=True):
                    self._step(images, labels, rate)

    def _step_trunk(self, features: Tensor, slope: Tensor, rate: float) -> None:
        """The optimiser's own step; the head's parameters have no gradient and are passed over."""
        self.trunk.zero_grad()
        features.backward(slope)
        self._masks.apply_to_gradients(self._model)
        for group in self._source.param_groups:
            group["lr"] = rate
        self._source.step()

    def _step(self, features: Tensor, labels: Tensor, rate: float) -> Tensor | None:
        """Train the head; the slope of the loss by `features`, if these can use it."""
        activations = self._activations(features)
        slope = torch.softmax(activations[-1], 0)
        slope.sub_(self._targets.index_select(1, labels)).div_(len(labels))
        for layer, x, output in zip(
            reversed(self._layers), activations[-2::-1], activations[:0:-1], strict=True
        ):
            slope = layer.backward(slope, x, output)
            if layer is not self._layers[0] or features.requires_grad:
                slope = layer.input_slope(slope)
        self._update(rate)
        return slope.t().reshape(features.shape) if features.requires_grad else None
