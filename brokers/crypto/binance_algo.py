"""Stops and targets at Binance's USDS-M futures: algo orders, with ids and lists of their own.

They cannot be changed: a new one is placed before the old one goes. A triggered one makes an
ordinary order, which it names by `actualOrderId`. Raises ccxt's errors, KeyError or ValueError.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from brokers.crypto import parse
from brokers.crypto.client import Client
from brokers.crypto.level_orders import Leg, LevelName, LevelOrder
from brokers.types import OrderRequest

TYPES = {Leg.STOP: "STOP_MARKET", Leg.TARGET: "TAKE_PROFIT_MARKET"}
WAITING = frozenset({"NEW", "TRIGGERING"})
EXECUTED = frozenset({"TRIGGERED", "FINISHED"})
PAGE = 1000
SPAN = timedelta(days=7) - timedelta(minutes=1)  # the longest time that one question may cover
SPANS = 13  # what was created more than 90 days ago is not found


async def create(client: Client, request: OrderRequest, leg: Leg, amount: str) -> Any:
    """Send a new level."""
    return await client.exchange.fapiPrivatePostAlgoOrder({
        "algoType": "CONDITIONAL",
        "symbol": client.market(request.symbol)["id"],
        "side": request.side.value,
        "type": TYPES[leg],
        "quantity": amount,
        "triggerPrice": f"{request.stop_price:f}",
        "workingType": "CONTRACT_PRICE",
        "reduceOnly": "true",
        "clientAlgoId": request.client_order_id,
    })  # fmt: skip


async def cancel(client: Client, order: LevelOrder) -> Any:
    """End a level."""
    return await client.exchange.fapiPrivateDeleteAlgoOrder({"algoId": order.broker_order_id})


async def live_levels(client: Client, symbol: str | None) -> list[LevelOrder]:
    """Return our levels that wait for their trigger. symbol: None for all."""
    asked = {} if symbol is None else {"symbol": client.market(symbol)["id"]}
    lines = await client.exchange.fapiPrivateGetOpenAlgoOrders(asked)
    return [one for line in lines if (one := _level(client, line)) is not None]


def _level(client: Client, line: Mapping[str, Any]) -> LevelOrder | None:
    """Read an algo order; None: it is not ours, or does not wait."""
    name = LevelName.read(str(line.get("clientAlgoId") or ""))
    if name is None or line["algoStatus"] not in WAITING:
        return None
    market = client.market(client.exchange.safe_symbol(line["symbol"], None, None, "contract"))
    return LevelOrder(
        name=name,
        symbol=str(market["symbol"]),
        side=parse.side(line["side"]),
        price=parse.number(line["triggerPrice"]),
        quantity=parse.number(line["quantity"]) * parse.contract_size(market),
        broker_order_id=str(line["algoId"]),
    )


async def find(
    client: Client, name: str, not_found_error: type[Exception]
) -> Mapping[str, Any] | None:
    """Return a level's status, amount and filled in ccxt's words; None: there is none."""
    try:
        line = await client.exchange.fapiPrivateGetAlgoOrder({"clientAlgoId": name})
    except not_found_error:
        return None
    if line["clientAlgoId"] != name:
        raise ValueError(f"algo order {line['clientAlgoId']} instead of {name}")
    status, filled = line["algoStatus"], "0"
    if actual := str(line.get("actualOrderId") or ""):
        asked = {"symbol": line["symbol"], "orderId": actual}
        filled = (await client.exchange.fapiPrivateGetOrder(asked))["executedQty"]
    ended = "closed" if status in EXECUTED else "canceled"
    return {
        "status": "open" if status in WAITING else ended,
        "amount": line["quantity"],
        "filled": filled,
    }


async def level_of_order(client: Client, symbol: str, broker_order_id: str) -> str:
    """Return the name of the level that made an order; '' if none of ours did."""
    end = client.clock.now()
    for _ in range(SPANS):
        start = end - SPAN
        lines = await client.exchange.fapiPrivateGetAllAlgoOrders({
            "symbol": client.market(symbol)["id"],
            "startTime": int(start.timestamp() * 1000),
            "endTime": int(end.timestamp() * 1000),
            "limit": PAGE,
        })  # fmt: skip
        for line in lines:
            if str(line.get("actualOrderId") or "") == broker_order_id:
                return str(line["clientAlgoId"])
        end = start
    return ""
