"""How results were made: versions, machine, code and time."""

import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

PACKAGES = ("lottery", "torch", "torchvision", "numpy", "scipy", "pandas", "pyarrow")


def describe_run(device: str, workers: int | None, data_sha256: dict[str, str]) -> dict[str, Any]:
    """Everything about a run that is known when it starts."""
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "git_commit": _git_commit(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
        "host": {
            "system": platform.system(),
            "machine": platform.machine(),
            "processor": _processor(),
            "cores": os.cpu_count(),
        },
        "device": _device(device),
        "workers": workers,
        "data_sha256": data_sha256,
    }


def _device(device: str) -> str:
    """Name of the GPU, or "cuda" where only the nodes of a cluster have one; "cpu"."""
    here = device == "cuda" and torch.cuda.is_available()
    return torch.cuda.get_device_name() if here else device


def append_run(text: str | None, study: str, run: dict[str, Any]) -> str:
    """The manifest `text` (None if there is none yet) with one more run."""
    manifest: dict[str, Any] = {"study": study, "runs": []} if text is None else json.loads(text)
    manifest["runs"].append(run)
    return json.dumps(manifest, indent=2) + "\n"


def end_run(text: str, found: dict[str, Any]) -> str:
    """The manifest `text` with what is known of its last run now that it has ended."""
    manifest = json.loads(text)
    manifest["runs"][-1] |= found
    return json.dumps(manifest, indent=2) + "\n"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git_commit() -> str | None:
    """Commit of the code, marked when the code differs from it; None outside a git checkout."""
    here = Path(__file__).parent

    def git(*args: str) -> str:
        command = ["git", "-C", str(here), *args]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        commit = git("rev-parse", "HEAD")
        changed = git(
            "status", "--porcelain", "--untracked-files=no", "--", ":/lottery", ":/experiments"
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{commit}+changes" if changed else commit


def _processor() -> str:
    """Model name of the processor, where the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
