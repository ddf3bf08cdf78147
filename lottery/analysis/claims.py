"""Published claims put to a study's tables.

>>> from lottery.analysis import levels
>>> from lottery.analysis.claims import judge
>>> judge(levels("lenet"))  # doctest: +SKIP
"""

import pandas as pd

from lottery.analysis.verdicts import Verdict


def judge(levels: pd.DataFrame, others: pd.DataFrame | None = None) -> list[Verdict]:
    """Verdicts on every claim about the study's network, in the order in which they are listed.

    levels: the study's table. others: tables of other studies, for claims that compare networks.
    """
    raise NotImplementedError
