"""The messages to signed webhooks and their delivery log.

A message has fixed events from its first try on, so that its id means the same in every repetition:
a receiver that has processed it can ignore the repetition.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any
from uuid import uuid4

from common.db.sql import rows, run
from events.http_post import Try
from events.routing import EVENT

MOST_EVENTS = 100  # in one message
EVENT_COLUMNS = ", ".join(f"e.{name}" for name in EVENT.split(", "))
UNSENT = """
SELECT DISTINCT ON (channel_id) id, channel_id FROM events_webhookmessage
WHERE channel_id = ANY(%s) AND status = 'PENDING' ORDER BY channel_id, id
"""
MAKE = """
WITH waiting AS (
  SELECT id FROM events_delivery
  WHERE channel_id = %(channel)s AND status = 'PENDING' AND hold_until IS NULL
  ORDER BY event_id LIMIT %(most)s
), made AS (
  INSERT INTO events_webhookmessage (channel_id, uid, events, title)
  SELECT %(channel)s, %(uid)s, count(*), '' FROM waiting HAVING count(*) > 0 RETURNING id
)
UPDATE events_delivery d SET message_id = made.id FROM made
WHERE d.id IN (SELECT id FROM waiting) RETURNING d.message_id
"""
READ = f"""
SELECT m.channel_id, m.id AS message_id, m.uid, m.created_at AS made_at, d.id AS delivery_id,
  {EVENT_COLUMNS}
FROM events_webhookmessage m
JOIN events_delivery d ON d.message_id = m.id AND d.status = 'PENDING'
JOIN events_event e ON e.id = d.event_id
WHERE m.id = ANY(%s) ORDER BY m.id, e.id
"""
EVENTS_FROM = 5  # where the event's columns begin in READ
END_EMPTY = """
UPDATE events_webhookmessage m SET status = 'FAILED' WHERE m.id = ANY(%s) AND NOT EXISTS (
  SELECT FROM events_delivery d JOIN events_event e ON e.id = d.event_id
  WHERE d.message_id = m.id AND d.status = 'PENDING')
"""
STORE = """
WITH message AS (
  UPDATE events_webhookmessage m SET title = %(title)s, status = CASE
    WHEN %(error)s = '' THEN 'SENT'
    WHEN EXISTS (SELECT FROM events_delivery d WHERE d.message_id = m.id AND d.status = 'PENDING')
      THEN 'PENDING' ELSE 'FAILED' END
  WHERE id = %(message)s RETURNING channel_id, status)
INSERT INTO events_webhookattempt
  (channel_id, message_id, status_code, duration_ms, answer, error, next_attempt_at)
SELECT channel_id, %(message)s, %(code)s, %(duration)s, %(answer)s, %(error)s,
  CASE WHEN status = 'PENDING' THEN clock_timestamp() + make_interval(secs => %(backoff)s) END
FROM message
"""
RESEND = """
WITH again AS (
  UPDATE events_delivery SET status = 'PENDING', tries = 0, hold_until = NULL
  WHERE message_id = %(message)s RETURNING id
)
UPDATE events_webhookmessage SET status = 'PENDING'
WHERE id = %(message)s AND EXISTS (SELECT FROM again)
"""


@dataclass(frozen=True, slots=True)
class SignedMessage:
    """The message that a signed webhook receives next."""

    id: int
    channel_id: int
    uid: str
    made_at: datetime
    rows: Sequence[Any]  # delivery_id and the columns of the event


def next_messages(channel_ids: Collection[int]) -> list[SignedMessage]:
    """Return what to send next to each channel: an unsent message, else a new one. One a channel.

    To be called in the transaction that has claimed the channels.
    """
    unsent = {row.channel_id: row.id for row in rows(UNSENT, [list(channel_ids)])}
    for channel_id in channel_ids:
        if channel_id not in unsent:
            values = {"channel": channel_id, "most": MOST_EVENTS, "uid": f"msg_{uuid4().hex}"}
            if made := rows(MAKE, values):
                unsent[channel_id] = made[0].message_id
    if not unsent:
        return []
    ids = list(unsent.values())
    read = rows(READ, [ids])
    run(END_EMPTY, [ids])  # nothing of it is left: it must not block the channel
    return [
        SignedMessage(message_id, group[0].channel_id, group[0].uid, group[0].made_at, group)
        for message_id, found in groupby(read, key=lambda row: row.message_id)
        if (group := list(found))
    ]


def store_try(message: SignedMessage, tried: Try, *, title: str, backoff: float) -> None:
    """Write a line of the delivery log; call it after the deliveries were changed.

    backoff: the seconds until the next try, if there is one.
    """
    run(
        STORE,
        {
            "message": message.id, "title": title[:200], "error": tried.error,
            "code": tried.status_code, "duration": tried.duration_ms, "answer": tried.answer,
            "backoff": backoff,
        },
    )  # fmt: skip


def send_again(message_id: int) -> bool:
    """Let a message be sent again with its id. Returns False if nothing of it is left."""
    return run(RESEND, {"message": message_id}) == 1
