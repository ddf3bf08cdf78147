"""What removal leaves, as shares of the unpruned network of the same seed."""

import pandas as pd
import pytest

from lottery.analysis import frames
from lottery.analysis.sizes import PARAMETERS, WEIGHTS, at_last_level, left, of_filters, sizes
from tests.analysis.filters import MACS, write_filter_study
from tests.analysis.filters import PARAMETERS as WHOLE
from tests.analysis.synthetic import write_study


@pytest.fixture
def levels(tmp_path):
    write_filter_study(
        tmp_path, {"l2_hard": {}}, lambda _, seed, level: 0.1 * (level + seed), lambda *_: 0.9
    )
    return frames.levels("filters", tmp_path)


def test_shares_are_of_level_0_of_the_same_seed(levels):
    levels.loc[levels["seed"] == 2, ["parameters", "macs"]] *= 2  # another network altogether
    found = sizes(levels).set_index(["seed", "level"])
    for seed in (0, 1, 2):
        assert found.loc[(seed, 0), "parameters_removed"] == 0
        share = 0.1 * (2 + seed)
        assert found.loc[(seed, 2), "parameters_removed"] == pytest.approx(share, abs=1 / WHOLE)
        assert found.loc[(seed, 2), "macs_removed"] == pytest.approx(share / 2, abs=1 / MACS)


def test_rows_without_a_size_are_left_out(levels):
    levels.loc[levels["level"] == 1, "parameters"] = pd.NA
    assert set(sizes(levels)["level"]) == {0, 2}
    levels.loc[levels["level"] == 0, "macs"] = pd.NA
    assert sizes(levels).empty


def test_what_is_left_is_called_by_what_is_pruned(levels, tmp_path):
    assert of_filters(levels)
    assert left(levels) == PARAMETERS
    write_study(tmp_path, "single", seeds=[0], levels=1)
    assert left(frames.levels("single", tmp_path)) == WEIGHTS
    assert left(levels.assign(parameters=pd.NA)) == WEIGHTS


def test_each_variant_has_a_last_level_of_its_own(levels):
    longer = levels.assign(variant="long", level=levels["level"] + 1)
    last = at_last_level(pd.concat([levels, longer]))
    assert dict(last.groupby("variant")["level"].unique().map(list)) == {
        "l2_hard": [2],
        "long": [3],
    }
