"""What is written to the data folder."""

from pathlib import Path

from lottery.errors import DataError, in_a_line
from lottery.files import whole


def write(path: Path, content: bytes) -> None:
    """Write a file, whole or not at all; DataError where that cannot be done.

    Bytes and not safetensors' save_file, which makes files that only their owner can read.
    """
    try:
        with whole(path) as place:
            place.write_bytes(content)
    except OSError as error:
        raise cannot_write(path, error) from error


def cannot_write(path: Path, error: OSError) -> DataError:
    """What a user is told who has no room, or no right, to write there."""
    return DataError(
        f"cannot write {path}: {in_a_line(error)}; make room or choose another folder "
        "with --data-dir or $LOTTERY_DATA"
    )
