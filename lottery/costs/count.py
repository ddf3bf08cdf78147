"""What a network costs as it is: masks make nothing smaller, physical removal does.

small = lottery.shrink(copy.deepcopy(model), remove, graph)
print(lottery.cost(model, images), lottery.cost(small, images))
"""

from dataclasses import dataclass

import safetensors.torch
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from lottery.costs.layers import LayerCost, layer_costs, printed
from lottery.costs.memory import peak_activation_bytes
from lottery.costs.mode import check_batch, evaluating
from lottery.errors import UsageError


@dataclass(frozen=True)
class Cost:
    """Of a network in eval mode, for one example. Prints as the table of Han et al. (2015)."""

    parameters: int
    """Weights, biases and entries of batch norm; a shared one once."""
    macs: int
    """Multiply-accumulates of convolutions, linear layers and matrix products, by the size of
    outputs and without biases; zeros count. The FLOP of the table are twice as many."""
    disk_bytes: int
    """A safetensors file of parameters and buffers, in the types they have."""
    activation_bytes: int
    """Most bytes of activations alive at once, see `peak_activation_bytes`."""
    layers: tuple[LayerCost, ...]
    """Convolution and linear layers in order of use."""

    def __str__(self) -> str:
        return (
            f"{printed(self.layers)}\n"
            f"{self.parameters:,} parameters, {self.macs:,} multiply-accumulates, "
            f"{self.disk_bytes:,} bytes on disk, {self.activation_bytes:,} bytes of activations"
        )


def cost(model: nn.Module, images: Tensor) -> Cost:
    """Count what the network costs; nothing in it changes.

    images: a batch (batch, ...) on the model's device. All of them measure the fraction of
    activations that are not zero, the first everything else.
    """
    check_batch(images)
    counter = FlopCounterMode(display=False)
    try:
        with evaluating(model):
            with torch.no_grad(), counter:
                model(images[:1])
            layers = layer_costs(model, images)
            activation_bytes = peak_activation_bytes(model, images[:1].clone())
    except RuntimeError as error:
        shape = tuple(images.shape)
        raise UsageError(f"{type(model).__name__} does not run on {shape}: {error}") from error
    return Cost(
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        macs=counter.get_total_flops() // 2,
        disk_bytes=_disk_bytes(model),
        activation_bytes=activation_bytes,
        layers=layers,
    )


def _disk_bytes(model: nn.Module) -> int:
    state = model.state_dict(keep_vars=True)
    once = {id(tensor): (name, tensor) for name, tensor in reversed(state.items())}
    return len(
        safetensors.torch.save(
            {name: tensor.detach().clone().contiguous() for name, tensor in once.values()}
        )
    )
