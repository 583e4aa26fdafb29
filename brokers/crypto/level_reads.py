"""Which levels rest at an exchange. Raises ccxt's errors, KeyError or ValueError."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from brokers.base import ReadFailed
from brokers.crypto import binance_algo, binance_oco, listed_levels, lookup, okx_algo, reads
from brokers.crypto.client import Client
from brokers.crypto.exchanges import LevelApi
from brokers.crypto.level_orders import LevelName, LevelOrder, levels_by_entry
from brokers.exit_reads import is_exit_read
from brokers.types import BrokerOrder, BrokerPosition, HeldLevels, OrderType, Side
from brokers.unreadable_rows import OF_ONE_ROW, UNREADABLE_ROWS, is_of_one_row
from common.reason_codes import Code

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
    if any(not one.is_readable and one.symbol in ("", symbol) for one in found):
        raise ReadFailed(Code.BROKER_UNREACHABLE, f"the position in {symbol} cannot be read")
    return next((one.side for one in found if one.symbol == symbol), None)


async def positions(client: Client) -> list[BrokerPosition]:
    """Return the open positions; where levels rest at the exchange, with them by entry, unless an
    exit waits."""
    if is_exit_read() or not has_levels(client):
        return await reads.positions(client)
    live = await _readable_levels(client)  # first: one executed meanwhile is no dropped level
    found = await reads.positions(client)
    if live is None:
        return found
    return [one if not one.is_readable else _with_levels(one, live) for one in found]


async def _readable_levels(client: Client) -> list[LevelOrder] | None:
    """Return our levels; None if one of them cannot be read: then no level is known."""
    try:
        return await live_levels(client)
    except OF_ONE_ROW as error:
        if not is_of_one_row(error):
            raise
        UNREADABLE_ROWS.note(client.connection_id, "level", "of a position", error)
        return None


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
        found += [_as_order(level) for level in await _readable_levels(client) or ()]
    levels = [order for order in found if _is_level(order)]
    if not levels:
        return found
    may_close = await _closable(client)
    return [
        order if order not in levels else replace(order, level_of=order.client_order_id[:18])
        for order in found
        if order not in levels or not may_close(order)
    ]


async def _closable(client: Client) -> Callable[[BrokerOrder], bool]:
    """Return a test of whether a level may close an open position; of one that cannot be read
    the side is not known."""
    if client.settings.market == "spot":
        held = await reads.held_symbols(client)
        return lambda level: level.side is Side.SELL and level.symbol in held
    found = await reads.positions(client)
    closing = {(one.symbol, one.side.opposite) for one in found if one.is_readable}
    hidden = {one.symbol for one in found if not one.is_readable}
    return lambda level: (
        (level.symbol, level.side) in closing or "" in hidden or level.symbol in hidden
    )


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
