"""Each failure of a started stack raises its alarm and no other, which ends after the mend.

What is scraped is real: the processes, their servers and the rules. Only the time is not: a scrape
before, during and after the failure becomes a time line (tests/stack/scraped_alarms.py).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import pytest

from tests.stack import failing_messages, failing_processes, failing_trades
from tests.stack.injected_failures import FAILURES, Failure
from tests.stack.scraped_alarms import (
    RULES,
    SCRAPE_SECONDS,
    Scrape,
    TimeLine,
    Verdict,
    judge_failure,
)
from tests.stack.watched_stack import WatchedStack, watched_stack
from tests.until import until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1_800)]  # half an hour: `make test-alarms`
WITHIN_SECONDS = 60
HOUR = 3_600 // SCRAPE_SECONDS
INJECTED_BY = (failing_processes, failing_trades, failing_messages)  # they add their failures
NAMES = [rule["alert"] for rule in RULES["rules"]]


@pytest.fixture(scope="module")
def stack(django_db_setup: None, django_db_blocker: Any) -> Iterator[WatchedStack]:
    with django_db_blocker.unblock(), watched_stack() as started:
        started.trade()
        started.audit()
        yield started


@pytest.fixture
def quiet(stack: WatchedStack) -> tuple[Scrape, Scrape]:
    """Return a scrape before some trading, and one after it, once no alarm is left."""

    def pair() -> tuple[Scrape, Scrape] | None:
        before = stack.scrape()
        stack.trade()
        after = stack.scrape()
        line = TimeLine()
        line.hold(after, HOUR, since=before)
        alarms[:] = line.judge([(line.seconds(), line.seconds())])
        return None if alarms[0] else (before, after)

    alarms: list[set[str]] = []
    found = until(pair, seen=lambda: alarms)
    assert found is not None
    return found


def test_each_rule_has_a_failure_that_raises_it() -> None:
    assert {name for failure in FAILURES for name in failure.alarms} == set(NAMES)
    assert len([failure for failure in FAILURES if not failure.late]) >= 40


def test_quiet_hour_of_trading_raises_no_alarm(stack: WatchedStack) -> None:
    scrapes = [stack.scrape()]
    for _ in range(4):
        stack.trade()
        scrapes.append(stack.scrape())
    line = TimeLine()
    while len(line.steps) < HOUR:
        for before, after in pairwise(scrapes):
            line.hold(after, 1, since=before)
    assert line.judge([(line.seconds(), line.seconds())]) == [set()]


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: failure.name)
def test_failure_raises_its_alarm_and_no_other(
    stack: WatchedStack, quiet: tuple[Scrape, Scrape], failure: Failure
) -> None:
    traffic, before = quiet
    found: list[Verdict] = []

    def judge(failed: Scrape, *mended: Scrape) -> Verdict:
        verdict = judge_failure(traffic, before, failed, mended, lasts=failure.lasts)
        found.append(verdict)
        return verdict

    def raising() -> Scrape | None:
        again()
        failed = stack.scrape()
        return failed if judge(failed, *quiet).raised >= failure.alarms else None

    def ended() -> Verdict | None:
        verdict = judge(failed, stack.scrape(), stack.scrape())
        return None if verdict.lasting else verdict

    with _injected(failure, stack) as again:
        failed = until(raising, failure.name, seen=lambda: found[-1]) or {}
    until(ended, f"after the mend of {failure.name}", seen=lambda: found[-1])
    verdict = found[-1]
    slow = {
        name: seconds
        for name, seconds in verdict.seconds.items()
        if seconds + failure.seen_after > WITHIN_SECONDS
    }
    print(f"{failure.name}: {verdict.seconds}, seen after {failure.seen_after}")
    assert not verdict.early, failure.name
    assert verdict.raised == failure.alarms, failure.name
    assert bool(failure.late) == bool(slow), f"{failure.name} raises {slow}"


@contextmanager
def _injected(failure: Failure, stack: WatchedStack) -> Iterator[Any]:
    steps = failure.inject(stack)
    again = next(steps)
    try:
        yield again or (lambda: None)
    finally:
        for _ in steps:  # it goes on after its yield: it mends
            pass
