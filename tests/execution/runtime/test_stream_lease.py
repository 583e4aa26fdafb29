"""One process at a time drains a shared event stream; the others rely on it or go on without."""

import threading
from collections.abc import Callable

import pytest
from django.db import connection

from common.db.sql import rows, run
from execution.runtime import stream_lease
from execution.runtime.stream_lease import drain_once

pytestmark = pytest.mark.usefixtures("inline_commits")
GoesOn = Callable[[], bool]


class Process:
    """Another process: a thread with its own database session, in the middle of a drain."""

    def __init__(self) -> None:
        self.is_inside, self.may_end = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work)
        self._thread.start()
        assert self.is_inside.wait(60)

    def _work(self) -> None:
        drain_once("paper", self._drain, 0)
        connection.close()

    def _drain(self, goes_on: GoesOn) -> int:
        self.is_inside.set()
        assert self.may_end.wait(60)
        return 1

    def end(self) -> None:
        self.may_end.set()
        self._thread.join(60)


def applied_here(goes_on: GoesOn) -> int:
    return 7


def test_stream_is_drained_here_when_no_other_process_drains_it() -> None:
    assert drain_once("paper", applied_here, 0) == 7
    assert drain_once("paper", applied_here, 0) == 7


@pytest.mark.django_db(transaction=True)
def test_stream_is_not_drained_here_while_another_process_drains_it() -> None:
    other = Process()
    try:
        assert drain_once("paper", applied_here, 0.1) is None
        assert drain_once("another", applied_here, 0) == 7
    finally:
        other.end()
    assert drain_once("paper", applied_here, 0) == 7


@pytest.mark.django_db(transaction=True)
def test_waiting_caller_drains_after_a_drain_that_began_before_its_request() -> None:
    """The running drain may have missed events published in between."""
    other = Process()
    threading.Timer(0.2, other.end).start()
    assert drain_once("paper", applied_here, 20) == 7


@pytest.mark.django_db(transaction=True)
def test_waiting_caller_relies_on_a_drain_that_began_after_its_request() -> None:
    other = Process()

    def finish_drain() -> None:  # and drains once more
        run("UPDATE execution_streamlease SET drained_at = clock_timestamp()")
        connection.close()

    threading.Timer(0.2, finish_drain).start()
    try:
        assert drain_once("paper", lambda _: pytest.fail("drained twice"), 20) == 0
    finally:
        other.end()


@pytest.mark.django_db(transaction=True)
def test_stalled_process_delays_no_other() -> None:
    other = Process()
    run("UPDATE execution_streamlease SET lease_until = clock_timestamp() - interval '1 s'")
    going: list[bool] = []

    def drain(goes_on: GoesOn) -> int:
        other.end()  # it resumes: it neither ends our lease nor has drained for us
        (state,) = rows(stream_lease.STATE, ("2000-01-01", "paper"))
        assert (state.is_held, state.is_drained) == (True, False)
        going.append(goes_on())
        return 1

    assert drain_once("paper", drain, 0) == 1
    assert going == [True]
    (state,) = rows(stream_lease.STATE, ("2000-01-01", "paper"))
    assert (state.is_held, state.is_drained) == (False, True)


def test_failed_drain_does_not_count() -> None:
    def fails(goes_on: GoesOn) -> int:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        drain_once("paper", fails, 0)
    (state,) = rows(stream_lease.STATE, ("2000-01-01", "paper"))
    assert (state.is_held, state.is_drained) == (False, False)
    assert drain_once("paper", applied_here, 0) == 7
