"""Signed webhooks by Standard Webhooks: secrets, signatures, and one request with its outcome.

A message has three headers: webhook-id (the same in every repetition), webhook-timestamp (of this
try) and webhook-signature, `v1,` and the base64 HMAC-SHA-256 of `id.timestamp.body`. While a secret
is replaced there are two signatures, so that the receiver can change over without a gap.
Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import hashlib
import hmac
import secrets
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from urllib.parse import urlsplit

import orjson
from django.conf import settings

from common.errors import InvalidInputError
from common.reason_codes import Code
from common.sealing import CannotOpenError, open_sealed, seal
from events import channels, http_post
from events.channels import Outgoing
from events.http_post import Try
from events.models import Channel
from events.outbound import RefusedError

PREFIX, SECRET_BYTES = "whsec_", 24
TYPE = "fillcast.events"
GONE = 410  # the receiver asks that nothing more is sent
OF_SERVICES = {"discord.com": "Discord", "discordapp.com": "Discord", "hooks.slack.com": "Slack"}


def new_secret() -> str:
    """Return a new secret in the standard's form, `whsec_` and base64."""
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def seal_secret(secret: str, channel: Channel) -> bytes:
    """Encrypt a secret for this channel. Raises ConflictError as `channels.seal_url` does."""
    return seal(secret.encode(), context=_context(channel), public_key=channels.sealing_key())


def secrets_of(channel: Channel, *, now: datetime) -> list[str]:
    """Return the secrets to sign with: the current one and, for a while, the previous one.

    Raises RefusedError if no key opens the current one.
    """
    assert channel.secret_sealed is not None
    found = [_opened(channel.secret_sealed, channel)]
    until = channel.previous_secret_until
    if channel.previous_secret_sealed is not None and until is not None and now < until:
        with suppress(RefusedError):  # the current one is enough
            found.append(_opened(channel.previous_secret_sealed, channel))
    return found


def reseal_secrets(channel: Channel) -> None:
    """Encrypt the secrets with the current key; the caller saves them. Raises RefusedError."""
    for name in ("secret_sealed", "previous_secret_sealed"):
        sealed = getattr(channel, name)
        if sealed is not None:
            setattr(channel, name, seal_secret(_opened(sealed, channel), channel))


def signature(secret: str, uid: str, timestamp: int, body: bytes) -> str:
    """Return the `v1` signature of one message."""
    key = base64.b64decode(secret.removeprefix(PREFIX))
    signed = f"{uid}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


def check_url(url: str) -> str:
    """Validate a webhook's URL and return the part of it that may be shown. Resolves no names.

    Raises InvalidInputError.
    """
    try:
        parts = urlsplit(url.strip())
        host, port = parts.hostname or "", parts.port
    except ValueError:
        parts, host, port = urlsplit(""), "", None
    is_encrypted = parts.scheme == "https"
    if parts.scheme not in ("https", "http") or not host or "@" in parts.netloc or parts.fragment:
        raise _wrong("Expected the address of a web server, such as https://example.com/hook.")
    if not url.isascii() or any(character.isspace() for character in url.strip()):
        raise _wrong("The address has a character that no web address has.")
    if service := OF_SERVICES.get(host):
        raise _wrong(f"This is an address of {service}, which does not read signed messages: "
                     f"choose {service} instead.")  # fmt: skip
    channels.check_host(host, encrypted=is_encrypted)
    return f"{parts.scheme}://{host}" + (f":{port}" if port else "")


def body_of(message: Outgoing, *, created_at: datetime) -> bytes:
    """Return the JSON of a message (docs/schemas/webhook-v1.json)."""
    data = {"title": message.title, "message": message.body, "events": list(message.events)}
    at = created_at.astimezone(UTC).isoformat()
    return orjson.dumps({"type": TYPE, "timestamp": at, "data": data}, default=str)


def post(url: str, *, uid: str, body: bytes, keys: Sequence[str]) -> Try:
    """Send a message once, within SECONDS. Not inside a transaction. Follows no redirect."""
    timestamp = int(time.time())
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "Fillcast-Webhooks/1",
        "webhook-id": uid,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signature(key, uid, timestamp, body) for key in keys),
    }
    return http_post.request(
        "POST", url, body=body, headers=headers, server="The server", gone=(GONE,)
    )


def _opened(sealed: bytes | memoryview, channel: Channel) -> str:
    try:
        return open_sealed(
            bytes(sealed),
            context=_context(channel),
            private_keys=settings.FILLCAST_CREDENTIALS_PRIVATE_KEYS,
        ).decode()
    except CannotOpenError as error:
        raise RefusedError(f"The webhook's secret cannot be opened. {error}") from error


def _context(channel: Channel) -> bytes:
    return f"events.webhook {channel.key} {channel.user_id}".encode()


def _wrong(detail: str) -> InvalidInputError:
    return InvalidInputError(Code.FIELD_INVALID, detail, field="url")
