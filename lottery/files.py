"""Files that appear whole or not at all."""

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A temporary place that becomes `path` if nothing goes wrong, and vanishes if it does.

    Whoever reads `path` meanwhile finds what was there before.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = f"{socket.gethostname()}-{os.getpid()}"  # several machines may share the folder
    temporary = path.with_name(f".{path.name}.{writer}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
