"""Stops and targets at OKX: algo orders, which have ids, lists and a look-up of their own.

A triggered one makes an ordinary order, which names it by `algoClOrdId`. Raises ccxt's errors,
KeyError or ValueError.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from brokers.crypto import parse
from brokers.crypto.client import Client
from brokers.crypto.level_orders import Leg, LevelName, LevelOrder
from brokers.types import OrderRequest

PAGE = 100
MAX_PAGES = 20
PREFIX = {Leg.STOP: "sl", Leg.TARGET: "tp"}
ENDED = {"effective": "closed", "canceled": "canceled", "order_failed": "canceled"}
"""States of an algo order that has ended, in ccxt's words; others are open."""


async def create(client: Client, request: OrderRequest, leg: Leg, amount: str) -> Any:
    """Send a new level. amount: contracts."""
    prefix, options = PREFIX[leg], client.exchange.options
    return await client.exchange.privatePostTradeOrderAlgo({
        "instId": client.market(request.symbol)["id"],
        "tdMode": str(options.get("defaultMarginMode") or "cross"),  # as ccxt's entries
        "side": request.side.value.lower(),
        "ordType": "conditional",
        "sz": amount,
        "reduceOnly": True,
        "algoClOrdId": request.client_order_id,
        f"{prefix}TriggerPx": f"{request.stop_price:f}",
        f"{prefix}TriggerPxType": "last",
        f"{prefix}OrdPx": "-1",
    })  # fmt: skip


async def amend(client: Client, order: LevelOrder, price: Decimal, amount: str) -> Any:
    """Change a level's price and quantity in place. amount: contracts."""
    prefix = f"new{PREFIX[order.name.leg].capitalize()}"
    return await client.exchange.privatePostTradeAmendAlgos({
        "instId": client.market(order.symbol)["id"],
        "algoClOrdId": str(order.name),
        "newSz": amount,
        f"{prefix}TriggerPx": f"{price:f}",
        f"{prefix}TriggerPxType": "last",
        f"{prefix}OrdPx": "-1",
    })  # fmt: skip


async def cancel(client: Client, order: LevelOrder) -> Any:
    """End a level."""
    line = {"instId": client.market(order.symbol)["id"], "algoId": order.broker_order_id}
    return await client.exchange.privatePostTradeCancelAlgos([line])


async def live_levels(client: Client, symbol: str | None) -> list[LevelOrder]:
    """Return our levels that wait for their trigger. symbol: None for all."""
    asked: dict[str, Any] = {"ordType": "conditional", "instType": "SWAP", "limit": str(PAGE)}
    if symbol is not None:
        asked["instId"] = client.market(symbol)["id"]
    found: list[LevelOrder] = []
    for _ in range(MAX_PAGES):
        lines = (await client.exchange.privateGetTradeOrdersAlgoPending(asked))["data"]
        found += [one for line in lines if (one := _level(client, line)) is not None]
        if len(lines) < PAGE:
            return found
        asked = {**asked, "after": lines[-1]["algoId"]}
    raise ValueError(f"more than {MAX_PAGES * PAGE} algo orders rest")


def _level(client: Client, line: Mapping[str, Any]) -> LevelOrder | None:
    """Read an algo order; None: it is not ours."""
    name = LevelName.read(str(line.get("algoClOrdId") or ""))
    if name is None:
        return None
    market = client.exchange.safe_market(line["instId"])
    return LevelOrder(
        name=name,
        symbol=str(market["symbol"]),
        side=parse.side(line["side"]),
        price=parse.number(line[f"{PREFIX[name.leg]}TriggerPx"]),
        quantity=parse.number(line["sz"]) * parse.contract_size(market),
        broker_order_id=str(line["algoId"]),
    )


async def find(
    client: Client, name: str, not_found_error: type[Exception]
) -> Mapping[str, Any] | None:
    """Return a level's status, amount and filled in ccxt's words; None: OKX does not have it."""
    try:
        answer = await client.exchange.privateGetTradeOrderAlgo({"algoClOrdId": name})
    except not_found_error:
        return None
    (line,) = answer["data"]
    if line["algoClOrdId"] != name:
        raise ValueError(f"algo order {line['algoClOrdId']} instead of {name}")
    return {
        "status": ENDED.get(line["state"], "open"),
        "amount": line["sz"],
        "filled": line.get("actualSz"),
    }
