"""Convert our requests to the terminal's. Pure."""

from decimal import Decimal
from typing import Any

from brokers import price_rounding
from brokers.base import Rejected
from brokers.mt5.constants import Action, Filling, Lifetime, OrderKind
from brokers.mt5.lots import Lots
from brokers.mt5.order_ids import comment_of
from brokers.mt5.parse import KINDS
from brokers.types import ChangeRequest, OrderRequest, OrderType, PositionMode, TimeInForce
from brokers.worst_price import is_worse_than
from common.reason_codes import Code

ANY_PRICE = 10_000  # points: deviation of an order without a price limit


def market_or_pending_order(
    request: OrderRequest,
    lots: Lots,
    *,
    magic: int,
    price: float,
    position: int,
    expires: int = 0,
) -> dict[str, Any]:
    """Return the request of an order. price: the current one, for a market order; position: the
    ticket that it closes, or 0; expires: the end of a GTD order, in the server's time. Raises
    Rejected for what the symbol does not allow."""
    if (kind := KINDS.get((request.side, request.order_type))) is None:
        raise Rejected(Code.ORDER_TYPE_UNSUPPORTED, f"{request.order_type} on {request.symbol}")
    fields: dict[str, Any] = {
        "symbol": request.symbol,
        "volume": lots.of(request.quantity, is_exit=request.reduce_only or bool(position)),
        "type": int(kind),
        "magic": magic,
        "comment": comment_of(request.client_order_id),
        **_levels(request, lots),
    }
    if position:
        fields["position"] = position
    if request.order_type is OrderType.MARKET:
        _require_within_worst_price(request, price)
        if request.worst_price is not None and (filling := lots.bounded_filling()) is not None:
            return fields | _limit_at_worst_price(request, lots, filling, price)
        return fields | {
            "action": int(Action.DEAL),
            "price": price,
            "deviation": _deviation(request, lots, price),
            "type_time": int(Lifetime.GTC),
            "type_filling": int(lots.filling(request.time_in_force)),
        }
    if not lots.may_work(request.order_type, request.time_in_force):
        raise Rejected(Code.ORDER_TYPE_UNSUPPORTED, f"{request.time_in_force} on {request.symbol}")
    if not lots.allows(request.order_type):
        raise Rejected(Code.ORDER_TYPE_UNSUPPORTED, f"{request.order_type} on {request.symbol}")
    return fields | {
        "action": int(Action.PENDING),
        **_prices(request, lots),
        **_lifetime(request, expires),
        "type_filling": int(Filling.RETURN),  # pending orders: whatever the execution mode
    }


def _prices(request: OrderRequest, lots: Lots) -> dict[str, float]:
    """Return the price of a pending order; of a stop-limit order also that of its limit order,
    which the server places when the market reaches `price`. Raises Rejected."""
    is_limit = request.order_type is OrderType.LIMIT
    named = request.limit_price if is_limit else request.stop_price
    rounding = OrderType.LIMIT if is_limit else OrderType.STOP
    prices = {"price": lots.price(named, request.side, rounding)}
    if request.order_type is OrderType.STOP_LIMIT:
        prices["stoplimit"] = lots.price(request.limit_price, request.side, OrderType.LIMIT)
    if 0.0 in prices.values():
        raise Rejected(Code.PRICE_INVALID, f"{request.order_type} without a price")
    return prices


def _lifetime(request: OrderRequest, expires: int) -> dict[str, int]:
    """Return how long a pending order works. Raises Rejected for GTD without an end."""
    if request.time_in_force is TimeInForce.DAY:
        return {"type_time": int(Lifetime.DAY)}
    if request.time_in_force is not TimeInForce.GTD:
        return {"type_time": int(Lifetime.GTC)}
    if not expires:
        raise Rejected(Code.ORDER_TYPE_UNSUPPORTED, "GTD needs an expiry")
    return {"type_time": int(Lifetime.SPECIFIED), "expiration": expires}


def uses_position_ticket(request: OrderRequest, mode: PositionMode) -> bool:
    """Whether the order is sent with the ticket of the position that it closes.

    Raises Rejected for an exit on a hedging account without one: it would open a new position.
    """
    if mode is not PositionMode.HEDGING:
        return False
    if request.reduce_only and not request.broker_position_id:
        raise Rejected(Code.NO_POSITION, "an exit needs the position's ticket")
    return bool(request.broker_position_id)


def position_levels(
    *, ticket: int, symbol: str, stop_loss: float, take_profit: float
) -> dict[str, Any]:
    """Return the request that sets stop and target of a position; 0.0 removes one."""
    return {
        "action": int(Action.SLTP), "position": ticket, "symbol": symbol,
        "sl": stop_loss, "tp": take_profit,
    }  # fmt: skip


def order_levels(order: Any, *, stop_loss: float, take_profit: float) -> dict[str, Any]:
    """Return the request that sets stop and target of a working entry, and keeps all else."""
    fields = {
        "action": int(Action.MODIFY), "order": order.ticket, "symbol": order.symbol,
        "price": order.price_open, "sl": stop_loss, "tp": take_profit,
        "type_time": order.type_time, "expiration": order.time_expiration,
    }  # fmt: skip
    is_stop_limit = order.type in (OrderKind.BUY_STOP_LIMIT, OrderKind.SELL_STOP_LIMIT)
    return fields | ({"stoplimit": order.price_stoplimit} if is_stop_limit else {})


def order_prices(order: Any, request: ChangeRequest, lots: Lots) -> dict[str, Any]:
    """Return the request that sets the prices of a working order, and keeps all else.

    Raises Rejected for a type without the price."""
    terms, side = request.terms, request.side
    fields = order_levels(order, stop_loss=order.sl, take_profit=order.tp)
    if request.order_type is OrderType.LIMIT:
        fields["price"] = lots.price(terms.limit_price, side, OrderType.LIMIT)
    else:
        fields["price"] = lots.price(terms.stop_price, side, OrderType.STOP)
    if "stoplimit" in fields:
        fields["stoplimit"] = lots.price(terms.limit_price, side, OrderType.LIMIT)
    if not (fields["price"] and fields.get("stoplimit", 1.0)):
        raise Rejected(Code.PRICE_INVALID, f"{request.order_type} without a price")
    return fields


def removal(ticket: int) -> dict[str, Any]:
    """Return the request that cancels a pending order."""
    return {"action": int(Action.REMOVE), "order": ticket}


def _levels(request: OrderRequest, lots: Lots) -> dict[str, float]:
    levels = {"sl": request.stop_loss, "tp": request.take_profit}
    encoded = {name: lots.level(price, request.side) for name, price in levels.items()}
    return {name: price for name, price in encoded.items() if price}


def _require_within_worst_price(request: OrderRequest, price: float) -> None:
    """Raise Rejected if the price is already worse than a market order's worst price.

    With market execution nothing more is possible: the server reads no limit for the fill."""
    worst = request.worst_price
    if worst is not None and is_worse_than(Decimal(repr(price)), worst, request.side):
        detail = f"the price is {price}, and the worst allowed is {worst:f}"
        raise Rejected(Code.SLIPPAGE_LIMIT, detail)


def _limit_at_worst_price(
    request: OrderRequest, lots: Lots, filling: Filling, price: float
) -> dict[str, Any]:
    """Return a market order as a limit order at its worst price, which fills at once or ends."""
    limit = _bound_before_target(request, lots, Decimal(repr(price)))
    return {
        "action": int(Action.PENDING),
        "type": int(KINDS[request.side, OrderType.LIMIT]),
        "price": lots.price(limit, request.side, OrderType.LIMIT),
        "type_time": int(Lifetime.GTC),
        "type_filling": int(filling),
    }


def _bound_before_target(request: OrderRequest, lots: Lots, price: Decimal) -> Decimal | None:
    """Return the worst price, or the last price before the target if that is nearer.

    The server compares levels with a limit order's own price, and an entry beyond its target makes
    no sense. If the target is too near the current price, the server rejects the order."""
    worst, target, sign = request.worst_price, request.take_profit, request.side.sign
    if worst is None or target is None:
        return worst
    nearest = (
        price_rounding.round_level_price(target, lots.tick, request.side)
        - lots.stops_distance * sign
    )
    last = price_rounding.round_entry_price(nearest, lots.tick, request.side, OrderType.LIMIT)
    return (
        last if is_worse_than(worst, last, request.side) and (last - price) * sign >= 0 else worst
    )


def _deviation(request: OrderRequest, lots: Lots, price: float) -> int:
    """Return the maximum deviation from the current price, in points. Only servers with request or
    instant execution use it (`Lots.keeps_deviation`)."""
    if request.worst_price is None or not lots.keeps_deviation():
        return ANY_PRICE
    return lots.points((request.worst_price - Decimal(repr(price))) * request.side.sign)
