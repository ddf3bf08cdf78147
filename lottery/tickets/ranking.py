"""Which weights a level keeps: its masks, from the network that the protocol ranks."""

import copy
from typing import Protocol

import torch
from torch import Tensor, nn

from lottery.data.images import Examples, Splits
from lottery.pruning.channels import trace
from lottery.pruning.masks import Masks, State, prunable
from lottery.pruning.network import Network
from lottery.pruning.schedule import PruneConfig, keep_counts
from lottery.pruning.shrink import unit_masks
from lottery.pruning.units import check_criterion, prune_units, removed_units, unit_counts
from lottery.pruning.weights import prune
from lottery.seeds import derive, generator
from lottery.tickets.size import Size, size_of
from lottery.training.loop import noise


class Ranking(Protocol):
    """Finds the masks of a cell's levels, on the data's device."""

    @property
    def full(self) -> Masks:
        """Masks of level 0, on the CPU, of all parameters that pruning may touch."""

    def masks(self, level: int, masks: Masks, trained: State) -> Masks:
        """Masks of `level` within `masks`, on the CPU.

        trained: the weights that are ranked, unless the configuration ranks the initial ones.
        Untrained networks are ranked with the same chance at every level, so that where the scores
        of a weight do not depend on the level, masks nest.
        """

    def size(self, masks: Masks) -> Size | None:
        """What is left of the network when all that is pruned is removed, if it can be."""


def make_ranking(
    model: nn.Module, data: Splits, config: PruneConfig, initial: State, seed: int
) -> Ranking:
    """The ranking of single weights or of filters that the configuration asks for.

    model: for its structure, left alone. initial: its weights at initialisation.
    """
    kind = FilterRanking if check_criterion(config) else WeightRanking
    return kind(model, data, config, initial, seed)


class _Ranking:
    """What both kinds are made of."""

    def __init__(
        self, model: nn.Module, data: Splits, config: PruneConfig, initial: State, seed: int
    ) -> None:
        self._model = model
        self._config = config
        self._seed = seed
        self._train = data.train
        self._device = data.train.device
        self._initial = initial
        self._noise = derive(seed, "prune", "noise")

    def _ranked(self, trained: State) -> State:
        """The weights that are ranked."""
        state = self._initial if self._config.at == "initial" else trained
        return {name: tensor.to(self._device) for name, tensor in state.items()}

    def _chance(self, level: int) -> torch.Generator:
        return generator(self._seed, "prune", 0 if self._config.at == "initial" else level)

    def _images(self) -> tuple[Tensor, Tensor]:
        """The batch that criteria on data see."""
        chance = generator(self._seed, "prune", "images")
        index = balanced(self._train.labels.cpu(), self._config.images, chance)
        return self._train.batch(index.to(self._device))


class WeightRanking(_Ranking):
    """Of single weights."""

    @property
    def full(self) -> Masks:  # noqa: D102 (as declared)
        return Masks.ones(self._model, self._config.biases).to("cpu")

    def masks(self, level: int, masks: Masks, trained: State) -> Masks:  # noqa: D102
        config, state = self._config, self._ranked(trained)
        kinds = prunable(self._model, config.biases)
        with noise(self._noise, self._device):
            found = prune(
                masks.to(self._device),
                state,
                {name: self._initial[name].to(self._device) for name in masks},
                keep_counts(masks.sizes, kinds, config, level, masks.shapes),
                criterion=config.criterion,
                scope=config.scope,
                iterations=config.iterations,
                generator=self._chance(level),
                network=Network(
                    self._model,
                    state,
                    *self._images(),
                    masks=masks.to(self._device),
                    objective=self._train.objective,
                ),
            )
        return found.to("cpu")

    def size(self, masks: Masks) -> None:
        """Nothing: networks of scattered weights are as large as ever."""


class FilterRanking(_Ranking):
    """Of whole filters: masks are what removing them takes away."""

    def __init__(
        self, model: nn.Module, data: Splits, config: PruneConfig, initial: State, seed: int
    ) -> None:
        super().__init__(model, data, config, initial, seed)
        self.graph = trace(model, example_of(data.train), config.fixed)

    @property
    def full(self) -> Masks:  # noqa: D102
        nothing = torch.zeros(self.graph.units, dtype=torch.bool)
        return unit_masks(self.graph, self._model, nothing).to("cpu")

    def masks(self, level: int, masks: Masks, trained: State) -> Masks:  # noqa: D102
        config, model = self._config, copy.deepcopy(self._model)
        model.load_state_dict(self._ranked(trained))
        with noise(self._noise, self._device):
            found = prune_units(
                model,
                self.graph,
                unit_counts(model, self.graph, config, level),
                removed=removed_units(self.graph, masks),
                initial={n: tensor.to(self._device) for n, tensor in self._initial.items()},
                criterion=config.criterion,
                scope=config.scope,
                iterations=config.iterations,
                keep_at_least=config.keep_at_least,
                multiple_of=config.multiple_of,
                generator=self._chance(level),
                batch=self._images(),
                objective=self._train.objective,
            )
        return unit_masks(self.graph, model, found).to("cpu")

    def size(self, masks: Masks) -> Size:  # noqa: D102
        return size_of(self._model, self.graph, masks, example_of(self._train))


def example_of(examples: Examples) -> Tensor:
    """One image as a batch, as networks take it."""
    return examples.batch(slice(0, 1))[0]


def balanced(labels: Tensor, count: int, chance: torch.Generator) -> Tensor:
    """Indices of `count` random examples, of each class as many up to one while they last.

    labels: int64 class indices, on the CPU; or boxes, of any classes. Fewer than `count` if there
    are no more.
    """
    order = torch.randperm(len(labels), generator=chance)
    if labels.dim() > 1:
        return order[:count]
    turn = torch.empty_like(order)
    for label in labels.unique():
        own = order[labels[order] == label]
        turn[own] = torch.arange(len(own))
    return order[turn[order].argsort(stable=True)[:count]]
