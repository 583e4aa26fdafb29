"""The addresses to which alerts are posted: a feed and the secret of one of its tokens."""

import hmac
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from common.db.sql import Params, rows
from common.errors import InvalidInputError
from common.reason_codes import Code
from signals.feeds.services import PREFIX_LENGTH, hash_of
from signals.models import Feed
from users.joins import is_active_user_sql, is_revoked_key_sql

_NO_TOKEN = hash_of("no such token")
_FEED = [field.attname for field in Feed._meta.concrete_fields]
_OPEN = f"""
SELECT t.id AS token_id, t.prefix, t.secret_hash, t.signing_key,
  {", ".join(f"f.{name}" for name in _FEED)}
FROM signals_feedtoken t
JOIN signals_feed f ON f.id = t.feed_id AND f.archived_at IS NULL
WHERE t.prefix = ANY(%s) AND t.revoked_at IS NULL
  AND {is_active_user_sql("f.owner_id")} AND NOT {is_revoked_key_sql("t.made_with_id")}
  AND (t.expires_at IS NULL OR t.expires_at > clock_timestamp())
"""


class UnknownAddressError(InvalidInputError):
    """There is no such feed, or its token is wrong, revoked or over."""

    def __init__(self) -> None:
        super().__init__(Code.FEED_UNKNOWN)


@dataclass(frozen=True, slots=True)
class AlertAddress:
    """An address that works. signing_key: sealed (signals/feeds/signing.py); empty: of none."""

    token_id: int
    prefix: str
    signing_key: str
    feed: Feed


def address_of(feed_slug: str, secret: str) -> AlertAddress:
    """Return the address of this feed with this secret. Raises UnknownAddressError.

    That is raised for an unknown feed, a wrong, revoked or expired token, one of another feed, one
    made with a revoked key, and an inactive owner; always with the same text.
    """
    (address,) = addresses_in([(feed_slug, secret)], rows(*query_of([secret])))
    if address is None:
        raise UnknownAddressError
    return address


def query_of(secrets: Iterable[str]) -> tuple[str, Params]:
    """Return the statement whose rows `addresses_in` reads, and its parameters."""
    prefixes = {secret[:PREFIX_LENGTH] for secret in secrets}
    # Others are no token's, and PostgreSQL refuses some characters.
    return _OPEN, (sorted(text for text in prefixes if text.isascii() and text.isalnum()),)


def addresses_in(
    pairs: Sequence[tuple[str, str]], found: Sequence[Any]
) -> list[AlertAddress | None]:
    """Return the address of each feed and secret, as `address_of`; None where that raises."""
    by_prefix = {row.prefix: row for row in found}
    return [_opened(by_prefix.get(secret[:PREFIX_LENGTH]), slug, secret) for slug, secret in pairs]


def _opened(row: Any, feed_slug: str, secret: str) -> AlertAddress | None:
    expected = row.secret_hash if row is not None else _NO_TOKEN
    if not hmac.compare_digest(hash_of(secret), expected) or row is None:
        return None
    feed = Feed.from_db(None, _FEED, row[4:])
    if feed.slug != feed_slug:
        return None
    return AlertAddress(row.token_id, row.prefix, row.signing_key, feed)
