"""Errors that are the user's business: one clear message, shown without a traceback."""


class LotteryError(Exception):
    """Something the user can mend; the message names the thing, its value and what is allowed."""


class ConfigError(LotteryError, ValueError):
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
