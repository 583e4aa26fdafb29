"""The addresses of a feed's alerts."""

from dataclasses import dataclass
from datetime import UTC, datetime

from signals.models import Feed, FeedToken
from users.keys.setters import read_keys

MOST = 50


@dataclass(frozen=True, slots=True)
class Address:
    """An address and whether it works. state: for the mark; label: its word."""

    token: FeedToken
    state: str
    label: str
    is_open: bool


def addresses_of(feed: Feed) -> list[Address]:
    """Return the newest addresses of a feed, those that work first."""
    now = datetime.now(UTC)
    tokens = list(feed.tokens.order_by("-id")[:MOST])
    read_keys(tokens, "made_with")
    return sorted((_address(token, now) for token in tokens), key=lambda one: not one.is_open)


def _address(token: FeedToken, now: datetime) -> Address:
    key = token.made_with
    if token.revoked_at is not None or (key is not None and key.revoked_at is not None):
        return Address(token, "cancelled", "Revoked", False)
    if token.expires_at is not None and token.expires_at <= now:
        return Address(token, "expired", "Ended", False)
    return Address(token, "ok", "Works", True)
