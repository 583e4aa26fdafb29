"""A Redis that takes connections and answers nothing: nobody who publishes waits for it twice."""

import signal
import time

import pytest

from tests.faults.place import Place

pytestmark = [pytest.mark.faults, pytest.mark.timeout(180, func_only=True)]


def test_who_publishes_waits_once_for_a_redis_that_hangs(place: Place) -> None:
    place.fleet.worker()
    place.hands.do("quote")
    place.servers.signal_redis(signal.SIGSTOP)
    try:
        place.hands.do("publish", feed=50)  # finds out that nobody answers
        began = time.monotonic()
        place.hands.do("publish", feed=50)
        assert time.monotonic() - began < 3
        place.settle()  # workers look for themselves
    finally:
        place.servers.signal_redis(signal.SIGCONT)
    assert place.count.states() == {"FILLED": 100}
    assert place.count.wrong(100) == {}
