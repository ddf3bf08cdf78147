"""The usual way is the same training: same weights after the same batches."""

from dataclasses import replace

import pytest
import torch
from torch.nn.utils import prune
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from lottery.benchmark.density import masks_at
from lottery.benchmark.usual import as_idx, evaluate, rewind, run_usual, save_as_mnist, train_step
from lottery.data import formats
from lottery.data.batches import Batches
from lottery.errors import ConfigError
from lottery.init import initialise
from lottery.models import build
from lottery.pruning.schedule import PruneConfig
from lottery.training import loop
from lottery.training.config import TrainConfig
from tests import tiny
from tests.segments import train_steps


@pytest.fixture
def dataset(tmp_path):
    return tiny.images(tmp_path, side=28)


@pytest.fixture
def root(tmp_path, dataset):
    save_as_mnist(dataset, tmp_path / "root")
    return tmp_path / "root"


def lenet():
    return initialise(build("lenet_300_100"), "xavier_normal", seed=3)


def masked(model, masks):
    for name, mask in masks.items():
        layer = model.get_submodule(name.removesuffix(".weight"))
        prune.custom_from_mask(layer, "weight", mask)
    return model


def test_torchvision_reads_the_images_that_were_written(root, dataset):
    for train, examples in ((True, dataset.train), (False, dataset.test)):
        found = datasets.MNIST(root, train=train, transform=transforms.ToTensor())
        assert len(found) == len(examples)
        pixels, labels = zip(*found, strict=True)
        expected, expected_labels = examples.batch(slice(None))
        assert torch.equal(torch.stack(pixels), expected)
        assert list(labels) == expected_labels.tolist()


def test_an_idx_file_is_read_back_by_this_projects_reader():
    array = torch.arange(24, dtype=torch.uint8).view(2, 3, 4)
    assert torch.equal(formats.parse_idx(as_idx(array)), array)


def test_data_that_mnist_cannot_hold_are_refused(tmp_path, dataset):
    train = replace(dataset.train, images=dataset.train.images.float())
    with pytest.raises(ConfigError, match="grey images"):
        save_as_mnist(replace(dataset, train=train), tmp_path)


@pytest.mark.parametrize("density", [1.0, 0.2])
def test_it_trains_to_the_weights_of_the_reference_engine(root, dataset, density):
    batches = Batches(dataset.train, 20, seed=0)
    reference = lenet()
    masks = masks_at(reference, density, PruneConfig())
    masks.apply(reference)
    optimizer = loop.make_optimizer(reference, TrainConfig())
    train_steps(reference, masks, optimizer, batches, lambda step: 1.2e-3, 0, 12)

    order = batches.drawn(0, 12)[0].tolist()
    images = datasets.MNIST(root, train=True, transform=transforms.ToTensor())
    usual = masked(lenet(), masks)
    adam = torch.optim.Adam(usual.parameters(), lr=1.2e-3)
    for pixels, labels in DataLoader(images, batch_sampler=order):
        train_step(usual, adam, pixels, labels)

    test = DataLoader(datasets.MNIST(root, train=False, transform=transforms.ToTensor()), 32)
    loss, accuracy = evaluate(usual, test, "cpu")
    expected = loop.evaluate(reference, dataset.test)
    assert loss == pytest.approx(expected.loss, rel=1e-4)
    assert accuracy == pytest.approx(expected.accuracy, abs=1.1 / len(dataset.test))
    for name, parameter in reference.named_parameters():
        layer, _, kind = name.rpartition(".")
        torch.testing.assert_close(
            getattr(usual.get_submodule(layer), kind).detach(),
            parameter.detach(),
            rtol=1e-3,
            atol=1e-5,
        )


def test_rewinding_keeps_masks_and_brings_initial_values_back():
    initial = {name: value.clone() for name, value in lenet().state_dict().items()}
    model = lenet()
    masks = masks_at(model, 0.3, PruneConfig())
    masked(model, masks)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    rewind(model, initial)
    model(torch.zeros(1, 784))  # pruned weights are computed ahead of each forward pass
    for name, mask in masks.items():
        layer = model.get_submodule(name.removesuffix(".weight"))
        assert torch.equal(layer.weight, initial[name] * mask)
        assert torch.equal(layer.bias, initial[name.replace("weight", "bias")])


def test_levels_have_the_studys_length_rates_and_evaluations(root, monkeypatch):
    config = tiny.config(
        model="tests.tiny:net(inputs=784)",
        train=TrainConfig(duration="2ep", batch_size=40, eval_every="4it", lr=0.01),
    )
    seen = []

    def spy(model, loader, device):
        total = sum(
            int(layer.weight_mask.sum()) for layer in (model[1], model[3]) if prune.is_pruned(layer)
        )
        seen.append((len(loader.dataset), total))
        return evaluate(model, loader, device)

    monkeypatch.setattr("lottery.benchmark.usual.evaluate", spy)
    levels = list(run_usual(config, root, 2, seed=0, device="cpu"))
    assert [level.level for level in levels] == [0, 1, 2]
    assert {level.steps for level in levels} == {6}
    assert all(level.seconds > 0 and 0 <= level.test_accuracy <= 1 for level in levels)
    weights, last = 784 * 12, 12 * 3
    kept = [0, round(0.8 * weights) + round(0.9 * last)]
    kept.append(round(0.8 * round(0.8 * weights)) + round(0.9 * round(0.9 * last)))
    assert [size for size, _ in seen] == [50, 90] * 6, "validation and test after 4 and 6 steps"
    totals = [total for _, total in seen[::4]]
    assert totals == pytest.approx(kept, abs=2)
