"""A Redis that accepts connections and never answers: a publisher waits for it only once."""

import signal
import time

import pytest

from tests.faults.environment import FaultEnvironment

pytestmark = [pytest.mark.faults]


def test_publisher_waits_once_for_hanging_redis(environment: FaultEnvironment) -> None:
    environment.fleet.worker()
    environment.operator.do("quote")
    environment.servers.signal_redis(signal.SIGSTOP)
    try:
        environment.operator.do("publish", feed=50)  # finds out that Redis does not answer
        began = time.monotonic()
        environment.operator.do("publish", feed=50)
        assert time.monotonic() - began < 3
        environment.settle()  # workers poll for due orders
    finally:
        environment.servers.signal_redis(signal.SIGCONT)
    assert environment.count.states() == {"FILLED": 100}
    assert environment.count.wrong(100) == {}
