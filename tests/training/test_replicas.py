"""Which networks can be stacked, what makes a group, and who is run next."""

import copy
import dataclasses
import math
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lottery.data.batches import Batches
from lottery.data.images import Examples
from lottery.errors import ConfigError
from lottery.init import initialise
from lottery.models import build
from lottery.pruning.masks import Masks
from lottery.training.config import TrainConfig
from lottery.training.engines import choose_engine, next_together
from lottery.training.level import Checkpoint, LevelRun, LevelTrainer, snapshot
from lottery.training.loop import make_optimizer
from lottery.training.replicas import REPLICAS_ON_CPU, alike, key, replicas_that_fit, stackable
from lottery.training.segment import Segment
from lottery.training.stacked import choose_mode, run_stacked


class Own(nn.Module):
    """A linear layer, and then what a test is about."""

    def __init__(self, then=lambda x: x) -> None:
        super().__init__()
        self.layer, self.then = nn.Linear(6, 3), then

    def forward(self, x):
        return self.then(self.layer(x))


class Unused(Own):
    def __init__(self) -> None:
        super().__init__()
        self.idle = nn.Linear(2, 2)


class Counts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 3)
        self.register_buffer("calls", torch.zeros(()), persistent=False)

    def forward(self, x):
        self.calls += 1
        return self.layer(x)


class Sequence(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTM(6, 3, num_layers=2, dropout=0.5)

    def forward(self, x):
        return self.cell(x)[0]


IMAGES = torch.rand(2, 6)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (nn.Sequential(nn.Linear(6, 3), nn.BatchNorm1d(3)), "(1.running_mean)"),
        (nn.Sequential(nn.Linear(6, 3), nn.Dropout(0.1)), "1 (Dropout) draws random numbers"),
        (Counts(), "beside its parameters (calls)"),
        (Sequence(), "cell (LSTM) draws random numbers"),
    ],
)
def test_layers_that_keep_count_or_draw_are_refused_without_a_trial(model, reason):
    assert reason in stackable(model)
    assert reason in stackable(model, IMAGES)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (Own(F.dropout), "randomness"),
        (Own(lambda x: x + torch.randn_like(x)), "randomness"),
        (Own(lambda x: x if x.sum() > 0 else -x), "fails for two replicas at once"),
        (Own(lambda x: x * x.max().item()), "fails for two replicas at once"),
        (Unused(), "idle.weight plays no part in its output"),
        (nn.Linear(5, 3), "fails for two replicas at once"),
    ],
)
def test_what_only_a_trial_shows_is_refused(model, reason):
    assert stackable(model) is None
    assert reason in stackable(model, IMAGES)


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (build("lenet_300_100"), (1, 28, 28)),
        (build("conv2(width=0.05)"), (3, 32, 32)),
        (nn.Sequential(nn.Linear(6, 3), nn.Dropout(0.0), nn.LayerNorm(3)), (6,)),
        (Own(lambda x: x.relu()), (6,)),
    ],
)
def test_networks_without_state_or_chance_can_be_stacked(model, shape):
    assert stackable(model) is None
    assert stackable(model, torch.rand(2, *shape)) is None


def test_a_trial_changes_nothing():
    model = nn.Sequential(nn.Linear(6, 3), nn.ReLU(), nn.Linear(3, 3)).eval()
    draws = Own(F.dropout)
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    parameters = [id(p) for p in model.parameters()]
    assert stackable(model, IMAGES) is None
    assert stackable(draws, IMAGES)
    assert [id(p) for p in model.parameters()] == parameters
    assert all(torch.equal(before[n], v) for n, v in model.state_dict().items())
    assert all(p.grad is None and p.device.type == "cpu" for p in model.parameters())
    assert not model.training
    assert torch.equal(state, torch.get_rng_state())


def labelled(images):
    return Examples(images, torch.zeros(len(images), dtype=torch.int64, device=images.device))


def test_an_engine_that_was_asked_for_and_cannot_run_the_network_says_why(noisy, plain):
    def choose(name, model):
        return choose_engine(name, model, Masks.ones(model), TrainConfig(), labelled(IMAGES))

    with pytest.raises(ConfigError, match=r"engine is 'stacked'; allowed: .*1\.running_mean"):
        choose("stacked", noisy())
    with pytest.raises(ConfigError, match=r"engine is 'stacked'; allowed: .*randomness"):
        choose("stacked", Own(F.dropout))
    assert choose("stacked", plain()) == "stacked"
    assert choose("reference", noisy()) == choose("auto", noisy()) == "reference"
    assert choose("auto", plain()) == "sparse", "stacks are for GPUs"


@pytest.mark.parametrize("engine", ["sparse", "stacked"])
def test_clipped_gradients_are_left_to_the_reference(engine, plain):
    model, config = plain(), TrainConfig(clip_norm=1.0)
    masks = Masks.ones(model)
    assert choose_engine("auto", model, masks, config, labelled(IMAGES)) == "reference"
    with pytest.raises(ConfigError, match=f"engine is '{engine}'.*gradients are clipped"):
        choose_engine(engine, model, masks, config, labelled(IMAGES))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_stacks_what_can_be_stacked(noisy, plain):
    for make, engine in ((plain, "stacked"), (noisy, "reference")):
        model = make().cuda()
        examples = labelled(torch.rand(2, 6, device="cuda"))
        masks = Masks.ones(model)
        assert choose_engine("auto", model, masks, TrainConfig(), examples) == engine
    images = torch.rand(8, 6, device="cuda")
    assert replicas_that_fit(plain().cuda(), images, "float32", 0) > 100
    assert replicas_that_fit(plain().cuda(), images, "float32", 10**15) == 1


def test_a_level_tries_its_own_network_on_its_own_images(data, quick):
    """The trial needs an input: one of another shape would fail."""
    model, trainer = initialise(Own(F.dropout)), LevelTrainer(data, quick, 0, "stacked")
    optimizer, begin = make_optimizer(model, quick), Checkpoint(0, 0, 0, snapshot(model), {})
    with pytest.raises(ConfigError, match="randomness"):
        LevelRun(trainer, model, Masks.ones(model), optimizer, begin)


def segment(make, data, *, seed=0, level=0, config=TrainConfig(), **changes) -> Segment:  # noqa: B008
    model = initialise(make(), seed=seed)
    optimizer = make_optimizer(model, config)
    chance = torch.Generator().manual_seed(seed)
    ones = Masks.ones(model)
    masks = Masks({n: torch.rand(m.shape, generator=chance) < 0.5 for n, m in ones.items()})
    masks.apply(model, optimizer)
    batches = Batches(data.train, config.batch_size, seed=seed, level=level)
    made = Segment("stacked", model, masks, optimizer, batches, lambda _: 0.1, 0, 5, (data.val,))
    return dataclasses.replace(made, **changes)


SMALL = TrainConfig(batch_size=8)


def test_seed_level_weights_masks_and_data_may_differ(plain, data):
    other = dataclasses.replace(data, train=Examples(data.train.images + 1, data.train.labels))
    group = [
        segment(plain, data, config=SMALL),
        segment(plain, data, seed=1, level=3, config=SMALL),
        segment(plain, other, seed=2, config=SMALL),
        segment(plain, data, config=dataclasses.replace(SMALL, lr=0.7)),  # the rates say it
    ]
    assert len({key(one) for one in group}) == 1
    assert alike(group) == [group]


class Deeper(nn.Module):
    """The same parameters under the same names, computed otherwise."""

    def __init__(self, activation: nn.Module) -> None:
        super().__init__()
        self.layer, self.activation = nn.Linear(6, 3), activation

    def forward(self, x):
        return self.activation(self.layer(x))


def test_whatever_else_differs_keeps_segments_apart(plain, own, data):
    momentum = dataclasses.replace(SMALL, optimizer="sgd", momentum=0.9)
    decay = dataclasses.replace(SMALL, weight_decay=0.1)
    stepped = segment(plain, data, config=SMALL)
    run_stacked([dataclasses.replace(stepped, stop=1)])
    frozen = segment(plain, data, config=SMALL)
    frozen.model[0].weight.requires_grad_(False)
    fewer = segment(plain, data, config=SMALL)
    fewer_masks = Masks(dict(list(fewer.masks.items())[1:]))
    larger = dataclasses.replace(
        data, train=Examples(torch.cat([data.train.images] * 2), torch.cat([data.train.labels] * 2))
    )
    group = [
        segment(plain, data, config=SMALL),
        segment(plain, data, config=SMALL, engine="other"),
        segment(plain, data, config=SMALL, start=1),
        segment(plain, data, config=SMALL, stop=4),
        segment(plain, data, config=SMALL, learning_rate=lambda step: 0.1 + (step == 4)),
        segment(plain, data, config=SMALL, precision="bfloat16"),
        segment(plain, data, config=SMALL, examples=(data.test,)),
        segment(plain, data, config=SMALL, examples=(data.val, data.val)),
        segment(plain, data, config=momentum),
        segment(plain, data, config=decay),
        segment(plain, data, config=dataclasses.replace(SMALL, batch_size=4)),
        segment(plain, larger, config=SMALL),
        segment(lambda: Deeper(nn.ReLU()), data, config=SMALL),
        segment(lambda: Deeper(nn.Tanh()), data, config=SMALL),
        stepped,
        frozen,
        dataclasses.replace(fewer, masks=fewer_masks),
    ]
    assert len({key(one) for one in group}) == len(group)
    assert alike(group) == [[one] for one in group]


def test_the_largest_stack_is_run_next_and_of_equals_the_first(plain, data):
    def make(engine: str, stop: int) -> Segment:
        return segment(plain, data, config=SMALL, engine=engine, stop=stop)

    early = [make("stacked", 3) for _ in range(2)]
    late = [make("stacked", 5) for _ in range(3)]
    alone = [make("reference", 3) for _ in range(4)]
    ids = [id(one) for one in next_together([*alone, *early, *late])]
    assert ids == [id(one) for one in late]
    assert next_together([*early, *late[:2]])[0] is early[0]
    assert next_together([*late[:2], *early])[0] is late[0]
    assert [id(one) for one in next_together(alone)] == [id(alone[0])], (
        "they are not computed as one"
    )
    assert next_together([early[0], alone[0]])[0] is early[0]
    assert next_together([alone[0], early[0]])[0] is alone[0]
    assert next_together([]) == []


def test_convolutions_are_not_batched_over_replicas(own, plain):
    assert choose_mode(own()) == "streams"
    assert choose_mode(build("conv2(width=0.05)")) == "streams"
    assert choose_mode(plain()) == "vmap"


def test_on_a_cpu_a_stack_stays_small(plain):
    assert replicas_that_fit(plain(), IMAGES, "float32", 0) == REPLICAS_ON_CPU


def test_the_memory_estimate_counts_weights_activations_and_data(plain, monkeypatch):
    """The arithmetic, with the GPU's answers played: 10 MB free, 1 MB reserved but unused."""
    used = iter([100_000, 100_000])
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: next(used))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 1_100_000)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda _: None)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda _: 100_000 + 5000)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (10_000_000, 16_000_000))

    class OnGpu(torch.Tensor):
        device = torch.device("cuda")

    monkeypatch.setattr("lottery.training.replicas.autocast", lambda *_: torch.autocast("cpu"))
    weights = 4 * sum(p.numel() for p in plain().parameters())
    free = 11_000_000 - 2_000_000
    expected = math.floor(0.8 * free / (5000 + 12 * weights))
    images = IMAGES.as_subclass(OnGpu)
    assert replicas_that_fit(plain(), images, "float32", 2_000_000) == expected
    used = iter([100_000, 100_000])
    assert replicas_that_fit(plain(), images, "float32", 10**12) == 1, "none at all"


def test_a_network_with_hooks_is_not_stacked(plain):
    for hook in ("register_forward_hook", "register_full_backward_hook"):
        model = plain()
        getattr(model[0], hook)(lambda *seen: None)
        assert stackable(model) == "layers or weights have hooks"
    model = plain()
    model[0].weight.register_hook(lambda gradient: 2 * gradient)
    assert stackable(model) == "layers or weights have hooks"


def test_what_a_constructor_draws_is_not_taken_from_the_first_replica(data):
    """`build` seeds the constructor, so cells of two seeds may hold other numbers."""

    class Drawn(nn.Sequential):
        def __init__(self, value):
            super().__init__(nn.Linear(6, 3))
            self.value = value

    assert "state beside its parameters (value)" in str(stackable(Drawn(torch.rand(3))))
    assert stackable(Drawn(0.5)) is None
    keys = [key(segment(partial(Drawn, v), data, config=SMALL)) for v in (0.5, 0.5, 0.7)]
    assert keys[0] == keys[1] != keys[2]


def test_a_forward_that_fails_without_a_word_is_refused_and_not_fatal():
    class Asserts(nn.Sequential):
        def forward(self, x):
            assert type(self[0].weight) is nn.Parameter
            return super().forward(x)

    assert "AssertionError" in str(stackable(Asserts(nn.Linear(6, 3)), torch.rand(2, 6)))
