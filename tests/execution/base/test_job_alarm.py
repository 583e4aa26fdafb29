"""An alarm lets a job run before its interval has passed, and ends with the process."""

import threading

import pytest

from execution.base.job_alarm import JobAlarm
from execution.runtime.trading_runtime import BackgroundJob, TradingRuntime
from tests.execution.fake_broker import FakeBroker
from tests.hanging import beside

HOUR = 3600.0


@pytest.mark.django_db(transaction=True)
def test_alarm_ends_a_wait_that_has_begun() -> None:
    alarm, is_waiting = JobAlarm(), threading.Event()

    def wait() -> None:
        is_waiting.set()
        alarm.wait(HOUR)

    waiting = beside(wait)
    assert is_waiting.wait(60)
    alarm.set()
    waiting.join(60)
    assert not waiting.is_alive()
    assert (alarm.take(), alarm.take()) == (True, False)


def test_earliest_alarm_counts() -> None:
    alarm = JobAlarm()
    alarm.set(HOUR)
    assert HOUR - 60 < alarm.seconds() <= HOUR
    assert not alarm.take()
    alarm.set()
    alarm.set(HOUR)
    alarm.wait(HOUR)
    assert (alarm.take(), alarm.seconds()) == (True, float("inf"))


def test_listener_is_called_each_time_and_replaced_by_its_name() -> None:
    alarm, called = JobAlarm(), list[str]()
    alarm.listen("one", lambda: called.append("before"))
    alarm.listen("one", lambda: called.append("after"))
    alarm.set()
    alarm.set(HOUR)
    assert called == ["after", "after"]


@pytest.mark.django_db(transaction=True)
def test_job_runs_with_its_alarm_and_ends_with_its_process(broker: FakeBroker) -> None:
    alarm, ran = JobAlarm(), threading.Semaphore(0)
    present = TradingRuntime("test")
    present.start()
    present.start_background_jobs([BackgroundJob("rare", HOUR, ran.release, None, alarm)])
    try:
        for _ in range(2):
            alarm.set()
            assert ran.acquire(timeout=60)
    finally:
        present.stop()
    assert not any(thread.is_alive() for thread in present._jobs)
    assert not ran.acquire(blocking=False)
