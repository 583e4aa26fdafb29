"""How a source fares, and which refusals are about one of its symbols only."""

from collections.abc import Mapping
from dataclasses import dataclass

from brokers.types import Quote
from common.reason_codes import Code

NEEDS_OWNER = frozenset({Code.CREDENTIALS_REFUSED, Code.ACCOUNT_MISMATCH, Code.UNKNOWN_ACCOUNT,
                     Code.NO_CREDENTIALS, Code.LIBRARY_MISSING})  # fmt: skip
SYMBOL_CODES = frozenset({
    Code.UNKNOWN_SYMBOL_AT_BROKER, Code.SYMBOL_NOT_AT_BROKER, Code.MARKET_CLOSED,
    Code.NO_MARKET_DATA, Code.REJECTED_BY_BROKER, Code.QUOTE_STALE,
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class StreamStatus:
    """How a source fares. told_at: machine_time(), 0 for never."""

    last_confirmed_at: float
    code: Code | None
    message: str
    missing: tuple[str, ...]


def stale_reason(last: Mapping[str, Quote]) -> tuple[Code, str]:
    """Say why a source that fails nowhere tells nothing. last: what its broker told last."""
    at = max((one.time for one in dict(last).values()), default=None)
    if at is None:
        return Code.QUOTE_MISSING, "Nothing has been told."
    said = f"Its last price is of {at:%d %B, %H:%M} UTC: closed, or its terminal is cut off."
    return Code.MARKET_CLOSED, said
