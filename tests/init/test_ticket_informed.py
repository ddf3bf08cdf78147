"""Scale, shape and sign each come from the tickets or from the base scheme, and nothing else."""

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some
from scipy import stats
from torch import nn

from lottery.errors import ConfigError
from lottery.init import initialise
from lottery.init.ticket_informed import GRID, TicketFit, fit, load_fit

N = 40_000
POSITIVE, SIGMA = 0.7, 0.3


def bimodal(n: int = N) -> torch.Tensor:
    """Values around ±0.28, 70 % of them positive, with a root mean square near 0.3."""
    stream = torch.Generator().manual_seed(0)
    magnitudes = 0.28 + 0.1 * torch.randn(n, generator=stream)
    signs = torch.where(torch.rand(n, generator=stream) < POSITIVE, 1.0, -1.0)
    return signs * magnitudes.abs()


VALUES = bimodal()
STD = float(VALUES.square().mean().sqrt())


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("fits") / "a fit.json"
    path.write_text(TicketFit({"study": "tiny"}, [0, 2], fit({"weight": VALUES})).to_json())
    return str(path)


def draw(file, seed=5, **options):
    layer = nn.Linear(300, 200)
    spec = f"ticket_informed({', '.join([repr(file), *(f'{k}={v}' for k, v in options.items())])})"
    return initialise(layer, spec, seed).weight.detach()


def base(seed=5, spec="xavier_normal"):
    return initialise(nn.Linear(300, 200), spec, seed).weight.detach()


def rms(values):
    return float(values.double().square().mean().sqrt())


@pytest.mark.parametrize(
    ("shape", "scale", "sign"), list(itertools.product([True, False], repeat=3))
)
def test_each_of_the_eight_has_what_it_is_told_to_have_from_the_tickets(shape, scale, sign, file):
    found, plain = draw(file, shape=shape, scale=scale, sign=sign), base()
    assert rms(found) == pytest.approx(STD if scale else rms(plain), rel=1e-5)
    relative = (found.abs() / rms(found)).flatten().numpy()
    if shape:
        distance = stats.ks_2samp(relative, (VALUES.abs() / STD).numpy()).statistic
        assert distance < 0.01
    else:
        np.testing.assert_allclose(relative, (plain.abs() / rms(plain)).flatten(), rtol=1e-4)
    share = float((found > 0).float().mean())
    if sign:
        assert share == pytest.approx(POSITIVE, abs=4 * 0.5 / math.sqrt(found.numel()))
    else:
        assert torch.equal(found.sign(), plain.sign())
    if not (shape or scale or sign):
        torch.testing.assert_close(found, plain, rtol=1e-5, atol=0)


def test_a_draw_is_coupled_to_its_base(file):
    found, plain = draw(file), base()
    assert stats.spearmanr(found.abs().flatten(), plain.abs().flatten()).statistic > 0.99999
    turned = found.sign() != plain.sign()
    assert not turned[plain > 0].any(), "positive ones are scarce: none is given away"
    assert float(turned.float().mean()) == pytest.approx(POSITIVE - 0.5, abs=0.01)


def test_magnitudes_of_a_base_without_any_order_are_in_random_places(file):
    found = draw(file, base="sign_constant").abs()
    places = torch.arange(found.numel(), dtype=torch.float64)
    assert abs(stats.spearmanr(found.flatten(), places).statistic) < 0.02
    again = draw(file, base="sign_constant")
    assert torch.equal(found, again.abs())


@given(share=some.floats(0, 1))
@settings(max_examples=25, deadline=None)
def test_any_share_of_signs_can_be_had(share, tmp_path_factory):
    count = round(share * 1000)
    values = torch.cat([torch.ones(count), -torch.ones(1000 - count)])
    path = tmp_path_factory.mktemp("signs") / "fit.json"
    path.write_text(TicketFit({}, [], fit({"weight": values})).to_json())
    found = draw(str(path), seed=1)
    expected = count / 1000
    assert float((found > 0).float().mean()) == pytest.approx(expected, abs=0.01)
    # All magnitudes are one: the shape of tickets that have one magnitude.
    torch.testing.assert_close(found.abs(), torch.ones_like(found))


def test_a_fit_is_the_moments_and_quantiles_of_its_values():
    layer = fit({"weight": VALUES})["weight"]
    assert layer.weights == N
    assert layer.std == pytest.approx(STD, rel=1e-6)
    assert layer.positive == float((VALUES > 0).double().mean())
    np.testing.assert_allclose(
        layer.quantiles, np.quantile(VALUES.abs().double() / STD, GRID), rtol=1e-5
    )
    assert (GRID[0], GRID[-1]) == (0, 1)
    assert (np.diff(GRID) > 0).all()


def test_tails_of_a_normal_survive(tmp_path):
    values = torch.randn(100_000, generator=torch.Generator().manual_seed(3))
    path = tmp_path / "fit.json"
    path.write_text(TicketFit({}, [], fit({"weight": values})).to_json())
    found = draw(str(path), scale=False)
    kurtosis = float((found / rms(found)).double().pow(4).mean())
    assert kurtosis == pytest.approx(3, abs=0.06)


def test_seeds_of_the_tickets_are_held_out(file):
    with pytest.raises(
        ConfigError, match=r"seeds is \[2\]; allowed: seeds other than \[0, 2\], to"
    ):
        draw(file, seed=2)
    draw(file, seed=1)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "Expecting value"),
        ("[]", "list"),
        ('{"seeds": [], "source": {}}', "layers"),
        ('{"seeds": [], "source": {}, "layers": {"weight": {"std": 1}}}', "missing"),
    ],
)
def test_what_is_no_fit_is_named(tmp_path, text, reason):
    path = tmp_path / "broken.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=rf"broken.json'; allowed: a file made by .*{reason}"):
        load_fit(str(path))


def test_a_file_is_found_from_here_and_from_pythons_path(file, tmp_path, monkeypatch):
    folder, name = Path(file).parent, Path(file).name
    with pytest.raises(ConfigError, match="a file made by"):
        load_fit(name)
    monkeypatch.chdir(folder)
    found = load_fit(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(folder))
    assert load_fit(name) == found


def test_a_missing_file_and_one_of_another_length_are_named(tmp_path, file):
    with pytest.raises(ConfigError, match=r"none.json'; allowed: a file made by"):
        draw(str(tmp_path / "none.json"))
    values = json.loads(Path(file).read_text())
    values["layers"]["weight"]["quantiles"].pop()
    path = tmp_path / "short.json"
    path.write_text(json.dumps(values))
    with pytest.raises(ConfigError, match="129 quantiles"):
        draw(str(path))


def test_a_network_with_other_layers_is_refused(file, plain):
    with pytest.raises(ConfigError, match=r"a file with 0.weight, 2.weight, 4.weight; it has weig"):
        initialise(plain(), f"ticket_informed({file!r})", 5)


def test_options_are_true_or_false_and_nothing_that_looks_like_it(file):
    assert torch.equal(draw(file, sign="false"), draw(file, sign=False))
    with pytest.raises(ConfigError, match="init option sign is 0; allowed: true, false"):
        draw(file, sign=0)


def test_a_layer_without_weights_cannot_be_fitted():
    for values in (torch.empty(0), torch.zeros(3)):
        with pytest.raises(ConfigError, match=r"fc1.weight has no weights"):
            fit({"fc1.weight": values})
