"""The reference engine: the shortest honest training loop. Faster engines are tested against it."""

import contextlib
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, Optimizer

from lottery.data.images import Examples
from lottery.objectives import Metrics
from lottery.training.config import TrainConfig
from lottery.training.segment import Segment


def make_optimizer(model: nn.Module, config: TrainConfig) -> Optimizer:
    """A fresh optimiser over all parameters of `model`."""
    parameters = list(model.parameters())
    lr, decay = config.lr, config.weight_decay
    if config.optimizer == "sgd":
        momentum, nesterov = config.momentum, config.nesterov
        return SGD(parameters, lr, momentum, weight_decay=decay, nesterov=nesterov, fused=True)
    return Adam(parameters, lr, weight_decay=decay, fused=True)


def run_reference(segments: Sequence[Segment]) -> list[list[Metrics]]:
    """Work off one segment after the other."""
    results = []
    for segment in segments:
        device = segment.batches.examples.device
        with autocast(segment.precision, device), noise(segment.noise, device):
            train_steps(segment)
            results.append([evaluate(segment.model, part) for part in segment.examples])
    return results


def train_steps(segment: Segment) -> None:
    """Train the segment's model in place, for the objective of its examples."""
    model, optimizer = segment.model, segment.optimizer
    objective, seen = segment.batches.examples.objective, segment.seen
    model.train()
    steps = segment.batches.steps(segment.start, segment.stop)
    for (images, labels), rate in zip(steps, segment.rates, strict=True):
        for group in optimizer.param_groups:
            group["lr"] = rate
        scale = segment.batches.scale(images)
        loss = objective.loss(model(images).float(), labels, seen, scale)
        seen += len(labels)
        optimizer.zero_grad()
        loss.backward()
        segment.masks.apply_to_gradients(model)
        if segment.clip_norm is not None:
            nn.utils.clip_grad_norm_(model.parameters(), segment.clip_norm)
        optimizer.step()


@contextlib.contextmanager
def noise(seed: int, device: torch.device) -> Iterator[None]:
    """Draw what layers like dropout draw from `seed`; the process's random state is as before."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """Matrix products and convolutions in `precision`; weights and updates stay float32.

    Weights are cast at every use: autocast's cache would keep those of a segment's first step.
    """
    use = precision == "bfloat16"
    return torch.autocast(device.type, torch.bfloat16, enabled=use, cache_enabled=False)


EVALUATION_VALUES = 784_000
"""Input values per batch of an evaluation: 1,000 MNIST images, 255 of CIFAR-10. Larger batches of
convolutions fall out of a CPU's cache and take nearly twice as long."""
GPU_IMAGES = 64
"""A GPU has at least so many images at once, however large, as one alone leaves it idle."""


def images_at_once(values: int, device: str) -> int:
    """How many images of so many input values suit an evaluation."""
    return max(GPU_IMAGES if device == "cuda" else 1, EVALUATION_VALUES // values)


def in_batches(
    examples: Examples, batch_size: int | None = None
) -> Iterator[tuple[Tensor, Tensor]]:
    """All examples in their order, by default as many at a time as suit an evaluation."""
    batch_size = batch_size or images_at_once(examples.images[0].numel(), examples.device.type)
    for start in range(0, len(examples), batch_size):
        yield examples.batch(slice(start, start + batch_size))


@torch.no_grad()
def evaluate(model: nn.Module, examples: Examples, batch_size: int | None = None) -> Metrics:
    """Loss and accuracy of `model` in eval mode over all of `examples`, by their objective."""
    model.eval()
    batches = in_batches(examples, batch_size)
    return examples.objective.measure((model(images).float(), labels) for images, labels in batches)
