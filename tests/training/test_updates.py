"""The functional updates are PyTorch's optimisers, number for number."""

import pytest
import torch
from torch import nn

from lottery.training.config import TrainConfig
from lottery.training.loop import make_optimizer
from lottery.training.updates import make_update

SETTINGS = [
    {"optimizer": "adam"},
    {"optimizer": "adam", "weight_decay": 0.1},
    {"optimizer": "sgd"},
    {"optimizer": "sgd", "momentum": 0.9},
    {"optimizer": "sgd", "momentum": 0.9, "weight_decay": 0.1},
    {"optimizer": "sgd", "momentum": 0.9, "weight_decay": 0.1, "nesterov": True},
]


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("resumed", [False, True])
def test_an_update_is_the_optimisers_own_with_each_steps_rate(settings, resumed):
    chance = torch.Generator().manual_seed(0)
    layer = nn.Linear(5, 4, bias=False)
    optimizer = make_optimizer(layer, TrainConfig(**settings))
    values, gradient = layer.weight.detach().clone().flatten(), torch.zeros(20)
    memories: dict[str, torch.Tensor] = {}
    update = make_update(optimizer, values, gradient, memories)
    for step, rate in enumerate((0.1, 0.2, 0.05, 0.1)):
        slope = torch.randn(4, 5, generator=chance)
        layer.weight.grad = slope.clone()
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()
        if resumed and step == 2:
            memories = {name: memory.clone() for name, memory in memories.items()}
            update = make_update(optimizer, values, gradient, memories)
        gradient.copy_(slope.flatten())
        update(rate)
        assert torch.equal(values, layer.weight.detach().flatten())
    state = {k: v for k, v in optimizer.state[layer.weight].items() if v is not None}
    assert state.keys() == memories.keys()
    assert all(torch.equal(v.flatten(), memories[k].flatten()) for k, v in state.items())


def test_another_optimiser_is_not_taken_for_one_of_these():
    layer = nn.Linear(2, 2)
    with pytest.raises(TypeError, match="RMSprop"):
        make_update(torch.optim.RMSprop(layer.parameters()), torch.zeros(1), torch.zeros(1), {})
