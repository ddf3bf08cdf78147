"""Errors that are the user's business: one clear message, shown without a traceback."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, get_args, get_origin, get_type_hints


class LotteryError(Exception):
    """Something the user can mend; the message names the thing, its value and what is allowed."""


class UsageError(LotteryError):
    """Arguments or a configuration that cannot be used."""


class ConfigError(UsageError, ValueError):
    """A setting has a value that is not allowed.

    >>> str(ConfigError("train.lr", -1, "a number above 0"))
    'train.lr is -1; allowed: a number above 0'
    """

    def __init__(self, setting: str, value: object, allowed: str) -> None:
        super().__init__(f"{setting} is {value!r}; allowed: {allowed}")


class DivergedError(LotteryError):
    """Training produced a loss that is not a finite number."""


class DataError(LotteryError):
    """A data set cannot be read, fetched or trusted."""


class StoreError(LotteryError):
    """What is on disk does not fit what was asked for."""


@contextmanager
def within(place: str) -> Iterator[None]:
    """Name the place in front of what a UsageError says.

    >>> with within("by_layer's rest"):
    ...     raise ConfigError("init", "he", "lsuv")
    Traceback (most recent call last):
    lottery.errors.ConfigError: by_layer's rest: init is 'he'; allowed: lsuv
    """
    try:
        yield
    except UsageError as error:
        error.args = (f"{place}: {error}",)
        raise


def check_choices(config: Any, group: str) -> None:
    """Raise ConfigError where a field annotated as a Literal holds something else."""
    for name, hint in get_type_hints(type(config)).items():
        if get_origin(hint) is Literal and getattr(config, name) not in get_args(hint):
            raise ConfigError(f"{group}.{name}", getattr(config, name), ", ".join(get_args(hint)))


def check_whole(setting: str, value: object, least: int, what: str = "") -> None:
    """Raise ConfigError for anything but a whole number (of `what`) from `least` on."""
    if not isinstance(value, int) or value < least:
        allowed = f"a whole number{what and f' of {what}'}, {least} or more"
        raise ConfigError(setting, value, allowed)


def in_a_line(error: Exception, longest: int = 200) -> str:
    """What an error says, or else its kind, on one line of at most so many characters."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
