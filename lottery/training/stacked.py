"""The stacked engine: replicas of one network trained as one, as a GPU needs to be busy.

Whatever differs between replicas (weights, masks, moments, data order, data) gets a leading
dimension; a step is then one computation for all. On a GPU it is one CUDA graph, whose replay needs
neither Python nor a look at any value: step number, learning rates and data order are on the
device. On a CPU the same step runs as it is, which is slow but makes it testable anywhere.

The same group of replicas gives the same numbers, bit for bit. How many they are changes how sums
are rounded, as another batch size would.
"""

import gc
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Literal
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn import functional as F
from torch.nn.modules.conv import _ConvNd

from lottery.data.images import Examples
from lottery.objectives import Metrics
from lottery.training.graphs import Fork, captured, in_turn, out_of_memory
from lottery.training.loop import EVALUATION_VALUES, autocast
from lottery.training.replicas import alike, form, without_weights
from lottery.training.segment import Segment
from lottery.training.stacked_data import StackedBatches, distinct, on_device
from lottery.training.stacked_state import StackedState

Mode = Literal["vmap", "streams"]
"""Layers batched over replicas, or replica after replica, on a GPU each on a stream of its own."""

GPU_EVALUATION = 32
"""How many times as many values as on a CPU an evaluation's batch has, over all replicas."""


def run_stacked(segments: Sequence[Segment], mode: Mode | None = None) -> list[list[Metrics]]:
    """Work off segments, those that are alike as one; see `replicas.key`.

    mode: by default as suits the network's layers. Where a GPU's memory is too small for a group,
    it is run in halves; a single replica that does not fit raises torch.cuda.OutOfMemoryError.
    """
    metrics: dict[int, list[Metrics]] = {}
    for group in alike(segments):
        chosen = mode or choose_mode(group[0].model)
        metrics |= zip(map(id, group), _run(group, chosen), strict=True)
    return [metrics[id(segment)] for segment in segments]


def choose_mode(model: nn.Module) -> Mode:
    """Convolutions batched over replicas are grouped ones, which are slow; products are not."""
    return "streams" if any(isinstance(m, _ConvNd) for m in model.modules()) else "vmap"


_stacks: WeakKeyDictionary[nn.Module, "Stack"] = WeakKeyDictionary()
"""The latest stack, by each network it has trained: used again for whatever has its shape, from
segment to segment and level to level; gone when another shape is wanted, or the networks are."""

_most: dict[Hashable, int] = {}
"""Replicas to try at once, by form, where more were too many for the memory."""


def _run(segments: list[Segment], mode: Mode) -> list[list[Metrics]]:
    """As one, or in halves if that does not fit."""
    what, middle = (form(segments[0]), mode), (len(segments) + 1) // 2
    if len(segments) <= _most.get(what, len(segments)):
        try:
            return _run_as_one(segments, mode)
        except RuntimeError as error:
            if len(segments) == 1 or not out_of_memory(error):
                raise
        # Not before here, where the error is gone, does nothing hold the attempt's tensors.
        _forget()
        _most[what] = middle
    size = _most[what]
    done, rest = _run(segments[:size], mode), segments[size:]
    # Parts of one size share a stack, where two sizes would take turns: the last replica fills up.
    spare = -len(rest) % _most[what]
    return done + (_run(rest + rest[-1:] * spare, mode)[: len(rest)] if rest else [])


def _run_as_one(segments: list[Segment], mode: Mode) -> list[list[Metrics]]:
    shape = shape_of(segments, mode)
    stack = next((stack for stack in _stacks.values() if stack.shape == shape), None)
    if stack is None:
        _forget()
        stack = Stack(segments, mode)
    _stacks.update((segment.model, stack) for segment in segments)
    trains = segments[0].stop > segments[0].start
    stack.state.load(segments)
    if trains:
        stack.train(segments)
    metrics = stack.evaluate(segments)
    if trains:
        stack.state.store(segments)
    return metrics


def _forget() -> None:
    """Free the latest stack."""
    _stacks.clear()
    if torch.cuda.is_available():
        gc.collect()
        torch.cuda.empty_cache()


def shape_of(segments: Sequence[Segment], mode: Mode) -> Hashable:
    """Equal for groups of segments that one stack has room for."""
    held, _ = distinct([segment.batches.examples for segment in segments])
    return form(segments[0]), len(segments), len(held), mode


class Stack:
    """Replicas side by side, on tensors that stay where they are."""

    def __init__(self, segments: Sequence[Segment], mode: Mode) -> None:
        """Room for replicas such as these; their values come with `state.load`."""
        self.shape = shape_of(segments, mode)
        self.batches = StackedBatches(segments)
        self.state = StackedState(segments, self.batches.rate)
        self._network = without_weights(segments[0].model).train()
        self._mode, self._replicas = mode, len(segments)
        self._device = self.batches.rate.device
        self._autocast = partial(autocast, segments[0].precision, self._device)
        on_gpu = self._device.type == "cuda"
        self._each: Callable[[Sequence[Callable[[], None]]], None]
        self._each = Fork(self._replicas) if on_gpu and mode == "streams" else in_turn
        self._replay: Callable[[], None] | None = None
        if on_gpu:
            self._replay = captured(self._step)
        else:
            self._step()  # makes the optimiser's state, as the graph's warm-up does

    def train(self, segments: Sequence[Segment]) -> None:
        """All steps of the segments."""
        self._network.train()
        for steps in self.batches.windows(segments):
            for _ in range(steps):
                (self._replay or self._step)()

    def _step(self) -> None:
        """One step of every replica; on a GPU this is what the graph holds."""
        images, labels = self.batches.next()
        if self._mode == "vmap":
            self._backward_all(images, labels)
        else:
            replicas = range(self._replicas)
            self._each([partial(self._backward_one, n, images[n], labels[n]) for n in replicas])
        self.state.optimizer.step()

    def _backward_all(self, images: Tensor, labels: Tensor) -> None:
        state = self.state
        with self._autocast():
            logits = self._all(images).flatten(0, 1).float()
        # Means summed over replicas: each has the gradient of its own loss.
        loss = F.cross_entropy(logits, labels.flatten(), reduction="sum") / labels.shape[1]
        _backward(loss, state.trained, state.gradients, state.factors)

    def _backward_one(self, number: int, images: Tensor, labels: Tensor) -> None:
        state = self.state
        own = {
            name: p.detach()[number].requires_grad_(p.requires_grad)
            for name, p in state.parameters.items()
        }
        with self._autocast():
            loss = F.cross_entropy(functional_call(self._network, own, (images,)).float(), labels)
        _backward(
            loss,
            {name: own[name] for name in state.trained},
            {name: gradient[number] for name, gradient in state.gradients.items()},
            {name: factor[number] for name, factor in state.factors.items()},
        )

    def _all(self, images: Tensor, shared: bool = False) -> Tensor:
        """Logits of all replicas by `vmap`; shared: for the same images."""
        call = partial(functional_call, self._network)
        batched = vmap(call, in_dims=(0, None if shared else 0), randomness="error")
        return batched(self.state.parameters, images)

    @torch.no_grad()
    def evaluate(self, segments: Sequence[Segment]) -> list[list[Metrics]]:
        """Metrics of every replica on each of its sets; nothing else waits for the device."""
        self._network.eval()
        sets = list(zip(*(segment.examples for segment in segments), strict=True))
        if not sets:
            return [[] for _ in segments]
        with self._autocast():
            sums = torch.stack([self._sums(examples) for examples in sets]).tolist()
        sizes = [len(examples[0]) for examples in sets]
        return [
            [
                Metrics(losses[replica] / size, correct[replica] / size)
                for (losses, correct), size in zip(sums, sizes, strict=True)
            ]
            for replica in range(self._replicas)
        ]

    def _sums(self, examples: Sequence[Examples]) -> Tensor:
        """Sum of losses and number of correct answers (2 × replicas), on a set for each."""
        held, which = distinct(examples)
        owner = on_device(which, self._device)
        sums = torch.zeros((2, self._replicas), dtype=torch.float64, device=self._device)
        values = EVALUATION_VALUES * (GPU_EVALUATION if self._device.type == "cuda" else 1)
        size = max(1, values // (self._replicas * held[0].images[0].numel()))
        for start in range(0, len(held[0]), size):
            batches = [some.batch(slice(start, start + size)) for some in held]
            labels = torch.stack([labels for _, labels in batches]).index_select(0, owner)
            logits = self._logits([images for images, _ in batches], which, owner).float()
            losses = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
            sums[0] += losses.view_as(labels).sum(dim=1)
            sums[1] += (logits.argmax(dim=2) == labels).sum(dim=1)
        return sums

    def _logits(self, images: list[Tensor], which: list[int], owner: Tensor) -> Tensor:
        """Replicas × images × classes; which, owner: the number of each replica's images."""
        if self._mode == "vmap" and len(images) == 1:
            return self._all(images[0], shared=True)
        if self._mode == "vmap":
            return self._all(torch.stack(images).index_select(0, owner))
        parameters = self.state.parameters
        logits = []
        for replica, number in enumerate(which):
            own = {name: p[replica] for name, p in parameters.items()}
            logits.append(functional_call(self._network, own, (images[number],)))
        return torch.stack(logits)


def _backward(
    loss: Tensor,
    parameters: dict[str, Tensor],
    places: dict[str, Tensor],
    factors: dict[str, Tensor],
) -> None:
    """Write the loss's gradients, times their masks, to their places.

    Fused optimisers want gradients in the memory order of the parameters, which `grad` alone does
    not promise.
    """
    gradients = torch.autograd.grad(loss, list(parameters.values()))
    for name, gradient in zip(parameters, gradients, strict=True):
        if name in factors:
            torch.mul(gradient, factors[name], out=places[name])
        else:
            places[name].copy_(gradient)
