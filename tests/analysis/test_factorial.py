"""Main effects of what a scheme takes from tickets, against planted ones."""

import numpy as np
import pandas as pd

from lottery.analysis.factorial import FACTORS, QUESTION, factors
from lottery.registry import canonical

PLANTED = {"shape": 0.002, "scale": -0.003, "sign": 0.0}
BASE = "kaiming_normal"


def spec(*, file="a/fit.json", base=BASE, **off):
    options = "".join(f", {factor}=false" for factor in off)
    return canonical(f"ticket_informed('{file}'{options}, base={base})")


def corners():
    """Specs of the eight corners with the factors that they take from tickets."""
    for bits in range(8):
        on = {factor for place, factor in enumerate(FACTORS) if bits >> place & 1}
        off = dict.fromkeys(set(FACTORS) - on, False)
        yield (spec(**off) if on else BASE), on


def endpoint():
    """Planted effects, an interaction of shape and scale, and noise that pairing takes away."""
    noise = np.array([0.1, 0.0, -0.1])
    areas = {
        init: sum(PLANTED[factor] for factor in on) + 0.004 * ({"shape", "scale"} <= on) + noise
        for init, on in corners()
    }
    return pd.DataFrame(areas, index=pd.Index([4, 5, 6], name="seed"))


def test_main_effects_average_over_the_other_two_factors():
    found = {effect.name.partition(" ")[0]: effect for effect in factors(endpoint())}
    assert set(found) == set(FACTORS)
    half = 0.004 / 2  # of the interaction, which the means over the other factor share out
    expected = {"shape": 0.002 + half, "scale": -0.003 + half, "sign": 0.0}
    for factor, value in expected.items():
        effect = found[factor]
        np.testing.assert_allclose(effect.values, value, atol=1e-12)
        assert effect.question == QUESTION
        assert len(effect.plus) == len(effect.minus) == 4
        assert BASE in effect.minus
        assert not set(effect.plus) & set(effect.minus)


def test_a_factorial_that_lacks_a_corner_has_no_effects():
    wide = endpoint()
    assert factors(wide.drop(columns=BASE)) == []
    assert factors(wide.drop(columns=spec(sign=False))) == []


def test_schemes_of_another_file_are_another_factorial():
    wide = endpoint()
    whole = spec()
    other = wide.rename(columns={whole: spec(file="b/fit.json")})
    assert factors(other) == []


def test_a_seed_that_lacks_a_corner_is_left_out():
    wide = endpoint()
    wide.loc[5, spec()] = np.nan
    assert [list(effect.values.index) for effect in factors(wide)] == [[4, 6]] * 3
    assert factors(wide * np.nan) == []
