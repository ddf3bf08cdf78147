"""Following a network on an example, operation by operation."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from lottery.errors import ConfigError, LotteryError, UsageError
from lottery.pruning.channels.calls import Call, function_of, name_of
from lottery.pruning.channels.graph import ChannelGraph, resolve
from lottery.pruning.channels.labels import Labels, none
from lottery.pruning.channels.layers import Layers, check_parameters, through
from lottery.pruning.channels.operations import opaque, rule_for


def trace(
    model: nn.Module, example: Tensor | tuple[Tensor, ...], fixed: Sequence[str] = ()
) -> ChannelGraph:
    """Which channels of the network can be removed, and what goes with each.

    graph = lottery.trace(model, torch.zeros(1, 3, 32, 32))
    print(graph.units, {name: len(units) for name, units in graph.homes.items()})

    example: one batch of inputs, or a tuple of all inputs, on the model's device. fixed: names of
    layers, or of their weights, that keep all their filters ("fc3"). The model is left as it was:
    a copy of it runs once, in eval mode. Raises UsageError, naming node and layers, where the
    network cannot be followed.
    """
    inputs = example if isinstance(example, tuple) else (example,)
    check_parameters(model)
    network = copy.deepcopy(model).eval()
    try:
        graph_module = fx.symbolic_trace(network)
    except Exception as error:  # whatever the user's forward raises on a symbolic input
        raise UsageError(
            f"{type(model).__name__} cannot be traced by torch.fx ({error}): take what depends on "
            "the values or number of its inputs out of forward, or prune a part of it"
        ) from error
    follower = _Follower(
        network, graph_module, frozenset(name.removesuffix(".weight") for name in fixed)
    )
    try:
        with torch.no_grad():
            follower.run(*inputs)
    except (RuntimeError, TypeError, ValueError) as error:
        if isinstance(error, LotteryError):
            raise
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in inputs)
        raise UsageError(f"{type(model).__name__} does not run on {shapes}: {error}") from error
    return follower.units()


class _Follower(fx.Interpreter):
    """Runs a traced network and, beside every value, its labels."""

    def __init__(self, network: nn.Module, module: fx.GraphModule, fixed: frozenset[str]) -> None:
        super().__init__(module)
        self.extra_traceback = False
        self._fixed = fixed
        self._labels = Labels()
        self._layers = Layers(network, self._labels, fixed)
        self._found: dict[fx.Node, Any] = {}

    def run_node(self, n: fx.Node) -> Any:
        """Run an operation and keep the labels of what it returns."""
        out = super().run_node(n)
        self._found[n] = self._follow(n, out)
        return out

    def units(self) -> ChannelGraph:
        """The units, when all has been followed."""
        layers = {name.removesuffix(".weight") for name in self._layers.written}
        for name in self._fixed - layers:
            raise ConfigError("fixed", name, f"layers with filters: {', '.join(sorted(layers))}")
        return resolve(
            self._labels, self._layers.axes, self._layers.written, self._layers.scattered
        )

    def _follow(self, node: fx.Node, out: Any) -> Any:
        """Labels in the place of tensors; all else stays itself."""
        if node.op == "placeholder":
            return pytree.tree_map_only(Tensor, lambda tensor: none(tensor.shape), out)
        if node.op == "get_attr":
            return self._layers.parameter(out) if isinstance(out, Tensor) else out
        args, kwargs = fx.map_arg((node.args, node.kwargs), self._found.__getitem__)
        if node.op == "output":
            for labels in pytree.tree_leaves(args):
                if isinstance(labels, Tensor):
                    self._labels.fix(labels, "it is an output of the network")
            return None
        module = self.module.get_submodule(str(node.target)) if node.op == "call_module" else None
        call = Call(
            node, name_of(node, module), args, kwargs, out, function_of(node, module), module
        )
        if not call.labels:
            return pytree.tree_map_only(Tensor, lambda tensor: none(tensor.shape), out)
        if isinstance(out, Tensor):
            found = None if module is None else through(self._layers, self._labels, call, module)
            return rule_for(call.name)(self._labels, call) if found is None else found
        if any(isinstance(leaf, Tensor) for leaf in pytree.tree_leaves(out)):
            opaque(self._labels, call)
            return pytree.tree_map_only(Tensor, lambda tensor: none(tensor.shape), out)
        return out
