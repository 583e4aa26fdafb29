"""E-mail channels confirm their address by a link with a code that is sent there.

Until then a channel receives that message and nothing else. The code is not stored: it is a MAC
over the channel and the time of the request, so a new request invalidates the previous link.
"""

import base64
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.utils import timezone
from django.utils.crypto import constant_time_compare, salted_hmac

from common.db.sql import rows
from common.errors import ConflictError, InvalidInputError
from common.reason_codes import Code
from events.models import Channel, Event, EventKind

LINK_LIFE = timedelta(hours=48)
RESEND_AFTER = timedelta(minutes=5)
MAX_PER_DAY = 10  # confirmation messages of one user, so that no inbox is flooded
CODE_BYTES = 15
SALT = "fillcast.channel-confirmation"
LOCK_USER = "SELECT pg_advisory_xact_lock(hashtextextended('channel confirmation', %s))"


def code_of(channel: Channel) -> str:
    """Return the code of the current request."""
    assert channel.confirmation_requested_at is not None
    requested_at = channel.confirmation_requested_at.isoformat()
    mac = salted_hmac(SALT, f"{channel.key} {requested_at}", algorithm="sha256").digest()
    return base64.b32encode(mac[:CODE_BYTES]).decode().lower()


def link_of(channel: Channel) -> str:
    """Return the address of the page on which the channel is confirmed."""
    base = settings.FILLCAST_PUBLIC_URL.rstrip("/")
    return f"{base}/channels/{channel.pk}/confirm/{code_of(channel)}/"


def matches(channel: Channel, code: str) -> bool:
    """Whether this is the code of the current request and it has not expired."""
    requested_at = channel.confirmation_requested_at
    if requested_at is None or timezone.now() > requested_at + LINK_LIFE:
        return False
    return constant_time_compare(code_of(channel), code.strip().lower())


@transaction.atomic
def request_confirmation(channel_id: int) -> None:
    """Let a trading process send the message with the link. Earlier links become invalid.

    Raises ConflictError STATE_CONFLICT for a channel that is confirmed, CONFIRMATION_LIMIT if the
    last message was requested too recently, or too many within a day.
    """
    channel = Channel.objects.select_for_update(no_key=True).get(pk=channel_id)
    if channel.confirmed_at is not None:
        raise ConflictError(Code.STATE_CONFLICT, "This channel is confirmed already.")
    now, last = timezone.now(), channel.confirmation_requested_at
    if last is not None and now < last + RESEND_AFTER:
        minutes = -(-(last + RESEND_AFTER - now).total_seconds() // 60)
        detail = (
            f"The last message was sent less than 5 minutes ago. Try again in {minutes:.0f} min."
        )
        raise ConflictError(Code.CONFIRMATION_LIMIT, detail)
    _require_below_limit(channel.user_id)
    Channel.objects.filter(pk=channel_id).update(confirmation_requested_at=now, backoff_until=None)
    Event.objects.create(
        kind=EventKind.CHANNEL_CONFIRMATION,
        user_id=channel.user_id,
        payload={"channel_id": channel_id},
    )


@transaction.atomic
def confirm(channel_id: int, code: str) -> Channel:
    """Confirm a channel's address by the code that was sent there. Repeating it changes nothing.

    Raises InvalidInputError CONFIRMATION_INVALID if the code is wrong or expired, or the channel no
    longer exists.
    """
    channel = Channel.objects.select_for_update(no_key=True).filter(pk=channel_id).first()
    if channel is None or not matches(channel, code):
        raise InvalidInputError(Code.CONFIRMATION_INVALID, field="code")
    if channel.confirmed_at is None:
        channel.confirmed_at = timezone.now()
        Channel.objects.filter(pk=channel_id).update(confirmed_at=channel.confirmed_at)
    return channel


def _require_below_limit(user_id: int) -> None:
    """Raise ConflictError if the user has reached MAX_PER_DAY requests within a day."""
    rows(LOCK_USER, (user_id,))
    sent = Event.objects.filter(
        kind=EventKind.CHANNEL_CONFIRMATION,
        user_id=user_id,
        created_at__gt=timezone.now() - timedelta(days=1),
    )
    if sent.count() >= MAX_PER_DAY:
        detail = f"{MAX_PER_DAY} confirmation messages were sent within a day. Try again tomorrow."
        raise ConflictError(Code.CONFIRMATION_LIMIT, detail)
