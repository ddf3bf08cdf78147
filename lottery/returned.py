"""What functions of one's own return, for messages that refuse it."""

from collections.abc import Callable
from typing import Any

from torch import Tensor


def name_of(function: str | Callable[..., Any]) -> str:
    """A spec as it is written, or a function's own name."""
    return function if isinstance(function, str) else getattr(function, "__name__", repr(function))


def unlike(value: object, *shapes: tuple[int, ...]) -> str:
    """What a value is instead of a tensor of one of these shapes; nothing where it is one.

    >>> unlike(None, (3,)), unlike([1.0], (3,))
    ('None', 'an object of type list')
    >>> from torch import ones
    >>> unlike(ones(2), (3,), (4,)), unlike(ones(3), (3,))
    ('one of shape (2,)', '')
    """
    if value is None:
        return "None"
    if not isinstance(value, Tensor):
        return f"an object of type {type(value).__name__}"
    return "" if value.shape in shapes else f"one of shape {tuple(value.shape)}"
