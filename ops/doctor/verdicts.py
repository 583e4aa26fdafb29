"""What a check of the doctor finds: well, a warning or a failure, and what to do. Pure."""

from collections.abc import Callable, Sequence

from brokers.types import Check, CheckResult

OK, WARN, FAIL = CheckResult.OK, CheckResult.WARN, CheckResult.FAIL


SECONDS = 5  # for one statement or one question to somebody else


CheckFunction = Callable[[], Check | Sequence[Check]]


def well(name: str, detail: str) -> Check:
    return Check(name, OK, detail)


def warning(name: str, detail: str, remedy: str) -> Check:
    return Check(name, WARN, detail, remedy)


def failure(name: str, detail: str, remedy: str) -> Check:
    return Check(name, FAIL, detail, remedy)


def graded(name: str, value: float, detail: str, *, warn: float, fail: float, remedy: str) -> Check:
    """Judge a number of which more is worse: above `warn`, above `fail`."""
    if value > fail:
        return failure(name, detail, remedy)
    return warning(name, detail, remedy) if value > warn else well(name, detail)
