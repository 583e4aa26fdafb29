"""Levels in ccxt's words: conditional market orders that only reduce."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from brokers.base import Rejected
from brokers.crypto import binance_algo, binance_oco, market_steps, okx_algo, parse
from brokers.crypto.client import Client
from brokers.crypto.exchanges import LevelApi
from brokers.crypto.level_orders import Leg, LevelName, LevelOrder
from brokers.crypto.order_encoding import market_of
from brokers.price_rounding import Tick, step_at
from brokers.types import ModifyRequest, OrderRequest, Side
from common.reason_codes import Code


def wanted(client: Client, request: ModifyRequest) -> dict[Leg, Decimal | None]:
    """Return the levels that a position shall have, in whole ticks. Raises Rejected."""
    market = market_of(client, request.symbol, is_exit=True)
    try:
        tick = market_steps.price_tick(market)
    except ValueError as error:
        raise Rejected(Code.STOPS_INVALID, str(error)) from error
    levels = {Leg.STOP: request.stop_loss, Leg.TARGET: request.take_profit}
    return {leg: price and _on_tick(price, tick) for leg, price in levels.items()}


def _on_tick(price: Decimal, grid: Tick) -> Decimal:
    tick = step_at(price, grid) if price.is_finite() else Decimal(0)
    rounded = (price / tick).to_integral_value() * tick if tick else price
    if not rounded.is_finite() or rounded <= 0:
        raise Rejected(Code.STOPS_INVALID, f"a level at {price}")
    return rounded


def quantity(client: Client, request: ModifyRequest) -> Decimal:
    """Return how much each level closes, in whole steps. Raises Rejected."""
    market = market_of(client, request.symbol, is_exit=True)
    try:
        step = market_steps.amount_step(market) * parse.contract_size(market)
    except ValueError as error:
        raise Rejected(Code.STOPS_INVALID, str(error)) from error
    asked = request.quantity or Decimal(0)
    whole = asked // step * step
    if whole <= 0 and (request.stop_loss is not None or request.take_profit is not None):
        raise Rejected(Code.STOPS_INVALID, f"a level for {asked:f}: the step is {step:f}")
    return whole


def _amount(client: Client, symbol: str, base_units: Decimal) -> str:
    amount = base_units / parse.contract_size(client.market(symbol))
    written: str = client.exchange.amount_to_precision(symbol, f"{amount:f}")
    return written


async def create(client: Client, request: OrderRequest, leg: Leg) -> Any:
    """Send a new level; return ccxt's answer. Raises ccxt's errors."""
    rules = client.rules
    amount = _amount(client, request.symbol, request.quantity)
    if client.level_api is LevelApi.OKX_ALGO:
        return await okx_algo.create(client, request, leg, amount)
    if client.level_api is LevelApi.BINANCE_ALGO:
        return await binance_algo.create(client, request, leg, amount)
    falls = (request.side is Side.SELL) is (leg is Leg.STOP)
    params: dict[str, Any] = {
        rules.id_name: request.client_order_id,
        rules.trigger_name: f"{request.stop_price:f}",
        "reduceOnly": True,
        "closeOnTrigger": True,
        **rules.trigger_params,
    }
    if rules.names_trigger_direction:
        params["triggerDirection"] = "descending" if falls else "ascending"
    return await client.exchange.create_order(
        request.symbol, "market", request.side.value.lower(), amount, None, params
    )


async def amend(client: Client, order: LevelOrder, price: Decimal, base_units: Decimal) -> Any:
    """Change a level's price and quantity in place; return ccxt's answer. Raises ccxt's errors."""
    rules, amount = client.rules, _amount(client, order.symbol, base_units)
    if client.level_api is LevelApi.OKX_ALGO:
        return await okx_algo.amend(client, order, price, amount)
    params = {rules.cancel_name: str(order.name), rules.trigger_name: f"{price:f}"}
    return await client.exchange.edit_order(
        None, order.symbol, "market", order.side.value.lower(),
        amount, None, params,
    )  # fmt: skip


async def cancel(client: Client, order: LevelOrder) -> Any:
    """End a level; return ccxt's answer. Raises ccxt's errors."""
    if client.level_api is LevelApi.OKX_ALGO:
        return await okx_algo.cancel(client, order)
    if client.level_api is LevelApi.BINANCE_ALGO:
        return await binance_algo.cancel(client, order)
    params = {client.rules.cancel_name: str(order.name)}
    return await client.exchange.cancel_order(None, order.symbol, params)


def takes(client: Client, symbol: str, leg: Leg) -> bool:
    """Whether a spot symbol takes such levels."""
    if client.level_api is LevelApi.BINANCE_OCO:
        return binance_oco.takes(client, symbol, leg)
    return True


async def create_pair(
    client: Client,
    symbol: str,
    side: Side,
    base_units: Decimal,
    pair: Mapping[LevelName, Decimal],
) -> Any:
    """Send the levels of a spot position together; return ccxt's answer. Raises ccxt's errors."""
    amount = _amount(client, symbol, base_units)
    if client.level_api is LevelApi.OKX_ALGO:
        return await okx_algo.create_pair(client, symbol, side, amount, pair)
    return await binance_oco.create(client, symbol, side, amount, pair)
