"""How many seeds a comparison needs, and what it can see with those it has.

For a two-sided paired t test of a mean difference δ with deviation s over n seeds, the statistic
follows a noncentral t with n − 1 degrees of freedom and noncentrality δ√n / s.
"""

import numpy as np
from scipy import optimize, stats

from lottery.errors import ConfigError

MOST = 1_000_000
"""Seeds beyond which nobody would go."""


def t_test_power(deviation: float, difference: float, n: int, alpha: float = 0.05) -> float:
    """Chance that n seeds show a difference: p < alpha in the paired t test.

    deviation: of the paired differences. Both are in the same unit.
    """
    _check(deviation=deviation, difference=abs(difference), alpha=alpha)
    if n < 2:
        return 0.0
    critical = stats.t.ppf(1 - alpha / 2, n - 1)
    shift = abs(difference) * np.sqrt(n) / deviation
    # The lower tail is nan for a large shift, where it is zero.
    lower = np.nan_to_num(stats.nct.cdf(-critical, n - 1, shift))
    return float(stats.nct.sf(critical, n - 1, shift) + lower)


def seeds_needed(
    deviation: float, difference: float, power: float = 0.8, alpha: float = 0.05
) -> int:
    """Fewest seeds whose paired t test shows `difference` with the chance `power`.

    >>> seeds_needed(deviation=1.0, difference=0.5)
    34
    """
    _check(power=power)
    low, high = 1, 2
    while t_test_power(deviation, difference, high, alpha) < power:
        low, high = high, 2 * high
        if high > MOST:
            raise ConfigError("difference", difference, f"one that {MOST:,} seeds can show")
    while high - low > 1:
        middle = (low + high) // 2
        enough = t_test_power(deviation, difference, middle, alpha) >= power
        low, high = (low, middle) if enough else (middle, high)
    return high


def detectable(deviation: float, n: int, power: float = 0.8, alpha: float = 0.05) -> float:
    """Least difference that n seeds show with the chance `power`; nan where n < 2.

    >>> f"{detectable(deviation=0.15, n=11):.2f}"
    '0.14'
    """
    _check(deviation=deviation, power=power)
    if n < 2:
        return np.nan
    highest = deviation
    while t_test_power(deviation, highest, n, alpha) < power:
        highest *= 2
    return float(
        optimize.brentq(
            lambda size: t_test_power(deviation, size, n, alpha) - power, 1e-9 * deviation, highest
        )
    )


def _check(**values: float) -> None:
    for name, value in values.items():
        below_one = name in ("alpha", "power")
        if not 0 < value < (1 if below_one else np.inf):
            allowed = "a number between 0 and 1" if below_one else "a number above 0"
            raise ConfigError(name, value, allowed)
