"""Files of the data folder: each appears whole or not at all."""

import os
import secrets
from pathlib import Path

from lottery.errors import DataError, in_a_line


def write(path: Path, content: bytes) -> None:
    """Write under a name of its own until it is whole; DataError where that cannot be done.

    Bytes and not safetensors' save_file, which makes files that only their owner can read.
    """
    temporary = beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(content)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from error


def beside(path: Path) -> Path:
    """A hidden place next to `path`, on the same disk, that no other process uses."""
    return path.with_name(f".{path.name}-{os.getpid()}-{secrets.token_hex(4)}")


def cannot_write(path: Path, error: OSError) -> DataError:
    """What a user is told who has no room, or no right, to write there."""
    return DataError(
        f"cannot write {path}: {in_a_line(error)}; make room or choose another folder "
        "with --data-dir or $LOTTERY_DATA"
    )
