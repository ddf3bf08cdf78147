"""What else a convolutional network's step could run on: other memory layouts, other precision."""

import dataclasses
from dataclasses import asdict
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from lottery.benchmark.steps import Case, segment
from lottery.costs.timing import clocked, round_robin
from lottery.data.images import Splits
from lottery.study.config import StudyConfig
from lottery.training.loop import run_reference

LAST, PLAIN = torch.channels_last, torch.contiguous_format
AS_IT_IS = "float32, images channels-last (as all engines have it)"
OPTIONS = {
    AS_IT_IS: ("float32", LAST, PLAIN),
    "float32, images contiguous": ("float32", PLAIN, PLAIN),
    "float32, images and weights channels-last": ("float32", LAST, LAST),
    "bfloat16 (autocast), images channels-last": ("bfloat16", LAST, PLAIN),
    "bfloat16 (autocast), images contiguous": ("bfloat16", PLAIN, PLAIN),
}
"""Precision of products, layout of the images in memory, layout of the weights."""


def measure_options(
    config: StudyConfig, data: Splits, steps: int, rounds: int
) -> list[dict[str, Any]]:
    """A row per option: a dense step of the reference engine, and its ratio to it as it is."""
    measurements = {
        name: partial(_seconds_per_step, config, data, steps, *option)
        for name, option in OPTIONS.items()
    }
    found = round_robin(measurements, rounds, f"options, {config.model}")
    return [
        {
            "network": config.model,
            "option": name,
            "steps": steps,
            "seconds": asdict(timing),
            "to_usual": timing.median / found[AS_IT_IS].median,
        }
        for name, timing in found.items()
    ]


def _seconds_per_step(
    config: StudyConfig,
    data: Splits,
    steps: int,
    precision: str,
    images: torch.memory_format,
    weights: torch.memory_format,
) -> float:
    def lay_out(model: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
        return (inputs[0].contiguous(memory_format=images),)

    device = data.train.device.type
    for length in (1, steps):
        part = segment(config, data, Case("reference", 1.0), 0, length)
        part.model.to(memory_format=weights).register_forward_pre_hook(lay_out)
        part = dataclasses.replace(part, precision=precision)
        seconds = clocked(partial(run_reference, [part]), device)
    return seconds / steps
