"""The audit reports nothing when all is well, and names accounts with a missing or extra order."""

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


def test_audit_reports_nothing_when_all_is_well(signal: Signal) -> None:
    report = audit()
    assert (report.ok, report.signals, report.candidates) == (True, 1, 3)
    assert report.counters == ZERO
    assert {name: n for name, n in report.states.items() if n} == {"filled": 2, "skipped": 1}


def test_audit_reports_nothing_on_an_empty_installation() -> None:
    report = audit()
    assert (report.ok, report.signals, report.candidates) == (True, 0, 0)


def test_candidate_without_an_order_is_missing(signal: Signal, bob: ExecutionConnection) -> None:
    entry(bob).delete()
    assert nonzero_counters() == {"MISSING": 1}
    assert audit().examples == {"MISSING": [f"signal {signal.pk}, connection {bob.pk}"]}


def test_order_of_a_non_candidate_is_extra(signal: Signal, bob: ExecutionConnection) -> None:
    SubscriptionInterval.objects.filter(subscription__connection=bob).delete()
    assert nonzero_counters() == {"EXTRA": 1}


def test_subscription_interval_includes_its_start_and_excludes_its_end(
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


def test_later_subscription_changes_do_not_matter(
    signal: Signal, bob: ExecutionConnection, feed: Feed
) -> None:
    SubscriptionInterval.objects.filter(subscription__connection=bob).update(ended_at=market_now())
    newcomer = factories.account()
    subscription = make.subscription(newcomer, feed)
    subscription.intervals.update(started_at=market_now())
    factories.account(user=None, admin=make.user(), created_at=market_now())
    assert nonzero_counters() == {}


def test_archived_admin_account_is_no_candidate(
    signal: Signal, admins: ExecutionConnection
) -> None:
    ExecutionConnection.objects.filter(pk=admins.pk).update(archived_at=signal.published_at)
    assert nonzero_counters() == {"EXTRA": 1}
