"""A Redis that takes connections and answers nothing: nobody who publishes waits for it twice."""

import signal
import time

import pytest

from tests.faults.environment import FaultEnvironment

pytestmark = [pytest.mark.faults, pytest.mark.timeout(180, func_only=True)]


def test_who_publishes_waits_once_for_a_redis_that_hangs(environment: FaultEnvironment) -> None:
    environment.fleet.worker()
    environment.operator.do("quote")
    environment.servers.signal_redis(signal.SIGSTOP)
    try:
        environment.operator.do("publish", feed=50)  # finds out that nobody answers
        began = time.monotonic()
        environment.operator.do("publish", feed=50)
        assert time.monotonic() - began < 3
        environment.settle()  # workers look for themselves
    finally:
        environment.servers.signal_redis(signal.SIGCONT)
    assert environment.count.states() == {"FILLED": 100}
    assert environment.count.wrong(100) == {}
