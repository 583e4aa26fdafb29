"""Levels among the orders that an exchange lists. Raises ccxt's errors, KeyError or ValueError."""

from collections.abc import Mapping
from typing import Any

from brokers.crypto import order_pages, parse, unlisted
from brokers.crypto.client import Client
from brokers.crypto.level_orders import LevelName, LevelOrder


async def listed(
    client: Client, symbol: str | None, parameters: Mapping[str, Any] | None = None
) -> list[LevelOrder]:
    """Return our levels among the working orders. symbol: None for all."""
    found = await order_pages.open_orders(client, symbol, parameters)
    levels = (level_of(client, order) for order in found)
    return [one for one in levels if one is not None]


def level_of(client: Client, order: Mapping[str, Any]) -> LevelOrder | None:
    """Return an order of the exchange as a level of ours; None: it is another kind of order."""
    name = LevelName.read(str(order.get("clientOrderId") or ""))
    trigger = order.get("triggerPrice") or order.get("stopPrice")
    if name is None or not trigger or parse.has_ended(order):
        return None
    size = unlisted.size_of(client, order) or parse.contract_size(client.market(order["symbol"]))
    left = parse.number(order["amount"]) - parse.optional_number(order.get("filled"))
    return LevelOrder(
        name=name,
        symbol=unlisted.name_of(client, order["symbol"]) or str(order["symbol"]),
        side=parse.side(order["side"]),
        price=parse.number(trigger),
        quantity=left * size,
        broker_order_id=str(order["id"]),
    )
