"""Replicas trained as one end where each would have ended alone."""

import copy
import dataclasses
import weakref
from itertools import chain

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lottery.data.batches import Batches
from lottery.data.images import Examples
from lottery.init import initialise
from lottery.pruning.masks import Masks
from lottery.training import loop, stacked, stacked_data
from lottery.training.config import LearningRate, TrainConfig
from lottery.training.loop import make_optimizer, run_reference
from lottery.training.segment import Segment
from lottery.training.stacked import Stack, run_stacked

MODES = ["vmap", "streams"]

SETTINGS = [
    {"lr": 0.01},
    {"lr": 0.01, "weight_decay": 0.1},
    {"lr": 0.01, "lr_schedule": "cosine", "warmup": "4it"},
    {"optimizer": "sgd", "lr": 0.1},
    {"optimizer": "sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 0.01},
    {"optimizer": "sgd", "lr": 0.05, "momentum": 0.9, "weight_decay": 0.01, "nesterov": True},
]


def pixels(count: int, *shape: int, seed: int = 0) -> Examples:
    """Random uint8 images of three classes; the class shows as brightness."""
    chance = torch.Generator().manual_seed(seed)
    labels = torch.randint(3, (count,), generator=chance)
    noise = torch.randint(150, (count, *shape), generator=chance)
    return Examples((noise + 50 * labels.view(-1, *[1] * len(shape))).to(torch.uint8), labels)


def plain() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 3)
    )


def conv() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(4, 4, 3, padding=1, bias=False),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(16, 3),
    )


class Tied(nn.Module):
    """Uses one layer twice, another weight under two names, and one that is not trained."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.twice, self.last = nn.Linear(16, 8), nn.Linear(8, 8), nn.Linear(8, 3)
        self.again = nn.Linear(8, 8)
        self.again.weight = self.twice.weight
        self.first.bias.requires_grad_(False)

    def forward(self, x):
        x = torch.relu(self.first(x.flatten(1)))
        x = torch.relu(self.again(torch.relu(self.twice(torch.relu(self.twice(x))))))
        return self.last(x)


NETWORKS = {"plain": (plain, (4, 4)), "conv": (conv, (4, 4, 3)), "tied": (Tied, (4, 4))}


def replica(
    seed: int,
    data: Examples,
    network: str = "plain",
    *,
    evaluate: tuple[Examples, ...] = (),
    start: int = 0,
    stop: int = 7,
    precision: str = "float32",
    batch_size: int = 8,
    density: float = 0.5,
    **settings: object,
) -> Segment:
    """A replica with initial weights, masks and order of the data of its own."""
    model, config = NETWORKS[network][0](), TrainConfig(**{"lr": 0.01, **settings})
    initialise(model, seed=seed)
    optimizer, chance = make_optimizer(model, config), torch.Generator().manual_seed(seed)
    ones = Masks.ones(model)
    masks = Masks({n: torch.rand(m.shape, generator=chance) < density for n, m in ones.items()})
    masks.apply(model, optimizer)
    batches = Batches(data, batch_size, seed=seed)
    rate = LearningRate(config, batches.steps_per_epoch)
    return Segment(
        *("stacked", model, masks, optimizer, batches, rate, start, stop, evaluate, 0, precision)
    )


@pytest.fixture
def data() -> Examples:
    return pixels(50, 4, 4)


@pytest.fixture(autouse=True)
def no_stack_from_other_tests():
    stacked._forget()
    stacked._most.clear()


def at(segment: Segment, start: int, stop: int) -> Segment:
    return dataclasses.replace(segment, start=start, stop=stop)


def same_twice(make, count: int = 3) -> tuple[list[Segment], list[Segment]]:
    """Replicas for two engines."""
    return tuple([make(seed) for seed in range(count)] for _ in range(2))


def tensors(segment: Segment) -> list[torch.Tensor]:
    """All that training changes: weights, then what the optimiser remembers."""
    found = [p.detach() for p in segment.model.parameters()]
    for p in segment.model.parameters():
        found += [v for v in segment.optimizer.state.get(p, {}).values() if v is not None]
    return found


def assert_close(ours: list[Segment], theirs: list[Segment], **tolerance: float) -> None:
    for one, other in zip(ours, theirs, strict=True):
        for a, b in zip(tensors(one), tensors(other), strict=True):
            torch.testing.assert_close(a, b, **{"rtol": 1e-4, "atol": 1e-6, **tolerance})


def assert_equal(ours: list[Segment], theirs: list[Segment]) -> None:
    assert_close(ours, theirs, rtol=0, atol=0)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("settings", SETTINGS)
def test_each_replica_ends_where_it_would_alone(settings, network, mode):
    """Over two segments, so that moments are both made and taken over; each has its own data."""
    shape = NETWORKS[network][1]
    sets = [pixels(50, *shape, seed=seed) for seed in (1, 2)]
    test = pixels(30, *shape, seed=3)

    def make(seed: int) -> Segment:
        own = sets[seed % 2]
        return replica(seed, own, network, evaluate=(own, test), duration="3ep", **settings)

    ours, theirs = same_twice(make)
    for span in ((0, 7), (7, 15)):
        got = run_stacked([at(s, *span) for s in ours], mode)
        expected = run_reference([at(s, *span) for s in theirs])
        assert_close(ours, theirs)
        for one, other in zip(chain(*got), chain(*expected), strict=True):
            assert one.loss == pytest.approx(other.loss, rel=1e-5)
            assert one.accuracy == other.accuracy
    assert not torch.equal(tensors(ours[0])[0], tensors(ours[1])[0])


@pytest.mark.parametrize("mode", MODES)
def test_a_step_is_along_the_gradient_of_the_replicas_own_masked_loss(mode, data):
    """By hand: with plain SGD at rate 1 the weights' change is the gradient."""
    segments = [replica(seed, data, optimizer="sgd", stop=1) for seed in range(3)]
    segments = [dataclasses.replace(s, learning_rate=lambda _: 1.0) for s in segments]
    before = [copy.deepcopy(s.model).double() for s in segments]
    run_stacked(segments, mode)
    for segment, model in zip(segments, before, strict=True):
        ((images, labels),) = segment.batches.steps(0, 1)
        F.cross_entropy(model(images.double()), labels).backward()
        for name, old in model.named_parameters():
            slope = old.grad * segment.masks.get(name, torch.ones(()))
            new = segment.model.get_parameter(name).detach()
            torch.testing.assert_close(new, (old.detach() - slope).float(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("settings", SETTINGS)
def test_what_masks_prune_stays_exactly_zero(settings, mode, data):
    segments = [replica(seed, data, stop=12, duration="3ep", **settings) for seed in range(3)]
    run_stacked(segments, mode)
    for segment in segments:
        for name, mask in segment.masks.items():
            weight = segment.model.get_parameter(name)
            moments = segment.optimizer.state.get(weight, {}).values()
            for value in (weight, *(m for m in moments if m is not None and m.dim())):
                assert not value[~mask].any()
            assert weight[mask].all(), "more is zero than is pruned"


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("network", NETWORKS)
def test_optimisers_are_left_as_the_reference_leaves_them(settings, network):
    data = pixels(50, *NETWORKS[network][1])
    ours, theirs = same_twice(lambda seed: replica(seed, data, network, **settings))
    run_stacked(ours)
    run_reference(theirs)
    for one, other in zip(ours, theirs, strict=True):
        a, b = one.optimizer.state_dict(), other.optimizer.state_dict()
        assert a["param_groups"] == b["param_groups"]
        assert list(a["state"]) == list(b["state"])
        for number, state in b["state"].items():
            assert list(a["state"][number]) == list(state)
            for item, value in state.items():
                mine = a["state"][number][item]
                assert (mine.shape, mine.dtype, mine.device, mine.stride()) == (
                    *(value.shape, value.dtype, value.device, value.stride()),
                )
                assert mine.untyped_storage().nbytes() == value.untyped_storage().nbytes()
                if item == "step":
                    assert mine == 7
        assert all(p.grad is None for p in one.model.parameters())


def test_weights_and_moments_are_changed_in_place(data):
    """Whoever holds a parameter or a moment holds the trained one."""
    (segment,) = (replica(0, data),)
    weights = [p.data_ptr() for p in segment.model.parameters()]
    run_stacked([segment])
    held = [value.data_ptr() for value in tensors(segment)]
    run_stacked([at(segment, 7, 9)])
    assert [value.data_ptr() for value in tensors(segment)] == held
    assert held[: len(weights)] == weights


@pytest.mark.parametrize("mode", MODES)
def test_an_evaluation_alone_changes_nothing(mode, data):
    segments = [replica(seed, data, evaluate=(data,), start=4, stop=4) for seed in range(2)]
    before = [copy.deepcopy(s.model.state_dict()) for s in segments]
    metrics = run_stacked(segments, mode)
    for segment, state, (whole,) in zip(segments, before, metrics, strict=True):
        assert not segment.optimizer.state
        assert all(torch.equal(state[n], v) for n, v in segment.model.state_dict().items())
        expected = loop.evaluate(segment.model, data)
        assert whole.accuracy == expected.accuracy
        assert whole.loss == pytest.approx(expected.loss, rel=1e-6)


def strides(images: torch.Tensor) -> list[int]:
    """Those along which there is anything to step over: views forget that of a single channel."""
    return [step for step, size in zip(images.stride(), images.shape, strict=True) if size > 1]


@pytest.mark.parametrize(
    ("shape", "augmentation"),
    [
        ((4, 4), "none"),
        ((4, 4, 3), "none"),
        (None, "none"),
        ((4, 4), "flip_shift"),
        ((4, 4, 3), "flip_shift"),
    ],
)
def test_each_replica_sees_its_own_images_in_its_own_order_at_its_own_rate(
    shape, augmentation, monkeypatch
):
    """Over several windows and epochs; bit for bit what `Batches` gives."""
    monkeypatch.setattr(stacked_data, "WINDOW", 5)
    sets = [pixels(50, *shape or (4, 4), seed=seed) for seed in (0, 1)]
    if shape is None:  # images as they are, of whatever form
        sets = [Examples(some.images.double().flatten(1) / 7, some.labels) for some in sets]
    orders = [
        Batches(sets[which], 8, seed=seed, level=level, augmentation=augmentation)
        for which, seed, level in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 0), (1, 0, 1))
    ]
    rates = [0.01 * step for step in range(20)]
    base = dataclasses.replace(replica(0, sets[0]), learning_rate=rates.__getitem__)
    segments = [at(dataclasses.replace(base, batches=batches), 3, 16) for batches in orders]
    together = stacked_data.StackedBatches(segments)
    step = 3
    for steps in together.windows(segments):
        for _ in range(steps):
            images, labels = together.next()
            assert together.rate == torch.tensor(rates[step])
            for number, one in enumerate(orders):
                ((expected, answers),) = one.steps(step, step + 1)
                assert torch.equal(images[number], expected)
                assert strides(images[number]) == strides(expected)
                assert torch.equal(labels[number], answers)
            step += 1
    assert step == 16


def test_what_is_drawn_for_steps_is_what_their_batches_show():
    data = Examples(torch.arange(50.0).unsqueeze(1), torch.arange(50))
    for start, stop in ((0, 0), (0, 1), (4, 15), (6, 12)):
        indices, _ = Batches(data, 8, seed=1).drawn(start, stop)
        assert indices.shape == (stop - start, 8)
        batches = Batches(data, 8, seed=1).steps(start, stop)
        for index, (_, labels) in zip(indices, batches, strict=True):
            assert torch.equal(index, labels)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("values", [1, 16 * 3 * 4, 10**6])
@pytest.mark.parametrize("network", ["plain", "conv"])
def test_evaluation_counts_every_image_once_on_each_replicas_own_set(
    network, values, mode, monkeypatch
):
    """Whatever the batches; the first set is shared, the second each replica's own."""
    monkeypatch.setattr(stacked, "EVALUATION_VALUES", values)
    shape = NETWORKS[network][1]
    shared, own = pixels(23, *shape, seed=9), [pixels(19, *shape, seed=s) for s in (4, 5)]
    data = pixels(50, *shape)
    segments = [replica(s, data, network, evaluate=(shared, own[s % 2]), stop=3) for s in range(3)]
    metrics = run_stacked(segments, mode)
    for segment, found in zip(segments, metrics, strict=True):
        for examples, got in zip(segment.examples, found, strict=True):
            expected = loop.evaluate(segment.model, examples)
            assert got.accuracy == expected.accuracy
            assert got.loss == pytest.approx(expected.loss, rel=1e-6)
    assert len({tuple(found) for found in metrics}) == 3


def test_evaluation_is_in_eval_mode_and_training_is_not(data):
    class Shifts(nn.Module):
        """Answers otherwise when it is not trained."""

        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(16, 3)

        def forward(self, x):
            return self.layer(x.flatten(1)) if self.training else torch.zeros(len(x), 3)

    model = initialise(Shifts()).eval()
    optimizer = make_optimizer(model, TrainConfig())
    segment = dataclasses.replace(
        replica(0, data, evaluate=(data,)),
        model=model,
        optimizer=optimizer,
        masks=Masks.ones(model),
    )
    before = copy.deepcopy(model.state_dict())
    for span in ((0, 3), (3, 6)):
        ((metrics,),) = run_stacked([at(segment, *span)])
        assert metrics.loss == pytest.approx(float(torch.tensor(3.0).log()))
        assert not torch.equal(before["layer.weight"], model.layer.weight)
        before = copy.deepcopy(model.state_dict())


@pytest.mark.parametrize("mode", MODES)
def test_a_replica_alone_is_the_same_to_rounding(mode, data):
    """Not bit for bit: sums are rounded otherwise in tensors of another size."""
    ours, theirs = same_twice(lambda seed: replica(seed, data))
    run_stacked(ours, mode)
    for segment in theirs:
        run_stacked([segment], mode)
    assert_close(ours, theirs, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("settings", SETTINGS)
def test_going_on_after_an_interruption_changes_no_bit(settings, mode, data):
    """For the same group of replicas, in a process that has no stack of theirs yet."""

    def make(seed: int) -> Segment:
        return replica(seed, data, evaluate=(data,), duration="3ep", **settings)

    ours, theirs = same_twice(make)
    run_stacked([at(s, 0, 12) for s in theirs], mode)
    run_stacked([at(s, 0, 5) for s in ours], mode)
    resumed = []
    for seed, segment in enumerate(ours):
        again = make(seed)
        again.model.load_state_dict(copy.deepcopy(segment.model.state_dict()))
        again.optimizer.load_state_dict(copy.deepcopy(segment.optimizer.state_dict()))
        resumed.append(again)
    stacked._forget()
    run_stacked([at(s, 5, 12) for s in resumed], mode)
    assert_equal(resumed, theirs)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("network", ["plain", "conv"])
def test_a_replica_that_diverges_disturbs_no_other(network, mode):
    data = pixels(50, *NETWORKS[network][1])
    ours, theirs = same_twice(lambda seed: replica(seed, data, network, evaluate=(data,)))
    for parameter in ours[1].model.parameters():
        parameter.data.mul_(1e20)
    got, expected = run_stacked(ours, mode), run_stacked(theirs, mode)
    assert not got[1][0].loss < float("inf")
    assert got[0] + got[2] == expected[0] + expected[2]
    assert_equal(ours[::2], theirs[::2])


@pytest.mark.parametrize("mode", MODES)
def test_bfloat16_is_computed_as_the_reference_does(mode, data):
    ours, theirs = same_twice(
        lambda seed: replica(
            seed, data, evaluate=(data,), precision="bfloat16", optimizer="sgd", stop=4
        )
    )
    full = replica(0, data, evaluate=(data,), optimizer="sgd", stop=4)
    run_stacked([full], mode)
    got, expected = run_stacked(ours, mode), run_reference(theirs)
    assert_close(ours, theirs, rtol=1e-2, atol=1e-3)
    assert not torch.allclose(tensors(ours[0])[0], tensors(full)[0], 1e-5, 1e-7)
    alone = at(ours[0], 4, 4)
    exact = run_stacked([dataclasses.replace(alone, precision="float32")], mode)
    assert run_stacked([alone], mode) != exact, "evaluated in float32"
    for (one,), (other,) in zip(got, expected, strict=True):
        assert one.loss == pytest.approx(other.loss, rel=1e-2)
    assert all(value.dtype == torch.float32 for value in tensors(ours[0]))


def test_a_stack_is_used_again_and_nothing_of_earlier_replicas_stays_in_it(data, monkeypatch):
    """Other weights, masks, data and moments of the same shape, where a graph is captured once."""
    built = []
    original = Stack.__init__

    def counted(self, *arguments):
        built.append(self)
        original(self, *arguments)

    monkeypatch.setattr(Stack, "__init__", counted)
    others = [pixels(50, 4, 4, seed=7), pixels(50, 4, 4, seed=8)]

    def make(seed: int) -> Segment:
        return replica(seed + 10, others[seed % 2], evaluate=(others[0],), density=0.2)

    ours, theirs = same_twice(make)
    first = [replica(seed, [data, others[0]][seed % 2], evaluate=(data,)) for seed in range(3)]
    run_stacked(first)
    run_stacked([at(s, 7, 8) for s in first])
    run_stacked(ours)
    assert len(built) == 1
    stacked._forget()
    run_stacked(theirs)
    assert len(built) == 2
    assert_equal(ours, theirs)


def test_a_stack_is_freed_with_its_networks_or_for_another_shape(data):
    segments = [replica(seed, data) for seed in range(3)]
    run_stacked(segments)
    (first,) = {weakref.ref(stack) for stack in stacked._stacks.values()}
    run_stacked([at(s, 7, 8) for s in segments[:2]])
    assert first() is None, "two stacks take twice the memory"
    (second,) = {weakref.ref(stack) for stack in stacked._stacks.values()}
    del segments
    assert second() is None, "nobody can use it, nor free it"


@pytest.mark.parametrize("settings", [SETTINGS[0], SETTINGS[-1]])
@pytest.mark.parametrize("mode", MODES)
def test_tensors_stay_where_a_graph_would_look_for_them(mode, settings, data):
    """A graph writes to the addresses of its capture, whatever Python's names stand for later."""

    def places(stack: Stack) -> list[int]:
        state, batches = stack.state, stack.batches
        found = [*state.parameters.values(), *state.gradients.values(), *state.factors.values()]
        found += [p.grad for p in state.trained.values()]
        for moments in state.optimizer.state.values():
            found += moments.values()
        found += [value for value in vars(batches).values() if isinstance(value, torch.Tensor)]
        found += [group["lr"] for group in state.optimizer.param_groups]
        return [tensor.data_ptr() for tensor in found]

    segments, others = (
        [replica(seed, examples, evaluate=(data,), **settings) for seed in range(3)]
        for examples in (data, pixels(50, 4, 4, seed=1))
    )
    stack = Stack(segments, mode)
    before = places(stack)
    for group in (segments, others):
        stack.state.load(group)
        stack.train(group)
        stack.evaluate(group)
        stack.state.store(group)
        assert places(stack) == before


@pytest.mark.parametrize("settings", [SETTINGS[0], SETTINGS[-1]])
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("mode", MODES)
def test_no_step_looks_at_a_value(mode, network, settings):
    """Fake tensors have none, as a stream under capture has none to give yet."""
    with FakeTensorMode():
        images = torch.zeros((50, *NETWORKS[network][1]), dtype=torch.uint8)
        examples = Examples(images, torch.zeros(50, dtype=torch.int64))
        model = NETWORKS[network][0]()
        segment = Segment(
            *("stacked", model, Masks({}), make_optimizer(model, TrainConfig(**settings))),
            *(Batches(examples, 8, seed=0), lambda _: 0.1, 0, 1),
        )
        Stack([segment, segment], mode)._step()


class Recording(TorchDispatchMode):
    """Launches what was launched once again, on the same memory: a CUDA graph without CUDA."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = []

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        result = function(*arguments, **(options or {}))
        self.calls.append((function, arguments, options or {}, result))
        return result

    @torch.no_grad()
    def replay(self) -> None:
        for function, arguments, options, result in self.calls:
            again = function(*arguments, **options)
            for old, new in zip(tree_leaves(result), tree_leaves(again), strict=True):
                if isinstance(old, torch.Tensor) and old.data_ptr() != new.data_ptr():
                    old.copy_(new)


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("mode", MODES)
def test_one_step_launched_again_and_again_is_training(mode, network, settings, monkeypatch):
    """Replicas of which the recorded step knows nothing, over several windows, data and rates."""
    monkeypatch.setattr(stacked_data, "WINDOW", 5)
    sets = [pixels(50, *NETWORKS[network][1], seed=seed) for seed in (1, 2)]
    first = [replica(seed, sets[seed % 2], network, **settings) for seed in range(2)]
    ours, theirs = same_twice(
        lambda n: replica(n + 5, sets[(n + 1) % 2], network, start=2, stop=14, **settings), 2
    )
    stack = Stack(first, mode)
    with Recording() as recording:
        stack._step()
    stack._replay = recording.replay
    for _ in range(2):
        stack.state.load(ours)
        stack.train(ours)
        stack.state.store(ours)
    stacked._forget()
    for _ in range(2):
        run_stacked(theirs, mode)
    assert_equal(ours, theirs)


@pytest.fixture
def little_memory(monkeypatch):
    """A GPU that holds two replicas: the sizes of the stacks that were tried."""
    tried = []
    original = Stack.evaluate

    def evaluate(self, segments):
        tried.append(len(segments))
        if len(segments) > 2:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return original(self, segments)

    monkeypatch.setattr(Stack, "evaluate", evaluate)
    return tried


def test_what_does_not_fit_is_run_in_parts_and_comes_out_the_same(little_memory, data):
    """Memory ran out after all steps: nothing of the attempt may be left in the replicas."""
    ours, theirs = same_twice(lambda seed: replica(seed, data, evaluate=(data,)), 5)
    got, expected = run_stacked(ours), run_reference(theirs)
    assert little_memory == [5, 3, 2, 2, 2]
    assert_close(ours, theirs)
    assert [m.accuracy for (m,) in got] == [m.accuracy for (m,) in expected]
    little_memory.clear()
    run_stacked([at(s, 7, 9) for s in ours])
    assert max(little_memory) <= 2, "tried again what did not fit"


def test_a_single_replica_that_does_not_fit_is_an_error(data, monkeypatch):
    def full(*_):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Stack, "train", full)
    segments = [replica(seed, data) for seed in range(2)]
    before = [copy.deepcopy(s.model.state_dict()) for s in segments]
    with pytest.raises(torch.cuda.OutOfMemoryError):
        run_stacked(segments)
    for segment, state in zip(segments, before, strict=True):
        assert all(torch.equal(state[n], v) for n, v in segment.model.state_dict().items())


def test_a_lack_of_memory_is_recognised_behind_the_error_it_causes(data, monkeypatch):
    """An error in a capture makes ending the capture fail in turn."""
    original, calls = Stack.train, []

    def full(self, segments):
        calls.append(len(segments))
        if len(segments) == 1:
            return original(self, segments)
        try:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        finally:
            raise RuntimeError("operation failed due to a previous error during capture")

    monkeypatch.setattr(Stack, "train", full)
    run_stacked([replica(seed, data) for seed in range(2)])
    assert calls == [2, 1, 1]


def test_other_errors_are_not_taken_for_a_lack_of_memory(data, monkeypatch):
    def broken(*_):
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(Stack, "train", broken)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        run_stacked([replica(seed, data) for seed in range(2)])


def test_segments_that_differ_are_run_apart_and_answered_in_order(data):
    def make(seed: int) -> Segment:
        stop = 5 if seed % 2 else 7
        return replica(seed, data, evaluate=(data,), stop=stop)

    ours, theirs = same_twice(make, 4)
    got, expected = run_stacked(ours), run_reference(theirs)
    assert_close(ours, theirs)
    losses = [metrics.loss for (metrics,) in got]
    assert losses == pytest.approx([metrics.loss for (metrics,) in expected], rel=1e-5)
    assert run_stacked([]) == []


def test_the_random_state_of_the_process_is_left_alone(data):
    segments = [replica(seed, data, evaluate=(data,)) for seed in range(2)]
    state = torch.get_rng_state()
    run_stacked(segments)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("mode", MODES)
def test_a_graph_computes_what_the_cpu_does(mode, network, settings, monkeypatch):
    """Two segments and then other replicas, of one capture, over several windows and data sets."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    monkeypatch.setattr(stacked_data, "WINDOW", 5)
    shape = NETWORKS[network][1]
    sets = [pixels(50, *shape, seed=seed) for seed in (1, 2)]
    there = [examples.to("cuda") for examples in sets]

    def on_gpu(segment: Segment, which: int) -> Segment:
        model = copy.deepcopy(segment.model).cuda()
        batches = Batches(there[which], 8, seed=segment.batches.seed)
        return dataclasses.replace(
            segment,
            model=model,
            masks=segment.masks.to("cuda"),
            optimizer=make_optimizer(model, TrainConfig(**{"lr": 0.01, **settings})),
            batches=batches,
            examples=(there[which], there[0]),
        )

    for first in (0, 10):
        theirs = [
            replica(first + n, sets[n % 2], network, evaluate=(sets[n % 2], sets[0]), **settings)
            for n in range(3)
        ]
        ours = [on_gpu(segment, n % 2) for n, segment in enumerate(theirs)]
        for span in ((0, 7), (7, 9), (9, 9)):
            got = run_stacked([at(s, *span) for s in ours], mode)
            expected = run_stacked([at(s, *span) for s in theirs], mode)
            for one, other in zip(ours, theirs, strict=True):
                for a, b in zip(tensors(one), tensors(other), strict=True):
                    torch.testing.assert_close(a.cpu(), b, rtol=1e-3, atol=1e-5)
            for one, other in zip(chain(*got), chain(*expected), strict=True):
                assert one.loss == pytest.approx(other.loss, rel=1e-3)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("mode", MODES)
def test_a_segment_on_a_gpu_waits_for_nothing_but_its_metrics(mode):
    data = pixels(50, 4, 4).to("cuda")
    base = replica(0, pixels(50, 4, 4))
    model = copy.deepcopy(base.model).cuda()
    segment = dataclasses.replace(
        base,
        model=model,
        masks=base.masks.to("cuda"),
        optimizer=make_optimizer(model, TrainConfig()),
        batches=Batches(data, 8, seed=0),
    )
    stack = Stack([segment], mode)
    stack.state.load([segment])
    windows = stack.batches.windows([segment])
    steps = next(windows)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(steps):
            stack._replay()
        stack._network.eval()
        with torch.no_grad():
            stack._sums([data])
    finally:
        torch.cuda.set_sync_debug_mode("default")
