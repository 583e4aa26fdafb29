"""Browsers as channels: subscribe, renew a subscription, and end one that has gone."""

import hashlib
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any
from urllib.parse import SplitResult, urlsplit

import orjson
from django.db import transaction
from django.utils import timezone

from common.db.sql import run
from common.errors import ConflictError, InvalidInputError
from common.reason_codes import Code
from common.web.quotas import lock_quota, require_quota
from events import channels, push_keys
from events.channel_rules import checked_kinds, checked_name
from events.models import Channel, EventKind
from events.outbox import INSERT_EVENTS_SQL
from events.push import Subscription

REPLACED = "The browser has another channel."

AUTH_BYTES, ENDPOINT_MAX = 16, 1_000
NOT_OFFERED = (
    "Push messages of browsers are off: this installation has no key for them. Its operator makes "
    "one with `manage.py vapid_key`."
)
END = f"""
WITH ended AS (
  UPDATE events_channel SET is_active = false, ended_at = clock_timestamp()
  WHERE id = %(channel)s AND ended_at IS NULL RETURNING id, user_id, name, url_display
), given_up AS (
  UPDATE events_delivery SET status = 'FAILED', last_error = %(error)s, hold_until = NULL
  WHERE channel_id IN (SELECT id FROM ended) AND status = 'PENDING'
), unsent AS (
  UPDATE events_webhookmessage SET status = 'FAILED'
  WHERE channel_id IN (SELECT id FROM ended) AND status = 'PENDING'
)
{INSERT_EVENTS_SQL}
SELECT '{EventKind.CHANNEL_ENDED.value}', user_id, NULL, NULL, NULL,
  jsonb_build_object('channel', id, 'name', name, 'why', %(error)s, 'page', '/channels/')
FROM ended
"""


def checked_subscription(endpoint: str, p256dh: str, auth: str) -> Subscription:
    """Return a browser's subscription. endpoint: https only, as for webhooks; resolves no names.

    Raises InvalidInputError FIELD_INVALID, HOST_NOT_ALLOWED.
    """
    try:
        parts = urlsplit(endpoint)
        host, is_encrypted, _ = parts.hostname or "", parts.scheme == "https", parts.port
    except ValueError:
        parts, host, is_encrypted = urlsplit(""), "", False
    # http only to an address that the operators have allowed, never to a name: for tests
    is_address = host and "@" not in parts.netloc and (is_encrypted or _is_number(parts))
    is_plain = endpoint.isascii() and endpoint.isprintable() and " " not in endpoint
    if not is_address or not is_plain or parts.fragment or len(endpoint) > ENDPOINT_MAX:
        raise _wrong("endpoint", "Expected the https address of a browser's push service.")
    try:
        channels.check_host(host, encrypted=is_encrypted)
    except InvalidInputError as error:
        raise InvalidInputError(error.code, error.detail, field="endpoint") from error
    return Subscription(endpoint, _browser_key(p256dh), _auth_secret(auth))


@transaction.atomic
def subscribe_browser(
    *, user_id: int, name: str, subscription: Subscription, kinds: Sequence[str] = (),
    key_id: int | None = None,
) -> Channel:  # fmt: skip
    """Add a browser as a channel, or renew the user's channel of the same subscription.

    key_id: the API key that adds it. Raises ConflictError STATE_CONFLICT if this installation has
    no push key, QUOTA_REACHED.
    """
    key, digest = _offered_key(), _digest(subscription)
    lock_quota("channels", user_id)  # two tabs of a browser send the same subscription
    known = Channel.objects.select_for_update(no_key=True).filter(
        user_id=user_id, push_digest=digest
    ).first()  # fmt: skip
    if known is not None:
        return renew_browser(known.pk, subscription)
    channel = Channel(
        user_id=user_id, name=checked_name(name)[:100], kinds=checked_kinds(kinds),
        push_key=key, push_digest=digest, confirmed_at=timezone.now(),
        url_display=_display(subscription), made_with_id=key_id,
    )  # fmt: skip
    channel.url_sealed = _sealed(subscription, channel)
    require_quota("channels", user_id, Channel.objects.filter(user=user_id))
    channel.save(force_insert=True)
    return channel


@transaction.atomic
def renew_browser(channel_id: int, subscription: Subscription) -> Channel:
    """Replace a channel's subscription by a new one of the same browser, made with today's key.

    A channel that had ended works again; one that its owner switched off stays off. If the browser
    has another channel by then, this one ends, and that one is returned. Raises as
    `subscribe_browser`.
    """
    key = _offered_key()
    lock_quota("channels", Channel.objects.values_list("user_id", flat=True).get(pk=channel_id))
    channel = Channel.objects.select_for_update(no_key=True).get(pk=channel_id)
    others = Channel.objects.filter(user_id=channel.user_id).exclude(pk=channel_id)
    if same := others.filter(push_digest=_digest(subscription)).first():
        Channel.objects.filter(pk=channel_id).update(
            is_active=False, ended_at=timezone.now(), last_error=REPLACED
        )
        return same
    Channel.objects.filter(pk=channel_id).update(
        url_sealed=_sealed(subscription, channel), url_display=_display(subscription),
        push_key=key, push_digest=_digest(subscription), ended_at=None, backoff_until=None,
        last_error="", consecutive_failures=0,
        is_active=channel.is_active or channel.ended_at is not None,
    )  # fmt: skip
    channel.refresh_from_db()
    return channel


def find_browser(endpoint: str, auth: str) -> Channel | None:
    """Return the channel of a subscription among the rows that the caller may read.

    The caller that knows both values is the browser: `auth` is a secret of 16 random bytes.
    """
    try:
        digest = _digest_of(endpoint, push_keys.decoded(auth))
    except ValueError:
        return None
    return Channel.objects.select_related("user").filter(push_digest=digest).order_by("pk").last()


def subscription_of(channel: Channel) -> Subscription:
    """Return a channel's subscription. Raises RefusedError if no key opens it."""
    stored = orjson.loads(channels.open_url(channel))
    keys = (push_keys.decoded(stored[name]) for name in ("p256dh", "auth"))
    return Subscription(stored["endpoint"], *keys)


def end_browser(channel_id: int, error: str) -> None:
    """End a channel without a subscription, give up what waits for it, notify its owner."""
    run(END, {"channel": channel_id, "error": error})


def _is_number(parts: SplitResult) -> bool:
    """Whether it is http to an address in digits, which `check_host` compares with the allowed."""
    try:
        ip_address(parts.hostname or "")
    except ValueError:
        return False
    return parts.scheme == "http"


def _sealed(subscription: Subscription, channel: Channel) -> bytes:
    stored: dict[str, Any] = {
        "endpoint": subscription.endpoint,
        "p256dh": push_keys.encoded(subscription.browser_key),
        "auth": push_keys.encoded(subscription.auth_secret),
    }
    return channels.seal_url(orjson.dumps(stored).decode(), channel)


def _display(subscription: Subscription) -> str:
    return f"browser, through {urlsplit(subscription.endpoint).hostname}"[:100]


def _digest(subscription: Subscription) -> str:
    return _digest_of(subscription.endpoint, subscription.auth_secret)


def _digest_of(endpoint: str, auth_secret: bytes) -> str:
    return hashlib.sha256(endpoint.encode() + b"\n" + auth_secret).hexdigest()


def _offered_key() -> str:
    if key := push_keys.offered_key():
        return key
    raise ConflictError(Code.STATE_CONFLICT, NOT_OFFERED)


def _browser_key(text: str) -> bytes:
    try:
        return push_keys.checked_point(push_keys.decoded(text))
    except ValueError as error:
        raise _wrong("p256dh", "Expected the browser's key: a point of P-256.") from error


def _auth_secret(text: str) -> bytes:
    try:
        raw = push_keys.decoded(text)
    except ValueError:
        raw = b""
    if len(raw) != AUTH_BYTES:
        raise _wrong("auth", "Expected the browser's secret: 16 bytes in base64url.")
    return raw


def _wrong(field: str, detail: str) -> InvalidInputError:
    return InvalidInputError(Code.FIELD_INVALID, detail, field=field)
