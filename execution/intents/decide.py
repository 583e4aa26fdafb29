"""What becomes of one due order: an intent, a denial, an expiry, or a little patience. Pure.

A row carries the order with its connection, account, preset and subscription; the market what is
quoted and listed. Nothing here reads a database or a clock.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from brokers.messages import Capabilities, OrderType
from common.codes import Code
from common.money import plain
from common.shown import sentence
from execution.exits.safety import Needs, known_held, most, needs
from execution.intents import risk
from execution.intents.decisions import (
    ENTRY_WAITS,
    EXIT_CODES,
    ORDER_TYPES,
    SIDES,
    TIMES_IN_FORCE,
    Decision,
    Ended,
    Intent,
    Later,
    Market,
    touch_of,
)
from execution.intents.entries import sized
from execution.intents.sizing import Denial
from execution.models import Status
from positions.closable import is_dust, sellable
from prices.selectors import Conversion, conversion, pairs_between

QUOTE_MAX_AGE_SECONDS = 60
# A pair that nobody has needed is followed from its first signal on: its entry waits so long.
FIRST_PRICE_SECONDS = 10
ACCOUNT_MAX_AGE_SECONDS = 900
SHARED = "is certainly its own: others share what the broker holds"
# An exit that awaits a comparison ends after so long at the earliest, once one has been made.
COMPARISON_SECONDS = 30


def decide_exit(row: Any, market: Market, can: Capabilities) -> Decision:
    """An exit is never blocked by an entry limit, and never larger than what is still open.

    Where the broker would let it reverse the position, it waits until it cannot.
    """
    instrument = market.instruments.get((row.instrument_book, row.symbol))
    quote = market.quotes.get(row.data_connection_id, {}).get(row.pair)
    side = SIDES[row.side]
    position = market.exits[row.id]
    if position.quantity <= 0:
        return Ended(Denial(Code.NOTHING_TO_CLOSE), Status.CANCELLED)
    price = touch_of(quote, side) if quote else position.entry_price
    if sellable(position.quantity, price, instrument) <= 0:
        return _unsellable(row, position, instrument)
    if position.closable <= 0:
        return Later(Code.EXIT_AWAITS_OTHERS)  # if they do not, this one does
    waits_for = needs(can.exit_safety, position)
    if waits_for in (None, Needs.READ) and (
        decision := _too_little_held(row, position, price, instrument, can)
    ):
        return decision
    if waits_for:
        return Later(EXIT_CODES[waits_for], needs=waits_for)
    asked = min(row.quantity, most(can.exit_safety, position))
    quantity = sellable(asked, price, instrument)
    if quantity <= 0:
        least = instrument.close_min if instrument else None
        return Ended(Denial(Code.QUANTITY_BELOW_MINIMUM, asked, least), Status.CANCELLED)
    pip = instrument.pip if instrument else position.pip
    known = _conversion(row, market)
    rate = known.rate if known else position.conversion_rate
    return Intent(
        symbol=row.symbol,
        quantity=quantity,
        expected_price=price,
        pip=pip,
        rate=rate,
        detail=f"{plain(quantity)} at {plain(price)}",
    )


def _unsellable(row: Any, position: Any, instrument: Any) -> Ended:
    """End an exit of a position of which the exchange takes nothing: dust is then closed in the
    books (`exits/dust.py`), what is larger stays open and is held back until it can be sold."""
    dust = is_dust(position.quantity, position.opened_quantity, instrument.quantity_step)
    code = Code.DUST if dust else Code.EXIT_BELOW_MINIMUM
    detail = f"{plain(position.quantity)} {row.symbol} left"
    return Ended(Denial(code, detail=detail), Status.CANCELLED)


def _too_little_held(
    row: Any, position: Any, price: Decimal, instrument: Any, can: Capabilities
) -> Later | Ended | None:
    """What becomes of an exit whose broker holds nothing of the position that could be sold; None:
    it holds enough. A comparison may find that the position is gone. What is still held after that
    stays open and is held back until it can be sold; of nothing, the broker is read again. So it is
    where others share what is held: what was taken off for them may be this position's."""
    held = known_held(can.exit_safety, position)
    if held is None or sellable(held, price, instrument) > 0:
        return None
    if position.held_is_shared:
        detail = f"{plain(held)} of {plain(position.quantity)} {row.symbol} {SHARED}"
        return Later(Code.EXIT_AWAITS_COMPARISON, needs=Needs.READ, detail=detail)
    if held <= 0 or not position.is_read or (position.compared_for or 0) < COMPARISON_SECONDS:
        return Later(Code.EXIT_AWAITS_COMPARISON, needs=Needs.READ)
    detail = f"{plain(held)} of {plain(position.quantity)} {row.symbol} at the broker"
    return Ended(Denial(Code.EXIT_BELOW_MINIMUM, detail=detail), Status.CANCELLED)


def decide_entry(row: Any, market: Market, book: risk.Book, can: Capabilities) -> Decision:
    """Size an entry and pass it through the risk gate; an allowed one is added to the book."""
    signal = market.signals[row.signal_id]
    refusal = too_late(row, signal, market) or _cannot_trade(row, can)
    if refusal:
        return refusal
    instrument = find_instrument(row, market)
    if instrument is None:
        return Denial(Code.SYMBOL_NOT_AT_BROKER, detail=f"{row.pair} on {row.instrument_book}")
    quote = market.quotes.get(row.data_connection_id, {}).get(row.pair)
    known = _conversion(row, market, fresh_only=True)
    rate = known.rate if known else None
    if quote is None or quote.age > QUOTE_MAX_AGE_SECONDS or rate is None:
        lacks = lacks_price(row, market)
        assert lacks is not None  # the same three questions
        return _soon(row, signal, market) or lacks
    return sized(row, signal, instrument, quote, rate, book, can, market.margins.get(row.id))


def lacks_price(row: Any, market: Market) -> Denial | None:
    """Say why an entry cannot be priced, and in its source's own words why that tells nothing."""
    quote = market.quotes.get(row.data_connection_id, {}).get(row.pair)
    source = market.sources.get(row.data_connection_id)
    why = f" {source.name}: {_in_words(source)}" if source and source.error else ""
    if quote is None:
        return Denial(Code.QUOTE_MISSING, detail=f"{row.pair}{why}")
    if quote.age > QUOTE_MAX_AGE_SECONDS:
        age, most = Decimal(quote.age), Decimal(QUOTE_MAX_AGE_SECONDS)
        return Denial(Code.QUOTE_STALE, age, most, detail=why.strip())
    return _lacks_rate(row, market)


def _lacks_rate(row: Any, market: Market) -> Denial | None:
    """Why an entry's money cannot be converted: nothing joins the two, or nothing fresh does."""
    if _conversion(row, market, fresh_only=True) is not None:
        return None
    detail = f"{quote_currency(row.pair)} {row.currency}"
    stale = _conversion(row, market)
    if stale is None:
        return Denial(Code.NO_CONVERSION_RATE, detail=detail)
    quotes = market.quotes[row.data_connection_id]
    age = max(quotes[pair].age for pair in stale.pairs)
    said = f"{detail} by {', '.join(stale.pairs)}"
    limit = Decimal(QUOTE_MAX_AGE_SECONDS)
    return Denial(Code.CONVERSION_RATE_STALE, Decimal(age), limit, detail=said)


def _in_words(source: Any) -> str:
    """A broker's words may name its account: only its owner's accounts are told them."""
    return str(source.error) if source.is_own else sentence(source.error_code)


def _soon(row: Any, signal: Any, market: Market) -> Later | None:
    """A little patience where a broker has just been asked for a pair's first price."""
    source = market.sources.get(row.data_connection_id)
    if source is None or not source.is_live or _is_in_trouble(source, row.pair):
        return None
    age = (market.now - aged_from(row, signal)).total_seconds()
    return Later(Code.PRICE_AWAITED) if age < FIRST_PRICE_SECONDS else None


def _is_in_trouble(source: Any, pair: str) -> bool:
    """Whether a first price of a pair is not to be expected. That others are not listed by its
    broker is no trouble of one that is."""
    is_of_others = source.error_code == Code.UNKNOWN_SYMBOL_AT_BROKER and pair not in source.pairs
    return bool(source.error_code) and not is_of_others


def find_instrument(row: Any, market: Market) -> Any | None:
    """The subscription's own mapping first, then the pair's preferred symbol."""
    mapped = (row.symbol_map or {}).get(row.signal_pair)
    return market.instruments.get((row.instrument_book, mapped or row.pair))


def quote_currency(pair: str) -> str:
    """`EUR/USD` → `USD`."""
    return pair.rpartition("/")[2]


def too_late(row: Any, signal: Any, market: Market) -> Decision | None:
    """Return why an entry must not be sent any more, if so; of one that has waited, for what."""
    if signal.cancelled_at is not None:
        return Ended(Denial(Code.SIGNAL_CANCELLED), Status.CANCELLED)
    if signal.is_closed:  # an operator may try again what had failed before that
        return Ended(Denial(Code.CLOSED_BEFORE_SENT), Status.CANCELLED)
    if signal.valid_until is not None and signal.valid_until <= market.now:
        said = f"Valid until {signal.valid_until:%H:%M:%S}"
        return Ended(Denial(_waited_for(row) or Code.SIGNAL_EXPIRED, detail=said))
    if row.max_signal_age_seconds is None:
        return Denial(Code.NO_PRESET)
    age = Decimal(int((market.now - aged_from(row, signal)).total_seconds()))
    if age <= (most := oldest(row, market)):
        return None
    if (waited := _waited_for(row)) is None:
        return Denial(Code.SIGNAL_TOO_OLD, age, Decimal(most))
    said = f"The signal became older than {most} s while the order waited."
    return Denial(waited, age, Decimal(most), said)


def aged_from(row: Any, signal: Any) -> datetime:
    """From when an entry's age counts: its publication, or a person's last retry since."""
    since: datetime = row.retried_at or signal.published_at
    return since


def oldest(row: Any, market: Market) -> int:
    """How old its signal may be when an entry leaves, in market seconds."""
    most: int = row.max_signal_age_seconds
    return min(most, market.market_entry_seconds) if row.order_type == OrderType.MARKET else most


def seconds_left(row: Any, signal: Any, market: Market) -> float:
    """Market seconds until `too_late` ends it."""
    ends = aged_from(row, signal) + timedelta(seconds=oldest(row, market) + 1)
    if signal.valid_until is not None:
        ends = min(ends, signal.valid_until)
    left: float = (ends - market.now).total_seconds()
    return left


def _waited_for(row: Any) -> Code | None:
    return Code[row.reason] if row.reason in ENTRY_WAITS else None


def _cannot_trade(row: Any, can: Capabilities) -> Denial | None:
    """What changed since the fan-out, and what the account can never do."""
    if not row.is_active:
        return Denial(Code.CONNECTION_INACTIVE)
    if row.is_paused:
        return Denial(Code.CONNECTION_PAUSED)
    if row.data_connection_id is None:
        return Denial(Code.NO_DATA_CONNECTION)
    if row.equity is None:
        return Denial(Code.ACCOUNT_UNREAD)
    if row.account_age > ACCOUNT_MAX_AGE_SECONDS:
        return Denial(
            Code.ACCOUNT_STALE, Decimal(row.account_age), Decimal(ACCOUNT_MAX_AGE_SECONDS)
        )
    if ORDER_TYPES[row.order_type] not in can.order_types:
        return Denial(Code.ORDER_TYPE_UNSUPPORTED, detail=row.order_type)
    if TIMES_IN_FORCE[row.time_in_force] not in can.times_in_force:
        return Denial(Code.ORDER_TYPE_UNSUPPORTED, detail=row.time_in_force)
    return None


def _conversion(row: Any, market: Market, *, fresh_only: bool = False) -> Conversion | None:
    """Account currency for one of the pair's quote currency. fresh_only: as for a pair's own price,
    no quote that is too old counts."""
    if row.currency is None:
        return None
    quotes = market.quotes.get(row.data_connection_id, {})
    found = conversion(quotes, quote_currency(row.pair), row.currency)
    if not fresh_only or found is None or _is_fresh(found, quotes):
        return found
    fresh = {pair: quote for pair, quote in quotes.items() if quote.age <= QUOTE_MAX_AGE_SECONDS}
    return conversion(fresh, quote_currency(row.pair), row.currency)


def _is_fresh(found: Conversion, quotes: Mapping[str, Any]) -> bool:
    return all(quotes[pair].age <= QUOTE_MAX_AGE_SECONDS for pair in found.pairs)


def pairs_priced(pending: Iterable[Any]) -> list[str]:
    """Return the pairs whose prices these orders are decided by: their own, and what converts."""
    found: set[str] = set()
    for pair, currency in {(row.pair, row.currency) for row in pending}:
        found.add(pair)
        found.update(pairs_between(quote_currency(pair), currency) if currency else ())
    return sorted(found)
