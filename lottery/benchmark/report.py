"""What a benchmark found: the machine that it tells of, and the file it is kept in."""

import json
import os
import re
from pathlib import Path
from typing import Any

import torch

from lottery.errors import StoreError
from lottery.files import whole
from lottery.study.manifest import describe_run

Found = dict[str, Any]


def describe_machine(device: str, workers: int, data_sha256: dict[str, str]) -> Found:
    """The machine, the software and the data; threads are PyTorch's default."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return describe_run(device, workers, data_sha256) | {
        "gpu": torch.cuda.get_device_name() if device == "cuda" else None,
        "memory_bytes": memory,
        "threads": torch.get_num_threads(),
    }


def machine_name(machine: Found) -> str:
    """A file name for it: the GPU's name, or the processor's and its cores.

    >>> machine_name({"gpu": None, "host": {"processor": "Intel(R) Xeon(R) Processor", "cores": 2}})
    'intel-xeon-2-cores'
    """
    text = machine["gpu"] or f"{machine['host']['processor']} {machine['host']['cores']} cores"
    text = re.sub(r"\((r|tm)\)|\bcpu\b|\bprocessor\b|@.*hz", " ", text.lower())
    return "-".join(re.findall(r"[a-z0-9]+", text))


def save(found: Found, path: Path) -> None:
    """Write it as JSON, numbers to six digits."""
    try:
        with whole(path) as place:
            place.write_text(json.dumps(_short(found), indent=2, ensure_ascii=False) + "\n")
    except OSError as error:
        raise StoreError(f"{path} cannot be written ({error})") from error


def load(path: Path) -> Found:
    """What `save` wrote."""
    try:
        found = json.loads(path.read_text())
        if "machine" not in found:
            raise ValueError("it tells of no machine")
    except (OSError, ValueError, TypeError) as error:
        raise StoreError(f"{path} cannot be read as a benchmark ({error})") from error
    return found


def _short(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _short(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_short(item) for item in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value
