"""Stops and targets on Binance's spot: one order, or an order list of two that cancel each other.

Each order has a client order id of its own, is a market order when it triggers, and keeps its ids.
It reserves the coins that it would sell, both orders of a list together. No request changes one.
Raises ccxt's errors, KeyError or ValueError.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from brokers.crypto import listed_levels
from brokers.crypto.client import Client
from brokers.crypto.level_orders import Leg, LevelName, LevelOrder
from brokers.shared_reads import is_shared
from brokers.types import Side

TYPES = {Leg.STOP: "STOP_LOSS", Leg.TARGET: "TAKE_PROFIT"}
MANY_SYMBOLS = 13  # to list the orders of so many symbols weighs more than to list all


async def live_levels(client: Client, symbol: str | None) -> list[LevelOrder]:
    """Return our levels that wait for their trigger. symbol: None for all."""
    listed = [name for name in client.settings.symbols if name in client.exchange.markets]
    asked = listed if symbol is None else [symbol]
    if len(asked) > MANY_SYMBOLS or (symbol is None and is_shared()):
        return await listed_levels.listed(client, None)
    return [one for name in asked for one in await listed_levels.listed(client, name)]


def takes(client: Client, symbol: str, leg: Leg) -> bool:
    """Whether a symbol takes such levels: Binance enables them by symbol."""
    return TYPES[leg] in (client.market(symbol)["info"].get("orderTypes") or ())


async def create(
    client: Client, symbol: str, side: Side, amount: str, prices: Mapping[LevelName, Decimal]
) -> Any:
    """Send one level, or two that cancel each other. prices: their triggers."""
    asked: dict[str, Any] = {
        "symbol": client.market(symbol)["id"], "side": side.value, "quantity": amount,
    }  # fmt: skip
    if len(prices) == 1:
        ((name, price),) = prices.items()
        return await client.exchange.privatePostOrder({
            **asked, "type": TYPES[name.leg], "stopPrice": f"{price:f}",
            "newClientOrderId": str(name),
        })  # fmt: skip
    for name, price in prices.items():
        place = "below" if (side is Side.SELL) is (name.leg is Leg.STOP) else "above"
        asked |= {
            f"{place}Type": TYPES[name.leg], f"{place}StopPrice": f"{price:f}",
            f"{place}ClientOrderId": str(name),
        }  # fmt: skip
    return await client.exchange.privatePostOrderListOco(asked)
