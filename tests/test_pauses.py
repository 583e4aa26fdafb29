"""A stop of the process, as `make test-paused` makes it."""

import time

from tests import pauses


def test_process_stands_still_until_it_is_let_go_on() -> None:
    plugin = pauses.PausesPlugin("1", seconds=0.2)
    began = time.monotonic()
    plugin.stop()
    assert time.monotonic() - began >= 0.2
    plugin.pytest_unconfigure()
