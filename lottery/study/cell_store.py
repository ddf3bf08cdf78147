"""One cell on disk: a file per finished level, and the points to go on from and to rewind to.

    level_00.safetensors ...  masks (bits), trained weights (kept values) and record of a level
    checkpoint.pt             the last point saved within a level
    rewind.pt                 the point to rewind to, if that is not the initialisation

Every file appears whole or not at all: it is written beside its place and moved there. A level
exists once its file does.
"""

import dataclasses
import json
import logging
import pickle
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from lottery.errors import StoreError
from lottery.files import whole
from lottery.objectives import Metrics
from lottery.pruning.masks import Masks, State, pack, unpack
from lottery.study import records
from lottery.tickets.level import Level, Memory
from lottery.tickets.size import Size
from lottery.training.level import Checkpoint, Evaluation

log = logging.getLogger("lottery")

CHECKPOINT_SECONDS = 30.0
"""Work within a level that a kill may cost, unless two evaluations lie further apart."""


class CellStore(Memory):
    """One cell's folder."""

    def __init__(self, folder: Path, checkpoint_seconds: float = CHECKPOINT_SECONDS) -> None:
        super().__init__()
        self.folder = folder
        self.checkpoint_seconds = checkpoint_seconds
        self._saved = time.monotonic()

    def path(self, level: int) -> Path:
        """The file of a finished level."""
        return self.folder / f"level_{level:02d}.safetensors"

    def record(self, level: int) -> dict[str, Any] | None:
        """A finished level's rows, without its tensors; None if it is missing or broken."""
        path = self.path(level)
        if not path.exists():
            return None
        try:
            with safe_open(path, framework="pt") as file:
                return json.loads(file.metadata()["record"])
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            log.warning("%s is not readable (%s): the level is trained again", path, error)
            return None

    def has(self, levels: Iterable[int]) -> bool:
        """Whether all these levels are finished here."""
        return all(self.record(level) for level in levels)

    def finished_levels(self) -> list[int]:
        """Levels that have a file, in order."""
        return sorted(
            int(path.stem.split("_")[1]) for path in self.folder.glob("level_*.safetensors")
        )

    def ticket(self, level: int) -> tuple[Masks, State]:
        """Masks and trained weights of a finished level."""
        try:
            return self._tensors(level)
        except (SafetensorError, OSError) as error:
            raise StoreError(f"no masks of level {level} in {self.folder} ({error})") from error

    def _tensors(self, level: int) -> tuple[Masks, State]:
        with safe_open(self.path(level), framework="pt") as file:
            shapes = json.loads(file.metadata()["shapes"])
            masks = unpack({name: file.get_tensor(f"mask/{name}") for name in shapes}, shapes)
            names = (key.split("/", 1) for key in file.keys())  # noqa: SIM118 (not a dict)
            state = {
                name: file.get_tensor(f"{kind}/{name}") for kind, name in names if kind != "mask"
            }
        for name, mask in masks.items():
            state[name] = torch.zeros(mask.shape, dtype=state[name].dtype).masked_scatter_(
                mask, state[name]
            )
        return masks, state

    def load_level(self, level: int, initial: State) -> Level | None:
        """A finished level with its masks and trained weights."""
        record = self.record(level)
        if record is None:
            return None
        masks, trained = self._tensors(level)
        row, sets = record["level"], ("train", "val", "test")
        metrics = {s: Metrics(row[f"{s}_loss"], row[f"{s}_accuracy"]) for s in sets}
        fields = [field.name for field in dataclasses.fields(Evaluation)]
        return Level(
            level=level,
            masks=masks,
            kinds={layer["layer"]: layer["kind"] for layer in record["layers"]},
            initial=initial,
            trained=trained,
            evaluations=[Evaluation(**{f: r[f] for f in fields}) for r in record["curves"]],
            first_step=record["curves"][-1]["step"] - row["steps"],
            seconds=row["seconds"],
            engine=row["engine"],
            device=row["device"],
            diagnostics=record.get("diagnostics", {}),  # older files have none
            size=Size(row["parameters"], row["macs"]) if "macs" in row else None,
            **metrics,
        )

    def save_level(self, level: Level) -> None:
        """Keep a finished level: masks as bits, of masked parameters the kept values only."""
        tensors = {f"mask/{name}": bits for name, bits in pack(level.masks).items()}
        for name, tensor in level.trained.items():
            kept = tensor[level.masks[name]] if name in level.masks else tensor
            tensors[f"trained/{name}"] = kept.contiguous()
        record = {
            "level": records.level_row(level),
            "curves": records.curve_rows(level),
            "layers": records.layer_rows(level),
            "diagnostics": level.diagnostics,
        }
        shapes = {name: list(mask.shape) for name, mask in level.masks.items()}
        metadata = {"record": json.dumps(record), "shapes": json.dumps(shapes)}
        with whole(self.path(level.level)) as path:
            save_file(tensors, path, metadata)

    def load_checkpoint(self) -> Checkpoint | None:
        """The last point saved, or None."""
        return self._load_point("checkpoint.pt")

    def save_checkpoint(self, take: Callable[[], Checkpoint], *, must: bool) -> None:
        """Keep a point to go on from; if it need not be kept, only now and then."""
        if must or time.monotonic() - self._saved >= self.checkpoint_seconds:
            self._save_point("checkpoint.pt", take())
            self._saved = time.monotonic()

    def load_rewind_point(self) -> Checkpoint | None:
        """The point to rewind to, or None."""
        return self._load_point("rewind.pt")

    def save_rewind_point(self, checkpoint: Checkpoint) -> None:
        """Keep the point to rewind to."""
        self._save_point("rewind.pt", checkpoint)

    def _save_point(self, name: str, point: Checkpoint) -> None:
        values = {**vars(point), "evaluations": [vars(e) for e in point.evaluations]}
        with whole(self.folder / name) as path:
            torch.save(values, path)

    def _load_point(self, name: str) -> Checkpoint | None:
        path = self.folder / name
        if not path.exists():
            return None
        try:
            values = torch.load(path, map_location="cpu", weights_only=True)
            values["evaluations"] = [Evaluation(**e) for e in values["evaluations"]]
            return Checkpoint(**values)
        except (
            OSError,
            RuntimeError,
            EOFError,
            KeyError,
            TypeError,
            ValueError,
            pickle.UnpicklingError,
        ) as error:
            log.warning("%s is not readable (%s) and is passed over", path, error)
            return None
