"""Messages to channels: claimed in a transaction, sent outside of any, the outcome written after.

At least once: a process that dies between sending and writing sends again when its claim ends,
with the same event ids. A channel is worked on by one process at a time; what waits for it goes
out as one message. A channel that fails rests, longer each time.
"""

import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import structlog
from django.conf import settings
from django.db import transaction

from common.errors import FillcastError
from common.failpoints import failpoint
from common.reason_links import reason_url
from common.sql import rows, run
from events import channels, confirmation
from events.channels import Outgoing, SendError
from events.context import EventContext, context_of
from events.models import ALARMS, Channel, EventKind
from events.outbound import RefusedError
from events.routing import EVENT, for_machines, rendered

log = structlog.get_logger(__name__)

AT_ONCE, THREADS = 16, 8  # channels in one run; so many wait for answers side by side
CLAIM_SECONDS = 45  # longer than a run takes: AT_ONCE / THREADS × channels.SECONDS
HELP_MAX = 5
MAX_EVENTS = 1_000  # in one message
TRIES = 10
BACKOFF_FIRST, MAX_BACKOFF = 5.0, 3600.0
MAX_RETRY_AFTER = 86_400.0  # whatever a server asks for: alarms must go out some day
MIN_INTERVAL_SECONDS, MAIL_MIN_INTERVAL_SECONDS = (
    5,
    30,
)  # so that a burst is a few messages, not hundreds

CLAIM = """
UPDATE events_channel SET backoff_until = clock_timestamp() + make_interval(secs => %(claim)s)
WHERE id IN (
  SELECT c.id FROM events_channel c
  WHERE c.is_active AND (c.backoff_until IS NULL OR c.backoff_until <= clock_timestamp())
    AND EXISTS (SELECT FROM events_delivery d WHERE d.channel_id = c.id AND d.status = 'PENDING')
  ORDER BY c.backoff_until NULLS FIRST, c.id LIMIT %(most)s FOR UPDATE SKIP LOCKED)
RETURNING id
"""
EVENT_COLUMNS = ", ".join(f"e.{name}" for name in EVENT.split(", "))
WAITING = f"""
SELECT c.id AS channel_id, d.id AS delivery_id, {EVENT_COLUMNS}
FROM events_channel c
CROSS JOIN LATERAL (SELECT id, event_id FROM events_delivery
  WHERE channel_id = c.id AND status = 'PENDING' ORDER BY event_id LIMIT %(most)s) d
JOIN events_event e ON e.id = d.event_id
WHERE c.id = ANY(%(channels)s) ORDER BY c.id, e.id
"""
SENT = """
WITH told AS (
  UPDATE events_delivery SET status = 'SENT', tries = tries + 1, sent_at = clock_timestamp(),
    last_error = '' WHERE id = ANY(%(deliveries)s))
UPDATE events_channel SET consecutive_failures = 0, last_error = '',
  last_sent_at = clock_timestamp(),
  backoff_until = clock_timestamp() + make_interval(secs => %(rest)s) WHERE id = %(channel)s
"""
NOT_SENT = """
WITH told AS (
  UPDATE events_delivery SET tries = tries + 1, last_error = %(error)s,
    due_at = clock_timestamp() + make_interval(secs => %(rest)s),
    status = CASE WHEN %(final)s OR tries + 1 >= %(tries)s THEN 'FAILED' ELSE 'PENDING' END
  WHERE id = ANY(%(deliveries)s))
UPDATE events_channel SET consecutive_failures = consecutive_failures + 1, last_error = %(error)s,
  backoff_until = clock_timestamp() + make_interval(secs => %(rest)s) WHERE id = %(channel)s
"""


@dataclass(frozen=True, slots=True)
class Job:
    channel: Channel
    deliveries: Sequence[int]
    message: Outgoing


@dataclass(frozen=True, slots=True)
class Outcome:
    """error: '' when it went out. final: trying again would not help. retry_after: seconds that the
    channel's server asked for."""

    job: Job
    error: str = ""
    final: bool = False
    retry_after: float = 0.0


def send_waiting() -> list[Outcome]:
    """Send what waits for up to AT_ONCE channels. Must not be called inside a transaction."""
    if transaction.get_connection().in_atomic_block:
        raise transaction.TransactionManagementError("No network inside a transaction.")
    jobs = _claim()
    if not jobs:
        return []
    failpoint("delivery.claimed")
    with ThreadPoolExecutor(min(THREADS, len(jobs)), "events") as pool:
        outcomes = list(pool.map(_send, jobs))  # no ORM in there
    failpoint("delivery.sent")
    with transaction.atomic():
        for outcome in outcomes:
            _write(outcome)
    return outcomes


def backoff(failures: int, *, chance: float) -> float:
    """Return seconds to rest after so many failures in a row: doubled each time, up to an hour.

    chance: 0 to 1; spreads it by half either way, so that channels of one dead host do not all
    come back at once.
    """
    seconds = min(BACKOFF_FIRST * 2.0 ** min(failures, 20), MAX_BACKOFF)
    return seconds * (0.5 + chance)


def _claim() -> list[Job]:
    with transaction.atomic():
        claimed = [row.id for row in rows(CLAIM, {"claim": CLAIM_SECONDS, "most": AT_ONCE})]
        if not claimed:
            return []
        found = rows(WAITING, {"channels": claimed, "most": MAX_EVENTS})
        facts = context_of(list({row.id: EventContext(*row[2:]) for row in found}.values()))
    by_id = Channel.objects.in_bulk(claimed)
    jobs = []
    for channel_id, group in groupby(found, key=lambda row: row.channel_id):
        waiting, channel = list(group), by_id[channel_id]
        requests = [row for row in waiting if row.kind == EventKind.CHANNEL_CONFIRMATION]
        if requests:  # alone; of several the last one counts
            deliveries = [row.delivery_id for row in requests]
            jobs.append(Job(channel, deliveries, confirmation_message(channel, requests[-1])))
            continue
        events = [replace(EventContext(*row[2:]), facts=facts[row.id]) for row in waiting]
        deliveries = [row.delivery_id for row in waiting]
        jobs.append(Job(channel, deliveries, message_of(events)))
    return jobs


def confirmation_message(channel: Channel, request: Any) -> Outgoing:
    """Return the message whose reader proves that the address is theirs."""
    known = {"link": confirmation.link_of(channel), "code": confirmation.code_of(channel)}
    event = replace(EventContext(*request[2:]), facts={**known, "name": channel.name})
    words = rendered([event])
    return Outgoing(words.title, words.body, is_alarm=False, events=[{"id": event.id}])


def message_of(events: Sequence[EventContext]) -> Outgoing:
    """Return the one message that tells of all these events."""
    words = rendered(events)
    return Outgoing(
        title=words.title,
        body="\n".join(filter(None, [words.body, *_help_for(events)])),
        is_alarm=any(event.kind in ALARMS for event in events),
        events=[for_machines(event) for event in events],
    )


def _help_for(events: Sequence[EventContext]) -> list[str]:
    """Where to act, and to read more about the reasons: this is read outside the application."""
    codes = dict.fromkeys(event.get("code") for event in events)
    pages = [*dict.fromkeys(page for event in events if (page := event.get("page")))]
    pages += [address for code in codes if (address := reason_url(code))]
    return [settings.FILLCAST_PUBLIC_URL.rstrip("/") + page for page in pages[:HELP_MAX]]


def _send(job: Job) -> Outcome:
    """Send one message; whatever goes wrong is this channel's alone."""
    try:
        channels.send(channels.open_url(job.channel), job.message)
    except RefusedError as error:
        return Outcome(job, str(error), final=True)
    except FillcastError as error:  # a URL that an older version took
        return Outcome(job, error.detail, final=True)
    except SendError as error:
        return Outcome(job, str(error), retry_after=error.retry_after)
    except Exception as error:
        log.exception("a message could not be sent", channel_id=job.channel.pk)
        return Outcome(job, f"Unexpected: {type(error).__name__}.")
    return Outcome(job)


def _write(outcome: Outcome) -> None:
    channel = outcome.job.channel
    values = {"channel": channel.pk, "deliveries": list(outcome.job.deliveries)}
    if not outcome.error:
        is_mail = channel.url_display.startswith("mailto:")
        run(
            SENT, {**values, "rest": MAIL_MIN_INTERVAL_SECONDS if is_mail else MIN_INTERVAL_SECONDS}
        )
        return
    log.warning("a message was not delivered", channel_id=channel.pk, error=outcome.error)
    rest = backoff(channel.consecutive_failures, chance=random.random())  # no secret
    rest = max(rest, min(outcome.retry_after, MAX_RETRY_AFTER))
    run(
        NOT_SENT,
        {**values, "rest": rest, "error": outcome.error, "final": outcome.final, "tries": TRIES},
    )
