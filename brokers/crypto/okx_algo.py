"""Stops and targets at OKX: algo orders, which have ids, lists and a look-up of their own.

A triggered one makes an ordinary order, which names it by `algoClOrdId`. On spot stop and target
are one algo order, of type oco, with the name of the stop. Raises ccxt's errors, KeyError,
ValueError or ReadFailed.
"""

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from brokers.crypto import parse
from brokers.crypto.client import Client
from brokers.crypto.level_orders import Leg, LevelName, LevelOrder
from brokers.crypto.order_pages import too_many
from brokers.crypto.paging import MAX_PAGES
from brokers.types import OrderRequest, Side

PAGE = 100
PREFIX = {Leg.STOP: "sl", Leg.TARGET: "tp"}
ENDED = {"effective": "closed", "canceled": "canceled", "order_failed": "canceled"}
"""States of an algo order that has ended, in ccxt's words; others are open."""


async def create(client: Client, request: OrderRequest, leg: Leg, amount: str) -> Any:
    """Send a new level. amount: contracts."""
    prefix = PREFIX[leg]
    return await client.exchange.privatePostTradeOrderAlgo({
        "instId": client.market(request.symbol)["id"],
        "tdMode": client.exit_mode(request.symbol),
        "side": request.side.value.lower(),
        "ordType": "conditional",
        "sz": amount,
        "reduceOnly": True,
        "algoClOrdId": request.client_order_id,
        f"{prefix}TriggerPx": f"{request.stop_price:f}",
        f"{prefix}TriggerPxType": "last",
        f"{prefix}OrdPx": "-1",
    })  # fmt: skip


async def create_pair(
    client: Client, symbol: str, side: Side, amount: str, prices: Mapping[LevelName, Decimal]
) -> Any:
    """Send one level of a spot position, or two that cancel each other. prices: their triggers."""
    first = min(prices, key=lambda name: name.leg is not Leg.STOP)
    asked = {
        "instId": client.market(symbol)["id"], "tdMode": "cash", "side": side.value.lower(),
        "ordType": "conditional" if len(prices) == 1 else "oco", "sz": amount,
        "tgtCcy": "base_ccy", "algoClOrdId": str(first),
    }  # fmt: skip
    for name, price in prices.items():
        prefix = PREFIX[name.leg]
        asked |= {f"{prefix}TriggerPx": f"{price:f}", f"{prefix}TriggerPxType": "last",
                  f"{prefix}OrdPx": "-1"}  # fmt: skip
    return await client.exchange.privatePostTradeOrderAlgo(asked)


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
    is_spot = client.settings.market == "spot"
    asked: dict[str, Any] = {
        "ordType": "conditional,oco" if is_spot else "conditional",
        "instType": "SPOT" if is_spot else "SWAP", "limit": str(PAGE),
    }  # fmt: skip
    if symbol is not None:
        asked["instId"] = client.market(symbol)["id"]
    found: list[LevelOrder] = []
    for _ in range(MAX_PAGES):
        lines = (await client.exchange.privateGetTradeOrdersAlgoPending(asked))["data"]
        found += [one for line in lines for one in _levels(client, line)]
        if len(lines) < PAGE:
            return found
        asked = {**asked, "after": lines[-1]["algoId"]}
    raise too_many(MAX_PAGES * PAGE)


def _levels(client: Client, line: Mapping[str, Any]) -> list[LevelOrder]:
    """Read the levels of an algo order; none: it is not ours."""
    name = LevelName.read(str(line.get("algoClOrdId") or ""))
    if name is None:
        return []
    market = client.market(client.exchange.safe_symbol(line["instId"]))
    return [
        LevelOrder(
            name=replace(name, leg=leg),
            symbol=str(market["symbol"]),
            side=parse.side(line["side"]),
            price=parse.number(line[f"{PREFIX[leg]}TriggerPx"]),
            quantity=parse.number(line["sz"]) * parse.contract_size(market),
            broker_order_id=str(line["algoId"]),
        )
        for leg in (Leg if line.get("ordType") == "oco" else (name.leg,))
    ]


async def find(
    client: Client, name: str, not_found_error: type[Exception]
) -> Mapping[str, Any] | None:
    """Return a level's status, amount and filled in ccxt's words; None: OKX does not have it."""
    line = await _line(client, name, not_found_error)
    level = LevelName.read(name)
    if line is None and level and level.leg is Leg.TARGET and client.settings.market == "spot":
        pair = await _line(client, str(replace(level, leg=Leg.STOP)), not_found_error)
        line = pair if pair and pair["ordType"] == "oco" else None
    if line is None:
        return None
    return {
        "status": ENDED.get(line["state"], "open"),
        "amount": line["sz"],
        "filled": line.get("actualSz"),
    }


async def _line(
    client: Client, name: str, not_found_error: type[Exception]
) -> Mapping[str, Any] | None:
    try:
        answer = await client.exchange.privateGetTradeOrderAlgo({"algoClOrdId": name})
    except not_found_error:
        return None
    line: Mapping[str, Any]
    (line,) = answer["data"]
    if line["algoClOrdId"] != name:
        raise ValueError(f"algo order {line['algoClOrdId']} instead of {name}")
    return line


async def triggered_level(client: Client, name: str) -> str:
    """Return the name of the level whose trigger made an order. name: that of its algo order.

    The stop's, if OKX does not state which of two it was: the execution is booked in any case."""
    level = LevelName.read(name)
    if level is None or client.settings.market != "spot":
        return name
    (line,) = (await client.exchange.privateGetTradeOrderAlgo({"algoClOrdId": name}))["data"]
    is_target = line["ordType"] == "oco" and line["actualSide"] == PREFIX[Leg.TARGET]
    return str(replace(level, leg=Leg.TARGET)) if is_target else name
