"""The sparse engine is the reference engine by other means."""

import copy

import pytest
import torch
from torch import nn

from lottery.data.batches import Batches
from lottery.data.images import Examples, Splits
from lottery.errors import ConfigError
from lottery.init import initialise
from lottery.pruning.masks import Masks
from lottery.pruning.schedule import PruneConfig
from lottery.tickets import RewindConfig, find_dense, find_tickets
from lottery.training import engines, sparse
from lottery.training.config import TrainConfig
from lottery.training.engines import choose_engine
from lottery.training.level import snapshot
from lottery.training.loop import evaluate, make_optimizer
from lottery.training.segment import Segment
from lottery.training.sparse import CSR_DENSITY, obstacle

SETTINGS = [
    {"optimizer": "adam", "lr": 0.01},
    {"optimizer": "adam", "lr": 0.01, "weight_decay": 0.01},
    {"optimizer": "sgd", "lr": 0.1},
    {"optimizer": "sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 0.01},
    {"optimizer": "sgd", "lr": 0.05, "momentum": 0.9, "weight_decay": 0.01, "nesterov": True},
]


def pictures(total: int) -> Examples:
    chance = torch.Generator().manual_seed(total)
    labels = torch.arange(total) % 3
    pixels = torch.randint(0, 200, (total, 6, 6), generator=chance)
    pixels[torch.arange(total), labels] += 50
    return Examples(pixels.to(torch.uint8), labels)


def mlp() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(36, 20), nn.ReLU(), nn.Linear(20, 12), nn.ReLU(), nn.Linear(12, 3)
    )


def small_conv() -> nn.Module:
    """A trunk that remembers (batch norm) and draws noise (dropout)."""
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1, bias=False),  # batch norm would leave a bias to rounding
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(36, 12, bias=False),
        nn.ReLU(),
        nn.Linear(12, 3),
    )


def masks_of(model: nn.Module, densities: list[float], biases: bool = False) -> Masks:
    chance = torch.Generator().manual_seed(5)
    ones = Masks.ones(model, biases)
    spread = densities * (len(ones) // len(densities))
    return Masks(
        {
            name: torch.rand(mask.shape, generator=chance) < density
            for (name, mask), density in zip(ones.items(), spread, strict=True)
        }
    )


class Run:
    """A network under masks, and segments of training it."""

    def __init__(self, engine, make, settings, masks, data, seed=0):
        self.engine, self.data = engine, data
        self.model = initialise(make(), seed=seed)
        self.masks = masks or Masks.ones(self.model)
        self.config = TrainConfig(batch_size=8, **settings)
        self.optimizer = make_optimizer(self.model, self.config)
        self.masks.apply(self.model, self.optimizer)
        self.batches = Batches(data, 8, seed=seed)

    def steps(self, start, stop, examples=()):
        segment = Segment(
            self.engine,
            self.model,
            self.masks,
            self.optimizer,
            self.batches,
            lambda step: self.config.lr / (1 + 0.1 * step),
            start,
            stop,
            examples,
            noise=start,
        )
        return engines.run([segment])[0].metrics

    @property
    def state(self):
        return [self.optimizer.state[p] for p in self.model.parameters()]


def assert_close(one: Run, other: Run) -> None:
    for name, value in snapshot(one.model).items():
        torch.testing.assert_close(value, snapshot(other.model)[name], rtol=1e-3, atol=2e-5)
    for a, b in zip(one.state, other.state, strict=True):
        a, b = ({k: v for k, v in s.items() if v is not None} for s in (a, b))
        assert a.keys() == b.keys()
        for key in a:
            torch.testing.assert_close(a[key], b[key], rtol=1e-3, atol=2e-5)


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize(
    "densities",
    [[1.0, 1.0, 1.0], [0.6, 0.6, 0.6], [0.1, 0.1, 0.5], [0.1, 0.05, 0.15], [0.5, 0.1, 1.0]],
)
def test_training_is_that_of_the_reference_whichever_layers_are_sparse(settings, densities):
    data, masks = pictures(50), masks_of(mlp(), densities)
    one, other = (Run(e, mlp, settings, masks, data) for e in ("reference", "sparse"))
    for run in (one, other):
        run.steps(0, 5)
        run.steps(5, 12)
    assert_close(one, other)


@pytest.mark.parametrize("densities", [[1.0, 1.0, 1.0], [0.1, 0.05, 0.15]])
def test_a_leaky_relu_is_that_of_the_reference(densities):
    def leaky() -> nn.Module:
        parts = [nn.LeakyReLU(0.05) if isinstance(p, nn.ReLU) else p for p in mlp()]
        return nn.Sequential(*parts)

    assert choose_engine("auto", leaky(), Masks.ones(leaky()), TrainConfig()) == "sparse"
    data, masks = pictures(50), masks_of(leaky(), densities)
    one, other = (Run(e, leaky, SETTINGS[0], masks, data) for e in ("reference", "sparse"))
    for run in (one, other):
        run.steps(0, 12)
    assert_close(one, other)


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("densities", [[1.0, 1.0, 1.0], [0.6, 0.1, 0.5], [0.1, 0.1, 0.1]])
def test_what_comes_before_the_head_is_trained_too_with_the_same_noise(settings, densities):
    data, masks = pictures(50), masks_of(small_conv(), densities)
    one, other = (Run(e, small_conv, settings, masks, data) for e in ("reference", "sparse"))
    for run in (one, other):
        run.steps(0, 5)
        run.steps(5, 12)
    assert_close(one, other)


def test_one_step_of_plain_descent_shows_every_gradient():
    """With rate 1 and no momentum, weights before minus after are the gradient itself."""
    data, masks = pictures(50), masks_of(mlp(), [0.1, 0.5, 0.1])
    gradients = []
    for engine in ("reference", "sparse"):
        run = Run(engine, mlp, {"optimizer": "sgd", "lr": 1.0}, masks, data)
        before = snapshot(run.model)
        run.steps(0, 1)
        gradients.append({n: before[n] - v for n, v in snapshot(run.model).items()})
    for name, gradient in gradients[0].items():
        assert gradient.any()
        torch.testing.assert_close(gradients[1][name], gradient, rtol=1e-4, atol=1e-7)


def test_pruned_biases_stay_zero_as_in_the_reference():
    data, masks = pictures(50), masks_of(mlp(), [0.1, 0.5], biases=True)
    one, other = (Run(e, mlp, SETTINGS[1], masks, data) for e in ("reference", "sparse"))
    for run in (one, other):
        run.steps(0, 12)
    assert_close(one, other)
    assert not other.model[1].bias[~masks["1.bias"]].any()


@pytest.mark.parametrize("settings", SETTINGS)
def test_pruned_weights_and_their_state_are_exactly_zero_and_kept_ones_move(settings):
    run = Run("sparse", mlp, settings, masks_of(mlp(), [0.1, 0.5, 0.1]), pictures(50))
    before = snapshot(run.model)
    run.steps(0, 12)
    for name, mask in run.masks.items():
        parameter = run.model.get_parameter(name)
        memories = [m for m in run.optimizer.state[parameter].values() if m.shape == mask.shape]
        for values in (parameter, *memories):
            assert not values[~mask].any()
        assert (parameter != before[name])[mask].any()


@pytest.mark.parametrize("settings", SETTINGS)
def test_training_in_two_segments_is_training_in_one_bit_for_bit(settings):
    data, masks = pictures(50), masks_of(mlp(), [0.1, 0.5, 0.1])
    once, twice = (Run("sparse", mlp, settings, masks, data) for _ in range(2))
    once.steps(0, 12)
    twice.steps(0, 5)
    state = copy.deepcopy(twice.optimizer.state_dict())
    twice.optimizer = make_optimizer(twice.model, twice.config)  # as after a resume
    twice.optimizer.load_state_dict(state)
    twice.steps(5, 12)
    assert all(torch.equal(v, snapshot(twice.model)[n]) for n, v in snapshot(once.model).items())


@pytest.mark.parametrize("make", [mlp, small_conv])
def test_evaluation_is_of_the_network_that_is_written_back(make):
    data, sets = pictures(50), (pictures(31), pictures(1))
    run = Run("sparse", make, SETTINGS[0], masks_of(make(), [0.1, 0.5, 0.1]), data)
    for metrics, examples in zip(run.steps(0, 7, sets), sets, strict=True):
        expected = evaluate(run.model, examples)
        assert metrics.accuracy == expected.accuracy
        assert metrics.loss == pytest.approx(expected.loss, rel=1e-5)
    assert run.steps(7, 7, sets[:1])[0].loss == pytest.approx(evaluate(run.model, sets[0]).loss)


def test_a_layer_without_any_weight_left_trains_its_bias():
    data, masks = pictures(50), masks_of(mlp(), [0.1, 0.5, 0.0])
    one, other = (Run(e, mlp, SETTINGS[0], masks, data) for e in ("reference", "sparse"))
    for run in (one, other):
        run.steps(0, 12)
    assert_close(one, other)
    assert other.model[5].bias.all()


def test_gradients_left_over_from_other_training_are_not_used():
    data, masks = pictures(50), masks_of(small_conv(), [0.5, 0.1, 0.1])
    clean, dirty = (Run("sparse", small_conv, SETTINGS[3], masks, data) for _ in range(2))
    for parameter in dirty.model.parameters():
        parameter.grad = torch.full_like(parameter, 1e3)
    for run in (clean, dirty):
        run.steps(0, 6)
    assert all(torch.equal(v, snapshot(dirty.model)[n]) for n, v in snapshot(clean.model).items())


@pytest.mark.parametrize("make", [mlp, small_conv])
def test_a_walk_over_levels_finds_the_masks_of_the_reference(make):
    data = Splits(pictures(50), pictures(13), pictures(17), classes=3)
    train = TrainConfig(duration="3ep", batch_size=8, lr=0.01, eval_every="5it")
    prune = PruneConfig(linear_rate=0.7, conv_rate=0.3, output_rate=0.4)
    one, other = (
        list(find_tickets(make(), data, levels=3, train=train, prune=prune, engine=engine))
        for engine in ("reference", "sparse")
    )
    for a, b in zip(one, other, strict=True):
        assert all(torch.equal(mask, b.masks[name]) for name, mask in a.masks.items())
        assert a.test.accuracy == b.test.accuracy
        assert [e.step for e in a.evaluations] == [e.step for e in b.evaluations]
        assert (a.engine, b.engine) == ("reference", "sparse")
    assert min(other[-1].masks.densities.values()) < CSR_DENSITY


@pytest.mark.parametrize("optimizer", ["fresh", "rewound", "kept"])
def test_rewinding_finds_the_optimiser_as_the_reference_leaves_it(optimizer):
    data = Splits(pictures(50), pictures(13), pictures(17), classes=3)
    train = TrainConfig(duration="3ep", batch_size=8, lr=0.01, eval_every="5it")
    ends = [
        list(
            find_tickets(
                mlp(),
                data,
                levels=2,
                train=train,
                prune=PruneConfig(linear_rate=0.7),
                rewind=RewindConfig(to="3it", optimizer=optimizer),
                engine=engine,
            )
        )[-1]
        for engine in ("reference", "sparse")
    ]
    for name, value in ends[0].trained.items():
        torch.testing.assert_close(ends[1].trained[name], value, rtol=1e-3, atol=1e-4)


def test_the_baseline_whose_optimiser_goes_on_is_that_of_the_reference():
    data = Splits(pictures(50), pictures(13), pictures(17), classes=3)
    train = TrainConfig(duration="1ep", batch_size=8, lr=0.01, eval_every="5it")
    one, other = (
        list(find_dense(mlp(), data, levels=2, train=train, engine=engine))[-1].trained
        for engine in ("reference", "sparse")
    )
    for name, value in one.items():
        torch.testing.assert_close(other[name], value, rtol=1e-3, atol=1e-4)


def test_auto_takes_the_sparse_engine_where_it_is_faster(own):
    config, conv = TrainConfig(), small_conv()
    assert choose_engine("auto", mlp(), Masks.ones(mlp()), config) == "sparse"
    assert choose_engine("auto", conv, Masks.ones(conv), config) == "reference"
    assert choose_engine("auto", conv, masks_of(conv, [0.1, 0.5, 0.5]), config) == "reference"
    assert choose_engine("auto", conv, masks_of(conv, [0.5, 0.1, 0.5]), config) == "sparse"
    assert choose_engine("auto", own(), Masks.ones(own()), config) == "reference"
    assert choose_engine("reference", mlp(), Masks.ones(mlp()), config) == "reference"


def shared_weights() -> nn.Module:
    layer = nn.Linear(4, 4)
    return nn.Sequential(layer, nn.ReLU(), layer)


def hooked() -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 4))
    model[0].register_forward_hook(lambda module, inputs, output: 2 * output)
    return model


def backward_hooked() -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 4))
    model[0].weight.register_hook(lambda gradient: 2 * gradient)
    return model


def frozen() -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    model[0].weight.requires_grad_(False)
    return model


def transposed() -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 3))
    model[0].weight = nn.Parameter(torch.zeros(4, 3).t())
    return model


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (backward_hooked(), "hooks"),
        (frozen(), "frozen"),
        (transposed(), "contiguous"),
        (shared_weights(), "share weights"),
        (hooked(), "hooks"),
        (nn.Sequential(nn.Linear(4, 4)).double(), "float32 only"),
        (nn.Sequential(nn.Linear(4, 4), nn.Tanh()), "ends in linear layers"),
    ],
)
def test_a_network_it_cannot_train_is_left_to_the_reference_or_refused(model, reason):
    masks, config = Masks.ones(model), TrainConfig()
    assert choose_engine("auto", model, masks, config) == "reference"
    with pytest.raises(ConfigError, match=f"engine is 'sparse'.*{reason}"):
        choose_engine("sparse", model, masks, config)


def test_half_precision_is_left_to_the_reference():
    config = TrainConfig(precision="bfloat16")
    assert choose_engine("auto", mlp(), Masks.ones(mlp()), config) == "reference"


def test_without_the_kernels_nothing_breaks(monkeypatch):
    monkeypatch.setattr(sparse, "has_csr_kernels", lambda: False)
    assert "lacks the CSR kernels" in str(obstacle(mlp()))
    assert choose_engine("auto", mlp(), Masks.ones(mlp()), TrainConfig()) == "reference"
