"""Words that follow numbers."""


def plural(count: int, noun: str) -> str:
    """A count and its noun.

    >>> plural(1, "seed"), plural(5, "seed")
    ('1 seed', '5 seeds')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
