"""What a report says of the protocol is what the study's settings say."""

from typing import get_args, get_type_hints

from lottery.analysis.report.protocol import RESCALED, _rewinding
from lottery.tickets.imp import RewindConfig


def test_every_way_to_rescale_is_told_and_none_is_silent():
    assert list(RESCALED) == list(get_args(get_type_hints(RewindConfig)["rescale"]))
    plain = {"mode": "weights", "to": "0it", "init": None, "optimizer": "fresh"}
    told = "weights that remain go back to their own initial values"
    assert _rewinding(plain) == _rewinding({**plain, "rescale": "none"})
    assert _rewinding(plain) == f"{told}; optimiser state fresh"
    assert _rewinding({**plain, "rescale": "layer"}).startswith(f"{told}, divided by the square")


def test_a_schedule_that_begins_anew_is_not_said_to_be_that_of_level_0():
    told = "weights are kept, the schedule of the learning rate "
    assert _rewinding({"mode": "learning_rate", "to": "0it"}) == f"{told}begins anew"
    later = _rewinding({"mode": "learning_rate", "to": "2ep"})
    assert later == f"{told}goes back to 2 epochs after the start of level 0"
