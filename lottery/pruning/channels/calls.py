"""One operation of a network as the rules for labels see it, whatever way it is written."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.fx import Node
from torch.utils import _pytree as pytree


@dataclass(frozen=True)
class Call:
    """An operation that was run. nn.ReLU(), F.relu, torch.relu and x.relu_() have one name."""

    node: Node
    name: str
    """Its name in lower case without underscores; empty if it is not one of PyTorch's."""
    args: tuple[Any, ...]
    """Positional arguments, with labels in the place of tensors."""
    kwargs: dict[str, Any]
    out: Any
    """What it returned."""
    function: Callable[..., Any]
    """Itself, to be run on labels."""
    module: nn.Module | None = None
    """The module it is, if it is one."""

    @property
    def labels(self) -> list[Tensor]:
        """Labels of all its tensors."""
        leaves = pytree.tree_leaves((self.args, self.kwargs))
        return [leaf for leaf in leaves if isinstance(leaf, Tensor)]

    @property
    def input(self) -> Tensor:
        """Labels of its first tensor."""
        return self.labels[0]

    def argument(self, position: int, name: str, default: Any = None) -> Any:
        """An argument that can be given by position or by name, or be set in the module."""
        if self.module is not None:
            return getattr(self.module, name, default)
        if len(self.args) > position:
            return self.args[position]
        return self.kwargs.get(name, default)

    def __str__(self) -> str:
        if self.module is not None:
            return f"{self.node.target} ({type(self.module).__name__})"
        target = self.node.target
        kind = target if isinstance(target, str) else getattr(target, "__name__", str(target))
        return f"{self.node.name} ({kind})"


def name_of(node: Node, module: nn.Module | None) -> str:
    """The name of an operation, empty if it is not one of PyTorch's or Python's."""
    if module is not None:
        known, name = type(module).__module__.startswith("torch.nn"), type(module).__name__
    elif callable(node.target):
        home = getattr(node.target, "__module__", None) or "torch"  # built-in ones have none
        known = home.split(".")[0] in ("torch", "_operator", "builtins")
        name = getattr(node.target, "__name__", "")
    else:
        known, name = True, str(node.target)
    return name.lower().replace("_", "") if known else ""


def function_of(node: Node, module: nn.Module | None) -> Callable[..., Any]:
    """The operation itself."""
    if module is not None:
        return module
    return node.target if callable(node.target) else getattr(Tensor, str(node.target))
