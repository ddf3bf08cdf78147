"""Which networks can be stacked as replicas, which segments make one stack, and how large it is."""

import copy
from collections.abc import Hashable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.modules.dropout import _DropoutNd

from lottery.data.images import Examples
from lottery.training.loop import autocast
from lottery.training.segment import Segment

REPLICAS_ON_CPU = 8
"""Replicas in a stack on a CPU, which gains nothing from more."""

MEMORY_SHARE = 0.8
"""Part of a GPU's free memory that replicas may take; evaluation and fragments have the rest."""

COPIES = 12
"""Tensors as large as a network's weights that a replica costs. In its cell: weights, their
gradient, two moments, and the moments once more in a checkpoint. In the stack: weights, gradient
before and after the mask, two moments, mask."""


def without_weights(model: nn.Module) -> nn.Module:
    """A copy of a network that holds no memory, to be called with parameters given from outside."""
    return copy.deepcopy(
        model,
        {
            id(parameter): nn.Parameter(
                torch.empty_like(parameter, device="meta"), parameter.requires_grad
            )
            for parameter in model.parameters()
        },
    )


def has_hooks(model: nn.Module) -> bool:
    """Whether layers or parameters have hooks, which only the usual passes over a network run."""
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    layers = any(getattr(module, kind) for module in model.modules() for kind in kinds)
    return layers or any(parameter._backward_hooks for parameter in model.parameters())


def stackable(model: nn.Module, images: Tensor | None = None) -> str | None:
    """Why replicas of a network cannot be computed as one; None if they can.

    images: a few inputs on the model's device. With them the network is also tried, which finds
    what its own `forward` does with randomness and with values. Changes nothing.
    """
    for name, _ in model.named_buffers():
        return f"it has state beside its parameters ({name})"
    if has_hooks(model):
        return "layers or weights have hooks"
    for name, module in model.named_modules():
        for attribute, value in vars(module).items():
            if isinstance(value, Tensor):
                place = f"{name}.{attribute}" if name else attribute
                return f"it has state beside its parameters ({place})"
        drops = module.p if isinstance(module, _DropoutNd) else getattr(module, "dropout", 0.0)
        if isinstance(drops, float) and drops > 0:
            return f"{name} ({type(module).__name__}) draws random numbers"
    return None if images is None else _tried(model, images)


def _tried(model: nn.Module, images: Tensor) -> str | None:
    """Why two replicas cannot take a step side by side."""
    try:
        network = without_weights(model).train()
        pair = {name: torch.stack([p.detach()] * 2) for name, p in model.named_parameters()}
        trained = [name for name, p in model.named_parameters() if p.requires_grad]
        leaves = [pair[name].requires_grad_() for name in trained]
        logits = vmap(lambda p: functional_call(network, p, (images,)), randomness="error")(pair)
        gradients = torch.autograd.grad(logits.float().sum(), leaves, allow_unused=True)
    except Exception as error:  # a network of one's own may fail in any way
        return f"its forward pass fails for two replicas at once ({repr(error).splitlines()[0]})"
    for name, gradient in zip(trained, gradients, strict=True):
        if gradient is None:
            return f"{name} plays no part in its output"
    return None


def form(segment: Segment) -> Hashable:
    """What decides the shapes of a stack's tensors and what it does with them."""
    model, optimizer, batches = segment.model, segment.optimizer, segment.batches
    parameters = tuple(
        (name, tuple(p.shape), p.dtype, p.device, p.requires_grad)
        for name, p in model.named_parameters()
    )
    settings = tuple((name, value) for name, value in optimizer.defaults.items() if name != "lr")
    train = batches.examples
    return (
        segment.engine,
        type(model),
        repr(model),
        _plain(model),
        parameters,
        tuple(segment.masks),
        type(optimizer),
        settings,
        (batches.batch_size, batches.augmentation),
        (len(train), tuple(train.images.shape[1:]), train.images.dtype),
        segment.precision,
    )


def _plain(model: nn.Module) -> Hashable:
    """Numbers and texts that layers keep as plain attributes, which a constructor may draw."""
    return tuple(
        (name, attribute, value)
        for name, module in model.named_modules()
        for attribute, value in vars(module).items()
        if isinstance(value, (bool, int, float, complex, str)) and attribute != "training"
    )


def key(segment: Segment) -> Hashable:
    """What segments must have in common to be computed as one."""

    def size(examples: Examples) -> Any:
        return tuple(examples.images.shape), examples.images.dtype

    sizes = tuple(size(examples) for examples in segment.examples)
    span = segment.start, segment.stop
    return form(segment), span, tuple(segment.rates), _steps_taken(segment), sizes


def _steps_taken(segment: Segment) -> float:
    """Steps the optimiser counts; Adam's averages start as the gradients of few steps."""
    for state in segment.optimizer.state.values():
        return float(state.get("step", 0))
    return 0.0


def alike(segments: Sequence[Segment]) -> list[list[Segment]]:
    """Segments in groups of equal key, in the order of their first."""
    groups: dict[Hashable, list[Segment]] = {}
    for segment in segments:
        groups.setdefault(key(segment), []).append(segment)
    return list(groups.values())


def replicas_that_fit(model: nn.Module, images: Tensor, precision: str, data_bytes: int) -> int:
    """About how many replicas of a network can be trained as one on the device of `images`.

    images: one training batch. data_bytes: what else is to be held there. An estimate, from the
    free memory and from one step of one replica.
    """
    device = images.device
    if device.type != "cuda":
        return REPLICAS_ON_CPU
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    with autocast(precision, device):
        loss = model.train()(images).float().sum()
    torch.autograd.grad(loss, [p for p in model.parameters() if p.requires_grad])
    step = torch.cuda.max_memory_allocated(device) - before
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    free = torch.cuda.mem_get_info(device)[0] + unused - data_bytes
    return max(1, int(MEMORY_SHARE * free / (step + COPIES * weights)))
