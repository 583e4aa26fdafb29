"""Turn events into notifications and deliveries, set-based, each event exactly once."""

from collections import defaultdict
from collections.abc import Container, Iterable, Sequence
from itertools import chain
from typing import Any
from uuid import UUID

import structlog
from django.contrib.auth import get_user_model
from django.db import transaction
from django.utils import timezone

from common.db.sql import columns, rows, run
from common.errors import CONTENT_ERRORS
from common.permissions import Right
from events.context import EventContext, context_of
from events.messages import Message, render_digest
from events.messages.parts import ROOM
from events.models import ALARMS, ON_REQUEST, TO_ONE_CHANNEL, URGENT
from events.waiting import WaitingRules, held_until

log = structlog.get_logger(__name__)
BACKEND = "django.contrib.auth.backends.ModelBackend"  # knows which user has which right

EVENT = "id, kind, user_id, connection_id, signal_id, order_id, payload, created_at"
CLAIM = f"""
SELECT {EVENT} FROM events_event WHERE routed_at IS NULL
ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED
"""
NOTIFY = """
INSERT INTO events_notification (user_id, event_id, kind, title, body, read_at)
SELECT user_id, event_id, kind, title, body, CASE WHEN is_read THEN clock_timestamp() END
FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::text[], %s::text[], %s::boolean[])
  WITH ORDINALITY AS t(user_id, event_id, kind, title, body, is_read, position)
WHERE EXISTS (SELECT FROM {users} u WHERE u.id = t.user_id) ORDER BY position
ON CONFLICT (user_id, event_id) DO NOTHING
"""
DELIVER_TO_USERS = """
INSERT INTO events_delivery (event_id, channel_id)
SELECT t.event_id, c.id
FROM unnest(%s::bigint[], %s::bigint[], %s::text[]) AS t(user_id, event_id, kind)
JOIN events_channel c ON c.user_id = t.user_id
WHERE c.is_active AND (c.confirmed_at IS NOT NULL OR c.confirm_by > clock_timestamp())
  AND (c.kinds ? t.kind OR c.kinds = '[]' AND t.kind <> ALL(%s))
ON CONFLICT (event_id, channel_id) DO NOTHING
RETURNING id, channel_id, event_id
"""
RULES = """
SELECT c.id, u.time_zone, c.quiet_from, c.quiet_until, c.digest, c.digest_at
FROM events_channel c JOIN {users} u ON u.id = c.user_id
WHERE c.id = ANY(%s) AND (c.quiet_from IS NOT NULL OR c.digest <> '')
"""
HOLD = """
UPDATE events_delivery d SET hold_until = t.until
FROM unnest(%s::bigint[], %s::timestamptz[]) AS t(id, until) WHERE d.id = t.id
"""
DELIVER_TO_CHANNEL = """
INSERT INTO events_delivery (event_id, channel_id)
SELECT t.event_id, c.id
FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[]) AS t(user_id, event_id, channel_id)
JOIN events_channel c ON c.id = t.channel_id AND c.user_id = t.user_id
ON CONFLICT (event_id, channel_id) DO NOTHING
"""
DONE = "UPDATE events_event SET routed_at = clock_timestamp() WHERE id = ANY(%s)"


def route_events(limit: int) -> int:
    """Write notifications and deliveries for up to `limit` events; return how many were routed.

    The events of one user, kind and signal become one notification: a thousand fills are one line
    with a count. Events that another process works on are skipped. Those of paper twins are not
    sent to their owner, and are read in the inbox: they are no news about money.
    """
    with transaction.atomic():
        claimed = rows(CLAIM, [limit])
        if not claimed:
            return 0
        facts = context_of([EventContext(*row) for row in claimed])
        events = [EventContext(*(*row, facts[row.id])) for row in claimed]
        operators = list(
            get_user_model()
            .objects.with_perm(Right.READ.codename, backend=BACKEND)
            .filter(is_staff=True)
            .values_list("pk", flat=True)
        )
        _notify(events, operators)
        _create_deliveries(events, operators)
        run(DONE, [[event.id for event in events]])
    return len(claimed)


def recipients(event: EventContext, operators: Iterable[int]) -> set[int]:
    """Return the user ids that receive it: the owner; operators for alarms and ownerless events."""
    owner = set() if event.user_id is None else {event.user_id}
    if event.kind in ALARMS or event.user_id is None:
        return owner | set(operators)
    return owner


def _to_send(event: EventContext, operators: Sequence[int]) -> set[int]:
    """Return the user ids whose channels receive it: of a paper twin only operators', alarms."""
    if not event.is_of_twin:
        return recipients(event, operators)
    return set(operators) if event.kind in ALARMS else set()


def _notify(events: Sequence[EventContext], operators: Sequence[int]) -> None:
    grouped: dict[tuple[int, str, int | None, bool], list[EventContext]] = defaultdict(list)
    for event in events:
        if event.kind in TO_ONE_CHANNEL or event.kind in ON_REQUEST:
            continue
        for user_id in recipients(event, operators):
            grouped[user_id, event.kind, event.signal_id, event.is_of_twin].append(event)
    notifications = []
    for (user_id, kind, _, is_of_twin), group in grouped.items():
        message = rendered(group)
        is_read = is_of_twin and user_id == group[0].user_id
        notifications.append((user_id, group[0].id, kind, message.title, message.body, is_read))
    if notifications:
        users = get_user_model()._meta.db_table
        run(NOTIFY.format(users=users), columns(notifications, 6))


def rendered(events: Sequence[EventContext], *, room: int = ROOM) -> Message:
    """Return the message about these events; if rendering fails, one with the kind and count.

    room: the most characters of its body.
    """
    try:
        return render_digest(events, room=room)
    except CONTENT_ERRORS:  # an unexpected payload must not delay the other events
        log.exception("events could not be rendered", event_ids=[event.id for event in events][:20])
        return Message(f"{events[0].kind} ({len(events)})", "")


def _create_deliveries(events: Sequence[EventContext], operators: Sequence[int]) -> None:
    to_channel = [
        (event.user_id, event.id, event.payload.get("channel_id"))
        for event in events
        if event.kind in TO_ONE_CHANNEL
    ]
    to_users = list(
        chain.from_iterable(
            ((user_id, event.id, event.kind) for user_id in sorted(_to_send(event, operators)))
            for event in events
            if event.kind not in TO_ONE_CHANNEL
        )
    )
    if to_users:
        created = rows(DELIVER_TO_USERS, [*columns(to_users, 3), list(ON_REQUEST)])
        _hold(created, {event.id for event in events if event.kind in URGENT})
    if to_channel:
        run(DELIVER_TO_CHANNEL, columns(to_channel, 3))


def _hold(created: Sequence[Any], urgent: Container[int]) -> None:
    """Let deliveries wait for the end of quiet hours or for a digest, unless they are urgent."""
    can_wait = [row for row in created if row.event_id not in urgent]
    if not can_wait:
        return
    users = get_user_model()._meta.db_table
    now = timezone.now()
    until = {
        row.id: held_until(WaitingRules(*row[1:]), now=now)
        for row in rows(RULES.format(users=users), [[*{row.channel_id for row in can_wait}]])
    }
    held = [(row.id, moment) for row in can_wait if (moment := until.get(row.channel_id))]
    if held:
        run(HOLD, columns(held, 2))


def for_machines(event: EventContext) -> dict[str, object]:
    """Return an event as webhooks receive it. `id` is the same in every repetition."""
    return {
        "id": event.id,
        "kind": event.kind,
        "at": event.created_at.isoformat(),
        "connection_id": _text(event.connection_id),
        "signal_id": event.signal_id,
        "order_id": event.order_id,
        "payload": dict(event.payload),
        "facts": dict(event.facts),
    }


def _text(value: UUID | None) -> str | None:
    return None if value is None else str(value)
