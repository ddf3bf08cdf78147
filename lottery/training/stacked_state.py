"""Weights, masks and moments of replicas, stacked, and taken from and given back to them."""

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor
from torch.optim import Optimizer

from lottery.training.segment import Segment


class StackedState:
    """What training changes, with a leading dimension for replicas, on tensors that stay in place.

    The optimiser is a replica's own kind over the stacked parameters: its updates are elementwise.
    """

    def __init__(self, segments: Sequence[Segment], rate: Tensor) -> None:
        """Room for replicas such as these; `load` brings their values, once a step has been taken.

        rate: holds the learning rate of each step at its time.
        """
        model, masks, optimizer = segments[0].model, segments[0].masks, segments[0].optimizer
        self._replicas = len(segments)
        self.parameters = {
            name: p.new_zeros((self._replicas, *p.shape)).requires_grad_(p.requires_grad)
            for name, p in model.named_parameters()
        }
        self.factors = {name: torch.ones_like(self.parameters[name]).detach() for name in masks}
        """Masks as factors."""
        self.trained = {name: p for name, p in self.parameters.items() if p.requires_grad}
        self.gradients = {name: torch.zeros_like(p) for name, p in self.trained.items()}
        """Where the optimiser looks for gradients."""
        for name, parameter in self.trained.items():
            parameter.grad = self.gradients[name]
        self.optimizer = type(optimizer)(list(self.trained.values()), **optimizer.defaults)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
            if "capturable" in group:
                group["capturable"] = rate.device.type == "cuda"

    @torch.no_grad()
    def load(self, segments: Sequence[Segment]) -> None:
        """Take all values over from the replicas; those of a fresh optimiser are zero."""
        _copy((own, place) for own, place in self._weights(segments))
        for name, factor in self.factors.items():
            _copy(zip([segment.masks[name] for segment in segments], factor.unbind(), strict=True))
        known = []
        for optimizer, parameter, item, place in self._moments(segments):
            value = optimizer.state.get(parameter, {}).get(item)
            if isinstance(value, Tensor):
                known.append((value, place))
            else:
                place.zero_()
        _copy(known)

    @torch.no_grad()
    def store(self, segments: Sequence[Segment]) -> None:
        """Leave in the replicas what training them one by one would have left."""
        _copy((place, own) for own, place in self._weights(segments))
        known = []
        for optimizer, parameter, item, place in self._moments(segments):
            state = optimizer.state[parameter]
            if isinstance(state.get(item), Tensor):
                known.append((place, state[item]))
            else:
                state[item] = place.clone()
        _copy(known)
        last_rate = segments[0].rates[-1]
        for segment in segments:
            for group in segment.optimizer.param_groups:
                group["lr"] = last_rate

    def _weights(self, segments: Sequence[Segment]) -> Iterator[tuple[Tensor, Tensor]]:
        """Each replica's own parameters, and their places in the stack."""
        for name, stacked in self.parameters.items():
            for segment, place in zip(segments, stacked.detach().unbind(), strict=True):
                yield segment.model.get_parameter(name).detach(), place

    def _moments(
        self, segments: Sequence[Segment]
    ) -> Iterator[tuple[Optimizer, Tensor, str, Tensor]]:
        """What an optimiser remembers: of which parameter, by what name, its place in the stack."""
        for name, stacked in self.trained.items():
            for item, value in self.optimizer.state.get(stacked, {}).items():
                # A step count is one number for all replicas.
                of_each = value.shape == stacked.shape
                places = value.unbind() if of_each else [value] * self._replicas
                for segment, place in zip(segments, places, strict=True):
                    yield segment.optimizer, segment.model.get_parameter(name), item, place


def _copy(pairs: Iterable[tuple[Tensor, Tensor]]) -> None:
    """Copy from the first to the second of each pair, in a few launches."""
    sources, targets = zip(*found, strict=True) if (found := list(pairs)) else ((), ())
    if targets:
        torch._foreach_copy_(targets, sources)
