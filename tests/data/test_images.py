"""Splits are exact, disjoint and seeded; batches hold the right pixels and labels."""

import dataclasses
import hashlib
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lottery.data import Dataset, Examples, Splits, load, split
from lottery.data.images import DATASETS
from lottery.errors import ConfigError, DataError


def numbered(labels: Tensor | list[int], classes: int = 10) -> Dataset:
    """Training images that hold their own index."""
    labels = torch.as_tensor(labels)
    train = Examples(torch.arange(len(labels)).float().unsqueeze(1), labels)
    test = Examples(torch.tensor([[-1.0]]), torch.tensor([0]))
    return Dataset("numbered", train, test, classes)


def indices(examples: Examples) -> list[int]:
    return examples.images.squeeze(1).long().tolist()


@st.composite
def labels_and_size(draw):
    labels = draw(st.lists(st.integers(0, 4), min_size=2, max_size=80))
    return labels, draw(st.integers(1, len(labels) - 1))


@given(labels_and_size(), st.integers(0, 10**6), st.booleans())
def test_a_split_is_exact_disjoint_and_keeps_labels_with_images(case, seed, stratified):
    labels, size = case
    splits = split(numbered(labels, 5), size, seed=seed, stratified=stratified)
    assert len(splits.val) == size
    assert sorted(indices(splits.train) + indices(splits.val)) == list(range(len(labels)))
    for part in (splits.train, splits.val):
        assert [labels[index] for index in indices(part)] == part.labels.tolist()


@given(labels_and_size(), st.integers(0, 10**6))
def test_a_stratified_split_gives_the_largest_remainders_the_last_places(case, seed):
    labels, size = case
    quotas = [Fraction(labels.count(label) * size, len(labels)) for label in range(5)]
    places = [int(quota) for quota in quotas]
    by_remainder = sorted(range(5), key=lambda label: (places[label] - quotas[label], label))
    for label in by_remainder[: size - sum(places)]:
        places[label] += 1
    splits = split(numbered(labels, 5), size, seed=seed)
    assert splits.val.labels.bincount(minlength=5).tolist() == places


def test_a_split_follows_from_its_seed_alone():
    dataset = numbered([index % 10 for index in range(1000)])
    for stratified in (True, False):
        torch.manual_seed(1)
        one = split(dataset, 100, seed=3, stratified=stratified)
        torch.manual_seed(2)
        same = split(dataset, 100, seed=3, stratified=stratified)
        other = split(dataset, 100, seed=4, stratified=stratified)
        assert indices(one.val) == indices(same.val)
        assert indices(one.train) == indices(same.train)
        assert indices(one.val) != indices(other.val)


def test_a_random_split_is_not_stratified():
    dataset = numbered([index % 10 for index in range(1000)])
    counts = split(dataset, 100, seed=0, stratified=False).val.labels.bincount(minlength=10)
    assert counts.tolist() != [10] * 10


def test_a_split_is_drawn_from_everywhere():
    held_out = indices(split(numbered([0] * 1000), 100, seed=0).val)
    assert min(held_out) < 100
    assert max(held_out) >= 900


def test_the_test_examples_are_untouched():
    dataset = numbered([0, 1, 0, 1])
    assert split(dataset, 2, seed=0).test is dataset.test


@pytest.mark.parametrize("size", [0, -1, 4, 5000])
def test_an_impossible_validation_size_names_the_setting(size):
    with pytest.raises(ConfigError, match=rf"^validation is {size}; allowed: 1 to 3"):
        split(numbered([0, 1, 0, 1]), size, seed=0)


def test_validation_examples_of_its_own_are_taken_for_every_seed():
    examples = Examples(torch.tensor([[7.0]]), torch.tensor([3]))
    dataset = dataclasses.replace(numbered([0, 1, 2, 3], 5), val=examples)
    for seed in (0, 1):
        splits = split(dataset, 2, seed=seed)
        assert splits.val is examples
        assert indices(splits.train) == [0, 1, 2, 3], "no training image is given up"
    assert indices(dataset.to("cpu").val) == [7]
    with pytest.raises(DataError, match="validation labels from 3 to 3 but 3 classes"):
        dataclasses.replace(numbered([0, 1, 2], 3), val=examples)


def test_splits_move_as_a_whole():
    splits = split(numbered([0, 1, 0, 1]), 2, seed=0).to("meta")
    assert isinstance(splits, Splits)
    for part in (splits.train, splits.val, splits.test):
        assert part.images.device.type == part.labels.device.type == "meta"


def test_grey_pixels_become_a_channel_from_0_to_1():
    images = torch.tensor([[[0, 255], [51, 102]], [[1, 2], [3, 4]]], dtype=torch.uint8)
    pixels, labels = Examples(images, torch.tensor([8, 9])).batch(torch.tensor([1, 0, 0]))
    assert pixels.shape == (3, 1, 2, 2)
    assert pixels.stride() == (4, 1, 2, 1), "convolutions take it for contiguous and are slower"
    assert pixels.dtype == torch.float32
    assert torch.equal(pixels[1, 0], torch.tensor([[0, 255], [51, 102]]) / 255)
    assert torch.equal(pixels[0, 0], torch.tensor([[1, 2], [3, 4]]) / 255)
    assert labels.tolist() == [9, 8, 8]


def test_colours_become_channels_in_channels_last_memory():
    images = torch.randint(0, 256, (5, 4, 6, 3), dtype=torch.uint8)
    pixels, _ = Examples(images, torch.arange(5)).batch(torch.tensor([4, 2]))
    assert pixels.shape == (2, 3, 4, 6)
    assert pixels.is_contiguous(memory_format=torch.channels_last)
    for channel in range(3):
        assert torch.equal(pixels[0, channel], images[4, :, :, channel] / 255)


@pytest.mark.parametrize("shape", [(4, 7), (4, 28, 28), (4, 3, 8, 8), (4, 8, 8, 3)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_float_images_are_used_as_they_are(shape, dtype):
    images = torch.full(shape, 300.0, dtype=dtype)
    pixels, _ = Examples(images, torch.arange(4)).batch(torch.tensor([0, 3]))
    assert pixels.dtype == dtype
    assert torch.equal(pixels, images[:2])


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_a_slice_gives_what_its_indices_give(dtype):
    images = torch.randint(0, 256, (9, 5, 5)).to(dtype)
    before = images.clone()
    examples = Examples(images, torch.arange(9))
    by_slice, by_index = examples.batch(slice(2, 6)), examples.batch(torch.arange(2, 6))
    assert torch.equal(by_slice[0], by_index[0])
    assert torch.equal(by_slice[1], by_index[1])
    assert torch.equal(examples.images, before)


@pytest.mark.parametrize(
    ("images", "labels", "what"),
    [
        (torch.zeros(3, 4), torch.zeros(3), "labels are float32"),
        (torch.zeros(3, 4), torch.zeros(3, 1, dtype=torch.int64), "labels are int64 of shape"),
        (torch.zeros(3, 4), torch.zeros(2, dtype=torch.int64), "but there are 2 labels"),
        (torch.tensor(1.0), torch.zeros(1, dtype=torch.int64), "but there are 1 labels"),
        (torch.zeros(3, 4, dtype=torch.uint8), torch.zeros(3, dtype=torch.int64), "uint8 needs"),
        (torch.zeros(3, 4, dtype=torch.int64), torch.zeros(3, dtype=torch.int64), "images are"),
    ],
)
def test_tensors_without_meaning_are_refused(images, labels, what):
    with pytest.raises(DataError, match=what):
        Examples(images, labels)


@pytest.mark.parametrize("label", [-1, 10])
def test_a_label_outside_the_classes_is_refused(label):
    with pytest.raises(DataError, match="10 classes: 0 to 9"):
        numbered([0, label])


OWN = """
import torch
from lottery.data import Dataset, Examples

def stripes(data_dir, width=4):
    images = torch.full((6, width), 0.5)
    examples = Examples(images, torch.arange(6) % 3)
    return Dataset(f"stripes in {data_dir}", examples, examples, classes=3)

def nothing(data_dir):
    return None
"""


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "own_stripes_data.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    return "own_stripes_data"


def test_a_data_set_of_ones_own_by_reference_with_options(own_module):
    dataset = load(f"{own_module}:stripes(width=7)", "there")
    assert dataset.name == "stripes in there"
    assert dataset.train.images.shape == (6, 7)
    expected = hashlib.sha256(torch.full((6, 7), 0.5).numpy().tobytes()).hexdigest()
    assert dataset.sha256["train_images"] == expected
    assert dataset.sha256.keys() == {"train_images", "train_labels", "test_images", "test_labels"}
    assert len(split(dataset, 3, seed=0).train) == 3


def test_a_reference_to_something_else_names_the_setting(own_module):
    with pytest.raises(ConfigError, match=r"data is 'own_stripes_data:nothing'"):
        load(f"{own_module}:nothing")


def test_an_unknown_name_lists_the_known():
    with pytest.raises(ConfigError, match="allowed: cifar10, digit_scenes, mnist, voc,"):
        load("mnst")
    assert set(DATASETS) >= {"mnist", "cifar10"}


PUBLISHED = {
    "mnist": (
        (28, 28),
        60000,
        "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757",
        "1feba77c54802fa5339a11837ea4b2866434b83314ec45192930f1df69120c13",
        "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161",
        "ddeff807876a9661a1110d45c266c86239a3a1b7d37da0c3716a7a683c852ff5",
    ),
    "cifar10": (
        (32, 32, 3),
        50000,
        "47af8b02cfcfb6cdf3dbbd1969ad7f1b70f4413f6f80f437b020ee4e5bc8304a",
        "2b7cd2f24487317614016b72ffd53071c3062f592f0eb300c18a770d41ae1253",
        "f9b1e2130bab680db56eb06d886f7f1ad0f1183907ceff4659d1735c890f5b04",
        "cec8a24a1e92aa2ecaa0bbd3dbfa86bf6cd8759fbd209a832824c8cf0afca9d5",
    ),
}


@pytest.mark.long
@pytest.mark.parametrize("name", PUBLISHED)
def test_the_real_data_is_the_published(name):
    shape, total, *expected = PUBLISHED[name]
    dataset = load(name)
    found = []
    for part, size in ((dataset.train, total), (dataset.test, 10000)):
        assert part.images.shape == (size, *shape)
        assert part.images.dtype == torch.uint8
        assert part.labels.shape == (size,)
        for array in (part.images, part.labels.to(torch.uint8)):
            found.append(hashlib.sha256(array.numpy().tobytes()).hexdigest())
    assert found == expected
    assert list(dataset.sha256.values()) == expected
    splits = split(dataset, seed=0)
    assert (len(splits.train), len(splits.val)) == (total - 5000, 5000)
    share = dataset.train.labels.bincount() * 5000 / total
    assert (splits.val.labels.bincount() - share).abs().max() < 1
