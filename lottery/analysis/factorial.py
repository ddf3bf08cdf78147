"""What of tickets makes a scheme fitted to them robust: their shape, their scale or their signs?"""

import inspect
from itertools import product

import pandas as pd

from lottery.analysis.scale import Effect
from lottery.init.ticket_informed import ticket_informed
from lottery.registry import parse_spec

QUESTION = "What of tickets?"
FACTORS = ("shape", "scale", "sign")


def factors(wide: pd.DataFrame) -> list[Effect]:
    """Main effects of each full 2³ factorial of `ticket_informed`, with its base as "none of them".

    wide: endpoint by seed (rows) and scheme (columns). An effect is the mean of the four schemes
    that take the factor from tickets less that of the four that do not, per seed; seeds that lack
    one of the eight are left out.
    """
    found = []
    for (file, base), corners in _factorials(wide).items():
        for factor in FACTORS:
            at = FACTORS.index(factor)
            plus, minus = (
                tuple(corners[place] for place in sorted(corners) if place[at] is on)
                for on in (True, False)
            )
            values = wide[list(plus)].mean(axis=1, skipna=False)
            values = (values - wide[list(minus)].mean(axis=1, skipna=False)).dropna()
            if len(values):
                name = f"{factor} of tickets rather than of {base} ({file.rpartition('/')[2]})"
                found.append(Effect(QUESTION, name, values, plus, minus))
    return found


def _factorials(wide: pd.DataFrame) -> dict[tuple[str, str], dict[tuple[bool, ...], str]]:
    """By file and base: the scheme of each corner, of those factorials that have all eight."""
    found: dict[tuple[str, str], dict[tuple[bool, ...], str]] = {}
    signature = inspect.signature(ticket_informed)
    for init in wide:
        name, args, kwargs = parse_spec(str(init))
        if name != ticket_informed.__name__:
            continue
        given = signature.bind(None, *args, **kwargs)
        given.apply_defaults()
        options = given.arguments
        corners = found.setdefault((options["file"], options["base"]), {})
        corners[tuple(options[factor] for factor in FACTORS)] = str(init)
    for (_, base), corners in found.items():
        if base in wide:
            corners[(False, False, False)] = base
    every = set(product((False, True), repeat=len(FACTORS)))
    return {place: corners for place, corners in found.items() if set(corners) == every}
