"""TensorBoard events of one cell, live while it runs."""

import time
from collections.abc import Iterable
from pathlib import Path

import torch
import yaml
from torch.utils.tensorboard import SummaryWriter

from lottery.data.images import Examples
from lottery.detection.drawing import SHOWN, panel
from lottery.detection.objective import Detection
from lottery.models import build
from lottery.pruning.masks import Masks
from lottery.study.config import StudyConfig
from lottery.study.grid import Cell
from lottery.study.records import Row
from lottery.tickets.level import Level, Start
from lottery.training.level import Evaluation


class TensorBoard:
    """Writes a cell's scalars, histograms, mask images, configuration and hyperparameters.

    The horizontal axis is the number of steps trained since the first level began.
    """

    def __init__(
        self, folder: Path, config: StudyConfig, cell: Cell, resumed_at: int, examples: Examples
    ) -> None:
        """resumed_at: steps already logged; events after them came from a run that was killed.

        examples: for validation, of which detectors are shown to find something in the first few.
        """
        logged_before = list(folder.glob("events.*"))
        _wait_to_come_after(logged_before)
        self._writer = SummaryWriter(str(folder), purge_step=resumed_at + 1)
        self._config, self._cell, self._examples = config, cell, examples
        self._done = 0
        if not logged_before:  # texts, unlike scalars, are not purged
            text = yaml.safe_dump(config.to_dict(), sort_keys=False)
            self._writer.add_text("configuration", f"Cell `{cell.name}`\n\n```yaml\n{text}```")

    def evaluation(self, start: Start, evaluation: Evaluation) -> None:
        """Scalars of one evaluation."""
        step = self._done + evaluation.step - start.step
        for part, short in (("train", "train"), ("validation", "val"), ("test", "test")):
            for quantity in ("loss", "accuracy"):
                value = getattr(evaluation, f"{short}_{quantity}")
                self._writer.add_scalar(f"{quantity}/{part}", value, step)
        self._writer.add_scalar("weights_remaining/all", start.masks.weights_remaining, step)
        for name, density in start.masks.densities.items():
            self._writer.add_scalar(f"weights_remaining/{name}", density, step)
        self._writer.flush()  # before the checkpoint that counts this step as logged

    def level(self, level: Level, *, logged: bool = False) -> None:
        """A finished level: histograms of kept weights, and the first layer's mask as an image; of
        a detector, what it finds.

        logged: an earlier run logged it already; only its steps are counted.
        """
        self._done += level.steps
        if logged:
            return
        for name, mask in level.masks.items():
            for when, state in (("initial", level.initial), ("trained", level.trained)):
                values = state[name][mask]
                if len(values):
                    self._writer.add_histogram(f"{name}/{when}", values, self._done)
        image = mask_image(level.masks)
        if image is not None:
            self._writer.add_image("first_layer_mask", image, self._done)
        if isinstance(self._examples.objective, Detection):
            model = build(self._config.model)
            model.load_state_dict(level.trained)
            few, _ = self._examples.batch(slice(0, SHOWN))
            found = panel(model.eval(), few.cpu(), self._examples.objective)
            self._writer.add_image("detections", found, self._done)
        self._writer.flush()

    def close(self, levels: list[Row]) -> None:
        """Hyperparameters with the metrics of the last and the best level (by validation).

        Without levels, as of a control whose ticket's walk ended before its first, there are none.
        """
        if not levels:
            self._writer.close()
            return
        cell, config = self._cell, self._config
        settings = {
            "variant": cell.variant,
            "init": cell.init,
            "seed": cell.seed,
            "branch": cell.branch,
            "draw": cell.draw,
            "study": config.name,  # what differs between variants shown together
            "lr": config.train.lr,
        }
        best = max(levels, key=lambda row: row["val_accuracy"])
        metrics = {
            f"{which}/{quantity}": row[quantity]
            for which, row in (("last", levels[-1]), ("best", best))
            for quantity in ("test_accuracy", "weights_remaining")
        }
        self._writer.add_hparams(settings, metrics, run_name=".", global_step=self._done)
        self._writer.close()


def _wait_to_come_after(files: Iterable[Path]) -> None:
    """Until a new event file, named by the second it is made in, sorts after these.

    TensorBoard reads files in the order of their names, and within a second the order is chance.
    """
    newest = max((int(file.name.split(".")[3]) for file in files), default=0)
    time.sleep(max(0.0, min(1.0, newest + 1 - time.time())))  # clocks of two machines may differ


def mask_image(masks: Masks) -> torch.Tensor | None:
    """Density of the first layer's kept weights per pixel, 1×side×side, if that layer is linear.

    On one logarithmic scale at every level: white is all, black a thousandth or less.
    None if the first layer is no linear layer on a square image of one channel.
    """
    first = next(iter(masks.values()))
    side = round(first.shape[1] ** 0.5)
    if first.dim() != 2 or side * side != first.shape[1]:
        return None
    density = first.float().mean(dim=0).view(1, side, side)
    return 1 + density.clamp(min=1e-3).log10() / 3
