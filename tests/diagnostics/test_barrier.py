"""The height of the barrier on the line between two networks."""

import pytest
import torch
from torch import Tensor, nn

from lottery.data.images import Examples
from lottery.diagnostics import barrier
from lottery.diagnostics.barrier import barriers, line
from lottery.objectives import Metrics

NOTHING = Examples(torch.zeros(1, 1), torch.zeros(1, dtype=torch.int64))


class Point(nn.Module):
    """A network that is one number."""

    def __init__(self) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        return x


def state(value: float) -> dict[str, Tensor]:
    return {"place": torch.tensor(value)}


@pytest.fixture
def hill(monkeypatch):
    """Loss 3 − (w − 2)², error falling from 0.8 at 0 to 0.4 at 4; sets are told apart by size."""

    def evaluate(model, examples):
        place = float(model.place.detach())
        return Metrics(len(examples) * (3 - (place - 2) ** 2), 0.2 + 0.1 * place)

    monkeypatch.setattr(barrier, "evaluate", evaluate)


def test_it_is_the_highest_point_over_the_mean_of_the_ends(hill):
    # Ends 0 and 4 have loss −1, the middle 3. The error's highest point is an end, 0.2 over the
    # mean.
    found = barriers(Point(), state(4.0), state(0.0), {"test": NOTHING}, 11)
    assert found == pytest.approx({"loss_barrier_test": 4.0, "error_barrier_test": 0.2})


def test_ends_of_different_height_are_averaged(hill):
    # From 1 (loss 2) to 3.5 (loss 0.75); six points: 1, 1.5, 2, 2.5, 3, 3.5.
    found = barriers(Point(), state(1.0), state(3.5), {"test": NOTHING}, 6)
    assert found["loss_barrier_test"] == pytest.approx(3 - (2 + 0.75) / 2)


def test_points_are_evenly_spaced_and_include_the_ends():
    places = [float(point["place"]) for point in line(state(3.0), state(1.0), 5)]
    assert places == pytest.approx([1.0, 1.5, 2.0, 2.5, 3.0])


def test_every_set_of_examples_has_its_own(hill):
    three = Examples(torch.zeros(3, 1), torch.zeros(3, dtype=torch.int64))
    found = barriers(Point(), state(4.0), state(0.0), {"train": NOTHING, "test": three}, 3)
    assert found["loss_barrier_test"] == pytest.approx(3 * found["loss_barrier_train"])


@pytest.fixture
def trained(noisy, data):
    torch.manual_seed(0)
    model = noisy()
    model.train()
    for images, _ in [data.train.batch(slice(0, 20))] * 3:
        model(images)
    return model


def test_between_a_network_and_itself_there_is_none(plain, data):
    model = plain()
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    sets = {"train": data.train, "test": data.test}
    assert set(barriers(plain(), weights, weights, sets, 7).values()) == {0.0}


def test_batch_norms_statistics_are_estimated_anew_at_every_point(trained, noisy, data):
    # The same network with its statistics spoilt is the same network once they are estimated anew.
    good = {name: tensor.clone() for name, tensor in trained.state_dict().items()}
    spoilt = {n: t + 5 if "running_mean" in n else t.clone() for n, t in good.items()}
    found = barriers(noisy(), good, spoilt, {"train": data.train, "test": data.test}, 5)
    assert found == pytest.approx(dict.fromkeys(found, 0.0), abs=1e-6)


def test_counts_are_not_interpolated(trained):
    one = trained.state_dict()
    for point in line(one, one, 3):
        assert point["1.num_batches_tracked"].dtype == torch.int64
