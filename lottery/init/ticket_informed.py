"""Schemes fitted to tickets: the weights of a dense network drawn as the kept ones are distributed.

Of each layer's kept weights three things are known: their scale σ (the root mean square), their
shape (the quantile function of |w| / σ) and the share of positive signs. A weight is drawn as
sign · magnitude · scale, each of the three from the tickets or from another scheme.
"""

import json
import math
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from lottery.errors import ConfigError, within
from lottery.init.network import NetworkDraw, Weights, layers, network_scheme, root_mean_square
from lottery.init.schemes import SCHEMES

GRID = np.sin(np.linspace(0, math.pi / 2, 129)) ** 2
"""Probabilities at which quantiles are kept: 0 to 1, closest together at both ends."""


@dataclass(frozen=True)
class LayerFit:
    """What is kept of the weights of one layer of some tickets."""

    weights: int
    """Their number."""
    std: float
    """Root mean square."""
    positive: float
    """Share of those above 0."""
    quantiles: list[float]
    """Of |w| / std, at GRID."""


@dataclass(frozen=True)
class TicketFit:
    """Fitted layers and where they come from, as they are kept in a file."""

    source: dict[str, Any]
    """Study, scheme, level, commit, ...; to read, decides nothing."""
    seeds: list[int]
    """Seeds of the tickets, with which the scheme must not be judged."""
    layers: dict[str, LayerFit]
    """By the weight's name."""

    def to_json(self) -> str:
        """The file's text."""
        return json.dumps(asdict(self), indent=1) + "\n"


def fit(kept: Mapping[str, Tensor]) -> dict[str, LayerFit]:
    """Fit layers to the values of their kept weights; all tickets' values of a layer together."""
    fitted = {}
    for name, values in kept.items():
        std = root_mean_square(values) if len(values) else 0.0
        if not (math.isfinite(std) and std > 0):
            raise ConfigError("level", f"one where {name} has no weights", "one with weights")
        quantiles = np.quantile(values.abs().double().numpy() / std, GRID)
        positive = float((values > 0).double().mean())
        rounded = [float(f"{quantile:.6g}") for quantile in quantiles]
        fitted[name] = LayerFit(len(values), float(f"{std:.8g}"), positive, rounded)
    return fitted


def load_fit(file: str) -> TicketFit:
    """Read a file that `experiments/fit_scheme.py` wrote; ConfigError if it is none.

    Like modules of one's own, it is looked for from the folders of Python's path on too: a process
    on another machine need not have this one's current folder.
    """
    places = (Path(place) / file for place in ("", *sys.path))
    try:
        path = next((place for place in places if place.is_file()), Path(file))
        values = json.loads(path.read_text(encoding="utf-8"))
        fitted = {name: LayerFit(**layer) for name, layer in values["layers"].items()}
        found = TicketFit(values["source"], [int(seed) for seed in values["seeds"]], fitted)
        if any(len(layer.quantiles) != len(GRID) for layer in fitted.values()):
            raise ValueError(f"it does not have {len(GRID)} quantiles")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        allowed = f"a file made by experiments/fit_scheme.py ({error})"
        raise ConfigError("init option file", file, allowed) from error
    return found


@SCHEMES.register
@network_scheme
def ticket_informed(
    draw: NetworkDraw,
    file: str,
    shape: bool = True,
    scale: bool = True,
    sign: bool = True,
    base: str = "xavier_normal",
) -> Weights:
    """sign · magnitude · scale, each as in the tickets that `file` was fitted to, or as in `base`.

    scale: the tickets' σ of the layer; else base's. shape: the distribution of their magnitudes,
    with σ as it is. sign: their share of positive weights. A draw is coupled to base's under its
    seed: the order of magnitudes is base's, and no more signs are turned than it takes. Magnitudes
    are independent of signs. file: made by experiments/fit_scheme.py. Its seeds are held out:
    ConfigError for a network of one of them.
    """
    for option, value in (("shape", shape), ("scale", scale), ("sign", sign)):
        if not isinstance(value, bool):
            raise ConfigError(f"init option {option}", value, "true, false")
    fitted = load_fit(file)
    used = sorted({draw.seed, *draw.seeds} & set(fitted.seeds))
    if used:
        allowed = f"seeds other than {fitted.seeds}, to whose tickets {file} was fitted"
        raise ConfigError("seeds", used, allowed)
    missing = [name for name in layers(draw.model) if name not in fitted.layers]
    if missing:
        allowed = f"a file with {', '.join(missing)}; it has {', '.join(fitted.layers)}"
        raise ConfigError("init option file", file, allowed)
    with within("ticket_informed's base"):
        drawn = draw.weights(base)
    weights = {}
    for name, values in drawn.items():
        layer, plain = fitted.layers[name], root_mean_square(values)
        magnitudes, signs = values.abs() / plain, values.sign()
        if shape:
            magnitudes = _with_shape(magnitudes, layer, draw.generator(name, "ties"))
        if sign:
            signs = _with_positive(signs, layer.positive, draw.generator(name, "signs"))
        weights[name] = signs * magnitudes * (layer.std if scale else plain)
    return weights


def _with_shape(magnitudes: Tensor, layer: LayerFit, generator: Generator) -> Tensor:
    """Magnitudes of the tickets' distribution in the order of those given, equal ones at random.

    Their mean square is 1.
    """
    count = magnitudes.numel()
    shuffled = torch.randperm(count, generator=generator)
    order = shuffled[magnitudes.flatten()[shuffled].argsort(stable=True)]
    probabilities = (np.arange(count) + 0.5) / count
    values = torch.from_numpy(np.interp(probabilities, GRID, layer.quantiles))
    values /= root_mean_square(values)
    found = torch.empty(count, dtype=magnitudes.dtype)
    found[order] = values.to(magnitudes.dtype)
    return found.view(magnitudes.shape)


def _with_positive(signs: Tensor, share: float, generator: Generator) -> Tensor:
    """Turn signs of one kind at random, until the expected share of positive ones is `share`."""
    now = float((signs > 0).double().mean())
    if share == now:
        return signs
    wanted, chance = (1, (share - now) / (1 - now)) if share > now else (-1, (now - share) / now)
    turned = torch.rand(signs.shape, generator=generator) < chance
    return signs.masked_fill(turned, wanted)
