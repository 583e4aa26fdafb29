"""The prices of then: minute bars of the account's source, and what replaces them. Pure."""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

from analytics.records.signal_result import MinutePrices
from prices.selectors import MinuteRow

MINUTE = timedelta(minutes=1)
RECENT = timedelta(minutes=5)  # an older price is not the market of the moment


class Basis(StrEnum):
    """Where a price of then, or a result, comes from."""

    RECORDED = "recorded"  # minute prices of the account's own source
    FEED = "feed"  # the quote kept with the signal, the trade followed for the feed's record
    FILLS = "fills"  # subscribers' median fill
    SIGNAL = "signal"  # the signal's own price
    UNKNOWN = "unknown"


BASIS_TEXTS: Mapping[str, str] = {
    Basis.RECORDED: "recorded prices of this account’s source",
    Basis.FEED: "the prices that the feed’s record keeps",
    Basis.FILLS: "the median fill of subscribers, so without a spread",
    Basis.SIGNAL: "the signal’s own price, so without a spread",
    Basis.UNKNOWN: "no price of then is kept",
}


class Market(NamedTuple):
    """Bid and ask of a moment."""

    bid: Decimal
    ask: Decimal
    basis: Basis


@dataclass(slots=True)
class PriceHistory:
    """The minute bars of one source by pair, each list in the order of its minutes.

    now: rates of today, for conversions of which no price of then is kept.
    """

    bars: Mapping[str, Sequence[MinuteRow]]
    now: Mapping[str, Market] = field(default_factory=dict)
    _minutes: dict[str, list[datetime]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Index the bars by their minutes."""
        self._minutes = {pair: [bar.minute for bar in of] for pair, of in self.bars.items()}

    def market(self, pair: str, at: datetime) -> Market | None:
        """Return the prices at the end of the last whole minute before a market time."""
        bar = self._before(pair, at)
        if bar is None or bar.minute <= at - RECENT:
            return None
        return Market(bar.bid_close, bar.ask_close, Basis.RECORDED)

    def last(self, pair: str, at: datetime) -> Market | None:
        """Return the last prices before a market time, however old: what is held is worth those."""
        bar = self._before(pair, at)
        return Market(bar.bid_close, bar.ask_close, Basis.RECORDED) if bar else None

    def rate_market(self, pair: str, at: datetime) -> Market | None:
        """Return the prices that a conversion uses: of then, else the last before, else of now."""
        return self.last(pair, at) or self.now.get(pair)

    def between(self, pair: str, since: datetime, until: datetime) -> list[MinutePrices]:
        """Return the bars of the minutes that begin in [since, until)."""
        minutes = self._minutes.get(pair, [])
        found = self.bars.get(pair, ())[bisect_left(minutes, since) : bisect_left(minutes, until)]
        return [
            MinutePrices(
                bar.minute,
                (bar.bid_open, bar.bid_high, bar.bid_low, bar.bid_close),
                (bar.ask_open, bar.ask_high, bar.ask_low, bar.ask_close),
            )
            for bar in found
        ]

    def _before(self, pair: str, at: datetime) -> MinuteRow | None:
        place = bisect_right(self._minutes.get(pair, []), at - MINUTE)
        return self.bars[pair][place - 1] if place else None
