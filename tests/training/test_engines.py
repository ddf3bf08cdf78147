"""Which engine runs what."""

import pytest

from lottery.errors import ConfigError
from lottery.training.engines import check_engine


def test_an_unknown_engine_lists_the_known_ones():
    check_engine("auto")
    check_engine("reference")
    with pytest.raises(ConfigError, match="engine is 'fast'; allowed: auto, reference, sparse, stacked"):
        check_engine("fast")
