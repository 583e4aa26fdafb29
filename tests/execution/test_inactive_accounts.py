"""Who is silent for long is told of once, and its return once, whoever forgives the silence."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from django.utils import timezone

from brokers.maintenance_windows import BUILT_IN
from common.clocks import machine_time
from connections import tasks
from connections.health import inactivity, status_updates
from connections.models import ConnectionHealth, ExecutionConnection, MaintenanceWindow
from events.context import EventContext
from events.messages import render
from events.models import ALARMS, Event
from signals.models import Feed
from tests.execution import factories
from tests.execution.fake_broker import KIND

pytestmark = pytest.mark.django_db(transaction=True)


def window(*, is_closed: bool) -> None:
    """One that is open now, of all of the double's accounts, for longer than any silence here."""
    began = datetime.now(UTC) - timedelta(days=1)
    MaintenanceWindow.objects.create(
        broker_type=KIND,
        on_date=began.date(),
        starts_at=began.time(),
        minutes=3000,
        is_closed=is_closed,
    )


def heard(of: ExecutionConnection, *, minutes: int) -> None:
    then = timezone.now() - timedelta(minutes=minutes)
    ConnectionHealth.objects.filter(pk=of.pk).update(last_connected_at=then)


def tell() -> int:
    return inactivity.alert_inactive(awake_seconds=inactivity.OPEN_SECONDS)


def kinds(of: ExecutionConnection) -> list[str]:
    theirs = Event.objects.filter(connection_id=of.pk, kind__startswith="connection.")
    return list(theirs.order_by("id").values_list("kind", flat=True))


def test_a_terminal_that_dies_on_friday_evening_is_told_of_and_is_in_no_error(
    alice: ExecutionConnection, feed: Feed
) -> None:
    factories.filled(factories.signal(feed))
    window(is_closed=False)
    status_updates.mark_failures([(alice.pk, "No answer.")] * 6)
    heard(alice, minutes=14)
    assert (tell(), kinds(alice)) == (0, [])
    heard(alice, minutes=16)
    assert (tell(), tell(), kinds(alice)) == (1, 0, ["connection.inactive"])
    noted = ConnectionHealth.objects.get(pk=alice.pk)
    assert (noted.status, noted.circuit_open_until) == ("ACTIVE", None)
    event = Event.objects.get(kind="connection.inactive")
    assert "EURUSD (an open position)" in event.payload["message"]
    assert (event.user_id, event.kind in ALARMS) == (alice.user_id, True)
    status_updates.mark_active([alice.pk])
    assert kinds(alice) == ["connection.inactive", "connection.recovered"]
    assert (tell(), status_updates.mark_active([alice.pk])) == (0, [])
    heard(alice, minutes=16)
    assert tell() == 1  # another silence


def test_a_worker_that_died_is_told_of_though_nobody_asks_its_accounts(
    alice: ExecutionConnection, feed: Feed
) -> None:
    factories.signal(feed)
    factories.live_lease()
    factories.claim_all()  # an order may be at the broker
    heard(alice, minutes=16)
    assert tell() == 1


def test_who_has_nothing_open_is_told_of_after_two_hours(alice: ExecutionConnection) -> None:
    window(is_closed=False)
    heard(alice, minutes=119)
    assert tell() == 0
    heard(alice, minutes=121)
    assert tell() == 1


def test_who_is_closed_as_announced_in_error_or_switched_off_is_not_told_of(feed: Feed) -> None:
    wrong, off = factories.account(feed), factories.account(feed, is_active=False)
    status_updates.mark_errors([(wrong.pk, "Login.")])
    here = factories.account(feed, exchange_name="here")
    for one in (wrong, off, here):
        heard(one, minutes=300)
    window(is_closed=True)
    assert tell() == 0
    MaintenanceWindow.objects.all().delete()
    assert (tell(), kinds(here)) == (1, ["connection.inactive"])


def test_the_weekend_of_meta_trader_is_no_announced_outage() -> None:
    weekends = [one for one in BUILT_IN if one.minutes > 1440]
    assert {one.broker_type for one in weekends} == {"mt4", "mt5", "mt5-dwx"}
    assert not any(one.closed for one in weekends)


def test_after_an_outage_of_ours_nobody_is_blamed(
    alice: ExecutionConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard(alice, minutes=300)
    assert inactivity.alert_inactive(awake_seconds=inactivity.OPEN_SECONDS - 1) == 0
    monkeypatch.setattr(tasks, "_began", machine_time() - inactivity.OPEN_SECONDS)
    monkeypatch.setattr(tasks, "refresh_due_accounts", lambda: None)
    tasks.refresh_accounts()  # the minute's round tells it
    assert kinds(alice) == ["connection.inactive"]


def test_it_is_told_in_words() -> None:
    happening = EventContext(
        1, "connection.inactive", 1, uuid4(), None, None, {"name": "Main",
        "message": "Since 22:05."},
        datetime.now(UTC),
    )  # fmt: skip
    words = render(happening)
    assert (words.title, words.body) == ("No contact with Main", "Since 22:05.")
