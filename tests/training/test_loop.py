"""The reference engine equals the loop anyone would write; evaluation only looks."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lottery.data.batches import Batches
from lottery.data.images import Examples
from lottery.data.multiscale import size_at
from lottery.init import initialise
from lottery.objectives import Classification
from lottery.pruning.masks import Masks
from lottery.training.config import TrainConfig
from lottery.training.level import snapshot
from lottery.training.loop import evaluate, images_at_once, make_optimizer, run_reference
from lottery.training.segment import Segment
from tests.segments import train_steps

SETTINGS = [
    {"optimizer": "adam", "lr": 0.01},
    {"optimizer": "adam", "lr": 0.01, "weight_decay": 0.1},
    {"optimizer": "sgd", "lr": 0.1},
    {"optimizer": "sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 0.01},
    {"optimizer": "sgd", "lr": 0.05, "momentum": 0.9, "weight_decay": 0.01, "nesterov": True},
    {"optimizer": "sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 0.01, "clip_norm": 0.3},
]


def by_hand(model, settings, batches, rates):
    """The update rules as their papers write them, in double precision (decay coupled)."""
    weights = [p.detach().double() for p in model.parameters()]
    first, second = ([torch.zeros_like(w) for w in weights] for _ in range(2))
    decay, momentum = settings.get("weight_decay", 0), settings.get("momentum", 0)
    model = model.double()
    for step, (images, labels) in enumerate(batches.steps(0, len(rates))):
        for parameter, weight in zip(model.parameters(), weights, strict=True):
            parameter.data.copy_(weight)
            parameter.grad = None
        F.cross_entropy(model(images.double()), labels).backward()
        length = math.sqrt(sum(float(p.grad.square().sum()) for p in model.parameters()))
        factor = min(1, settings.get("clip_norm", math.inf) / length)
        for index, parameter in enumerate(model.parameters()):
            slope = factor * parameter.grad + decay * weights[index]
            if settings["optimizer"] == "sgd":
                first[index] = momentum * first[index] + slope
                ahead = (
                    slope + momentum * first[index] if settings.get("nesterov") else first[index]
                )
                weights[index] = weights[index] - rates[step] * ahead
                continue
            first[index] = 0.9 * first[index] + 0.1 * slope
            second[index] = 0.999 * second[index] + 0.001 * slope**2
            mean = first[index] / (1 - 0.9 ** (step + 1))
            square = second[index] / (1 - 0.999 ** (step + 1))
            weights[index] = weights[index] - rates[step] * mean / (square.sqrt() + 1e-8)
    return weights


@pytest.mark.parametrize("settings", SETTINGS)
def test_training_follows_the_update_rule_with_each_steps_own_rate(settings, plain, data):
    model, reference = initialise(plain(), seed=1), initialise(plain(), seed=1)
    config, batches = TrainConfig(**settings), Batches(data.train, 8, seed=0)
    rates = [settings["lr"] * factor for factor in (0.1, 1, 1, 0.5, 0.5, 0.1, 1, 0.2)]
    optimizer = make_optimizer(model, config)
    clip_norm = config.clip_norm
    train_steps(model, Masks.ones(model), optimizer, batches, rates.__getitem__, 0, 8, clip_norm)
    expected = by_hand(reference, settings, batches, rates)
    for parameter, weight in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.detach(), weight.float(), rtol=1e-4, atol=1e-5)


def test_pruned_weights_do_not_count_for_how_long_a_gradient_is(plain, data):
    model, batches = initialise(plain(), seed=1), Batches(data.train, 8, seed=0)
    before = snapshot(model)
    masks = Masks.ones(model)
    masks["0.weight"][1:] = False
    masks.apply(model)
    optimizer = make_optimizer(model, TrainConfig(optimizer="sgd", lr=1))
    train_steps(model, masks, optimizer, batches, lambda step: 1.0, 0, 1, 1e-3)
    moved = [before[name] * masks.get(name, 1) - value for name, value in snapshot(model).items()]
    assert math.sqrt(sum(float(m.square().sum()) for m in moved)) == pytest.approx(1e-3, rel=1e-3)


@pytest.mark.parametrize("settings", SETTINGS)
def test_training_in_two_parts_is_training_in_one(settings, plain, data):
    def trained(*stops: int):
        model, config = initialise(plain(), seed=1), TrainConfig(**settings)
        optimizer, batches = make_optimizer(model, config), Batches(data.train, 8, seed=0)
        for start, stop in zip((0, *stops), stops, strict=False):
            train_steps(
                model, Masks.ones(model), optimizer, batches, lambda s: 0.01 * (s + 1), start, stop
            )
        return snapshot(model)

    once, parts = trained(15), trained(4, 11, 15)
    assert all(torch.equal(once[name], parts[name]) for name in once)


class Scales(Classification):
    """Notes how much larger than the examples the images were of which a loss is asked."""

    def __init__(self):
        self.noted = []

    def loss(self, output, labels, seen=None, scale=(1.0, 1.0)):
        self.noted.append(scale)
        return super().loss(output, labels, seen, scale)


@pytest.mark.parametrize("sides", [None, [24, 48]])
def test_the_loss_is_told_how_much_larger_images_are_in_training_than_by_themselves(sides):
    objective = Scales()
    pixels = torch.zeros(8, 24, 32, 3, dtype=torch.uint8)
    examples = Examples(pixels, torch.arange(8) % 3, objective)
    model = nn.Sequential(nn.Conv2d(3, 3, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    batches = Batches(examples, 4, seed=0, sizes=sides)
    optimizer = make_optimizer(model, TrainConfig())
    train_steps(model, Masks.ones(model), optimizer, batches, lambda _: 0.01, 0, 40)
    shown = [size_at(step, sides, seed=0) for step in range(40)] if sides else []
    assert objective.noted == ([(side / 32, side / 24) for side in shown] or [(1.0, 1.0)] * 40)
    assert len(set(objective.noted)) == len(sides or [1]), "all sizes were seen"


@pytest.mark.parametrize(
    ("side", "on_cpu", "on_gpu"), [(28, 333, 333), (160, 10, 64), (416, 1, 64), (1000, 1, 64)]
)
def test_a_gpu_evaluates_large_pictures_many_at_once(side, on_cpu, on_gpu):
    assert images_at_once(3 * side**2, "cpu") == on_cpu
    assert images_at_once(3 * side**2, "cuda") == on_gpu


def test_training_and_evaluation_set_their_own_mode(noisy, data):
    model = noisy()
    config, batches = TrainConfig(), Batches(data.train, 8, seed=0)
    model.eval()
    train_steps(
        model, Masks.ones(model), make_optimizer(model, config), batches, lambda _: 0.01, 0, 1
    )
    assert model[1].num_batches_tracked == 1, "batch norm did not learn: eval mode in training"
    assert model[1].running_mean.any()


def test_evaluation_changes_neither_the_network_nor_the_random_state(noisy, data):
    torch.manual_seed(0)
    model = noisy().train()
    before, state = snapshot(model), torch.get_rng_state()
    one, two = evaluate(model, data.val), evaluate(model, data.val)
    assert one == two, "dropout or batch statistics in evaluation"
    assert all(torch.equal(before[name], value) for name, value in snapshot(model).items())
    assert torch.equal(state, torch.get_rng_state())
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("batch_size", [1, 5, 13, 1000])
def test_the_last_smaller_batch_counts_for_its_share(batch_size, plain, data):
    torch.manual_seed(0)
    model = plain()
    metrics = evaluate(model, data.val, batch_size)
    with torch.no_grad():
        logits = model(data.val.images)
    assert metrics.loss == pytest.approx(float(F.cross_entropy(logits, data.val.labels)), rel=1e-5)
    correct = int((logits.argmax(1) == data.val.labels).sum())
    assert metrics.accuracy == correct / 13


class Knows(nn.Module):
    """Answers as its input says."""

    def forward(self, x):
        return 50.0 * x


@pytest.mark.parametrize("right", [0, 1, 6, 7])
def test_accuracy_is_the_share_of_all_examples(right):
    answers = F.one_hot(torch.arange(7) % 3, 3).float()
    labels = torch.arange(7) % 3
    labels[right:] = (labels[right:] + 1) % 3
    metrics = evaluate(Knows(), Examples(answers, labels), batch_size=2)
    assert metrics.accuracy == right / 7
    assert metrics.loss == pytest.approx(50 * (7 - right) / 7, abs=1e-6)


def test_losses_of_many_examples_add_up_in_double_precision():
    """In single precision a sum of 60,000 losses loses digits that early stopping compares."""
    logits = torch.tensor([[0.1, 0.0]]).repeat(200_000, 1)
    examples = Examples(logits, torch.zeros(200_000, dtype=torch.int64))
    exact = math.log(1 + math.exp(-float(torch.tensor(0.1))))
    loss = evaluate(nn.Identity(), examples, batch_size=1000).loss
    assert loss == pytest.approx(exact, rel=2e-6)


def test_an_optimiser_holds_every_parameter_with_the_settings(own):
    model = own()
    adam = make_optimizer(model, TrainConfig(lr=0.02, weight_decay=0.1))
    sgd = make_optimizer(
        model, TrainConfig(optimizer="sgd", lr=0.02, momentum=0.9, weight_decay=0.1)
    )
    for optimizer in (adam, sgd):
        held = [p for group in optimizer.param_groups for p in group["params"]]
        assert {id(p) for p in held} == {id(p) for p in model.parameters()}
        assert not optimizer.state
        assert optimizer.param_groups[0]["lr"] == 0.02
        assert optimizer.param_groups[0]["weight_decay"] == 0.1
    assert adam.param_groups[0]["betas"] == (0.9, 0.999)
    assert sgd.param_groups[0]["momentum"] == 0.9
    assert not isinstance(adam, torch.optim.AdamW)


def test_half_precision_is_of_the_products_and_leaves_weights_and_losses_whole(plain, data):
    seen = {}

    class Looks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = initialise(plain())

        def forward(self, x):
            logits = self.network(x)
            seen[self.training] = logits.dtype
            return logits

    metrics = {}
    for precision in ("float32", "bfloat16"):
        model = Looks()
        optimizer = make_optimizer(model, TrainConfig(lr=0.01))
        masks, batches = Masks.ones(model), Batches(data.train, 8, seed=0)
        (metrics[precision],) = run_reference(
            [
                Segment(
                    "reference",
                    model,
                    masks,
                    optimizer,
                    batches,
                    lambda _: 0.01,
                    0,
                    12,
                    (data.val,),
                    precision=precision,
                )
            ]
        )[0]
        assert seen == dict.fromkeys((True, False), getattr(torch, precision))
        assert all(parameter.dtype == torch.float32 for parameter in model.parameters())
    one, other = metrics.values()
    assert one.loss != other.loss
    assert one.loss == pytest.approx(other.loss, rel=0.05)
