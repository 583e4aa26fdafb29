"""Markets and prices of entries, once for all entries of a bundle that have the same. Pure.

A signal reaches hundreds of accounts with a few presets, price sources and brokers. What an entry
is priced by does not depend on what its account has, so most of them have the same prices, and the
same limits of a price are checked.
"""

from decimal import Decimal
from typing import NamedTuple

from brokers.account_capabilities import Capabilities
from execution.submission.entry_prices import EntryMarket, EntryPrices, PricedEntry, price_entry
from execution.submission.limit_lists import Subject
from execution.submission.limits import PRICE
from execution.submission.outcomes import Deferred, EvaluationContext
from execution.submission.quotes import market_of
from execution.submission.rows import InstrumentRow, OrderRow, SignalRow
from execution.submission.sizing import Denial


class MarketTerms(NamedTuple):
    """What the market of an entry depends on."""

    data_connection_id: int | None
    currency: str | None
    pair: str
    book: str
    symbol: str


class PriceTerms(NamedTuple):
    """What the prices of an entry, and the limits of a price, depend on beside its market.

    What these read of an `OrderRow` is here, or is one of its terms, which belong to the preset and
    the subscription: tests/execution/submission/test_shared_prices.py compares them.
    """

    signal_id: int | None
    pair: str
    side: str
    order_type: str
    limit_price: Decimal | None
    stop_price: Decimal | None
    own_stop_loss: Decimal | None
    own_take_profit: Decimal | None
    position_mode: str
    oco_fired: bool
    preset_id: int
    limiting_subscription_id: int | None


class _Priced(NamedTuple):
    market: EntryMarket
    capabilities: Capabilities
    at: EntryPrices


class SharedPrices:
    """What the entries of one bundle are priced by. Only what no limit stops is shared."""

    def __init__(self) -> None:
        """Begin without any."""
        self._markets: dict[MarketTerms, EntryMarket] = {}
        self._priced: dict[PriceTerms, _Priced] = {}

    def market_of(
        self,
        row: OrderRow,
        signal: SignalRow,
        instrument: InstrumentRow,
        context: EvaluationContext,
    ) -> EntryMarket | Denial | Deferred:
        """Return the market that an entry is priced by, or why it has none."""
        terms = MarketTerms(
            row.data_connection_id, row.currency, row.pair, instrument.book, instrument.symbol
        )
        if (known := self._markets.get(terms)) is not None:
            return known
        market = market_of(row, signal, instrument, context)
        if isinstance(market, EntryMarket):
            self._markets[terms] = market
        return market

    def priced(
        self, row: OrderRow, signal: SignalRow, market: EntryMarket, capabilities: Capabilities
    ) -> PricedEntry | Denial | Deferred:
        """Return a new entry with its prices, or why a limit of a price stops it."""
        if row.preset_id is None:
            return _priced(row, signal, market, capabilities)
        terms = PriceTerms(
            row.signal_id, row.pair, row.side, row.order_type, row.limit_price, row.stop_price,
            row.own_stop_loss, row.own_take_profit, row.position_mode, row.oco_fired,
            row.preset_id, row.limiting_subscription_id,
        )  # fmt: skip
        known = self._priced.get(terms)
        if known is not None and known.market is market and known.capabilities is capabilities:
            return PricedEntry(row, signal, market, capabilities, known.at)
        entry = _priced(row, signal, market, capabilities)
        # Not what goes out as another type than its row has: the row in the entry is changed.
        if isinstance(entry, PricedEntry) and entry.row is row:
            self._priced[terms] = _Priced(market, capabilities, entry.at)
        return entry


def _priced(
    row: OrderRow, signal: SignalRow, market: EntryMarket, capabilities: Capabilities
) -> PricedEntry | Denial | Deferred:
    entry = price_entry(row, signal, market, capabilities)
    return PRICE.first_broken(Subject.ENTRY, entry) or entry
