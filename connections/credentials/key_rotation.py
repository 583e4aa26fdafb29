"""Re-encrypt ("reseal") all credentials for the current key, while the system is running.

Each batch is one transaction: after an interruption, the next run continues with the rest. Trading
processes have both keys meanwhile, so they are not affected.
"""

import struct
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db import transaction

from alerts.models import TelegramBot
from alerts.telegram import tokens
from common.db.sql import columns, rows, run
from common.errors import ConflictError
from connections import sealing
from connections.credentials import provider_secrets as secrets
from connections.models import DecisionProvider
from connections.sealing import CredentialsError
from events import channels, webhooks
from events.models import Channel
from events.outbound import RefusedError

_LOCK_SQL = """
SELECT id, coalesce(user_id, admin_id) AS owner_id, sealed_credentials
FROM connections_executionconnection
WHERE sealed_credentials IS NOT NULL AND (%(after)s::uuid IS NULL OR id > %(after)s::uuid)
ORDER BY id LIMIT %(batch)s FOR NO KEY UPDATE
"""
# The credentials stay the same: so does the identity that was stored for them
# (`connections.accounts.broker_identity`), whose digest is updated.
_WRITE_SQL = """
UPDATE connections_executionconnection c SET sealed_credentials = decode(t.sealed, 'hex'),
  identity_credentials_digest = CASE
    WHEN identity_credentials_digest = encode(sha256(sealed_credentials), 'hex')
    THEN encode(sha256(decode(t.sealed, 'hex')), 'hex') ELSE identity_credentials_digest END
FROM unnest(%s::uuid[], %s::text[]) AS t (id, sealed) WHERE c.id = t.id
"""


@dataclass(slots=True)
class Rotation:
    """The progress. unopened: rows that no key of this process decrypts; they stay unchanged."""

    checked: int = 0
    resealed: int = 0
    unopened: list[str] = field(default_factory=list)


def reseal_all(*, batch: int = 500) -> Generator[Rotation, None, None]:
    """Reseal credentials and channels for the current key; yield the progress after each batch.

    Raises MisconfiguredError without private keys.
    """
    sealing.opening_keys()
    done = Rotation()
    after: UUID | None = None
    while (after := _reseal_connections(done, after, batch)) is not None:
        yield done
    last: int | None = 0
    while last is not None and (last := _reseal_channels(done, last, batch)) is not None:
        yield done
    _reseal_providers(done)
    yield done
    _reseal_bots(done)
    yield done


def count_rows_to_reseal() -> int:
    """Return how many rows still need an older key."""
    key = sealing.sealing_key()
    sealed = rows(
        "SELECT sealed_credentials AS box FROM connections_executionconnection"
        " WHERE sealed_credentials IS NOT NULL"
    )
    old = sum(1 for row in sealed if not _is_sealed_with_current_key(row.box, key))
    waiting = (c for c in Channel.objects.all() if not channels.is_url_sealed_with_current_key(c))
    providers = DecisionProvider.objects.exclude(secret_sealed=None)
    bots = (b for b in TelegramBot.objects.all() if not tokens.is_token_sealed_with_current_key(b))
    return (
        old
        + sum(1 for _ in bots)
        + sum(1 for _ in waiting)
        + sum(
            1 for provider in providers if not secrets.is_secret_sealed_with_current_key(provider)
        )
    )


@transaction.atomic
def _reseal_connections(done: Rotation, after: UUID | None, batch: int) -> UUID | None:
    """Reseal the batch after the id `after`; return its last id, None at the end."""
    locked = rows(_LOCK_SQL, {"after": after, "batch": batch})
    key = sealing.sealing_key()
    changed: list[tuple[UUID, str]] = []
    for row in locked:
        if _is_sealed_with_current_key(row.sealed_credentials, key):
            continue
        try:
            changed.append((row.id, _resealed(row).hex()))
        except CredentialsError:
            done.unopened.append(f"connection {row.id}")
    if changed:
        run(_WRITE_SQL, columns(changed, 2))
    done.checked += len(locked)
    done.resealed += len(changed)
    return locked[-1].id if locked else None


def _resealed(row: Any) -> bytes:
    opened = sealing.open_credentials(
        row.sealed_credentials, connection_id=row.id, owner_id=row.owner_id
    )
    return sealing.seal_credentials(opened, connection_id=row.id, owner_id=row.owner_id)


def _is_sealed_with_current_key(sealed: bytes, key: bytes) -> bool:
    try:
        return sealing.are_credentials_sealed_with_key(sealed, key)
    except struct.error:  # malformed; decrypting it reports that
        return False


@transaction.atomic
def _reseal_channels(done: Rotation, after: int, batch: int) -> int | None:
    locked = Channel.objects.select_for_update(no_key=True)
    batch_channels = list(locked.filter(pk__gt=after).order_by("pk")[:batch])
    changed = []
    for channel in batch_channels:
        if channels.is_url_sealed_with_current_key(channel):
            continue
        try:
            channel.url_sealed = channels.seal_url(channels.open_url(channel), channel)
            webhooks.reseal_secrets(channel)
        except RefusedError:
            done.unopened.append(f"channel {channel.pk}")
        else:
            changed.append(channel)
    sealed = ["url_sealed", "secret_sealed", "previous_secret_sealed"]
    Channel.objects.bulk_update(changed, sealed)
    done.checked += len(batch_channels)
    done.resealed += len(changed)
    return batch_channels[-1].pk if batch_channels else None


@transaction.atomic
def _reseal_providers(done: Rotation) -> None:
    """Reseal the secrets of decision providers, which are few, in one batch."""
    locked = DecisionProvider.objects.select_for_update(no_key=True).exclude(secret_sealed=None)
    changed = []
    providers = list(locked.order_by("pk"))
    for provider in providers:
        if secrets.is_secret_sealed_with_current_key(provider):
            continue
        try:
            opened = secrets.open_secret(provider).decode()
        except CredentialsError:
            done.unopened.append(f"decision provider {provider.pk}")
        else:
            provider.secret_sealed = secrets.seal_secret(opened, provider)
            changed.append(provider)
    DecisionProvider.objects.bulk_update(changed, ["secret_sealed"])
    done.checked += len(providers)
    done.resealed += len(changed)


@transaction.atomic
def _reseal_bots(done: Rotation) -> None:
    """Reseal the tokens of Telegram bots, one for each feed that has one, in one batch."""
    locked = TelegramBot.objects.select_for_update(of=("self",), no_key=True)
    changed = []
    bots = list(locked.select_related("feed").order_by("pk"))
    for bot in bots:
        if tokens.is_token_sealed_with_current_key(bot):
            continue
        try:
            opened = tokens.open_token(bot)
        except ConflictError:
            done.unopened.append(f"Telegram bot {bot.pk}")
        else:
            owner = bot.feed.owner_id
            bot.token_sealed = tokens.seal_token(opened, feed_id=bot.feed_id, owner_id=owner)
            changed.append(bot)
    TelegramBot.objects.bulk_update(changed, ["token_sealed"])
    done.checked += len(bots)
    done.resealed += len(changed)
