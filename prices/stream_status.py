"""The status of a broker's price stream, and which error codes concern a single symbol."""

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
    """The status of a stream.

    last_confirmed_at: machine_time(), 0 for never. missing: the pairs without a current price.
    """

    last_confirmed_at: float
    code: Code | None
    message: str
    missing: tuple[str, ...]


def stale_reason(last: Mapping[str, Quote]) -> tuple[Code, str]:
    """Explain why a source without an error has no current price. last: its last quote by pair."""
    newest = max((quote.time for quote in dict(last).values()), default=None)
    if newest is None:
        return Code.QUOTE_MISSING, "No prices have been received."
    return Code.MARKET_CLOSED, (
        f"The last price is from {newest:%d %B, %H:%M} UTC: "
        "the market is closed or the terminal is disconnected."
    )
