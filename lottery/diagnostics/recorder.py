"""Diagnostics of a finished level, all at once."""

import copy
from dataclasses import dataclass

import torch
from torch import nn

from lottery.data.images import Splits
from lottery.diagnostics.barrier import barriers
from lottery.diagnostics.paths import effective_density
from lottery.diagnostics.quantities import ALL, Quantities
from lottery.diagnostics.signals import dead_units, signals_at_start
from lottery.diagnostics.weights import weight_quantities
from lottery.errors import ConfigError
from lottery.pruning.masks import Masks, State
from lottery.seeds import derive, generator
from lottery.training.loop import noise


@dataclass(frozen=True, kw_only=True)
class DiagnosticsConfig:
    """What is recorded to explain results. It decides no number of the other tables."""

    record: bool = False
    """Record gradients, activations, dead units, effective density, what training did to the
    weights, overlaps of masks, and loss barriers between a ticket and its `retrain`. Levels
    finished without gain none but the overlaps between seeds."""

    images: int = 1000
    """Training images on which gradients, activations and dead units are computed, the same at
    every level and scheme of a seed."""

    barrier_points: int = 11
    """Networks evaluated on the line between two trainings of a ticket, its ends included."""

    def __post_init__(self) -> None:
        if self.images < 1:
            raise ConfigError("diagnostics.images", self.images, "at least 1")
        if self.barrier_points < 3:
            raise ConfigError("diagnostics.barrier_points", self.barrier_points, "at least 3")


class Recorder:
    """Computes diagnostics on one seed's data, in float32 and eval mode. Leaves models alone."""

    def __init__(self, config: DiagnosticsConfig, data: Splits, seed: int) -> None:
        order = torch.randperm(len(data.train), generator=generator(seed, "diagnostics"))
        self.config = config
        self.test = data.test
        self.sample = data.train.subset(order[: config.images])
        self._noise = derive(seed, "diagnostics", "noise")

    def level(
        self, model: nn.Module, masks: Masks, start: State, initial: State, trained: State
    ) -> Quantities:
        """Of one level.

        model: the network, for its structure. start: weights that training started from, masked or
        not. initial: weights at initialisation. masks and states on any device and on the CPU.
        """
        device = self.sample.device
        here, masks = masks.to(device), masks.to("cpu")
        network = copy.deepcopy(model)
        with noise(self._noise, device):
            network.load_state_dict(start)
            here.apply(network)
            found = signals_at_start(network, here, self.sample)
            network.load_state_dict(trained)
            found["dead_units"] = dead_units(network, here, self.sample)
            image, _ = self.sample.batch(slice(0, 1))
            density = effective_density(network, here, image)
        if density is not None:
            found["effective_density"] = density
        return found | weight_quantities(masks, initial, trained)

    def barriers(self, model: nn.Module, one: State, other: State) -> Quantities:
        """Between two trained networks, on the sample of training images and on the test set."""
        sets = {"train": self.sample, "test": self.test}
        network = copy.deepcopy(model)
        with noise(self._noise, self.sample.device):
            found = barriers(network, one, other, sets, self.config.barrier_points)
        return {quantity: {ALL: value} for quantity, value in found.items()}
