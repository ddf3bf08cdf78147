"""PyTorch's optimisers as functions that update one vector, without their objects' overhead.

In the middle of a step, with the processor's caches full of other things, `Optimizer.step` takes
100 µs of Python: a third of what all of a sparse network's step takes.
"""

from collections.abc import Callable

from torch import Tensor, tensor, zeros_like
from torch.optim import SGD, Adam, Optimizer
from torch.optim.adam import adam
from torch.optim.sgd import sgd

Update = Callable[[float], None]
"""One step with the given learning rate."""


def make_update(
    optimizer: Optimizer, values: Tensor, gradient: Tensor, memories: dict[str, Tensor]
) -> Update:
    """How `optimizer`, made by `make_optimizer`, updates `values` in place from `gradient`.

    memories: the optimiser's state of `values` by its own names, updated in place too; filled in if
    it is empty.
    """
    settings = optimizer.defaults
    if isinstance(optimizer, Adam):
        start = {
            "step": tensor(0.0),
            "exp_avg": zeros_like(values),
            "exp_avg_sq": zeros_like(values),
        }
        memories |= start | memories
        beta1, beta2 = settings["betas"]
        return lambda rate: adam(
            [values],
            [gradient],
            [memories["exp_avg"]],
            [memories["exp_avg_sq"]],
            [],
            [memories["step"]],
            fused=True,
            amsgrad=False,
            beta1=beta1,
            beta2=beta2,
            lr=rate,
            weight_decay=settings["weight_decay"],
            eps=settings["eps"],
            maximize=False,
        )
    if isinstance(optimizer, SGD):
        momentum = settings["momentum"]
        if momentum:
            memories.setdefault("momentum_buffer", zeros_like(values))
        return lambda rate: sgd(
            [values],
            [gradient],
            [memories.get("momentum_buffer")],
            fused=True,
            weight_decay=settings["weight_decay"],
            momentum=momentum,
            lr=rate,
            dampening=0.0,
            nesterov=settings["nesterov"],
            maximize=False,
        )
    raise TypeError(f"no update for {type(optimizer).__name__}")
