"""An alarm makes a job due before its interval has passed."""

from common.process.job_alarm import JobAlarm

HOUR = 3600.0


def test_earliest_alarm_counts() -> None:
    alarm = JobAlarm()
    alarm.set(HOUR)
    assert HOUR - 60 < alarm.seconds() <= HOUR
    assert not alarm.take()
    alarm.set()
    alarm.set(HOUR)
    assert (alarm.take(), alarm.take(), alarm.seconds()) == (True, False, float("inf"))


def test_listener_is_called_each_time_and_replaced_by_its_name() -> None:
    alarm, called = JobAlarm(), list[str]()
    alarm.listen("one", lambda: called.append("before"))
    alarm.listen("one", lambda: called.append("after"))
    alarm.set()
    alarm.set(HOUR)
    assert called == ["after", "after"]
