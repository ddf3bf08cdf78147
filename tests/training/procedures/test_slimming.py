import copy

import pytest
import torch
from torch import nn

from lottery.errors import ConfigError
from lottery.pruning.masks import Masks
from lottery.pruning.schedule import PruneConfig
from lottery.training.config import TrainConfig
from lottery.training.procedures.base import Acting
from lottery.training.procedures.slimming import Slimming
from tests.training.procedures.scenes import network, scene, step


def test_a_step_is_that_of_the_penalised_loss():
    """Written out: γ − lr · (∂L/∂γ + s · sign γ), all else as without."""
    model = network()
    with torch.no_grad():
        model[1].weight[1] = -0.5
        model[1].weight[2] = 0.0  # the subgradient at zero is zero
    other = copy.deepcopy(model)
    at, plain = scene(model, 0.1, weight_decay=0), scene(other, 0.1, weight_decay=0)
    sign = model[1].weight.detach().sign()
    Acting(Slimming(strength=0.5), at, Masks.ones(model), None, 0)
    step(at, 0)
    step(plain, 0)
    assert torch.allclose(model[1].weight, other[1].weight - 0.1 * 0.5 * sign, atol=1e-7)
    assert set(sign.tolist()) == {-1.0, 0.0, 1.0}
    for name, values in model.named_parameters():
        assert name == "1.weight" or torch.equal(values, other.get_parameter(name)), name


def test_it_acts_where_a_ranking_follows():
    assert Slimming().acts_in(0, PruneConfig()) and Slimming().acts_in(3, PruneConfig())
    once = PruneConfig(iterative=False)
    assert Slimming().acts_in(0, once) and not Slimming().acts_in(1, once)


def test_a_network_without_batch_norm_is_refused():
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    with pytest.raises(ConfigError, match="no batch norm"):
        Acting(Slimming(), scene(model), Masks.ones(model), None, 0)


def test_a_strength_that_is_no_penalty_is_refused():
    with pytest.raises(ConfigError, match="strength is -1; allowed: a number above 0"):
        Slimming(strength=-1).check(TrainConfig(), PruneConfig(), weights_go_back=True)
