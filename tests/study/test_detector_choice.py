"""Which detector of a study is the best, from made-up tables."""

import pandas as pd
import pytest

from lottery.errors import StoreError
from lottery.study.detector_choice import best
from tests.analysis.detectors import add_baseline, write_detector_study

VARIANTS = {"l2_hard": {}, "l2_oneshot": {"prune": {"iterative": False}}}


def write(place, ap, removed=lambda variant, seed, level: 0.2 * level, **more):
    """A study whose l2_oneshot removes as much as its l2_hard."""
    return write_detector_study(place, VARIANTS, removed, ap, seeds=(0, 1), levels=3, **more)


def chosen(folder, lose):
    """Variant, seed and level of the best."""
    name, level = best(folder, lose)
    levels = pd.read_csv(folder / "levels.csv")
    (row,) = levels[(levels["cell"] == name) & (levels["level"] == level)].to_dict("records")
    return row["variant"], row["seed"], level


def test_of_all_that_are_good_enough_the_cheapest_is_the_best(tmp_path):
    """Seed 1 of l2_hard alone is within two points at level 3, of what its own level 0 has."""
    lost = {("l2_hard", 1): 0.006}
    folder = write(tmp_path, lambda v, s, level: 0.8 + 0.1 * s - lost.get((v, s), 0.008) * level)
    assert chosen(folder, 0.02) == ("l2_hard", 1, 3)
    assert best(folder, 0)[1] == 0


def test_of_equally_cheap_ones_the_more_accurate_is_the_best(tmp_path):
    more = {("l2_oneshot", 0): 0.002}
    folder = write(tmp_path, lambda v, s, level: 0.8 + more.get((v, s), 0.001) * level)
    assert chosen(folder, 0.02) == ("l2_oneshot", 0, 3)


def test_a_level_after_one_that_had_fallen_counts(tmp_path):
    folder = write(tmp_path, lambda _v, _s, level: 0.8 - 0.05 * (level == 1))
    assert best(folder, 0.02)[1] == 3


def test_the_unpruned_network_trained_on_is_no_detector_to_choose(tmp_path):
    """Its rows are better than all tickets, and of the last level."""
    folder = write(tmp_path, lambda _v, _s, level: 0.8 - 0.001 * level)
    add_baseline(folder, "l2_hard", 0.01)
    assert best(folder, 0.02)[0].endswith("-ticket")


def test_a_study_without_sizes_and_one_that_is_not_there_are_told_apart(tmp_path):
    with pytest.raises(StoreError, match=r"nothing/levels.csv is missing"):
        best(tmp_path / "nothing", 0.02)
    folder = write(tmp_path, lambda *_: 0.8)
    levels = pd.read_csv(folder / "levels.csv")
    levels.drop(columns=["parameters", "macs"]).to_csv(folder / "levels.csv", index=False)
    with pytest.raises(StoreError, match="has no sizes of networks without filters"):
        best(folder, 0.02)
