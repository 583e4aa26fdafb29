"""Send messages to channels: claim in a transaction, send outside of any, then store the outcome.

Delivery is at least once: if a process dies after sending and before storing, the message is sent
again when its claim ends, with the same event ids. One process at a time works on a channel; all
events that wait for it go out as one message. A channel that fails backs off, longer each time.
"""

import random
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import groupby

import structlog
from django.db import transaction

from common.db.sql import rows, run
from common.errors import FillcastError
from common.failpoints import failpoint
from events import channels, push, push_services, webhook_log, webhooks
from events.channels import Outgoing, SendError
from events.context import EventContext, context_of
from events.http_post import Try
from events.messages import Message
from events.models import Channel, EventKind
from events.outbound import RefusedError
from events.outgoing import confirmation_message, message_of
from events.push_content import PushContent, content_of
from events.routing import EVENT, rendered
from events.webhook_log import EVENTS_FROM, SignedMessage

log = structlog.get_logger(__name__)

MAX_CHANNELS, THREADS = 16, 8  # channels in one run; concurrent sends
CLAIM_SECONDS = 45  # longer than a run takes: MAX_CHANNELS / THREADS × channels.SECONDS
PUSH_ROOM = 1_800  # characters; most languages then fit into push_content.MAX_BYTES
MAX_EVENTS = 1_000  # in one message
MAX_TRIES = 10
MIN_BACKOFF, MAX_BACKOFF = 5.0, 3600.0
MAX_RETRY_AFTER = 86_400.0  # even if a server requests more: alarms must go out some day
MIN_INTERVAL_SECONDS, MAIL_MIN_INTERVAL_SECONDS = 5, 30  # a burst becomes a few messages

RELEASE = """
UPDATE events_delivery SET hold_until = NULL, released_at = hold_until
WHERE hold_until <= clock_timestamp()"""
CLAIM = """
UPDATE events_channel SET backoff_until = clock_timestamp() + make_interval(secs => %(claim)s)
WHERE id IN (
  SELECT c.id FROM events_channel c
  WHERE c.is_active AND (c.backoff_until IS NULL OR c.backoff_until <= clock_timestamp())
    AND EXISTS (SELECT FROM events_delivery d WHERE d.channel_id = c.id
      AND d.status = 'PENDING' AND d.hold_until IS NULL)
  ORDER BY c.backoff_until NULLS FIRST, c.id LIMIT %(most)s FOR UPDATE SKIP LOCKED)
RETURNING id
"""
EVENT_COLUMNS = ", ".join(f"e.{name}" for name in EVENT.split(", "))
WAITING = f"""
SELECT c.id AS channel_id, d.id AS delivery_id, {EVENT_COLUMNS}
FROM events_channel c
CROSS JOIN LATERAL (SELECT id, event_id FROM events_delivery
  WHERE channel_id = c.id AND status = 'PENDING' AND hold_until IS NULL
  ORDER BY event_id LIMIT %(most)s) d
JOIN events_event e ON e.id = d.event_id
WHERE c.id = ANY(%(channels)s) ORDER BY c.id, e.id
"""
SENT = """
WITH updated AS (
  UPDATE events_delivery SET status = 'SENT', tries = tries + 1, sent_at = clock_timestamp(),
    last_error = '' WHERE id = ANY(%(deliveries)s))
UPDATE events_channel SET consecutive_failures = 0, last_error = '',
  last_sent_at = clock_timestamp(),
  backoff_until = clock_timestamp() + make_interval(secs => %(backoff)s) WHERE id = %(channel)s
"""
SWITCH_OFF = "UPDATE events_channel SET is_active = false WHERE id = %s"
NOT_SENT = """
WITH updated AS (
  UPDATE events_delivery SET tries = tries + 1, last_error = %(error)s,
    due_at = clock_timestamp() + make_interval(secs => %(backoff)s),
    status = CASE WHEN %(final)s OR tries + 1 >= %(tries)s THEN 'FAILED' ELSE 'PENDING' END
  WHERE id = ANY(%(deliveries)s))
UPDATE events_channel SET consecutive_failures = consecutive_failures + 1, last_error = %(error)s,
  backoff_until = clock_timestamp() + make_interval(secs => %(backoff)s) WHERE id = %(channel)s
"""


@dataclass(frozen=True, slots=True)
class Job:
    """One message for one channel, and the ids of the deliveries that it covers.

    signed: of a channel with a delivery log, whose message is the same in every repetition. push:
    what a browser receives.
    """

    channel: Channel
    deliveries: Sequence[int]
    message: Outgoing
    signed: SignedMessage | None = None
    push: PushContent | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What happened to a job.

    error: '' if it was sent. final: trying again would not help. retry_after: seconds that the
    channel's server asked us to wait. tried: what a webhook or a push service answered.
    """

    job: Job
    error: str = ""
    final: bool = False
    retry_after: float = 0.0
    tried: Try | None = None


def send_waiting() -> list[Outcome]:
    """Send what waits for up to MAX_CHANNELS channels. Must not be called inside a transaction."""
    if transaction.get_connection().in_atomic_block:
        raise transaction.TransactionManagementError("No network inside a transaction.")
    jobs = _claim()
    if not jobs:
        return []
    failpoint("delivery.claimed")
    with ThreadPoolExecutor(min(THREADS, len(jobs)), "events") as pool:
        sent = [(job, pool.submit(_send, job)) for job in jobs]  # uses no database
        outcomes = [_outcome(job, sending) for job, sending in sent]
    failpoint("delivery.sent")
    with transaction.atomic():
        for outcome in outcomes:
            _store(outcome)
    return outcomes


def backoff(failures: int, *, chance: float) -> float:
    """Return the seconds to wait after this many consecutive failures: doubled up to an hour.

    chance: 0 to 1; spreads the result by half either way, so that the channels of one dead host
    are not all tried at the same time.
    """
    seconds = min(MIN_BACKOFF * 2.0 ** min(failures, 20), MAX_BACKOFF)
    return seconds * (0.5 + chance)


def _claim() -> list[Job]:
    """Claim channels with waiting deliveries; return what to send to each, as one job."""
    with transaction.atomic():
        run(RELEASE)
        claimed = [row.id for row in rows(CLAIM, {"claim": CLAIM_SECONDS, "most": MAX_CHANNELS})]
        if not claimed:
            return []
        found = Channel.objects.select_related("user").in_bulk(claimed)
        plain = [pk for pk, channel in found.items() if not channel.has_log]
        signed = webhook_log.next_messages([pk for pk in found if pk not in plain])
        waiting = rows(WAITING, {"channels": plain, "most": MAX_EVENTS})
        reported = [EventContext(*row[2:]) for row in waiting]
        reported += [EventContext(*row[EVENTS_FROM:]) for one in signed for row in one.rows]
        facts = context_of(list({event.id: event for event in reported}.values()))
    jobs = [_logged_job(found[one.channel_id], one, facts) for one in signed]
    for channel_id, group in groupby(waiting, key=lambda row: row.channel_id):
        deliveries, channel = list(group), found[channel_id]
        requests = [row for row in deliveries if row.kind == EventKind.CHANNEL_CONFIRMATION]
        if requests:  # sent alone; the last one counts
            message = confirmation_message(channel, requests[-1])
            jobs.append(Job(channel, [row.delivery_id for row in requests], message))
            continue
        events = [replace(EventContext(*row[2:]), facts=facts[row.id]) for row in deliveries]
        most = channels.most_characters(channel)
        message = message_of(events, digest=channel.digest, most=most)
        jobs.append(Job(channel, [row.delivery_id for row in deliveries], message))
    return jobs


def _logged_job(
    channel: Channel, signed: SignedMessage, facts: Mapping[int, Mapping[str, str]]
) -> Job:
    events = [replace(EventContext(*row[EVENTS_FROM:]), facts=facts[row.id]) for row in signed.rows]
    deliveries = [row.delivery_id for row in signed.rows]
    if not channel.is_browser:
        return Job(channel, deliveries, message_of(events), signed)
    message = message_of(events, digest=channel.digest)
    body = rendered(events, room=PUSH_ROOM).body  # without addresses: a click opens the page
    text = Message(message.title, body)
    content = content_of(events, text, uid=signed.uid, is_operator=channel.user.is_staff)
    return Job(channel, deliveries, message, signed, content)


def _send(job: Job) -> Outcome:
    try:
        if job.push is not None:
            return _send_push(job, job.push)
        if job.signed is not None:
            return _send_signed(job, job.signed)
        channels.send(channels.open_url(job.channel), job.message)
    except RefusedError as error:
        return Outcome(job, str(error), final=True)
    except FillcastError as error:  # a URL that an older version accepted
        return Outcome(job, error.detail, final=True)
    except SendError as error:
        return Outcome(job, str(error), retry_after=error.retry_after)
    return Outcome(job)


def _send_signed(job: Job, signed: SignedMessage) -> Outcome:
    try:
        keys = webhooks.secrets_of(job.channel, now=datetime.now(UTC))
        url = channels.open_url(job.channel)
    except RefusedError as error:
        return _of_try(job, Try(None, 0, "", str(error), is_final=True))
    body = webhooks.body_of(job.message, created_at=signed.made_at)
    return _of_try(job, webhooks.post(url, uid=signed.uid, body=body, keys=keys))


def _send_push(job: Job, content: PushContent) -> Outcome:
    """Send one message to a browser."""
    try:
        subscription = push_services.subscription_of(job.channel)
    except RefusedError as error:
        return _of_try(job, Try(None, 0, "", str(error), is_final=True))
    return _of_try(job, push.send(subscription, content, key=job.channel.push_key))


def _of_try(job: Job, tried: Try) -> Outcome:
    return Outcome(job, tried.error, tried.is_final, tried.retry_after, tried)


def _outcome(job: Job, sending: Future[Outcome]) -> Outcome:
    """Return the outcome of sending a message; an unexpected error is one of this channel only."""
    if (error := sending.exception()) is None:
        return sending.result()
    log.error("a message could not be sent", channel_id=job.channel.pk, exc_info=error)
    text = f"Unexpected: {type(error).__name__}."
    return Outcome(job, text, tried=Try(None, 0, "", text) if job.signed else None)


def _store(outcome: Outcome) -> None:
    channel = outcome.job.channel
    values = {"channel": channel.pk, "deliveries": list(outcome.job.deliveries)}
    if not outcome.error:
        interval = MAIL_MIN_INTERVAL_SECONDS if channel.is_mail else MIN_INTERVAL_SECONDS
        run(SENT, {**values, "backoff": interval})
        _log_try(outcome, backoff=0.0)
        return
    log.warning("a message was not delivered", channel_id=channel.pk, error=outcome.error)
    seconds = backoff(channel.consecutive_failures, chance=random.random())  # not a secret
    seconds = max(seconds, min(outcome.retry_after, MAX_RETRY_AFTER))
    run(
        NOT_SENT,
        {
            **values,
            "backoff": seconds,
            "error": outcome.error,
            "final": outcome.final,
            "tries": MAX_TRIES,
        },
    )
    _log_try(outcome, backoff=seconds)


def _log_try(outcome: Outcome, *, backoff: float) -> None:
    """Write the delivery log; a webhook that has gone is switched off, a browser's channel ends."""
    signed, tried = outcome.job.signed, outcome.tried
    if signed is None or tried is None:
        return
    webhook_log.store_try(signed, tried, title=outcome.job.message.title, backoff=backoff)
    if tried.is_gone and outcome.job.push is not None:
        push_services.end_browser(signed.channel_id, tried.error)
    elif tried.is_gone:
        run(SWITCH_OFF, [signed.channel_id])
