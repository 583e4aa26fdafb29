"""Accounts at brokers without books: which are synced, by whom, and which are not judged."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db.models import F

from common.db.sql import rows
from common.reason_codes import Code
from connections.models import ExecutionConnection, HealthStatus
from events.messages import render
from events.models import Notification
from events.routing import route_events
from execution import tasks
from execution.audit import listings
from execution.audit.counters import audit, request_readings
from execution.models import AuditRun, BrokerListing
from tests.connections import make
from tests.events.test_messages import event
from tests.execution import factories
from tests.stopped_clock import StoppedClock

pytestmark = pytest.mark.django_db
WHERE: dict[str, Any] = {"host": "127.0.0.1", "port": 1, "symbols": ["EURUSD"]}


@pytest.fixture
def gateway(db: None) -> ExecutionConnection:
    """An account at a broker that shows no books; no worker holds its session."""
    row = make.connection(
        type="ibkr", account="DU1", settings=WHERE, health_status=HealthStatus.ACTIVE
    )
    assert row.lane
    return row


@pytest.fixture
def noon(stopped_clock: StoppedClock) -> None:
    """It stays noon, so that no day of messages ends within the test."""
    hours = timedelta(hours=stopped_clock.at.hour, minutes=stopped_clock.at.minute)
    stopped_clock.pass_time((timedelta(hours=36) - hours).total_seconds())


def now() -> datetime:
    found: datetime = rows("SELECT clock_timestamp() AS now")[0].now
    return found


def not_judged() -> list[tuple[str, Code]]:
    return [(one.connection, one.reason) for one in audit().not_judged]


def test_account_without_a_worker_is_named(gateway: ExecutionConnection) -> None:
    assert request_readings() == [gateway.pk]
    report = audit()
    assert (report.is_clean, report.needs_alert, report.ok) == (True, False, False)
    assert not_judged() == [(str(gateway.pk), Code.NO_SESSION_WORKER)]
    assert listings.wait_for([gateway.pk], 0.2) is False


def test_account_in_error_is_named_if_it_has_our_orders_or_positions(
    gateway: ExecutionConnection,
) -> None:
    gateway.health.status, gateway.health.last_error = HealthStatus.ERROR, "Wrong password."
    gateway.health.save()
    assert not_judged() == []  # nothing was sent recently, nothing is open
    gateway.health.last_used_at = now()
    gateway.health.save()
    (one,) = audit().not_judged
    assert one.reason is Code.CONNECTION_ERROR
    assert one.detail == "The connection is in error: Wrong password."


def test_account_sync_is_valid_for_ten_minutes_and_not_repeated_at_once(
    gateway: ExecutionConnection,
) -> None:
    assert request_readings() == [gateway.pk]
    BrokerListing.objects.update(began_at=now(), executed_since=now(), requested_at=None)
    assert request_readings() == []
    assert (audit().judged, not_judged()) == (1, [])
    BrokerListing.objects.update(began_at=now() - timedelta(minutes=11))
    assert request_readings() == [gateway.pk]
    assert audit().judged == 0


def test_hourly_task_syncs_accounts_first(
    gateway: ExecutionConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    later: list[tuple[tuple[bool, ...], float]] = []
    monkeypatch.setattr(
        tasks.audit, "apply_async", lambda args, countdown, **_: later.append((args, countdown))
    )
    tasks.audit()
    assert later == [((False, True), listings.WAIT_SECONDS)]
    assert AuditRun.objects.count() == 0
    tasks.audit(False, True)
    run = AuditRun.objects.get()
    assert (run.ok, [one["reason"] for one in run.not_judged]) == (False, ["NO_SESSION_WORKER"])
    assert factories.events("audit.failed") == []


def reported() -> list[list[str]]:
    """The accounts that each message names, in its order."""
    events = factories.events("audit.not_judged")
    return [[one["connection"] for one in event["accounts"]] for event in events]


def a_day_passes() -> None:
    AuditRun.objects.update(at=F("at") - timedelta(days=1))


def gateways(*accounts: str) -> list[ExecutionConnection]:
    return [
        make.connection(type="ibkr", account=one, settings=WHERE, health_status=HealthStatus.ACTIVE)
        for one in accounts
    ]


def judge(*these: ExecutionConnection) -> None:
    """Run the hourly audit while just these accounts are read."""
    BrokerListing.objects.all().delete()
    request_readings()
    listed = BrokerListing.objects.filter(connection__in=these)
    listed.update(began_at=now(), executed_since=now(), requested_at=None)
    tasks.audit(False, True)


@pytest.mark.usefixtures("noon")
def test_operators_are_notified_once_of_accounts_that_are_not_judged(
    gateway: ExecutionConnection,
) -> None:
    """One message with all of them; again when one is added, and on the next day."""
    tasks.audit(False, True)
    tasks.audit(False, True)
    assert reported() == [[str(gateway.pk)]]
    (other,) = gateways("DU2")
    tasks.audit(False, True)
    tasks.audit(False, True)
    assert reported()[1:] == [[str(other.pk), str(gateway.pk)]]  # the new one first
    a_day_passes()
    tasks.audit(False, True)
    assert len(reported()) == 3

    judge(gateway, other)
    assert (AuditRun.objects.latest("pk").not_judged, len(reported())) == ([], 3)

    (payload, *_) = factories.events("audit.not_judged")
    message = render(event("audit.not_judged", **payload))
    assert message.title == "The audit could not judge 1 account"
    assert f"{gateway.name}: No worker holds this account's session." in message.body


@pytest.mark.usefixtures("noon")
def test_account_judged_intermittently_causes_one_message_a_day(
    gateway: ExecutionConnection,
) -> None:
    (steady,) = gateways("DU2")
    judge()
    assert [sorted(one) for one in reported()] == [sorted([str(gateway.pk), str(steady.pk)])]
    for _ in range(3):
        judge(gateway)
        judge()
        judge(gateway, steady)
        judge(steady)
    assert len(reported()) == 1
    (added,) = gateways("DU3")
    judge(gateway)
    assert [set(one) for one in reported()[1:]] == [{str(steady.pk), str(added.pk)}]
    judge(gateway, steady, added)
    judge()
    assert len(reported()) == 2
    a_day_passes()
    judge(steady, added)
    judge(steady)
    judge(steady, gateway)
    assert reported()[2:] == [[str(gateway.pk)], [str(added.pk), str(gateway.pk)]]


def test_operators_and_no_owner_get_the_message(gateway: ExecutionConnection) -> None:
    operator = make.user(is_staff=True)
    tasks.audit(False, True)
    route_events(100)
    kinds = Notification.objects.filter(kind="audit.not_judged")
    assert [one.user_id for one in kinds] == [operator.pk]
