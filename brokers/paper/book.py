"""How the paper broker handles one order. Pure: no database, no clock, Decimals only.

The rules follow MetaTrader 5: buys execute at the ask and sells at the bid; levels are measured
from the price at which the position would be closed; a close on a hedging account names its
position, and a reduce-only order never opens the other side.
"""

from datetime import datetime, timedelta
from decimal import Decimal

from brokers.paper.book_state import ZERO, Account, BookOrder, ChangeSet, Deal, Listed, Lot, Market
from brokers.paper.margin import Refusal, refuse_money, to_cents
from brokers.types import OrderType, PositionMode, Side, TimeInForce
from common.money import divide
from common.reason_codes import Code

MILLION = Decimal(1_000_000)
IMMEDIATE = (TimeInForce.IOC, TimeInForce.FOK)


def place(account: Account, order: BookOrder, market: Market, changes: ChangeSet) -> list[Deal]:
    """Reject a new order, execute it or keep it working. Modifies account, order and changes.

    Returns its executions; `order.status` has the result.
    """
    changes.new_orders.append(order)
    if refusal := refuse(account, order, market):
        order.end("REJECTED", *refusal)
        return []
    if account.drops_levels:
        order.stop_loss = order.take_profit = None
    listed = market.by_symbol[order.symbol]
    order.watch = "STOP" if order.order_type is OrderType.STOP_LIMIT else order.order_type
    if order.time_in_force is TimeInForce.DAY:
        order.expires_at = day_end(order.time, listed)
    trigger(order, listed)
    if not is_reached(order, listed):
        if order.time_in_force in IMMEDIATE:
            order.end("EXPIRED", Code.NO_PRICE_WITHIN_LIMIT)
        return []
    return execute(account, order, market, order.time, changes)


def _last_price(listed: Listed) -> str:
    at = listed.quoted_at
    return "no price yet" if at is None else f"last price {at:%Y-%m-%d %H:%M:%S} UTC"


def refuse(account: Account, order: BookOrder, market: Market) -> Refusal | None:
    """Return why the broker rejects an order, or None. Margin is checked on execution."""
    if account.reject_code:
        known = account.reject_code in Code.__members__
        code = Code[account.reject_code] if known else Code.REJECTED_BY_BROKER
        return code, f"refused on demand: {account.reject_code}"
    if not account.trading_allowed:
        return Code.TRADING_DISABLED, f"account {account.number}"
    listed = market.by_symbol.get(order.symbol)
    if listed is None:
        return Code.UNKNOWN_SYMBOL_AT_BROKER, order.symbol
    if not listed.is_open(order.time):
        return Code.MARKET_CLOSED, _last_price(listed)
    if not order.reduce_only and (wrong := refuse_quantity(order.quantity, listed)):
        return wrong
    if order.order_type is OrderType.TRAILING_STOP:
        return Code.ORDER_TYPE_UNSUPPORTED, "the paper broker has no trailing stop"
    if order.order_type.has_limit_price and (order.limit_price or ZERO) <= 0:
        return Code.PRICE_INVALID, "a limit order needs a limit price"
    if order.order_type.has_stop_price and (order.stop_price or ZERO) <= 0:
        return Code.PRICE_INVALID, "a stop order needs a stop price"
    if wrong := refuse_expiry(order):
        return wrong
    if order.reduce_only:
        return None if closable(account, order) else (Code.NO_POSITION, "nothing to close")
    if order.stop_loss is not None or order.take_profit is not None:
        if not account.native_stops:
            return Code.STOPS_INVALID, "the account keeps no stops"
        return refuse_levels(
            order.side, closing_reference(order, listed), order.stop_loss, order.take_profit, listed
        )
    return None


def refuse_expiry(order: BookOrder) -> Refusal | None:
    """Return why a GTD order's expiry is refused: it has none, or it has passed."""
    if order.time_in_force is not TimeInForce.GTD:
        return None
    if order.order_type is OrderType.MARKET or order.expires_at is None:
        return Code.ORDER_TYPE_UNSUPPORTED, "GTD needs an expiry, and a price to wait for"
    if order.expires_at <= order.time:
        return Code.ORDER_TYPE_UNSUPPORTED, f"the expiry {order.expires_at} has passed"
    return None


def refuse_quantity(quantity: Decimal, listed: Listed) -> Refusal | None:
    """Return why a quantity (base units) cannot be opened: below, above or between the steps."""
    if quantity < listed.quantity_min or quantity > listed.quantity_max:
        return Code.VOLUME_INVALID, f"{listed.quantity_min} to {listed.quantity_max}"
    if quantity % listed.quantity_step:
        return Code.VOLUME_INVALID, f"steps of {listed.quantity_step}"
    return None


def closing_reference(order: BookOrder, listed: Listed) -> Decimal:
    """Return the price that levels are measured from: where the position could first be closed."""
    fills_now = is_reached(order, listed)
    if order.order_type is OrderType.STOP_LIMIT:
        fills_now = is_triggered(order, listed) and is_within_limit(order, listed)
    if fills_now:
        return listed.price(order.side.opposite)
    price = order.limit_price if order.order_type.has_limit_price else order.stop_price
    return price or ZERO


def refuse_levels(
    side: Side, reference: Decimal, stop: Decimal | None, target: Decimal | None, listed: Listed
) -> Refusal | None:
    """Return why levels are refused: on the wrong side, or nearer than the stops level."""
    sign = side.sign
    if stop is not None and (reference - stop) * sign <= 0:
        return Code.STOPS_INVALID, f"stop {stop} on the wrong side of {reference}"
    if target is not None and (target - reference) * sign <= 0:
        return Code.STOPS_INVALID, f"target {target} on the wrong side of {reference}"
    for level in (stop, target):
        if level is not None and abs(reference - level) < listed.stops_level:
            return Code.STOPS_INVALID, f"{level} nearer than {listed.stops_level} to {reference}"
    return None


def is_reached(order: BookOrder, listed: Listed) -> bool:
    """Whether the order can execute at the current price.

    A limit order at its price or better; a stop order at its price or beyond; a stop-limit order
    that was triggered as a limit order, before that never.
    """
    watch = order.watch or order.order_type
    if watch == "MARKET":
        return True
    if watch == "LIMIT":
        return is_within_limit(order, listed)
    return order.order_type is OrderType.STOP and is_triggered(order, listed)


def is_triggered(order: BookOrder, listed: Listed) -> bool:
    """Whether the current price is at the order's stop price or beyond it."""
    return (listed.price(order.side) - (order.stop_price or ZERO)) * order.side.sign >= 0


def is_within_limit(order: BookOrder, listed: Listed) -> bool:
    """Whether the current price is at the order's limit or better."""
    return (listed.price(order.side) - (order.limit_price or ZERO)) * order.side.sign <= 0


def trigger(order: BookOrder, listed: Listed) -> bool:
    """Turn a stop-limit order whose stop price is reached into a limit order.

    Returns whether it did.
    """
    waits = order.order_type is OrderType.STOP_LIMIT and order.watch == "STOP"
    if not waits or not is_triggered(order, listed):
        return False
    order.watch = "LIMIT"
    return True


def execute(
    account: Account, order: BookOrder, market: Market, now: datetime, changes: ChangeSet
) -> list[Deal]:
    """Execute a reached order at the current price, as far as one quote allows.

    An exit closes at most what is open. The order ends FILLED, or continues with the next quote
    (partial fills), or ends by its time in force or for lack of margin or of a position.
    """
    if any(lot.id == order.id and not lot.quantity for lot in account.lots.get(order.symbol, ())):
        order.end("CANCELLED", Code.NO_POSITION, "what it had opened was closed meanwhile")
        return []  # the remainder would reopen what a stop or the owner has closed
    price = market.by_symbol[order.symbol].price(order.side)
    maximum = account.partial_fill_max
    quantity = order.left if maximum is None else min(order.left, maximum)
    if order.time_in_force is TimeInForce.FOK and quantity < order.left:
        order.end("EXPIRED", Code.NO_PRICE_WITHIN_LIMIT)
        return []
    lots = closable(account, order)
    if not order.reduce_only and (refusal := refuse_money(account, order, quantity, lots, market)):
        order.end("REJECTED" if not order.filled else "CANCELLED", *refusal)
        return []
    deals = _close(account, order, lots, quantity, price, market, now, changes)
    rest = quantity - sum((deal.quantity for deal in deals), ZERO)
    if rest and not order.reduce_only:
        deals.append(_open(account, order, rest, price, market, now, changes))
    order.filled += sum((deal.quantity for deal in deals), ZERO)
    _settle(account, order, short=bool(rest) and order.reduce_only)
    return deals


def _settle(account: Account, order: BookOrder, *, short: bool) -> None:
    """Set an order's status after an execution. short: less was open than it was to close."""
    if not order.left:
        order.end("FILLED")
    elif short:
        order.end("CANCELLED", Code.NO_POSITION, "closed as much as was open")
    elif order.time_in_force in IMMEDIATE:
        order.end("EXPIRED", Code.NO_PRICE_WITHIN_LIMIT)
    elif order.watch == "STOP":
        order.watch = "MARKET"  # triggered: the remainder is a market order


def closable(account: Account, order: BookOrder) -> list[Lot]:
    """Return the open lots that an order may close, in the order in which it closes them.

    Hedging: the named position, or, for a reducing order that names none, the oldest first.
    Netting: all of the symbol's other side, a named entry's lot first, then the oldest.
    """
    if account.mode is PositionMode.HEDGING and not order.reduce_only:
        return []
    lots = [
        lot
        for lot in account.lots.get(order.symbol, ())
        if lot.quantity and lot.side is not order.side
    ]
    if order.closes is None:
        return lots
    if account.mode is PositionMode.HEDGING:
        return [lot for lot in lots if lot.id == order.closes]
    groups = {lot.position for lot in account.lots.get(order.symbol, ()) if lot.id == order.closes}
    named = [lot for lot in lots if lot.position in groups | {order.closes}]
    return sorted(named, key=lambda lot: lot.id != order.closes)


def _close(
    account: Account,
    order: BookOrder,
    lots: list[Lot],
    quantity: Decimal,
    price: Decimal,
    market: Market,
    now: datetime,
    changes: ChangeSet,
) -> list[Deal]:
    """Close up to `quantity` of the lots."""
    deals = []
    for lot in lots:
        if not quantity:
            break
        part = min(quantity, lot.quantity)
        deals.append(close_lot(account, order, lot, part, price, market, now, changes))
        quantity -= part
    return deals


def close_lot(
    account: Account,
    order: BookOrder,
    lot: Lot,
    quantity: Decimal,
    price: Decimal,
    market: Market,
    now: datetime,
    changes: ChangeSet,
) -> Deal:
    """Close `quantity` (at most what is open) of one lot and book the profit."""
    listed = market.by_symbol[lot.symbol]
    profit = (price - lot.price) * lot.side.sign * quantity
    profit = to_cents(profit * (market.rate(listed.quote, account.currency) or ZERO))
    account.exposure(lot.symbol).add(lot.side, -quantity, lot.price)
    lot.quantity -= quantity
    changes.touch(lot)
    return _book(account, order, lot, True, quantity, price, profit, market, now, changes)


def _open(
    account: Account,
    order: BookOrder,
    quantity: Decimal,
    price: Decimal,
    market: Market,
    now: datetime,
    changes: ChangeSet,
) -> Deal:
    """Open a lot, or add to the lot of the same order."""
    lots = account.lots.setdefault(order.symbol, [])
    account.exposure(order.symbol).add(order.side, quantity, price)
    for lot in lots:
        if lot.id == order.id:
            worth = lot.price * lot.quantity + price * quantity
            lot.quantity += quantity
            lot.price = divide(worth, lot.quantity)
            changes.touch(lot)
            return _book(account, order, lot, False, quantity, price, ZERO, market, now, changes)
    position = order.id
    if account.mode is PositionMode.NETTING:
        position = _join(lots, order, changes)
    lot = Lot(
        order.id, position, account.id, order.connection_id, order.client_order_id, order.symbol,
        order.side, quantity, price, order.stop_loss, order.take_profit, now,
    )  # fmt: skip
    lots.append(lot)
    changes.new_lots.append(lot)
    return _book(account, order, lot, False, quantity, price, ZERO, market, now, changes)


def _join(lots: list[Lot], order: BookOrder, changes: ChangeSet) -> int:
    """Return the netting position that a new lot joins; its levels are those of the latest entry
    that has any."""
    open_lots = [lot for lot in lots if lot.quantity]
    if order.stop_loss is None and order.take_profit is None and open_lots:
        order.stop_loss, order.take_profit = open_lots[0].stop_loss, open_lots[0].take_profit
    for lot in open_lots:
        if (lot.stop_loss, lot.take_profit) != (order.stop_loss, order.take_profit):
            lot.stop_loss, lot.take_profit = order.stop_loss, order.take_profit
            changes.touch(lot)
    return open_lots[0].position if open_lots else order.id


def _book(
    account: Account,
    order: BookOrder,
    lot: Lot,
    is_exit: bool,
    quantity: Decimal,
    price: Decimal,
    profit: Decimal,
    market: Market,
    now: datetime,
    changes: ChangeSet,
) -> Deal:
    """Record a deal and book its profit and commission."""
    commission = ZERO
    if account.commission_per_million:
        rate = market.rate(market.by_symbol[lot.symbol].quote, account.currency) or ZERO
        commission = to_cents(quantity * price * rate * account.commission_per_million / MILLION)
    if profit or commission:
        account.balance += profit - commission
        changes.changed_accounts.add(account.id)
    deal = Deal(
        next(changes.tickets), order, lot, is_exit, quantity, price, commission, profit, now
    )
    changes.deals.append(deal)
    return deal


def day_end(now: datetime, listed: Listed) -> datetime:
    """Return when a DAY order placed now expires: the next `day_ends`, UTC market time."""
    end = now.replace(
        hour=listed.day_ends.hour, minute=listed.day_ends.minute,
        second=listed.day_ends.second, microsecond=0,
    )  # fmt: skip
    return end if end > now else end + timedelta(days=1)
