"""Random small networks and random units to remove, for the tests of removal."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lottery.pruning.channels import ChannelGraph

SIDE = 8


class RandomNet(nn.Module):
    """Blocks in random order on images (batch, 3, 8, 8), then a head of linear layers.

    Widths, biases, norms and activations are drawn too. The forward pass has no control flow that
    depends on values, so that torch.fx follows it.
    """

    def __init__(self, seed: int, blocks: int = 4) -> None:
        super().__init__()
        self.chance = torch.Generator().manual_seed(seed)
        self.kinds = ["conv"]
        self.layers = nn.ModuleDict()
        self.side, width = SIDE, self._conv("block0", 3, self._some(2, 6))
        for number in range(1, blocks + 1):
            width = self._block(number, width)
        self.hidden = self._some(2, 6)
        self.flatten = bool(self._some(0, 2))
        self.fc1 = nn.Linear(width * (self.side**2 if self.flatten else 1), self.hidden)
        self.norm = nn.BatchNorm1d(self.hidden)
        self.fc2 = nn.Linear(self.hidden, 3)
        with torch.no_grad():
            for tensor in [*self.parameters(), *self.buffers()]:
                if tensor.is_floating_point():
                    tensor.normal_(0, 0.5, generator=self.chance)
            for name, buffer in self.named_buffers():
                if name.endswith("running_var"):
                    buffer.uniform_(0.5, 2, generator=self.chance)
        del self.chance

    def _some(self, low: int, high: int) -> int:
        return int(torch.randint(low, high, (), generator=self.chance))

    def _conv(self, name: str, inputs: int, outputs: int, groups: int = 1) -> int:
        bias = bool(self._some(0, 2))
        layers: list[nn.Module] = [
            nn.Conv2d(inputs, outputs, 3, padding=1, groups=groups, bias=bias)
        ]
        if self._some(0, 3):
            layers.append(nn.BatchNorm2d(outputs))
        # Not all are zero at zero: a removed channel then feeds a constant to what reads it.
        layers.append([nn.ReLU(), nn.Sigmoid(), nn.LeakyReLU(), nn.Softplus()][self._some(0, 4)])
        self.layers[name] = nn.Sequential(*layers)
        return outputs

    def _block(self, number: int, width: int) -> int:
        kinds = ["conv", "residual", "projected", "concat", "depthwise", "gate", "scale", "shift"]
        if self.side % 2 == 0 and self.side > 2:
            kinds += ["unshuffle", "pool", "stride"]
        kind = kinds[self._some(0, len(kinds))]
        self.kinds.append(kind)
        name, outputs = f"block{number}", self._some(2, 6)
        if kind == "conv":
            return self._conv(name, width, outputs)
        if kind == "residual":
            inner = self._conv(f"{name}a", width, outputs)
            return self._conv(name, inner, width)
        if kind == "projected":
            self._conv(f"{name}a", width, outputs)
            return self._conv(name, width, outputs)
        if kind == "concat":
            return width + self._conv(name, width, outputs)
        if kind == "depthwise":
            return self._conv(name, width, 2 * width, groups=width)
        if kind == "gate":
            self.layers[name] = nn.Linear(width, width)
            return width
        if kind in ("scale", "shift"):  # as (channels, 1, 1) or (1, channels, 1, 1)
            shape = [1] * self._some(0, 2) + [width, 1, 1]
            self.register_parameter(f"{name}_{kind}", nn.Parameter(torch.empty(shape)))
            return width
        self.side //= 2
        if kind == "unshuffle":
            return 4 * width
        return width if kind == "pool" else self._conv(name, width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Images -> (batch, 3)."""
        for number, kind in enumerate(self.kinds):
            name = f"block{number}"
            if kind in ("conv", "depthwise"):
                x = self.layers[name](x)
            elif kind == "residual":
                x = x + self.layers[name](self.layers[f"{name}a"](x))
            elif kind == "projected":
                x = self.layers[f"{name}a"](x) + self.layers[name](x)
            elif kind == "concat":
                x = torch.cat([x, self.layers[name](x)], dim=1)
            elif kind == "gate":
                gate = torch.sigmoid(self.layers[name](x.mean((2, 3))))
                x = x * gate[:, :, None, None]
            elif kind == "scale":
                x = x * getattr(self, f"{name}_scale")
            elif kind == "shift":
                x = x + getattr(self, f"{name}_shift")
            elif kind == "unshuffle":
                x = F.pixel_unshuffle(x, 2)
            elif kind == "pool":
                x = F.max_pool2d(x, 2)
            else:
                x = self.layers[name](x)[:, :, ::2, ::2]
        x = x.flatten(1) if self.flatten else F.adaptive_avg_pool2d(x, 1).view(x.size(0), -1)
        return self.fc2(torch.relu(self.norm(self.fc1(x))))


def some_clusters(model: nn.Module, graph: ChannelGraph, seed: int) -> Tensor:
    """A random number of clusters in every layer, whose filters are made alike: number by unit."""
    chance = torch.Generator().manual_seed(seed)
    clusters = torch.arange(graph.units)
    for units in graph.homes.values():
        if len(units):
            labels = torch.randint(len(units), (len(units),), generator=chance)
            clusters[units] = units[labels]
    state = model.state_dict()
    for (name, dim), units in graph.axes.items():
        if dim == 1 and name in graph.written:
            continue  # columns, which read them
        of = torch.where(units < 0, -1, clusters[units])
        along = state[name].movedim(dim, 0)
        for cluster in of[units >= 0].unique():
            mine = [(of == cluster) & (units == u) for u in units[of == cluster].unique()]
            for rows in mine[1:]:
                along[rows] = along[mine[0]]
    return clusters


def some_units(graph: ChannelGraph, seed: int) -> Tensor:
    """Random units that may be removed together: every layer keeps one filter at least."""
    chance = torch.Generator().manual_seed(seed)
    share = torch.rand((), generator=chance)
    remove = (torch.rand(graph.units, generator=chance) < share) & ~graph.fixed
    for units in graph.written.values():
        if bool(remove[units].all()):
            remove[units[int(torch.randint(len(units), (), generator=chance))]] = False
    return remove
