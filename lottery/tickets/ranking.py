"""Which weights a level keeps: its masks, from the network that the protocol ranks."""

import torch
from torch import Tensor, nn

from lottery.data.images import Splits
from lottery.pruning.masks import Masks, State, prunable
from lottery.pruning.network import Network
from lottery.pruning.schedule import PruneConfig, keep_counts
from lottery.pruning.weights import prune
from lottery.seeds import derive, generator
from lottery.training.loop import noise


class Ranking:
    """Finds the masks of a cell's levels, on the data's device."""

    def __init__(
        self, model: nn.Module, data: Splits, config: PruneConfig, initial: State, seed: int
    ) -> None:
        """model: for its structure, left alone. initial: its weights at initialisation."""
        self._model = model
        self._config = config
        self._initial = initial
        self._seed = seed
        self._kinds = prunable(model, config.biases)
        self._train = data.train

    @property
    def filters(self) -> bool:
        """Whether whole filters are ranked."""
        return False

    def masks(self, level: int, masks: Masks, trained: State) -> Masks:
        """Masks of `level` within `masks`, on the CPU.

        trained: the weights that are ranked, unless the configuration ranks the initial ones.
        Untrained networks are ranked with the same chance at every level, so that where the scores
        of a weight do not depend on the level, masks nest.
        """
        config, device = self._config, self._train.labels.device
        untrained = config.at == "initial"
        state = {n: t.to(device) for n, t in (self._initial if untrained else trained).items()}
        with noise(derive(self._seed, "prune", "noise"), device):
            found = prune(
                masks.to(device),
                state,
                {name: self._initial[name].to(device) for name in masks},
                keep_counts(masks.sizes, self._kinds, config, level, masks.shapes),
                criterion=config.criterion,
                scope=config.scope,
                iterations=config.iterations,
                generator=generator(self._seed, "prune", 0 if untrained else level),
                network=Network(self._model, state, *self._images(), masks=masks.to(device)),
            )
        return found.to("cpu")

    def _images(self) -> tuple[Tensor, Tensor]:
        """The batch that criteria on gradients see."""
        chance = generator(self._seed, "prune", "images")
        index = balanced(self._train.labels.cpu(), self._config.images, chance)
        return self._train.batch(index.to(self._train.labels.device))


def balanced(labels: Tensor, count: int, chance: torch.Generator) -> Tensor:
    """Indices of `count` random examples, of each class as many up to one while they last.

    labels: int64 class indices, on the CPU. Fewer than `count` if there are no more.
    """
    order = torch.randperm(len(labels), generator=chance)
    turn = torch.empty_like(order)
    for label in labels.unique():
        own = order[labels[order] == label]
        turn[own] = torch.arange(len(own))
    return order[turn[order].argsort(stable=True)[:count]]
