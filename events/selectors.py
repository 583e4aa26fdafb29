"""Queries for notifications and channels."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, Min, QuerySet

from events.models import Channel, Delivery, EventKind, Notification, WebhookMessage


def requested_by_sql(kind: EventKind) -> str:
    """Return a SELECT of the ids of the users with a channel that lists a kind sent on request.

    For their accounts only such events are written: else it would be one for every order.
    """
    return (
        "SELECT user_id FROM events_channel"
        f" WHERE is_active AND confirmed_at IS NOT NULL AND kinds ? '{kind.value}'"
    )


def unread_count_sql(user_id: str) -> str:
    """Return SQL of how many notifications a user has not read. user_id: SQL."""
    return (
        "(SELECT count(*) FROM events_notification n"
        f" WHERE n.user_id = {user_id} AND n.read_at IS NULL)"
    )


def inbox(user_id: int) -> QuerySet[Notification]:
    """Return a user's notifications, newest first."""
    return Notification.objects.filter(user_id=user_id).order_by("-id")


def channels_of(user_id: int) -> QuerySet[Channel]:
    """Return a user's channels by name."""
    return Channel.objects.filter(user_id=user_id).order_by("name", "id")


@dataclass(frozen=True, slots=True)
class Waiting:
    """Messages that wait for the end of quiet hours or for a digest. until: of the first one."""

    count: int
    until: datetime


def waiting_of(channels: Sequence[Channel]) -> dict[int, Waiting]:
    """Return what waits by channel; channels where nothing waits are left out."""
    held = Delivery.objects.filter(
        channel__in=channels, hold_until__isnull=False, status=Delivery.Status.PENDING
    )
    found = held.values("channel_id").annotate(count=Count("id"), until=Min("hold_until"))
    return {row["channel_id"]: Waiting(row["count"], row["until"]) for row in found.order_by()}


@dataclass(frozen=True, slots=True)
class TestResult:
    """What became of the last test message. sent_at: None until it was accepted."""

    __test__ = False  # no test of pytest

    is_over: bool
    sent_at: datetime | None
    error: str
    next_try_at: datetime | None


def test_result(channel: Channel) -> TestResult | None:
    """Return the result of the last test message; None without one."""
    if channel.test_event_id is None:
        return None
    sending = Delivery.objects.filter(event_id=channel.test_event_id, channel=channel).first()
    if sending is None:  # not routed yet
        return TestResult(is_over=False, sent_at=None, error="", next_try_at=None)
    is_over = sending.status != Delivery.Status.PENDING
    next_try = None if is_over or not sending.last_error else sending.due_at
    return TestResult(is_over, sending.sent_at, sending.last_error, next_try)


def messages_of(channel: Channel) -> QuerySet[WebhookMessage]:
    """Return a signed webhook's messages with their attempts, newest first."""
    return channel.messages.order_by("-id").prefetch_related("attempts")
