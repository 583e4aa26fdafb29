"""An inactive account is reported once, and its return once."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from django.utils import timezone

from brokers.maintenance_windows import BUILT_IN
from common.clocks import machine_time
from common.process import process_age
from connections import tasks
from connections.health import inactivity, status_updates
from connections.models import ConnectionHealth, ExecutionConnection, MaintenanceWindow
from events.context import EventContext
from events.messages import render
from events.models import ALARMS, Event
from signals.models import Feed
from tests.execution import factories
from tests.execution.fake_broker import KIND

pytestmark = pytest.mark.usefixtures("inline_commits")


def window(*, is_closed: bool) -> None:
    """Create an open window for all fake-broker accounts, longer than any inactivity here."""
    began = datetime.now(UTC) - timedelta(days=1)
    MaintenanceWindow.objects.create(
        broker_type=KIND,
        on_date=began.date(),
        starts_at=began.time(),
        minutes=3000,
        is_closed=is_closed,
    )


def last_contact(of: ExecutionConnection, *, minutes: int) -> None:
    then = timezone.now() - timedelta(minutes=minutes)
    ConnectionHealth.objects.filter(pk=of.pk).update(last_connected_at=then)


def run_alerts() -> int:
    return inactivity.alert_inactive(awake_seconds=inactivity.OPEN_SECONDS)


def kinds(of: ExecutionConnection) -> list[str]:
    theirs = Event.objects.filter(connection_id=of.pk, kind__startswith="connection.")
    return list(theirs.order_by("id").values_list("kind", flat=True))


def test_dead_terminal_on_friday_evening_is_reported_and_not_in_error(
    alice: ExecutionConnection, feed: Feed
) -> None:
    factories.filled(factories.signal(feed))
    window(is_closed=False)
    status_updates.mark_failures([(alice.pk, "No answer.")] * 6)
    last_contact(alice, minutes=14)
    assert (run_alerts(), kinds(alice)) == (0, [])
    last_contact(alice, minutes=16)
    assert (run_alerts(), run_alerts(), kinds(alice)) == (1, 0, ["connection.inactive"])
    noted = ConnectionHealth.objects.get(pk=alice.pk)
    assert (noted.status, noted.circuit_open_until) == ("ACTIVE", None)
    event = Event.objects.get(kind="connection.inactive")
    assert "EURUSD (an open position)" in event.payload["message"]
    assert (event.user_id, event.kind in ALARMS) == (alice.user_id, True)
    status_updates.mark_active([alice.pk])
    assert kinds(alice) == ["connection.inactive", "connection.recovered"]
    assert (run_alerts(), status_updates.mark_active([alice.pk])) == (0, [])
    last_contact(alice, minutes=16)
    assert run_alerts() == 1  # inactive for a second time


def test_accounts_of_a_dead_worker_are_reported_inactive(
    alice: ExecutionConnection, feed: Feed
) -> None:
    factories.signal(feed)
    factories.live_lease()
    factories.claim_all()  # an order may be at the broker
    last_contact(alice, minutes=16)
    assert run_alerts() == 1


def test_account_with_nothing_open_is_reported_after_two_hours(alice: ExecutionConnection) -> None:
    window(is_closed=False)
    last_contact(alice, minutes=119)
    assert run_alerts() == 0
    last_contact(alice, minutes=121)
    assert run_alerts() == 1


def test_announced_failed_or_switched_off_account_is_not_reported(feed: Feed) -> None:
    wrong, off = factories.account(feed), factories.account(feed, is_active=False)
    status_updates.mark_errors([(wrong.pk, "Login.")])
    here = factories.account(feed, exchange_name="here")
    for one in (wrong, off, here):
        last_contact(one, minutes=300)
    window(is_closed=True)
    assert run_alerts() == 0
    MaintenanceWindow.objects.all().delete()
    assert (run_alerts(), kinds(here)) == (1, ["connection.inactive"])


def test_metatrader_weekend_is_not_an_announced_outage() -> None:
    weekends = [one for one in BUILT_IN if one.minutes > 1440]
    assert {one.broker_type for one in weekends} == {"mt4", "mt5", "mt5-dwx"}
    assert not any(one.closed for one in weekends)


def test_own_outage_reports_no_account_as_inactive(
    alice: ExecutionConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    last_contact(alice, minutes=300)
    assert inactivity.alert_inactive(awake_seconds=inactivity.OPEN_SECONDS - 1) == 0
    monkeypatch.setattr(process_age, "_began", machine_time() - inactivity.OPEN_SECONDS)
    monkeypatch.setattr(tasks, "refresh_due_accounts", lambda: None)
    tasks.refresh_accounts()  # the task that runs each minute alerts
    assert kinds(alice) == ["connection.inactive"]


def test_inactivity_message_names_the_account() -> None:
    happening = EventContext(
        1, "connection.inactive", 1, uuid4(), None, None, {"name": "Main",
        "message": "Since 22:05."},
        datetime.now(UTC),
    )  # fmt: skip
    message = render(happening)
    assert (message.title, message.body) == ("No contact with Main", "Since 22:05.")
