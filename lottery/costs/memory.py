"""How much memory a network's activations take at most while it runs."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode


class _Living(TorchDispatchMode):
    """Follows the storages that operations make, until they are freed."""

    def __init__(self, images: Tensor) -> None:
        super().__init__()
        self._storages: dict[int, tuple[StorageWeakRef, int]] = {}
        self.peak = 0
        self._note(images)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        known = {
            leaf.untyped_storage()._cdata
            for leaf in pytree.tree_leaves((args, kwargs))
            if isinstance(leaf, Tensor)
        }
        out = func(*args, **(kwargs or {}))
        for leaf in pytree.tree_leaves(out):
            # What an operation returns of its arguments is a view, or was changed in place.
            if isinstance(leaf, Tensor) and leaf.untyped_storage()._cdata not in known:
                self._note(leaf)
        living = {key: own for key, own in self._storages.items() if not own[0].expired()}
        self._storages = living
        self.peak = max(self.peak, sum(size for _, size in living.values()))
        return out

    def _note(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        self._storages[storage._cdata] = StorageWeakRef(storage), storage.nbytes()


def peak_activation_bytes(model: nn.Module, images: Tensor) -> int:
    """Most bytes of images and activations alive at once, in a forward pass without gradients.

    As PyTorch runs the model in the mode it is in: a value is alive until the code drops it, views
    and results written in place take nothing, and parameters, buffers and what an operation
    uses inside are not counted.
    """
    living = _Living(images)
    with torch.no_grad(), living:
        model(images)
    return living.peak
