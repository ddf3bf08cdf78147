"""Masks as data: boolean tensors by parameter name, with exact counts.

    masks = Masks.ones(model)                      # nothing pruned yet
    masks.apply(model, optimizer)                  # after pruning: weights and their state to zero
    loss.backward(); masks.apply_to_gradients(model); optimizer.step()

A pruned weight that is zero, with a zero gradient and zero optimiser state, stays exactly zero
under SGD with momentum and weight decay and under Adam: every term of its update is zero.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Generator, Tensor, nn
from torch.optim import Optimizer

from lottery.errors import ConfigError

State = dict[str, Tensor]
"""Parameters and buffers by name, as `Module.state_dict` gives them."""


def prunable(model: nn.Module, biases: bool = False) -> dict[str, str]:
    """Parameters that pruning may touch, in the order of the network, each with its layer's kind.

    The weights of every linear and convolution layer, and their biases if asked. Kinds: "conv",
    "linear", and "output" for the last of them, whatever its type. A weight that layers share
    counts once, under its first name.
    """
    layers: dict[str, nn.Module] = {}
    for name, module in model.named_modules():
        if isinstance(module, (nn.Linear, nn.modules.conv._ConvNd)) and all(
            module.weight is not other.weight for other in layers.values()
        ):
            layers[name] = module
    if not layers:
        raise ConfigError("model", type(model).__name__, "a module with linear or conv layers")
    kinds = {}
    for position, (name, module) in enumerate(layers.items(), start=1):
        kind = "linear" if isinstance(module, nn.Linear) else "conv"
        kind = "output" if position == len(layers) else kind
        prefix = f"{name}." if name else ""
        kinds[f"{prefix}weight"] = kind
        if biases and module.bias is not None:
            kinds[f"{prefix}bias"] = kind
    return kinds


class Masks(Mapping[str, Tensor]):
    """Which weights are kept: True stays, False is pruned. Never changed, only replaced."""

    def __init__(self, masks: Mapping[str, Tensor]) -> None:
        wrong = [name for name, mask in masks.items() if mask.dtype != torch.bool]
        if wrong:
            raise ConfigError("masks", ", ".join(wrong), "boolean tensors")
        self._masks = dict(masks)

    @classmethod
    def ones(cls, model: nn.Module, biases: bool = False) -> "Masks":
        """Keep every prunable weight, on the devices where the parameters are."""
        parameters = dict(model.named_parameters())
        names = prunable(model, biases)
        return cls({name: torch.ones_like(parameters[name], dtype=torch.bool) for name in names})

    def __getitem__(self, name: str) -> Tensor:
        return self._masks[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._masks)

    def __len__(self) -> int:
        return len(self._masks)

    def __repr__(self) -> str:
        return f"Masks({self.weights_remaining:.2%} of {sum(self.sizes.values()):,} weights remain)"

    def to(self, device: torch.device | str) -> "Masks":
        """The same masks on another device."""
        return Masks({name: mask.to(device) for name, mask in self.items()})

    @property
    def sizes(self) -> dict[str, int]:
        """Weights per parameter, pruned or not."""
        return {name: mask.numel() for name, mask in self.items()}

    @property
    def shapes(self) -> dict[str, torch.Size]:
        """Shape per parameter."""
        return {name: mask.shape for name, mask in self.items()}

    @cached_property
    def remaining(self) -> dict[str, int]:
        """Weights kept per parameter."""
        return {name: int(mask.sum()) for name, mask in self.items()}

    @property
    def weights_remaining(self) -> float:
        """Fraction of all prunable weights that is kept (P_m of Frankle & Carbin 2019)."""
        return sum(self.remaining.values()) / sum(self.sizes.values())

    @property
    def densities(self) -> dict[str, float]:
        """Fraction kept per parameter."""
        return {name: self.remaining[name] / size for name, size in self.sizes.items()}

    def is_within(self, earlier: Mapping[str, Tensor]) -> bool:
        """Whether every weight kept here is kept in `earlier` too: masks of later levels nest."""
        return all(not bool((mask & ~earlier[name]).any()) for name, mask in self.items())

    @torch.no_grad()
    def apply(self, model: nn.Module, optimizer: Optimizer | None = None) -> None:
        """Set pruned weights to zero, and what the optimiser remembers of them."""
        for name, mask in self.items():
            parameter = model.get_parameter(name)
            parameter.masked_fill_(~mask, 0.0)
            for memory in optimizer.state.get(parameter, {}).values() if optimizer else ():
                if isinstance(memory, Tensor) and memory.shape == mask.shape:
                    memory.masked_fill_(~mask, 0.0)

    def apply_to_gradients(self, model: nn.Module) -> None:
        """Set gradients of pruned weights to zero: between backward and the optimiser's step."""
        for name, factor in self._factors.items():
            gradient = model.get_parameter(name).grad
            if gradient is not None:
                gradient.mul_(factor)

    @cached_property
    def _factors(self) -> dict[str, Tensor]:
        """Masks as floats where anything is pruned: multiplying by them is 5 times as fast."""
        return {
            name: mask.float() for name, mask in self.items() if self.remaining[name] < mask.numel()
        }


def shuffle_layer(masks: Masks, generator: Generator) -> Masks:
    """Move the kept positions at random within each tensor; every layer keeps its count."""
    return Masks({name: _permuted(mask, generator) for name, mask in masks.items()})


def shuffle_global(masks: Masks, generator: Generator) -> Masks:
    """Move the kept positions at random across all tensors; only the total count is kept."""
    joined = _permuted(torch.cat([mask.flatten() for mask in masks.values()]), generator)
    return Masks(split_like(joined, masks))


def split_like(joined: Tensor, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Cut a flat tensor into tensors of the given names and shapes, in their order."""
    parts = joined.split([tensor.numel() for tensor in tensors.values()])
    return {name: part.view(tensors[name].shape) for name, part in zip(tensors, parts, strict=True)}


def _permuted(mask: Tensor, generator: Generator) -> Tensor:
    order = torch.randperm(mask.numel(), generator=generator).to(mask.device)
    return mask.flatten()[order].view(mask.shape)


def pack(masks: Masks) -> State:
    """One bit per weight (uint8 tensors), for the disk."""
    return {name: torch.from_numpy(np.packbits(mask.cpu().numpy())) for name, mask in masks.items()}


def unpack(packed: Mapping[str, Tensor], shapes: Mapping[str, Sequence[int]]) -> Masks:
    """The masks of the given shapes that `pack` packed."""
    bits = {
        name: np.unpackbits(packed[name].numpy(), count=math.prod(shape))
        for name, shape in shapes.items()
    }
    return Masks({n: torch.from_numpy(b).bool().view(tuple(shapes[n])) for n, b in bits.items()})
