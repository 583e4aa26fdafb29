"""The audit is silent when all is well, and tells who has no order, or one too many."""

from datetime import timedelta

import pytest

from common.clocks import market_now
from connections.models import ExecutionConnection, SubscriptionInterval
from execution.audit.counters import audit
from signals.models import Feed, Signal
from tests.connections import make
from tests.execution import factories
from tests.execution.audit.checks import ZERO, entry, nonzero_counters

pytestmark = pytest.mark.django_db


def test_all_is_well(signal: Signal) -> None:
    report = audit()
    assert (report.ok, report.signals, report.candidates) == (True, 1, 3)
    assert report.counters == ZERO
    assert {name: n for name, n in report.states.items() if n} == {"filled": 2, "skipped": 1}


def test_an_empty_installation_is_well() -> None:
    report = audit()
    assert (report.ok, report.signals, report.candidates) == (True, 0, 0)


def test_missing(signal: Signal, bob: ExecutionConnection) -> None:
    entry(bob).delete()
    assert nonzero_counters() == {"MISSING": 1}
    assert audit().examples == {"MISSING": [f"signal {signal.pk}, connection {bob.pk}"]}


def test_extra(signal: Signal, bob: ExecutionConnection) -> None:
    SubscriptionInterval.objects.filter(subscription__connection=bob).delete()
    assert nonzero_counters() == {"EXTRA": 1}


def test_an_interval_holds_from_its_start_and_not_at_its_end(
    signal: Signal, bob: ExecutionConnection
) -> None:
    intervals = SubscriptionInterval.objects.filter(subscription__connection=bob)
    assert signal.published_at is not None
    intervals.update(started_at=signal.published_at, ended_at=None)
    assert nonzero_counters() == {}
    intervals.update(started_at=signal.published_at + timedelta(microseconds=1))
    assert nonzero_counters() == {"EXTRA": 1}
    an_hour_before = signal.published_at - timedelta(hours=1)
    intervals.update(started_at=an_hour_before, ended_at=signal.published_at)
    assert nonzero_counters() == {"EXTRA": 1}


def test_who_came_or_went_after_the_publication_changes_nothing(
    signal: Signal, bob: ExecutionConnection, feed: Feed
) -> None:
    SubscriptionInterval.objects.filter(subscription__connection=bob).update(ended_at=market_now())
    newcomer = factories.account()
    subscription = make.subscription(newcomer, feed)
    subscription.intervals.update(started_at=market_now())
    factories.account(user=None, admin=make.user(), created_at=market_now())
    assert nonzero_counters() == {}


def test_an_admins_account_that_was_archived_before_is_no_candidate(
    signal: Signal, admins: ExecutionConnection
) -> None:
    ExecutionConnection.objects.filter(pk=admins.pk).update(archived_at=signal.published_at)
    assert nonzero_counters() == {"EXTRA": 1}
