"""Write events, deliver them, and manage channels and notifications."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import orjson
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from common.db.functions import ClockTimestamp
from common.db.sql import columns, periodic_rows, rows
from common.errors import ConflictError
from common.reason_codes import Code
from common.web.quotas import require_quota
from events import channels, confirmation, delivery
from events.channel_rules import ENDED, checked_kinds, checked_name
from events.models import Channel, EventKind, Notification
from events.outbox import INSERT_EVENTS_SQL
from events.routing import route_events

EMIT = f"""
{INSERT_EVENTS_SQL}
SELECT kind, user_id, connection_id, signal_id, order_id, payload
FROM unnest(%s::text[], %s::bigint[], %s::uuid[], %s::bigint[], %s::bigint[], %s::jsonb[])
  WITH ORDINALITY AS t(kind, user_id, connection_id, signal_id, order_id, payload, position)
ORDER BY position RETURNING id
"""
OVERDUE_SECONDS = 10  # the scheduler delivers every two
OVERDUE = """
SELECT 1 FROM events_event WHERE routed_at IS NULL
  AND created_at < clock_timestamp() - make_interval(secs => %s) ORDER BY id LIMIT 1
"""

# Each is answered by a partial index of what waits.
ANY_WAITING = """
SELECT EXISTS (SELECT FROM events_event WHERE routed_at IS NULL)
  OR EXISTS (SELECT FROM events_delivery WHERE status = 'PENDING' AND hold_until IS NULL)
  OR EXISTS (SELECT FROM events_delivery WHERE hold_until <= statement_timestamp()) AS is_any
"""


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event to write.

    user_id: the owner; None: operators only. payload: JSON, no secrets; numbers as text.
    """

    kind: EventKind
    user_id: int | None = None
    connection_id: UUID | None = None
    signal_id: int | None = None
    order_id: int | None = None
    payload: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Delivered:
    """Counts of one delivery: events routed, messages sent, messages that failed."""

    events: int
    messages: int
    failures: int


def emit(
    kind: EventKind,
    *,
    user_id: int | None = None,
    connection_id: UUID | None = None,
    signal_id: int | None = None,
    order_id: int | None = None,
    payload: Mapping[str, Any] | None = None,
) -> int:
    """Write an event in the caller's transaction, and return its id.

    Raises TransactionManagementError outside one: an event must not outlive a change that is
    rolled back.
    """
    event = NewEvent(kind, user_id, connection_id, signal_id, order_id, payload or {})
    return emit_many([event])[0]


def emit_many(events: Sequence[NewEvent]) -> list[int]:
    """Write many events in one statement; return their ids in order. Raises as `emit` does."""
    if not transaction.get_connection().in_atomic_block:
        raise transaction.TransactionManagementError(
            "An event must be written in the transaction of the change that it reports."
        )
    records = [
        (
            EventKind(event.kind).value,
            event.user_id,
            event.connection_id,
            event.signal_id,
            event.order_id,
            orjson.dumps(dict(event.payload), default=str).decode(),
        )
        for event in events
    ]
    return [row.id for row in rows(EMIT, columns(records, 6))]


def is_anything_waiting() -> bool:
    """Return whether `deliver` may find an event or a delivery: mostly it would not."""
    return bool(periodic_rows(ANY_WAITING)[0].is_any)


def deliver(limit: int = 2_000) -> Delivered:
    """Route up to `limit` events to inboxes and channels, then send what waits for channels.

    Must not be called inside a transaction: messages go over the network.
    """
    routed = route_events(limit)
    outcomes = delivery.send_waiting()
    failures = sum(bool(outcome.error) for outcome in outcomes)
    return Delivered(routed, len(outcomes) - failures, failures)


def deliver_if_overdue() -> None:
    """Deliver if events are overdue: an alarm about the scheduler must not wait for it."""
    if rows(OVERDUE, [OVERDUE_SECONDS]):
        deliver()


@transaction.atomic
def create_channel(
    *, user_id: int, name: str, url: str, kinds: Sequence[str] = (), key_id: int | None = None
) -> Channel:
    """Add a channel. url: mailto:…, https://… or an apprise URL; stored sealed, shown in part.

    kinds: which events are sent there; empty: all. An e-mail address receives a confirmation link
    first, and nothing else until it is confirmed. key_id: the API key that adds it. Raises
    InvalidInputError FIELD_INVALID, FIELD_REQUIRED, HOST_NOT_ALLOWED; ConflictError
    INSTALLATION_FAULT without a key to seal the URL, CONFIRMATION_LIMIT after too many messages,
    QUOTA_REACHED.
    """
    checked, name = checked_kinds(kinds), checked_name(name)
    url_display = channels.check_url(url)[:100]
    channel = Channel(
        user_id=user_id, name=name, url_display=url_display, kinds=checked, made_with_id=key_id
    )
    channel.url_sealed = channels.seal_url(url.strip(), channel)
    channel.confirmed_at = None if channel.is_mail else timezone.now()
    require_quota("channels", user_id, Channel.objects.filter(user=user_id))
    channel.save(force_insert=True)
    if channel.is_mail:
        confirmation.request_confirmation(channel.pk)
        channel.refresh_from_db()
    return channel


@transaction.atomic
def send_test(*, channel_id: int) -> int:
    """Request a test message and return the event's id; a trading process sends it within seconds.

    Ends the channel's backoff, so that the result comes now: see `selectors.test_result`. Raises
    ConflictError CHANNEL_UNCONFIRMED, STATE_CONFLICT if it is off.
    """
    channel = Channel.objects.select_for_update(no_key=True).get(pk=channel_id)
    if channel.ended_at is not None:
        raise ConflictError(Code.STATE_CONFLICT, ENDED)
    if not channel.is_active:
        raise ConflictError(Code.STATE_CONFLICT, "This channel is off: switch it on first.")
    if channel.confirmed_at is None:
        raise ConflictError(Code.CHANNEL_UNCONFIRMED)
    payload = {"channel_id": channel_id}
    event_id = emit(EventKind.CHANNEL_TEST, user_id=channel.user_id, payload=payload)
    Channel.objects.filter(pk=channel_id).update(backoff_until=None, test_event_id=event_id)
    return event_id


def mark_read(*, user_id: int, notification_ids: Sequence[int] | None = None) -> int:
    """Mark a user's notifications as read, by default all; return how many were unread."""
    which = Q() if notification_ids is None else Q(pk__in=notification_ids)
    unread = Notification.objects.filter(which, user_id=user_id, read_at=None)
    return unread.update(read_at=ClockTimestamp())
