"""How long a network takes, measured."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor, nn

from lottery.costs.mode import check_batch, evaluating
from lottery.costs.timing import Timing, clocked, per_call, round_robin
from lottery.errors import ConfigError

Key = TypeVar("Key")


@dataclass(frozen=True)
class Latency:
    """Seconds of a forward pass of one batch, in eval mode and without gradients."""

    batch_size: int
    seconds: Timing
    """Median, quartiles and number of passes."""
    device: str
    threads: int
    """Of PyTorch on the CPU."""

    def __str__(self) -> str:
        low, median, high = (
            1e3 * value for value in (self.seconds.low, self.seconds.median, self.seconds.high)
        )
        place = f"{self.threads} threads" if self.device == "cpu" else self.device
        return (
            f"batch {self.batch_size}: {median:.3f} ms ({low:.3f} to {high:.3f}, "
            f"n = {self.seconds.n}, {place})"
        )


def latency(
    model: nn.Module, images: Tensor, batch_sizes: Sequence[int] = (1, 64), passes: int = 20
) -> list[Latency]:
    """Time the network on batches of these sizes, in turns, after two passes that do not count.

    images: (batch, ...) on the model's device, repeated as often as a batch needs. To compare
    networks, use one machine that does nothing else, and the same number of threads
    (`torch.set_num_threads`).
    """
    check_batch(images)
    if any(size < 1 for size in batch_sizes) or passes < 1:
        asked = f"batches of {list(batch_sizes)}, {passes} passes"
        raise ConfigError("latency", asked, "at least one of each")
    kind = images.device.type
    batches = {size: images[torch.arange(size) % len(images)] for size in batch_sizes}

    def measure(size: int) -> float:
        return clocked(lambda: model(batches[size]), kind)

    with evaluating(model), torch.inference_mode():
        for batch in batches.values():
            model(batch)
            model(batch)
        found = round_robin({size: partial(measure, size) for size in batches}, passes)
    threads = torch.get_num_threads()
    return [Latency(size, seconds, kind, threads) for size, seconds in found.items()]


def in_turns(models: Mapping[Key, nn.Module], images: Tensor, passes: int) -> dict[Key, Timing]:
    """Seconds that each network takes for the same batch, timed in turns.

    A load that comes and goes strikes all alike, so that their ratios can be trusted more than
    those of networks that are timed one after the other. Before each pass that is timed there is
    one that is not, as the network before has left the caches full of its own weights.
    """
    with contextlib.ExitStack() as stack, torch.inference_mode():
        for model in models.values():
            stack.enter_context(evaluating(model))
        works = {key: partial(model, images) for key, model in models.items()}
        kind = images.device.type
        return round_robin({key: per_call(work, 1, kind) for key, work in works.items()}, passes)
