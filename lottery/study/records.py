"""From a finished level to rows of the study's tables."""

from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from lottery.tickets.level import Level

BINS = 64
"""Bins of the weight histograms."""

Row = dict[str, Any]


def level_row(level: Level) -> Row:
    """What levels.csv says of a level; accuracies are fractions, at the last step unless named.

    parameters, macs: of the network without the filters that are pruned, where filters are.
    """
    early = level.early_stop
    return {
        "level": level.level,
        "weights_remaining": level.weights_remaining,
        "test_accuracy": level.test.accuracy,
        "val_accuracy": level.val.accuracy,
        "train_accuracy": level.train.accuracy,
        "test_loss": level.test.loss,
        "val_loss": level.val.loss,
        "train_loss": level.train.loss,
        "early_stop_step": early.step,
        "test_accuracy_at_early_stop": early.test_accuracy,
        "val_accuracy_at_early_stop": early.val_accuracy,
        "steps": level.steps,
        "seconds": round(level.seconds, 3),
        "engine": level.engine,
        "device": level.device,
        **(asdict(level.size) if level.size else {}),
    }


def curve_rows(level: Level) -> list[Row]:
    """What curves.parquet says of a level: a row per evaluation.

    A step after which a procedure acted has two, before and after it. weights_remaining is what
    was left at that time.
    """
    rows = []
    for evaluation in level.evaluations:
        row = {"level": level.level, "weights_remaining": None} | asdict(evaluation)
        if row["weights_remaining"] is None:
            row["weights_remaining"] = level.weights_remaining
        rows.append(row)
    return rows


def layer_rows(level: Level) -> list[Row]:
    """What layers.parquet says of a level: a row per prunable parameter.

    Histograms have 64 equal bins over [−span, span] and count kept weights only, by their values
    at initialisation and after training. kept_inputs, for a first layer that is linear, counts the
    kept weights of each input: of each pixel. kept_outputs counts the
    filters or neurons that keep any weight.
    """
    rows = []
    for position, (name, mask) in enumerate(level.masks.items()):
        initial, trained = level.initial[name][mask], level.trained[name][mask]
        span = float(max((t.abs().max() for t in (initial, trained) if len(t)), default=0.0))
        kept_inputs = mask.sum(dim=0).tolist() if position == 0 and mask.dim() == 2 else None
        rows.append(
            {
                "level": level.level,
                "layer": name,
                "kind": level.kinds[name],
                "weights": mask.numel(),
                "remaining": level.masks.remaining[name],
                "span": span,
                "initial_histogram": _histogram(initial, span),
                "final_histogram": _histogram(trained, span),
                "kept_inputs": kept_inputs,
                "outputs": len(mask),
                "kept_outputs": int(mask.view(len(mask), -1).any(dim=1).sum()),
            }
        )
    return rows


def _histogram(values: Tensor, span: float) -> list[int]:
    if span == 0.0:
        return [0] * (BINS // 2) + [len(values)] + [0] * (BINS // 2 - 1)
    return torch.histc(values.float(), BINS, -span, span).int().tolist()
