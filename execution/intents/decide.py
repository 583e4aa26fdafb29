"""What becomes of one due order: an intent, a denial, an expiry, or a little patience. Pure.

A row carries the order with its connection, account, preset and subscription; the market what is
quoted and listed. Nothing here reads a database or a clock.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from functools import cache
from typing import Any

from brokers import ticks
from brokers.messages import Capabilities, ExitSafety, OrderType, PositionMode, Side, TimeInForce
from common.codes import Code
from common.money import plain
from common.shown import sentence
from connections.faring import only_waits
from execution.exits.safety import Needs, most, needs
from execution.intents import risk, sizing
from execution.intents.sizing import Denial
from execution.models import Status
from prices.selectors import conversion_rate, pairs_between

QUOTE_MAX_AGE_SECONDS = 60
# A pair that nobody has needed is followed from its first signal on: its entry waits so long.
FIRST_PRICE_SECONDS = 10
ACCOUNT_MAX_AGE_SECONDS = 900
# What a row's texts stand for: a look-up costs a tenth of the enum's own conversion.
SIDES = {side.value: side for side in Side}
ORDER_TYPES = {kind.value: kind for kind in OrderType}
TIMES_IN_FORCE = {time.value: time for time in TimeInForce}


@dataclass(frozen=True, slots=True)
class Market:
    """What a bundle is judged against, loaded once for all of it."""

    signals: Mapping[int, Any]
    instruments: Mapping[tuple[str, str], Any]  # by (book, pair) and by (book, symbol)
    quotes: Mapping[int, Mapping[str, Any]]  # by data connection, then by pair
    exits: Mapping[int, Any]  # what each exit's position has left for it, by order
    now: datetime  # market clock
    # Price sources by id; loaded only where an entry of the bundle lacks a price.
    sources: Mapping[int, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Intent:
    """The exact request, as it will go out. Prices: quote currency; margin, risk: account's."""

    symbol: str
    quantity: Decimal
    expected_price: Decimal
    pip: Decimal
    rate: Decimal
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    stop_loss: Decimal | None = None
    take_profit: Decimal | None = None
    margin: Decimal | None = None
    risk: Decimal | None = None
    max_slippage: Decimal | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Ended:
    """It must not be sent any more, and nobody refused it: time or events have overtaken it."""

    denial: Denial
    status: Status = Status.EXPIRED


@dataclass(frozen=True, slots=True)
class Later:
    """Not now: somebody else's answer comes first. code and detail: why, where its owner should
    read it; needs: what an exit waits for."""

    code: Code | None = None
    needs: Needs | None = None
    detail: str = ""


Decision = Intent | Denial | Ended | Later


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
    if position.closable <= 0:
        return Later()  # others are closing all of it; if they do not, this one does
    if waits_for := needs(can.exit_safety, position):
        return Later(needs=waits_for)
    quantity = min(row.quantity, most(can.exit_safety, position))
    price = _touch(quote, side) if quote else position.entry_price
    pip = instrument.pip if instrument else position.pip
    rate = _rate(row, market) or position.conversion_rate
    return Intent(
        symbol=row.symbol,
        quantity=quantity,
        expected_price=price,
        pip=pip,
        rate=rate,
        detail=f"{plain(quantity)} at {plain(price)}",
    )


def decide_entry(row: Any, market: Market, book: risk.Book, can: Capabilities) -> Decision:
    """Size an entry and pass it through the risk gate; an allowed one is added to the book."""
    signal = market.signals[row.signal_id]
    refusal = too_late(row, signal, market.now) or _cannot_trade(row, can)
    if refusal:
        return refusal
    instrument = find_instrument(row, market)
    if instrument is None:
        return Denial(Code.SYMBOL_NOT_AT_BROKER, detail=f"{row.pair} on {row.instrument_book}")
    quote = market.quotes.get(row.data_connection_id, {}).get(row.pair)
    rate = _rate(row, market)
    if quote is None or quote.age > QUOTE_MAX_AGE_SECONDS or rate is None:
        lacks = lacks_price(row, market)
        assert lacks is not None  # the same three questions
        return _soon(row, signal, market) or lacks
    return _sized(row, signal, instrument, quote, rate, book, can)


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
    if _rate(row, market) is None:
        detail = f"{quote_currency(row.pair)} {row.currency}"
        return Denial(Code.NO_CONVERSION_RATE, detail=detail)
    return None


def _in_words(source: Any) -> str:
    """A broker's words may name its account: only its owner's accounts are told them."""
    return str(source.error) if source.is_own else sentence(source.error_code)


def _soon(row: Any, signal: Any, market: Market) -> Later | None:
    """A little patience where a broker has just been asked for a pair's first price."""
    source = market.sources.get(row.data_connection_id)
    if source is None or not source.is_live or (source.error and not only_waits(source)):
        return None
    age = (market.now - signal.published_at).total_seconds()
    return Later() if age < FIRST_PRICE_SECONDS else None


def find_instrument(row: Any, market: Market) -> Any | None:
    """The subscription's own mapping first, then the pair's preferred symbol."""
    mapped = (row.symbol_map or {}).get(row.pair)
    return market.instruments.get((row.instrument_book, mapped or row.pair))


def quote_currency(pair: str) -> str:
    """`EUR/USD` → `USD`."""
    return pair.rpartition("/")[2]


def too_late(row: Any, signal: Any, now: datetime) -> Decision | None:
    """Return why an entry must not be sent any more at market time `now`, if so."""
    if signal.cancelled_at is not None:
        return Ended(Denial(Code.SIGNAL_CANCELLED), Status.CANCELLED)
    if signal.is_closed:  # an operator may try again what had failed before that
        return Ended(Denial(Code.CLOSED_BEFORE_SENT), Status.CANCELLED)
    if signal.valid_until is not None and signal.valid_until <= now:
        return Ended(
            Denial(Code.SIGNAL_EXPIRED, detail=f"Valid until {signal.valid_until:%H:%M:%S}")
        )
    if row.max_signal_age_seconds is None:
        return Denial(Code.NO_PRESET)
    age = Decimal(int((now - signal.published_at).total_seconds()))
    if age > row.max_signal_age_seconds:
        return Denial(Code.SIGNAL_TOO_OLD, age, Decimal(row.max_signal_age_seconds))
    return None


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


def _sized(
    row: Any,
    signal: Any,
    instrument: Any,
    quote: Any,
    rate: Decimal,
    book: risk.Book,
    can: Capabilities,
) -> Decision:
    side = SIDES[row.side]
    tick = _quantum(instrument.digits)
    limit = row.limit_price and ticks.entry(row.limit_price, tick, side, OrderType.LIMIT)
    stop = row.stop_price and ticks.entry(row.stop_price, tick, side, OrderType.STOP)
    sl = signal.sl and ticks.level(signal.sl, tick, side)
    touch = _touch(quote, side)
    entry = stop or limit or touch
    refusal = _price_refused(row, signal, instrument, side, touch, entry, sl)
    if refusal:
        return refusal
    loss = None if sl is None else sizing.loss_per_unit(entry, sl, side.sign, rate)
    if loss is not None and loss <= 0:
        return Denial(Code.STOP_AT_ENTRY, entry, sl)
    quantity = sizing.size(
        sizing=_sizing_of(row, signal),
        balance=row.balance,
        equity=row.equity,
        price=entry,
        rate=rate,
        stop_loss_per_unit=loss,
        steps=sizing.Steps(
            instrument.quantity_min, instrument.quantity_step, instrument.quantity_max
        ),
    )
    if isinstance(quantity, Denial):
        return quantity
    notional = quantity * entry * rate
    margin = risk.margin_of(notional, row.leverage, instrument.margin_rate)
    at_risk = margin if loss is None else loss * quantity
    wanted = risk.Entry(quantity, notional, margin, at_risk)
    if row.position_mode == PositionMode.NETTING and (row.pair, side.opposite) in book.sides:
        return Denial(Code.NETTING_OPPOSITE, detail=row.pair)
    if denial := risk.check(wanted, book, _limits_of(row), _funds_of(row)):
        return denial
    book.add(wanted)
    book.sides.add((row.pair, side))
    held_sl, held_tp = levels_at_broker(row, signal, instrument.digits, can)
    return Intent(
        symbol=instrument.symbol,
        quantity=quantity,
        expected_price=entry,
        pip=instrument.pip,
        rate=rate,
        limit_price=limit,
        stop_price=stop,
        stop_loss=held_sl,
        take_profit=held_tp,
        margin=margin,
        risk=at_risk,
        max_slippage=_max_slippage(row, signal, instrument.pip),
        detail=f"{plain(quantity)} at {plain(entry)}",
    )


def _price_refused(
    row: Any,
    signal: Any,
    instrument: Any,
    side: Side,
    touch: Decimal,
    entry: Decimal,
    sl: Decimal | None,
) -> Denial | None:
    """The market has run too far from the signal, or a level stands too near."""
    allowed = _max_slippage(row, signal, instrument.pip)
    if row.order_type == OrderType.MARKET and signal.open_price and allowed is not None:
        moved = (touch - signal.open_price) * side.sign
        if moved > allowed:
            return Denial(
                Code.SLIPPAGE_LIMIT,
                (moved / instrument.pip).quantize(Decimal("0.1")),
                (allowed / instrument.pip).quantize(Decimal("0.1")),
                "pips",
            )
    for target in signal.target_prices:
        if (target - entry) * side.sign <= 0:  # the market has passed it already
            return Denial(Code.TARGET_WRONG_SIDE, entry, target)
    for level in (sl, *signal.target_prices):
        if level is not None and abs(entry - level) < instrument.stops_level:
            return Denial(Code.STOP_TOO_NEAR, abs(entry - level), instrument.stops_level)
    return None


def levels_at_broker(
    row: Any, signal: Any, digits: int, can: Capabilities
) -> tuple[Decimal | None, Decimal | None]:
    """Which levels go out with the entry: the broker guards those, we watch the others.

    A broker holds one target for all of a position, so several targets are ours to watch. Where
    positions are netted and levels belong to the position, one signal's stop would close all the
    others too (docs/adr/0011): they are ours to watch as well.
    """
    if not (can.native_stops and row.broker_holds_stops):
        return None, None
    if row.position_mode == PositionMode.NETTING and can.exit_safety is ExitSafety.TICKET:
        return None, None
    single = len(signal.target_prices) == 1 and signal.target_fractions[0] == 1
    target = signal.target_prices[0] if single else None
    tick, side = _quantum(digits), SIDES[row.side]
    levels = (one and ticks.level(one, tick, side) for one in (signal.sl, target))
    return next(levels), next(levels)


def _max_slippage(row: Any, signal: Any, pip: Decimal) -> Decimal | None:
    """The tighter of the signal's and the preset's limit, as a distance in price."""
    limits = [x for x in (signal.max_slippage_pips, row.max_slippage_pips) if x is not None]
    return min(limits) * pip if limits else None


def _sizing_of(row: Any, signal: Any) -> sizing.Sizing:
    return sizing.Sizing(
        mode=row.sizing_mode,
        fixed_quantity=row.fixed_quantity,
        percent_of_balance=row.percent_of_balance,
        fixed_amount=row.fixed_amount,
        risk_percent=row.risk_percent,
        multiplier=sizing.multiplier_of(row, signal.risk_category, row.subscription_multiplier),
    )


def _limits_of(row: Any) -> risk.Limits:
    return risk.Limits(
        row.max_quantity, row.max_open_positions, row.max_leverage, row.max_portfolio_risk_percent
    )


def _funds_of(row: Any) -> risk.Funds:
    return risk.Funds(row.equity, row.free_margin, row.leverage)


def _rate(row: Any, market: Market) -> Decimal | None:
    """Account currency for one of the pair's quote currency."""
    if row.currency is None:
        return None
    quotes = market.quotes.get(row.data_connection_id, {})
    return conversion_rate(quotes, quote_currency(row.pair), row.currency)


def pairs_priced(pending: Iterable[Any]) -> list[str]:
    """Return the pairs whose prices these orders are decided by: their own, and what converts."""
    found: set[str] = set()
    for pair, currency in {(row.pair, row.currency) for row in pending}:
        found.add(pair)
        found.update(pairs_between(quote_currency(pair), currency) if currency else ())
    return sorted(found)


def _touch(quote: Any, side: Side) -> Decimal:
    """The price that a market order of this side meets: ask for a buy, bid for a sell."""
    price: Decimal = quote.ask if side is Side.BUY else quote.bid
    return price


@cache
def _quantum(digits: int) -> Decimal:
    return Decimal(1).scaleb(-digits)
