"""Results of the doctor's checks: well, a warning or a failure, with a remedy. Pure."""

from collections.abc import Callable, Sequence

from brokers.types import Check, CheckResult
from common.db.stored_times import AHEAD_SECONDS
from common.web.formatting import age

OK, WARN, FAIL = CheckResult.OK, CheckResult.WARN, CheckResult.FAIL
SECONDS = 5  # time limit for one statement or one call to a broker

CheckFunction = Callable[[], Check | Sequence[Check]]


def well(name: str, detail: str) -> Check:
    """Return a finding that needs no action."""
    return Check(name, OK, detail)


def warning(name: str, detail: str, remedy: str) -> Check:
    """Return a finding that does not stop trading."""
    return Check(name, WARN, detail, remedy)


def failure(name: str, detail: str, remedy: str) -> Check:
    """Return a finding that stops trading or risks data."""
    return Check(name, FAIL, detail, remedy)


def graded(name: str, value: float, detail: str, *, warn: float, fail: float, remedy: str) -> Check:
    """Judge a value of which more is worse: a warning above `warn`, a failure above `fail`."""
    if value > fail:
        return failure(name, detail, remedy)
    return warning(name, detail, remedy) if value > warn else well(name, detail)


CLOCK_REMEDY = (
    "The clock was set back. Synchronize the clocks (chrony, NTP); running workers correct stored"
    " times within seconds."
)


def graded_age(
    name: str, seconds: float, detail: str, *, warn: float, fail: float, remedy: str
) -> Check:
    """Judge how long ago something was, as `graded`. A time in the future is a failure."""
    if seconds < -AHEAD_SECONDS:
        ahead = f"Its last time lies {age(-seconds)} in the future: how old it is, is not known."
        return failure(name, ahead, CLOCK_REMEDY)
    return graded(name, seconds, detail, warn=warn, fail=fail, remedy=remedy)
