"""The published files are read pixel by pixel as they were written."""

import gzip
import hashlib
import io
import json
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lottery.data import formats
from lottery.data.images import Examples


def idx(array: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, array.ndim])
    return header + b"".join(n.to_bytes(4, "big") for n in array.shape) + array.tobytes()


def tarball(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


@given(st.lists(st.integers(1, 300), min_size=1, max_size=2), st.integers(0, 2**32 - 1))
def test_idx_round_trip(shape, seed):
    array = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    assert np.array_equal(formats.parse_idx(idx(array)).numpy(), array)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00\x00\x08",
        b"<html>not found</html>",
        bytes([0, 0, 8, 3, 0, 0]),
        bytes([0, 0, 13, 1, 0, 0, 0, 1, 0, 0, 0, 0]),  # floats
        idx(np.arange(10, dtype=np.uint8))[:-1],
        idx(np.arange(10, dtype=np.uint8)) + b"\x00",
    ],
)
def test_a_file_that_is_not_whole_idx_is_refused(content):
    with pytest.raises(ValueError, match="IDX"):
        formats.parse_idx(content)


def mnist_files() -> tuple[dict[str, np.ndarray], dict[str, bytes]]:
    random = np.random.default_rng(0)
    arrays = {
        "train_images": random.integers(0, 256, (6, 28, 28), dtype=np.uint8),
        "train_labels": np.array([5, 0, 4, 1, 9, 2], dtype=np.uint8),
        "test_images": random.integers(0, 256, (3, 28, 28), dtype=np.uint8),
        "test_labels": np.array([7, 2, 1], dtype=np.uint8),
    }
    return arrays, {formats.IDX_FILES[key]: idx(array) for key, array in arrays.items()}


def assert_same(found: dict[str, torch.Tensor], expected: dict[str, np.ndarray]) -> None:
    assert found.keys() == expected.keys()
    for key, array in expected.items():
        assert found[key].dtype == torch.uint8
        assert np.array_equal(found[key].numpy(), array), key


def test_mnist_from_a_folder_of_plain_and_gzipped_files(tmp_path):
    expected, files = mnist_files()
    for i, (name, content) in enumerate(files.items()):
        if i % 2:
            (tmp_path / name).write_bytes(content)
        else:
            (tmp_path / f"{name}.gz").write_bytes(gzip.compress(content))
    assert_same(formats.mnist_folder(tmp_path), expected)


def test_mnist_from_its_package(tmp_path):
    expected, files = mnist_files()
    path = tarball(tmp_path / "m.tgz", {f"package/data/{n}": c for n, c in files.items()})
    assert_same(formats.mnist_package(path), expected)


def test_a_package_without_the_files_names_what_is_missing(tmp_path):
    path = tarball(tmp_path / "m.tgz", {"package/package.json": b"{}"})
    with pytest.raises(ValueError, match="package/data/train-images-idx3-ubyte"):
        formats.mnist_package(path)


RED = (3, 5, 7)  # image, row, column


def cifar_arrays() -> dict[str, np.ndarray]:
    """Ten black training images with one red pixel at RED, two grey test images."""
    images = np.zeros((10, 32, 32, 3), dtype=np.uint8)
    images[RED] = (255, 0, 0)
    return {
        "train_images": images,
        "train_labels": np.arange(10, dtype=np.uint8),
        "test_images": np.full((2, 32, 32, 3), 99, dtype=np.uint8),
        "test_labels": np.array([8, 3], dtype=np.uint8),
    }


def cifar_package(path: Path) -> Path:
    def png(images: np.ndarray) -> bytes:
        out = io.BytesIO()
        Image.fromarray(images.reshape(len(images), 1024, 3)).save(out, format="PNG")
        return out.getvalue()

    arrays = cifar_arrays()
    files = {
        f"package/data_batch_{i + 1}.png": png(arrays["train_images"][2 * i : 2 * i + 2])
        for i in range(5)
    }
    files["package/test_batch.png"] = png(arrays["test_images"])
    files["package/train_lables.json"] = json.dumps(arrays["train_labels"].tolist()).encode()
    files["package/test_lables.json"] = json.dumps(arrays["test_labels"].tolist()).encode()
    return tarball(path, files)


def cifar_archive(path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small cifar-10-python.tar.gz that torchvision takes for the published one."""
    from torchvision.datasets import CIFAR10

    arrays, files, md5 = cifar_arrays(), {}, {}

    def add(name: str, content: dict) -> None:
        files[f"{CIFAR10.base_folder}/{name}"] = data = pickle.dumps(content)
        md5[name] = hashlib.md5(data).hexdigest()

    def batch(images: np.ndarray, labels: np.ndarray) -> dict:
        planes = images.transpose(0, 3, 1, 2).reshape(len(images), 3072)
        return {"data": planes, "labels": labels.tolist()}

    for i in range(5):
        part = slice(2 * i, 2 * i + 2)
        rows = batch(arrays["train_images"][part], arrays["train_labels"][part])
        add(f"data_batch_{i + 1}", rows)
    add("test_batch", batch(arrays["test_images"], arrays["test_labels"]))
    add("batches.meta", {"label_names": list("abcdefghij")})
    tarball(path, files)
    monkeypatch.setattr(CIFAR10, "tgz_md5", hashlib.md5(path.read_bytes()).hexdigest())
    train = [[f"data_batch_{i}", md5[f"data_batch_{i}"]] for i in range(1, 6)]
    monkeypatch.setattr(CIFAR10, "train_list", train)
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", md5["test_batch"]]])
    monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": md5["batches.meta"]})
    return path


@pytest.mark.parametrize("source", ["package", "archive"])
def test_a_red_pixel_of_cifar_stays_red_and_in_place(source, tmp_path, monkeypatch):
    if source == "package":
        found = formats.cifar10_package(cifar_package(tmp_path / "c.tgz"))
    else:
        archive = cifar_archive(tmp_path / "cifar-10-python.tar.gz", monkeypatch)
        found = formats.cifar10_archive(archive)
    assert_same(found, cifar_arrays())
    examples = Examples(found["train_images"], found["train_labels"].long())
    pixels, _ = examples.batch(torch.arange(10))
    expected = torch.zeros(10, 3, 32, 32)
    image, row, column = RED
    expected[image, 0, row, column] = 1
    assert torch.equal(pixels, expected)


def test_an_archive_with_another_md5_is_never_unpickled(tmp_path, monkeypatch):
    archive = cifar_archive(tmp_path / "cifar-10-python.tar.gz", monkeypatch)
    archive.write_bytes(archive.read_bytes() + b"\x00")
    monkeypatch.setattr(pickle, "load", lambda *_, **__: pytest.fail("unpickled"))
    with pytest.raises(ValueError, match="MD5"):
        formats.cifar10_archive(archive)


def test_pictures_of_another_width_are_refused(tmp_path):
    out = io.BytesIO()
    Image.new("RGB", (32, 1024)).save(out, format="PNG")
    path = tarball(tmp_path / "c.tgz", {"package/data_batch_1.png": out.getvalue()})
    with pytest.raises(ValueError, match="1024"):
        formats.cifar10_package(path)
