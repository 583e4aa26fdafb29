"""Each user is notified once; processes share the rows of the outbox."""

import threading
from collections.abc import Sequence
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.utils import timezone

from events import context, selectors, services
from events.context import EventContext
from events.models import Channel, Delivery, Event, EventKind, Notification
from events.routing import route_events
from events.services import NewEvent
from users.models import User

pytestmark = pytest.mark.django_db


def unread(user: User) -> int:
    return selectors.inbox(user.pk).filter(read_at=None).count()


def notifications_of(user: User) -> list[tuple[str, str]]:
    return list(selectors.inbox(user.pk).order_by("id").values_list("kind", "title"))


def test_only_owner_is_notified(alice: User, bob: User, operator: User) -> None:
    services.emit(EventKind.ORDER_FILLED, user_id=alice.pk, payload={"trade": "Buy 1 EUR/USD"})
    assert route_events(10) == 1
    assert notifications_of(alice) == [("order.filled", "Filled: Buy 1 EUR/USD")]
    assert notifications_of(bob) == []
    assert notifications_of(operator) == []


def test_operators_are_notified_of_alarms_and_unowned_events(
    alice: User, bob: User, operator: User
) -> None:
    services.emit(EventKind.ORDER_FAILED, user_id=alice.pk, signal_id=1)
    services.emit(EventKind.AUDIT_FAILED, payload={"counters": {"DUP": 1, "LOST": 0}})
    services.emit(EventKind.POSITION_CLOSED)
    User.objects.create(username="former", is_staff=True, is_active=False)
    route_events(10)
    assert [kind for kind, _ in notifications_of(alice)] == ["order.failed"]
    assert [kind for kind, _ in notifications_of(operator)] == [
        "order.failed",
        "audit.failed",
        "position.closed",
    ]
    assert notifications_of(bob) == []
    assert Notification.objects.count() == 4
    assert Notification.objects.get(kind=EventKind.AUDIT_FAILED).body == "DUP 1"


def test_operator_who_is_owner_is_notified_once(operator: User) -> None:
    services.emit(EventKind.ORDER_UNKNOWN, user_id=operator.pk)
    route_events(10)
    assert len(notifications_of(operator)) == 1


def test_event_is_routed_once(alice: User) -> None:
    services.emit(EventKind.ORDER_FILLED, user_id=alice.pk)
    assert (route_events(10), route_events(10)) == (1, 0)
    Event.objects.update(routed_at=None)  # as if the mark had been lost
    route_events(10)
    assert len(notifications_of(alice)) == 1


def test_thousand_fills_of_one_signal_are_one_line(alice: User, bob: User) -> None:
    services.emit_many(
        [NewEvent(EventKind.ORDER_FILLED, alice.pk, signal_id=7, order_id=n) for n in range(1000)]
        + [NewEvent(EventKind.ORDER_DENIED, alice.pk, signal_id=7)]
        + [NewEvent(EventKind.ORDER_FILLED, alice.pk, signal_id=8)]
        + [NewEvent(EventKind.ORDER_FILLED, bob.pk, signal_id=7)]
    )
    route_events(5000)
    kinds = [kind for kind, _ in notifications_of(alice)]
    assert kinds.count("order.filled") == 2
    assert kinds.count("order.denied") == 1
    assert notifications_of(alice)[0][1] == "1,000 orders filled: S-7"
    body = Notification.objects.filter(user=alice).earliest("id").body
    assert body.splitlines()[-1] == "… and 990 more."
    assert len(notifications_of(bob)) == 1


def test_event_of_deleted_user_does_not_block_others(alice: User) -> None:
    services.emit(EventKind.ORDER_FILLED, user_id=10**9)
    services.emit(EventKind.ORDER_FILLED, user_id=alice.pk)
    assert route_events(10) == 2
    assert len(notifications_of(alice)) == 1


def test_unexpected_payload_does_not_block_others(alice: User) -> None:
    services.emit(EventKind.AUDIT_FAILED, user_id=alice.pk, payload={"counters": "no mapping"})
    services.emit(EventKind.POSITION_CLOSED, user_id=alice.pk, payload={"pnl": {"a": 1}})
    services.emit(EventKind.ORDER_DENIED, user_id=alice.pk, payload={"code": ["x"]})
    assert route_events(10) == 3
    assert len(notifications_of(alice)) == 3


def test_context_providers_feed_messages_and_may_fail(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    def knows(events: Sequence[EventContext]) -> dict[int, dict[str, str]]:
        return {event.id: {"trade": "Sell 5 XAU/USD"} for event in events}

    def fails(_: Sequence[EventContext]) -> dict[int, dict[str, str]]:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 / 0")
        return {}

    monkeypatch.setattr(context, "_providers", [fails, knows])
    services.emit(EventKind.ORDER_EXPIRED, user_id=alice.pk)
    route_events(10)
    assert notifications_of(alice) == [("order.expired", "Expired: Sell 5 XAU/USD")]


def test_deliveries_go_to_active_channels_subscribed_to_kind(alice: User, bob: User) -> None:
    def channel(owner: User, name: str, **fields: object) -> None:
        known = {"confirmed_at": timezone.now(), **fields}
        Channel.objects.create(user=owner, name=name, url_sealed=b"", **known)

    channel(alice, "all")
    channel(alice, "fills", kinds=["order.filled", "order.failed"])
    channel(alice, "denials", kinds=["order.denied"])
    channel(alice, "off", is_active=False)
    channel(alice, "unconfirmed", confirmed_at=None)
    channel(alice, "too late", confirmed_at=None, confirm_by=timezone.now() - timedelta(seconds=1))
    channel(alice, "in time", confirmed_at=None, confirm_by=timezone.now() + timedelta(hours=1))
    channel(bob, "bob's")
    services.emit(EventKind.ORDER_FILLED, user_id=alice.pk)
    route_events(10)
    assert set(Delivery.objects.values_list("channel__name", flat=True)) == {
        "all",
        "fills",
        "in time",
    }


def test_test_message_goes_to_its_channel_only(alice: User, bob: User) -> None:
    selection = {"kinds": ["order.denied"], "confirmed_at": timezone.now()}
    channel, _ = (
        Channel.objects.create(user=alice, name=name, url_sealed=b"", **selection) for name in "ab"
    )
    services.send_test(channel_id=channel.pk)
    services.emit(
        EventKind.CHANNEL_TEST, user_id=bob.pk, payload={"channel_id": channel.pk}
    )  # not his
    route_events(10)
    assert list(Delivery.objects.values_list("channel", flat=True)) == [channel.pk]
    assert Notification.objects.count() == 0


def test_notifications_are_marked_as_read(alice: User, bob: User) -> None:
    for owner in (alice, alice, bob):
        services.emit(EventKind.ORDER_FILLED, user_id=owner.pk, signal_id=None)
        route_events(1)
    first, second = selectors.inbox(alice.pk)
    assert unread(alice) == 2
    assert services.mark_read(user_id=bob.pk, notification_ids=[first.pk]) == 0
    assert services.mark_read(user_id=alice.pk, notification_ids=[second.pk]) == 1
    assert unread(alice) == 1
    assert services.mark_read(user_id=alice.pk) == 1
    assert (unread(alice), unread(bob)) == (0, 1)


@pytest.mark.django_db(transaction=True)
def test_an_event_is_written_only_inside_a_transaction(alice: User) -> None:
    with pytest.raises(transaction.TransactionManagementError):
        services.emit(EventKind.ORDER_FILLED, user_id=alice.pk)
    assert Event.objects.count() == 0


@pytest.mark.django_db(transaction=True)
def test_two_processes_share_the_outbox_without_waiting_or_repeating(alice: User) -> None:
    with transaction.atomic():
        services.emit_many(
            [NewEvent(EventKind.ORDER_FILLED, alice.pk, signal_id=n) for n in range(6)]
        )
    counts: list[int] = []

    def other() -> None:
        counts.append(route_events(10))
        connection.close()

    with transaction.atomic():
        held = list(Event.objects.order_by("id").select_for_update()[:4])
        thread = threading.Thread(target=other)
        thread.start()
        thread.join(60)
        assert counts == [2]  # the four that are held were left, not waited for
    assert route_events(10) == len(held)
    assert len(notifications_of(alice)) == 6
