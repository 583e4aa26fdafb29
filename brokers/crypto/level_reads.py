"""Which levels rest at an exchange. Raises ccxt's errors, KeyError or ValueError."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from brokers.crypto import binance_algo, binance_oco, listed_levels, lookup, okx_algo, reads
from brokers.crypto.client import Client
from brokers.crypto.exchanges import LevelApi
from brokers.crypto.level_orders import LevelName, LevelOrder, levels_by_entry
from brokers.exit_reads import is_exit_read
from brokers.types import BrokerOrder, BrokerPosition, HeldLevels, OrderType, Side

NO_LEVELS = HeldLevels(None, None)


def has_levels(client: Client) -> bool:
    """Whether stops and targets of the account's positions rest at its exchange."""
    return client.level_api is not None


async def live_levels(client: Client, symbol: str | None = None) -> list[LevelOrder]:
    """Return our levels that wait for their trigger. symbol: None for all."""
    if client.level_api is LevelApi.OKX_ALGO:
        return await okx_algo.live_levels(client, symbol)
    if client.level_api is LevelApi.BINANCE_ALGO:
        return await binance_algo.live_levels(client, symbol)
    if client.level_api is LevelApi.BINANCE_OCO:
        return await binance_oco.live_levels(client, symbol)
    return await listed_levels.listed(client, symbol, {"trigger": True})


async def find_level(
    client: Client, name: str, symbol: str, not_found_error: type[Exception]
) -> Mapping[str, Any] | None:
    """Return a level as ccxt's order, also one that has ended; None: the exchange has none."""
    if client.level_api is LevelApi.OKX_ALGO:
        return await okx_algo.find(client, name, not_found_error)
    if client.level_api is LevelApi.BINANCE_ALGO and LevelName.read(name):
        return await binance_algo.find(client, name, not_found_error)
    return await lookup.find(client, name, [symbol], not_found_error)


async def position_side(client: Client, symbol: str) -> Side | None:
    """Return the side of a symbol's position; None: nothing is open."""
    if client.settings.market == "spot":
        return Side.BUY if symbol in await reads.held_symbols(client) else None
    found = await reads.positions(client)
    return next((one.side for one in found if one.symbol == symbol), None)


async def positions(client: Client) -> list[BrokerPosition]:
    """Return the open positions; where levels rest at the exchange, with them by entry, unless an
    exit waits."""
    if is_exit_read() or not has_levels(client):
        return await reads.positions(client)
    live = await live_levels(client)  # first: one that is executed meanwhile is no dropped level
    found = await reads.positions(client)
    return [_with_levels(position, live) for position in found]


def _with_levels(position: BrokerPosition, live: Sequence[LevelOrder]) -> BrokerPosition:
    """Return the position with its levels; `levels` only if all are of one entry."""
    closing = [one for one in live if one.side is position.side.opposite]
    by_entry = levels_by_entry(closing, position.symbol)
    levels = next(iter(by_entry.values()), NO_LEVELS) if len(by_entry) < 2 else None
    return replace(position, levels=levels, entry_levels=by_entry)


async def open_orders(client: Client) -> list[BrokerOrder]:
    """Return what rests on the account; a level is an order only if it has no position to close."""
    found = await reads.open_orders(client)
    if not has_levels(client):
        return found
    if client.level_api not in (LevelApi.ORDERS, LevelApi.BINANCE_OCO):
        found += [_as_order(level) for level in await live_levels(client)]
    levels = [order for order in found if _is_level(order)]
    if not levels:
        return found
    closable = await _closable(client)
    return [
        order if order not in levels else replace(order, level_of=order.client_order_id[:18])
        for order in found
        if order not in levels or (order.symbol, order.side) not in closable
    ]


async def _closable(client: Client) -> set[tuple[str, Side]]:
    """Return what levels may close: symbols of open positions, with the side of an exit."""
    if client.settings.market == "spot":
        return {(symbol, Side.SELL) for symbol in await reads.held_symbols(client)}
    return {(one.symbol, one.side.opposite) for one in await reads.positions(client)}


def _is_level(order: BrokerOrder) -> bool:
    return LevelName.read(order.client_order_id) is not None


def _as_order(level: LevelOrder) -> BrokerOrder:
    return BrokerOrder(
        broker_order_id=level.broker_order_id,
        symbol=level.symbol,
        side=level.side,
        order_type=OrderType.STOP,
        quantity=level.quantity,
        stop_price=level.price,
        client_order_id=str(level.name),
    )
