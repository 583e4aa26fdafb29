"""Executes working orders and levels at new prices. Pure.

Every quote is processed in order: a stop is filled at the first price beyond it, at any distance,
and a level reached by one quote of a batch is executed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from brokers.paper.book import close_lot, execute, is_reached, trigger
from brokers.paper.book_state import Account, BookOrder, ChangeSet, Deal, Listed, Lot, Market
from brokers.types import CloseCause, OrderType, PositionMode, Quote, TimeInForce
from common.reason_codes import Code


@dataclass(slots=True)
class MonitoredRows:
    """Working orders and lots with levels that prices may touch, by id."""

    accounts: Mapping[int, Account]
    orders: dict[int, BookOrder] = field(default_factory=dict)
    lots: dict[int, Lot] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OrderOutcome:
    """An execution of an order, or its end, to be reported."""

    order: BookOrder
    deals: tuple[Deal, ...]
    ended: bool


def run(
    quotes: Sequence[Quote], symbols: Mapping[str, str], watched: MonitoredRows, market: Market,
    changes: ChangeSet,
) -> list[OrderOutcome]:  # fmt: skip
    """Set each quote as the current price and execute what it reaches. symbols: by canonical pair.

    Returns the outcomes, oldest first; modifies watched, market and changes.
    """
    outcomes: list[OrderOutcome] = []
    for quote in quotes:
        symbol = symbols[quote.symbol]
        market.set_price(symbol, quote.bid, quote.ask, quote.time)
        outcomes += expire(watched, quote.time, changes)
        listed = market.by_symbol[symbol]
        outcomes += _touch_levels(watched, listed, market, quote.time, changes)
        outcomes += _touch_orders(watched, symbol, market, quote.time, changes)
    return outcomes


def expire(watched: MonitoredRows, now: datetime, changes: ChangeSet) -> list[OrderOutcome]:
    """End the working orders that have expired."""
    over = [o for o in watched.orders.values() if o.expires_at is not None and o.expires_at <= now]
    for order in over:
        order.end("EXPIRED", Code.TIME_IN_FORCE_ENDED)
        changes.changed_orders[order.id] = order
        del watched.orders[order.id]
    return [OrderOutcome(order, (), True) for order in over]


def _touch_levels(
    watched: MonitoredRows, listed: Listed, market: Market, now: datetime, changes: ChangeSet
) -> list[OrderOutcome]:
    """Close the lots whose stop or target the current price has reached, at that price."""
    outcomes = []
    hit = [(lot, cause) for lot in watched.lots.values() if (cause := reached_level(lot, listed))]
    for lot, cause in hit:
        del watched.lots[lot.id]
        account = watched.accounts[lot.account]
        outcomes.append(broker_exit(account, lot, cause, lot.quantity, market, now, changes))
    return outcomes


def reached_level(lot: Lot, listed: Listed) -> CloseCause | None:
    """Return which level of an open lot the current price has reached; the stop comes first."""
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
    changes: ChangeSet,
) -> OrderOutcome:
    """Close `quantity` of a lot by an order of the broker or the owner, at the current price."""
    order = BookOrder(
        id=next(changes.tickets), account=account.id, connection_id=lot.connection_id,
        client_order_id="", symbol=lot.symbol, side=lot.side.opposite, order_type=OrderType.MARKET,
        time_in_force=TimeInForce.IOC, quantity=quantity, limit_price=None, stop_price=None,
        stop_loss=None, take_profit=None, reduce_only=True, closes=lot.position, time=now,
        cause=cause, entry=lot.id,
    )  # fmt: skip
    changes.new_orders.append(order)
    price = market.by_symbol[lot.symbol].price(order.side)
    deal = close_lot(account, order, lot, quantity, price, market, now, changes)
    order.filled = quantity
    order.end("FILLED")
    return OrderOutcome(order, (deal,), True)


def _touch_orders(
    watched: MonitoredRows, symbol: str, market: Market, now: datetime, changes: ChangeSet
) -> list[OrderOutcome]:
    """Execute the working orders that the current price reaches, oldest first."""
    outcomes = []
    listed = market.by_symbol[symbol]
    working = [o for o in watched.orders.values() if o.symbol == symbol]
    for order in working:
        if trigger(order, listed):
            changes.changed_orders[order.id] = order
    reached = [order for order in working if is_reached(order, listed)]
    for order in sorted(reached, key=lambda order: order.id):
        account = watched.accounts[order.account]
        lot_count = len(changes.new_lots)
        deals = execute(account, order, market, now, changes)
        changes.changed_orders[order.id] = order
        watched.lots.update({lot.id: lot for lot in changes.new_lots[lot_count:]})
        if account.mode is PositionMode.NETTING:  # a new entry may have changed all levels
            watched.lots.update({lot.id: lot for lot in account.lots[symbol]})
        ended = order.status != "WORKING"
        if ended:
            del watched.orders[order.id]
        outcomes.append(OrderOutcome(order, tuple(deals), ended))
    return outcomes
