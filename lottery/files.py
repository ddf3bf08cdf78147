"""Files and folders that appear whole or not at all."""

import contextlib
import os
import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A temporary place that becomes `path` if nothing goes wrong, and vanishes if it does.

    Whoever reads `path` meanwhile finds what was there before. What is written there may be a file,
    or a folder if `path` is none yet.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Several machines may share the folder, and threads a process.
    writer = f"{socket.gethostname()}-{os.getpid()}-{threading.get_ident()}"
    temporary = path.with_name(f".{path.name}.{writer}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            temporary.unlink(missing_ok=True)
