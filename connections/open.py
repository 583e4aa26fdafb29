"""What an account has open: the rooms above know it, and some changes here must wait for it."""

from typing import Any, NamedTuple
from uuid import UUID

from django.dispatch import Signal

asked = Signal()
"""Sent with `connection_id`; each receiver returns a list of Open."""


class Open(NamedTuple):
    """One position, or one order that is at the broker or may be. symbol: the broker's own."""

    symbol: str
    what: str


def what_is_open(connection_id: UUID) -> list[Open]:
    """Return what an account has open at its broker, as far as our books know."""
    told: Any = asked.send(sender=None, connection_id=connection_id)
    return [one for _, found in told for one in found]


def in_words(found: list[Open]) -> str:
    """Say it in a sentence's middle, the first three by name: 'BTC/USDT (an open position)'."""
    named = ", ".join(f"{one.symbol} ({one.what})" for one in found[:3])
    return f"{named} and {len(found) - 3} more" if len(found) > 3 else named
