"""Which engine runs what."""

from types import SimpleNamespace

import pytest

from lottery.errors import ConfigError
from lottery.training import engines
from lottery.training.engines import check_engine


def test_an_unknown_engine_lists_the_known_ones():
    check_engine("auto")
    check_engine("reference")
    with pytest.raises(
        ConfigError, match="engine is 'fast'; allowed: auto, reference, sparse, stacked"
    ):
        check_engine("fast")


def test_segments_that_run_together_share_the_time(monkeypatch):
    ticks = iter([10.0, 16.0])
    monkeypatch.setattr(engines.time, "perf_counter", lambda: next(ticks))
    monkeypatch.setitem(engines.ENGINES, "spy", lambda segments: [[], [], []])
    outcomes = engines.run([SimpleNamespace(engine="spy")] * 3)
    assert [outcome.seconds for outcome in outcomes] == [2.0, 2.0, 2.0]
    assert engines.run([]) == []
