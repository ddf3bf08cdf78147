"""Medians, their spread, and taking turns."""

import time

import pytest

from lottery.costs.timing import OtherLoad, Timing, calls_within, per_call, round_robin, timing


def test_quartiles_lie_between_repetitions():
    assert timing([5.0, 1.0, 2.0, 4.0, 3.0]) == Timing(5, 3.0, 2.0, 4.0)
    assert timing([7.0]) == Timing(1, 7.0, 7.0, 7.0)


def test_cases_take_turns_so_that_drift_hits_all_alike():
    order = []

    def case(name):
        def measure():
            order.append(name)
            return float(len(order))

        return measure

    found = round_robin({"a": case("a"), "b": case("b")}, 3)
    assert order == ["a", "b", "a", "b", "a", "b"]
    assert found == {"a": Timing(3, 3.0, 2.0, 4.0), "b": Timing(3, 4.0, 3.0, 5.0)}


def test_a_call_is_timed_as_one_of_many_after_one_that_does_not_count():
    calls = []

    def work():
        calls.append(time.sleep(0.1 if not calls else 0.002))

    assert 0.002 <= per_call(work, 10)() < 0.02
    assert len(calls) == 11


def test_there_is_always_a_call_to_time():
    assert calls_within(lambda: time.sleep(0.02), 0.001) == 1


def test_what_this_process_does_is_not_others_doing(monkeypatch):
    seconds = iter([(10.0, 100.0, 50.0), (12.0, 103.0, 52.0)])
    monkeypatch.setattr(OtherLoad, "_now", staticmethod(lambda: next(seconds)))
    assert OtherLoad()() == pytest.approx(0.5)


def test_a_system_that_does_not_tell_is_no_error(monkeypatch):
    monkeypatch.setattr(OtherLoad, "_now", staticmethod(lambda: None))
    assert OtherLoad()() is None


def test_the_clocks_are_read_in_seconds():
    clock, busy, own = OtherLoad._now() or pytest.skip("no /proc/stat")
    assert busy > own > 0
    assert clock > 0
