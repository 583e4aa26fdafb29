"""A request in ccxt's words: what cannot be taken is refused here, before anything is sent.

What was loaded of a market (whether it trades, its step, its limits) may have changed since. So it
refuses entries alone: an exit is sent, and the exchange decides.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, TypeVar

from brokers import price_rounding
from brokers.base import Rejected
from brokers.crypto import market_steps, parse
from brokers.crypto.capabilities import market_capabilities
from brokers.crypto.ccxt_hooks import expires_ms
from brokers.crypto.client import Client
from brokers.types import (
    CancelRequest,
    ChangeRequest,
    OrderField,
    OrderRequest,
    OrderType,
    Side,
    TimeInForce,
)
from common.reason_codes import Code

T = TypeVar("T")
# A stop-limit order is a limit order with the parameters of its trigger.
TYPES = {OrderType.MARKET: "market", OrderType.LIMIT: "limit", OrderType.STOP_LIMIT: "limit"}

CLIENT_ORDER_ID = re.compile(r"[a-z0-9]{18}")  # what our client order ids look like


@dataclass(frozen=True, slots=True)
class CreateOrderArguments:
    """The arguments of `create_order`. amount, price: text, as the exchange writes them."""

    symbol: str
    type: str
    side: str
    amount: str
    price: str | None
    params: Mapping[str, Any]


def market_of(client: Client, symbol: str, *, is_exit: bool = False) -> Mapping[str, Any]:
    """Return the market of a listed symbol. Raises Rejected UNKNOWN_SYMBOL_AT_BROKER.

    is_exit: it may be one that the owner has taken off the connection's symbols.
    """
    listed = is_exit or symbol in client.settings.symbols
    market = client.exchange.markets.get(symbol) if listed else None
    if market is None or not _is_tradable(client, market):
        raise Rejected(
            Code.UNKNOWN_SYMBOL_AT_BROKER,
            f"the exchange does not list {symbol}"
            if listed
            else f"{symbol} is not among the connection's symbols",
        )
    found: Mapping[str, Any] = market
    return found


def _is_tradable(client: Client, market: Mapping[str, Any]) -> bool:
    """Whether it is the account's kind of market, in its currency."""
    if client.settings.market == "spot":
        return bool(market["spot"]) and market["quote"] == client.settings.currency
    linear = market["swap"] and market["linear"]
    return bool(linear) and market["settle"] == client.settings.currency


def encode(client: Client, request: OrderRequest) -> CreateOrderArguments:
    """Write an order in ccxt's words. Raises Rejected: nothing was sent and it cannot change."""
    market = market_of(client, request.symbol, is_exit=request.reduce_only)
    if market.get("active") is False and not request.reduce_only:
        raise Rejected(Code.MARKET_CLOSED, f"{request.symbol} is not traded now")
    _check_kind(client, request)
    has_levels = request.stop_loss is not None or request.take_profit is not None
    if has_levels and client.settings.market not in client.rules.levels:
        raise Rejected(Code.STOPS_INVALID, "stops and targets are watched here, not there")
    _check_id(client, request.client_order_id)
    price = _price(market, request)
    return CreateOrderArguments(
        symbol=request.symbol,
        type=TYPES[request.order_type],
        side=request.side.value.lower(),
        amount=_amount(client, market, request, price),
        price=None if price is None else f"{price:f}",
        params=_params(client, request) | _trigger(client, market, request),
    )


def _check_kind(client: Client, request: OrderRequest) -> None:
    """Raise Rejected for an order type or time in force that the account's market does not have."""
    can = market_capabilities(client.rules.name, client.settings.market)
    if request.order_type not in can.order_types or request.time_in_force not in can.times_in_force:
        raise Rejected(Code.ORDER_TYPE_UNSUPPORTED, f"{request.order_type} {request.time_in_force}")
    if (request.time_in_force is TimeInForce.GTD) is (request.expires_at is None):
        raise Rejected(Code.ORDER_TYPE_UNSUPPORTED, "GTD needs an expiry, and only GTD has one")


def _check_id(client: Client, name: str) -> None:
    rules = client.rules
    if not re.fullmatch(f"[{rules.id_letters}]{{1,{rules.id_length}}}", name):
        raise Rejected(Code.REJECTED_BY_BROKER, f"{rules.name} takes no such client order id")


def _price(market: Mapping[str, Any], request: OrderRequest) -> Decimal | None:
    """Return the limit price in whole ticks, never worse than the requested one."""
    if not request.order_type.has_limit_price:
        return None
    return _rounded(market, request.limit_price, request.side, OrderType.LIMIT)


def _trigger(client: Client, market: Mapping[str, Any], request: OrderRequest) -> dict[str, Any]:
    """Return the parameters of a stop-limit order's stop price; none for other types."""
    if request.order_type is not OrderType.STOP_LIMIT:
        return {}
    rules = client.rules
    price = _rounded(market, request.stop_price, request.side, OrderType.STOP)
    params = {rules.trigger_name: f"{price:f}", **rules.trigger_params}
    if rules.names_trigger_direction:
        params["triggerDirection"] = "ascending" if request.side is Side.BUY else "descending"
    return params


def _rounded(
    market: Mapping[str, Any], price: Decimal | None, side: Side, order_type: OrderType
) -> Decimal:
    """Return a price in whole ticks. Raises Rejected for a missing one, or one below a tick."""
    if price is None or not price.is_finite() or price <= 0:
        raise Rejected(Code.PRICE_INVALID, f"{order_type.lower()} price {price}")
    tick = _stated(market_steps.price_tick, market)
    rounded = price_rounding.round_entry_price(price, tick, side, order_type)
    if rounded <= 0:
        raise Rejected(Code.PRICE_INVALID, f"{order_type.lower()} price {price} is below a tick")
    return rounded


def _stated(read: Callable[[Mapping[str, Any]], T], market: Mapping[str, Any]) -> T:
    """Return what the exchange states of a market. Raises Rejected if it does not."""
    try:
        return read(market)
    except ValueError as error:
        raise Rejected(Code.SYMBOL_TRADING_DISABLED, str(error)) from error


def _amount(
    client: Client, market: Mapping[str, Any], request: OrderRequest, price: Decimal | None
) -> str:
    """The quantity in ccxt's amounts (contracts on perpetuals); an entry's is checked by the
    market's limits."""
    if not request.quantity.is_finite() or request.quantity <= 0:
        raise Rejected(Code.VOLUME_INVALID, f"quantity {request.quantity}")
    amount = request.quantity / _stated(parse.contract_size, market)
    if request.reduce_only:
        return f"{amount.normalize():f}"
    instrument = _stated(parse.instrument, market)
    step = market_steps.amount_step(market)
    if amount % step:
        raise Rejected(Code.VOLUME_INVALID, f"the step is {instrument.quantity_step:f}")
    minimum, maximum = instrument.quantity_min, instrument.quantity_max
    if not minimum <= request.quantity <= maximum:
        raise Rejected(Code.VOLUME_INVALID, f"from {minimum:f} to {maximum:f}")
    cost = parse.min_notional(market)
    if price is not None and price * request.quantity < cost:
        raise Rejected(Code.VOLUME_INVALID, f"worth less than {cost:f} {market['quote']}")
    written: str = client.exchange.amount_to_precision(request.symbol, f"{amount:f}")
    if Decimal(written) != amount:
        raise Rejected(Code.VOLUME_INVALID, f"ccxt would send {written} for {amount:f}")
    return written


def _params(client: Client, request: OrderRequest) -> dict[str, Any]:
    rules, settings = client.rules, client.settings
    params: dict[str, Any] = {rules.id_name: request.client_order_id, **rules.order_params}
    if request.order_type.has_limit_price:
        params["timeInForce"] = request.time_in_force.value
    if request.expires_at is not None:  # whole seconds, never later than asked
        seconds = int(request.expires_at.timestamp())
        params[rules.expiry_name] = seconds * 1000 if rules.expiry_in_ms else seconds
    if settings.market == "swap" and request.reduce_only:
        params["reduceOnly"] = True
        if mode := client.exit_mode(request.symbol):
            params["marginMode"] = mode
    return params


async def create(client: Client, ready: CreateOrderArguments) -> Any:
    """Send an order; return ccxt's answer. Raises ccxt's errors."""
    return await client.exchange.create_order(
        ready.symbol, ready.type, ready.side, ready.amount, ready.price, _with_expiry(client, ready)
    )


async def cancel(client: Client, request: CancelRequest) -> Any:
    """Send a cancel by our id; return ccxt's answer. Raises ccxt's errors."""
    params = {client.rules.cancel_name: request.client_order_id}
    return await client.exchange.cancel_order(None, request.symbol, params)


@dataclass(frozen=True, slots=True)
class EditOrderArguments:
    """The arguments of `edit_order`. amount, price: text; None: it stays as it is.

    number: the exchange's id, where it must be named too."""

    number: str | None
    symbol: str
    side: str
    amount: str | None
    price: str | None
    params: Mapping[str, Any]


def encode_change(client: Client, request: ChangeRequest) -> EditOrderArguments:
    """Write a change of a limit order in ccxt's words. Raises Rejected: nothing was sent."""
    rules, kind = client.rules, client.settings.market
    if kind not in rules.amends or request.order_type is not OrderType.LIMIT:
        detail = f"{rules.name} {kind} changes no {request.order_type.lower()} orders in place"
        raise Rejected(Code.CHANGE_UNSUPPORTED, detail)
    market, terms = market_of(client, request.symbol), request.terms
    order = OrderRequest(
        request.client_order_id, request.connection_id, "", request.symbol, request.side,
        request.order_type, TimeInForce.GTC, terms.quantity, terms.limit_price,
    )  # fmt: skip
    price = _price(market, order)
    amount = _amount(client, market, order, price)
    whole = rules.amends_whole
    return EditOrderArguments(
        number=request.broker_order_id or None if whole else None,
        symbol=request.symbol,
        side=request.side.value.lower(),
        amount=amount if whole or OrderField.QUANTITY in request.fields else None,
        price=f"{price:f}" if whole or OrderField.PRICE in request.fields else None,
        params={client.rules.cancel_name: request.client_order_id},
    )


async def change(client: Client, ready: EditOrderArguments) -> Any:
    """Send a change by our id; return ccxt's answer. Raises ccxt's errors."""
    return await client.exchange.edit_order(
        ready.number, ready.symbol, "limit", ready.side, ready.amount, ready.price,
        _with_expiry(client, ready),
    )  # fmt: skip


def _with_expiry(
    client: Client, ready: CreateOrderArguments | EditOrderArguments
) -> dict[str, Any]:
    """Return the parameters, for Kraken with the time after which it refuses the request."""
    if client.rules.name != "kraken":
        return dict(ready.params)
    until = datetime.fromtimestamp(expires_ms(client.clock) / 1000, UTC)
    return {**ready.params, "deadline": until.isoformat(timespec="milliseconds")[:-6] + "Z"}
