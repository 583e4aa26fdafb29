"""Convert our orders to IBKR's. Pure. Numbers are sent as text, so that they stay exact."""

from collections.abc import Mapping
from datetime import UTC
from decimal import Decimal
from typing import Any

from ib_async import order as ib_order
from ib_async.contract import Contract

from brokers import price_rounding
from brokers.base import Rejected
from brokers.ibkr.contracts import contract_fields
from brokers.ibkr.order_records import ENTRY, STOP, TARGET, Record
from brokers.ibkr.parse import (
    GOOD_TILL_DATE,
    NO_LIMIT,
    ORDER_TYPES,
    encode_number,
    multiplier_of,
    parse_order_ref,
    size_step,
)
from brokers.price_rounding import Tick
from brokers.types import OrderRequest, OrderType, Quote, Side, TimeInForce
from common.reason_codes import Code

Order: Any = ib_order.Order  # its fields are typed float, but its client sends text unchanged
ORDER_TYPE_NAMES = {name: kind for kind, name in ORDER_TYPES.items()}
BID_ASK = 4
"""triggerMethod of a trailing stop: by bid and ask as ours are, not by the last trade."""
REDUCE_WITH_BLOCK = 2
"""ocaType 2: a fill of one order reduces the others of the group, and only one order is active at a
time. Type 1 would cancel the stop of the remaining position after a partial exit."""


def contract_of(symbol: str, settings: Mapping[str, Any]) -> Contract:
    """Return the contract of a symbol. Raises InvalidSymbolError."""
    return Contract(**contract_fields(symbol, settings))


def record_of(
    request: OrderRequest, details: Any, tick: Tick, settings: Mapping[str, Any]
) -> Record:
    """Return the record of an order that is not sent yet. settings: the connection's.

    The step is what we remember: it refuses no exit, about which TWS decides. Raises Rejected."""
    _require_valid(request)
    contract = details.contract
    units = multiplier_of(contract)
    step = size_step(details, settings) * units
    is_exit = bool(request.closes or request.reduce_only)
    if request.quantity % step and not is_exit:
        raise Rejected(Code.VOLUME_INVALID, f"not a multiple of {encode_number(step)}")
    limit, stop = request.limit_price, request.stop_price
    return Record(
        connection_id=request.connection_id,
        client_order_id=request.client_order_id,
        leg=ENTRY,
        con_id=contract.conId,
        symbol=request.symbol,
        multiplier=units,
        side=request.side,
        order_type=request.order_type,
        time_in_force=request.time_in_force,
        expires_at=request.expires_at,
        quantity=request.quantity,
        limit_price=limit
        and price_rounding.round_entry_price(limit, tick, request.side, OrderType.LIMIT),
        stop_price=stop
        and price_rounding.round_entry_price(stop, tick, request.side, OrderType.STOP),
        trail_distance=request.trail_distance
        and stop
        and price_rounding.round_distance(
            request.trail_distance, price_rounding.step_at(stop, tick)
        ),
        oca_group=group_of(request),
        is_exit=is_exit,
    )


def _require_valid(request: OrderRequest) -> None:
    """Raise Rejected for values that IBKR cannot carry or we could not recognise again."""
    if parse_order_ref(request.client_order_id) != (request.client_order_id, ENTRY):
        raise Rejected(Code.FIELD_INVALID, "a client order id is 4 to 18 of a-z and 0-9")
    kind = request.order_type
    if (kind.has_limit_price and request.limit_price is None) or (
        kind.has_stop_price and request.stop_price is None
    ):
        raise Rejected(Code.PRICE_INVALID, f"{kind} without a price")
    if kind is OrderType.TRAILING_STOP and None in (request.trail_distance, request.stop_price):
        raise Rejected(Code.PRICE_INVALID, f"{kind} without a distance and a first stop price")
    if (request.time_in_force is TimeInForce.GTD) is (request.expires_at is None):
        raise Rejected(Code.ORDER_TYPE_UNSUPPORTED, "GTD needs an expiry, and only GTD has one")
    if any(not (price.is_finite() and price > 0) for price in _prices(request)):
        raise Rejected(Code.PRICE_INVALID, "not a price")
    if not (request.quantity.is_finite() and request.quantity > 0):
        raise Rejected(Code.VOLUME_INVALID, "not a quantity")
    if request.quantity > NO_LIMIT:
        raise Rejected(Code.VOLUME_INVALID, f"above {encode_number(NO_LIMIT)}")


def has_price(request: OrderRequest) -> bool:
    """Whether an order or one of its levels has a price."""
    return bool(_prices(request))


def _prices(request: OrderRequest) -> list[Decimal]:
    prices = (
        request.limit_price, request.stop_price, request.stop_loss, request.take_profit,
        request.trail_distance,
    )  # fmt: skip
    return [price for price in prices if price is not None]


def require_sides(request: OrderRequest, quote: Quote | None) -> None:
    """Raise Rejected for levels that would close the position at once: IBKR would accept them.

    quote: the current price, if known; an order with its own price is compared with that instead.
    """
    own = request.limit_price or request.stop_price
    if request.worst_price is not None and quote is not None:
        own = None  # its limit only bounds the slippage: it fills at the market price
    bid, ask = (own, own) if own is not None else (quote.bid, quote.ask) if quote else (None, None)
    if bid is not None and ask is not None:
        require_level_sides(request.side, request.stop_loss, request.take_profit, bid, ask)


def require_level_sides(
    side: Side, stop: Decimal | None, target: Decimal | None, bid: Decimal, ask: Decimal
) -> None:
    """Raise Rejected unless the stop is behind the price and the target ahead of it."""
    above, below = (stop, target) if side is Side.BUY else (target, stop)
    if above is not None and above >= ask:
        raise Rejected(Code.STOPS_INVALID, f"{encode_number(above)} is above {encode_number(ask)}")
    if below is not None and below <= bid:
        raise Rejected(Code.STOPS_INVALID, f"{encode_number(below)} is below {encode_number(bid)}")


def group_of(request: OrderRequest) -> str:
    """Return the OCA group of a position's protection and exits."""
    return request.oca_group or (request.closes or request.client_order_id)[:-1]


def leg_of(entry: Record, leg: str, price: Decimal, quantity: Decimal, tick: Tick) -> Record:
    """Return the record of a stop or a target of an entry's position."""
    on_grid = price_rounding.round_level_price(price, tick, entry.side)
    return Record(
        connection_id=entry.connection_id,
        client_order_id=entry.client_order_id,
        leg=leg,
        con_id=entry.con_id,
        symbol=entry.symbol,
        multiplier=entry.multiplier,
        side=entry.side.opposite,
        order_type=OrderType.STOP if leg == STOP else OrderType.LIMIT,
        time_in_force=TimeInForce.GTC,
        quantity=quantity,
        limit_price=on_grid if leg == TARGET else None,
        stop_price=on_grid if leg == STOP else None,
        oca_group=entry.oca_group,
        is_exit=True,
    )


def to_order(record: Record, account: str, *, transmit: bool = True, outside_rth: bool) -> Any:
    """Return a record as an order. `tif` is always set: else a preset makes it DAY (10349)."""
    order = Order(
        orderId=record.order_id,
        action="BUY" if record.side is Side.BUY else "SELL",
        totalQuantity=encode_number(record.quantity / record.multiplier),
        orderType=ORDER_TYPE_NAMES[record.order_type or OrderType.MARKET],
        tif=record.time_in_force.value,
        orderRef=record.order_ref,
        account=account,
        transmit=transmit,
        parentId=record.parent_id,
        outsideRth=outside_rth,
    )
    kind = record.order_type or OrderType.MARKET
    if kind.has_limit_price and record.limit_price is not None:
        order.lmtPrice = encode_number(record.limit_price)
    if kind.has_stop_price and record.stop_price is not None:
        order.auxPrice = encode_number(record.stop_price)
    if kind is OrderType.TRAILING_STOP and record.trail_distance and record.stop_price:
        order.auxPrice = encode_number(record.trail_distance)
        order.trailStopPrice = encode_number(record.stop_price)
        order.triggerMethod = BID_ASK
    if record.expires_at is not None:
        order.goodTillDate = record.expires_at.astimezone(UTC).strftime(GOOD_TILL_DATE)
    if record.is_exit:
        order.ocaGroup, order.ocaType = record.oca_group, REDUCE_WITH_BLOCK
    return order
