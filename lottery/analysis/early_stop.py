"""Whether an early stop was seen: the least validation loss, or only the last evaluation.

Where a level's loss is least at its last step it may have fallen further. Such an early stop is
*censored*: the true one lies at that step or after it, and ratios of such steps say little.
"""

import pandas as pd

STEP = "early_stop_step"
_TOGETHER = ["study", "variant"]
"""Rows that share these end at the same step, wherever they start."""


def censored(levels: pd.DataFrame, rows: pd.DataFrame | None = None) -> pd.Series:
    """Whether each row's early stop is the last step of its level; False where it has none.

    levels: a table of whole variants, from which the last step is read: it is `steps` of a level
    that starts at 0, and no early stop lies after it. rows: those asked about, if not all.

    >>> table = {"study": "s", "variant": "base", "steps": [9, 7], "early_stop_step": [9, 8]}
    >>> censored(pd.DataFrame(table)).tolist()
    [True, False]
    """
    rows = levels if rows is None else rows
    reached = levels[["steps", STEP]].astype("float64").max(axis=1)
    last = reached.groupby([levels[name] for name in _TOGETHER]).max()
    ends = last.reindex(pd.MultiIndex.from_frame(rows[_TOGETHER])).to_numpy()
    return rows[STEP].astype("float64").ge(ends)
