"""Wider and narrower forms of a network."""

from collections.abc import Sequence

from lottery.errors import ConfigError


def scaled(sizes: Sequence[int], width: float) -> list[int]:
    """Numbers of filters or units times `width`, rounded; each must come out as 1 or more.

    >>> scaled((64, 128), 0.25)
    [16, 32]
    """
    found = [round(width * size) for size in sizes]
    if min(found) < 1:
        raise ConfigError("model option width", width, f"at least 1 / {min(sizes)}")
    return found
