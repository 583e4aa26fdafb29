"""What new prices do to resting orders and to the levels of positions. Pure.

Every quote is looked at, in order: a stop is filled at the first price beyond it, however far that
is, and a level that was touched between two others is not missed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from brokers.paper.book import close_lot, execute, is_reached
from brokers.paper.book_state import Account, ChangeSet, Deal, Listed, Lot, Market, Ticket
from brokers.types import CloseCause, OrderType, PositionMode, Quote, TimeInForce
from common.reason_codes import Code


@dataclass(slots=True)
class TouchedRows:
    """What prices may touch: working orders and lots with levels, by id."""

    accounts: Mapping[int, Account]
    orders: dict[int, Ticket] = field(default_factory=dict)
    lots: dict[int, Lot] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OrderOutcome:
    """What the broker reports of an order: that it executed some of it, or that the order ended."""

    order: Ticket
    deals: tuple[Deal, ...]
    ended: bool


def run(
    quotes: Sequence[Quote], symbols: Mapping[str, str], watched: TouchedRows, market: Market,
    ledger: ChangeSet,
) -> list[OrderOutcome]:  # fmt: skip
    """Put each quote in force and let it do what it does. symbols: by canonical pair.

    Returns what happened, oldest first; changes what is watched, the market and the ledger.
    """
    outcomes: list[OrderOutcome] = []
    for quote in quotes:
        symbol = symbols[quote.symbol]
        market.set_price(symbol, quote.bid, quote.ask, quote.time)
        outcomes += expire(watched, quote.time, ledger)
        listed = market.by_symbol[symbol]
        outcomes += _touch_levels(watched, listed, market, quote.time, ledger)
        outcomes += _touch_orders(watched, symbol, market, quote.time, ledger)
    return outcomes


def expire(watched: TouchedRows, now: datetime, ledger: ChangeSet) -> list[OrderOutcome]:
    """End the working orders whose day is over."""
    over = [o for o in watched.orders.values() if o.expires_at is not None and o.expires_at <= now]
    for order in over:
        order.end("EXPIRED", Code.TIME_IN_FORCE_ENDED)
        ledger.changed_orders[order.id] = order
        del watched.orders[order.id]
    return [OrderOutcome(order, (), True) for order in over]


def _touch_levels(
    watched: TouchedRows, listed: Listed, market: Market, now: datetime, ledger: ChangeSet
) -> list[OrderOutcome]:
    """Close the lots whose stop or target the price in force has reached, at that price."""
    outcomes = []
    hit = [(lot, cause) for lot in watched.lots.values() if (cause := touched(lot, listed))]
    for lot, cause in hit:
        del watched.lots[lot.id]
        account = watched.accounts[lot.account]
        outcomes.append(broker_exit(account, lot, cause, lot.quantity, market, now, ledger))
    return outcomes


def touched(lot: Lot, listed: Listed) -> CloseCause | None:
    """Return which level of an open lot the price in force has reached; the stop goes first."""
    if not lot.quantity or lot.symbol != listed.symbol:
        return None
    price, sign = listed.price(lot.side.opposite), lot.side.sign
    if lot.stop_loss is not None and (price - lot.stop_loss) * sign <= 0:
        return CloseCause.STOP_LOSS
    if lot.take_profit is not None and (price - lot.take_profit) * sign >= 0:
        return CloseCause.TAKE_PROFIT
    return None


def broker_exit(
    account: Account,
    lot: Lot,
    cause: CloseCause,
    quantity: Decimal,
    market: Market,
    now: datetime,
    ledger: ChangeSet,
) -> OrderOutcome:
    """Close `quantity` of a lot by the broker's or the owner's own order, at the price in force."""
    order = Ticket(
        id=next(ledger.tickets), account=account.id, connection_id=lot.connection_id,
        client_order_id="", symbol=lot.symbol, side=lot.side.opposite, order_type=OrderType.MARKET,
        time_in_force=TimeInForce.IOC, quantity=quantity, limit_price=None, stop_price=None,
        stop_loss=None, take_profit=None, reduce_only=True, closes=lot.position, time=now,
        cause=cause, entry=lot.id,
    )  # fmt: skip
    ledger.new_orders.append(order)
    price = market.by_symbol[lot.symbol].price(order.side)
    deal = close_lot(account, order, lot, quantity, price, market, now, ledger)
    order.filled = quantity
    order.end("FILLED")
    return OrderOutcome(order, (deal,), True)


def _touch_orders(
    watched: TouchedRows, symbol: str, market: Market, now: datetime, ledger: ChangeSet
) -> list[OrderOutcome]:
    """Execute the working orders that the price in force reaches, oldest first."""
    outcomes = []
    listed = market.by_symbol[symbol]
    reached = [o for o in watched.orders.values() if o.symbol == symbol and is_reached(o, listed)]
    for order in sorted(reached, key=lambda one: one.id):
        account = watched.accounts[order.account]
        seen = len(ledger.new_lots)
        deals = execute(account, order, market, now, ledger)
        ledger.changed_orders[order.id] = order
        watched.lots.update({lot.id: lot for lot in ledger.new_lots[seen:]})
        if account.mode is PositionMode.NETTING:  # the new entry may have moved the levels of all
            watched.lots.update({lot.id: lot for lot in account.lots[symbol]})
        ended = order.status != "WORKING"
        if ended:
            del watched.orders[order.id]
        outcomes.append(OrderOutcome(order, tuple(deals), ended))
    return outcomes
