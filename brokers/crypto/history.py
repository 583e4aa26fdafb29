"""Read what was executed since a time, completely.

A time with more executions than the exchange's pages may hold is read again in two halves.
"""

import importlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from itertools import product
from typing import Any

from brokers.base import ReadFailed
from brokers.crypto import binance_algo, okx_algo, parse, unlisted, unread_trades
from brokers.crypto.client import Client
from brokers.crypto.exchanges import RECENT, LevelApi, Paging
from brokers.crypto.level_orders import CAUSES, LevelName
from brokers.crypto.level_reads import has_levels
from brokers.crypto.lookup import recent_trades
from brokers.crypto.order_cache import OrderCache
from brokers.crypto.order_encoding import CLIENT_ORDER_ID
from brokers.crypto.paging import read_pages
from brokers.crypto.reads import balances, call_method, row_symbol
from brokers.types import ConnectionSpec, OrderReport, ReportKind
from brokers.unreadable_rows import INVALID, UNREADABLE_ROWS
from common.reason_codes import Code

log = logging.getLogger(__name__)
MIN_SPAN = timedelta(seconds=2)  # some count in seconds
SLACK = timedelta(seconds=5)  # a fill that is reported twice does no harm
LISTED_WITHIN = timedelta(seconds=30)  # half of the engine's overlap: it is read again after that
COMPARED_SECONDS = 60.0  # as long as the engine's own overlap: after a jump nothing is left out
QUERIED_ORDERS = 20  # ccxt fetchOrdersByIds: the most that one request may name
Trade = Mapping[str, Any]


async def fills_since(
    client: Client, *, spec: ConnectionSpec, since: datetime, order_cache: OrderCache
) -> list[OrderReport]:
    """FILLED reports, an order's executions in one. Raises ReadFailed beyond the horizon.

    since: by our clock. Theirs may be behind: what was executed then has an earlier time.
    """
    await client.clock.compare(client.exchange, max_age=COMPARED_SECONDS)
    now = client.clock.now()
    since -= max(timedelta(0), client.clock.behind_us())
    horizon = client.rules.fills_horizon
    if horizon is not None and now - since > horizon:
        raise ReadFailed(Code.LOOKUP_WINDOW_EXCEEDED, f"further back than {horizon}")
    by_order: dict[tuple[str, str], dict[tuple[str, str], Trade]] = {}
    for trade in await _trades(client, since - SLACK, now):
        try:
            row_symbol(trade)
            parse.execution(trade, Decimal(1))
        except INVALID as error:
            UNREADABLE_ROWS.note(client.connection_id, "execution", _name_of(trade), error)
            continue
        order = by_order.setdefault((str(trade["symbol"]), str(trade["order"])), {})
        order[(str(trade["id"]), str(trade["side"]))] = trade
    await _read_orders(client, spec, order_cache, by_order)
    found = []
    for key, trades in by_order.items():
        if not _is_readable(client, key[0], trades.values()):
            continue
        try:
            ordered = sorted(trades.values(), key=_time)
            found.append(await _report(client, spec, order_cache, key, ordered))
        except INVALID as error:
            name = f"of order {key[1]} in {key[0]}"
            UNREADABLE_ROWS.note(client.connection_id, "execution", name, error)
    client.unread = None
    return found


async def _trades(client: Client, since: datetime, now: datetime) -> list[Trade]:
    """Return the executions since a time, of all symbols or the connection's."""
    rules, is_spot = client.rules, client.settings.market == "spot"
    if rules.fills_by_symbol and not rules.fills_of_all and is_spot:
        return await _of_what_traded(client, since, now)
    by_symbol = rules.fills_by_symbol and not rules.fills_of_all
    symbols: Sequence[str | None] = _asked(client) if by_symbol else [None]
    kinds = ({},) if is_spot else rules.swap_fills
    return [
        trade
        for symbol, kind in product(symbols, kinds)
        for trade in await _spans(client, symbol, kind, since, now)
    ]


async def _of_what_traded(client: Client, since: datetime, now: datetime) -> list[Trade]:
    """Return the executions of the connection's symbols; only of those are they read that have
    traded, by the balances."""
    found = await balances(client)
    nothing = Decimal(0)
    return await client.traded.read(
        {name: found.get(name.partition("/")[0], nothing) for name in _asked(client)},
        found.get(client.settings.currency, nothing),
        since,
        now,
        lambda symbol, start: _spans(client, symbol, {}, start, now),
    )


def _name_of(trade: Trade) -> str:
    return f"{trade.get('id') or '?'} in {trade.get('symbol') or '?'}"


def _asked(client: Client) -> list[str]:
    """Return the connection's symbols that the exchange lists; no other can be asked for."""
    found = unlisted.listed(client)
    for name in client.settings.symbols:
        if name not in found:
            client.warn_once(f"{name} is not listed: its executions are not read")
    return found


def _is_readable(client: Client, symbol: str, trades: Iterable[Trade]) -> bool:
    """Whether an order's symbol is listed; else its executions are left out.

    Raises ReadFailed if it may be ours, until the markets have been loaded again."""
    infos = [trade.get("info") or {} for trade in trades]
    stated = {str(info.get("clOrdId") or info.get("orderLinkId") or "") for info in infos}
    may_be_ours = any(map(unlisted.is_our_id, stated)) or not unlisted.all_are_listed(client)
    return unlisted.is_readable(client, symbol, what="execution", may_be_ours=may_be_ours)


async def _spans(
    client: Client, symbol: str | None, kind: Mapping[str, Any], start: datetime, now: datetime
) -> list[Trade]:
    """Return all trades since a time. The last request has no end, so no clock can cut it."""
    if client.rules.fills_paging is Paging.TIME:
        return await _going_on(client, symbol, start, now)
    end = max(now, start) + SLACK
    span = client.rules.fills_span or (end - start)
    found: list[Trade] = []
    while start < end:
        until = min(end, start + span)
        found += await _between(client, symbol, kind, start, until, is_last=until == end)
        start = until
    return found


async def _going_on(
    client: Client, symbol: str | None, start: datetime, now: datetime
) -> list[Trade]:
    """Return all trades since a time, from where the last read of them has stopped."""

    async def read_page(since: datetime, asked: Mapping[str, Any]) -> Sequence[Trade]:
        return await _page(client, symbol, {}, since, None, asked)

    unread, client.unread = unread_trades.going_on(client.unread, start, now), None
    try:
        return await unread.read(read_page, client.rules.fills_page)
    finally:
        client.unread = unread  # until its orders are read, too


async def _between(
    client: Client,
    symbol: str | None,
    kind: Mapping[str, Any],
    start: datetime,
    end: datetime,
    *,
    is_last: bool,
) -> list[Trade]:
    """Return all trades of a time.

    is_last: also those after its end, which is what their clock should show by now.
    """
    trades, is_complete = await read_pages(
        client.rules.fills_paging, client.rules.fills_page,
        partial(_page, client, symbol, kind, start, None if is_last else end),
    )  # fmt: skip
    if is_complete:
        return trades
    if is_last:
        newest = datetime.fromtimestamp(max(map(_time, trades)) / 1000, UTC)
        end = max(end, newest)
    if end - start < MIN_SPAN:
        raise ValueError(f"more than {len(trades)} executions within {end - start}")
    middle = start + (end - start) / 2
    return [
        *await _between(client, symbol, kind, start, middle, is_last=False),
        *await _between(client, symbol, kind, middle, end, is_last=is_last),
    ]


async def _page(
    client: Client,
    symbol: str | None,
    kind: Mapping[str, Any],
    start: datetime,
    end: datetime | None,
    further: Mapping[str, Any],
) -> Sequence[Trade]:
    """Return a page of the trades of a time. end: None for no end; further: what asks for it."""
    page, since = client.rules.fills_page, _ms(start)
    if client.rules.fills_paging is Paging.NEWER and further:
        trades: list[Trade] = await call_method(
            client, "fetch_my_trades", symbol, None, page, {**kind, **further}
        )
        return [trade for trade in trades if end is None or _time(trade) <= _ms(end)]
    if client.rules.recent_fills and client.clock.now() - start < RECENT:
        ends = {} if end is None else {"end": _ms(end)}
        return await recent_trades(
            client, symbol, {"begin": since, **ends, "limit": page, **further}
        )
    until = {} if end is None else {"until": _ms(end)}
    of_all = {"type": client.settings.market} if client.rules.fills_of_all else {}
    trades = await call_method(
        client, "fetch_my_trades", symbol, since, page, {**of_all, **kind, **until, **further}
    )
    return [parse.of_own_market(client.exchange, one) for one in trades] if of_all else trades


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def _time(trade: Trade) -> int:
    return int(trade["timestamp"])


async def _report(
    client: Client,
    spec: ConnectionSpec,
    order_cache: OrderCache,
    key: tuple[str, str],
    trades: Sequence[Trade],
) -> OrderReport:
    symbol, broker_order_id = key
    client_order_id = await _client_order_id(client, spec, order_cache, key, trades[0])
    if (level := LevelName.read(client_order_id)) is not None:
        return OrderReport(
            kind=ReportKind.FILLED,
            connection_id=spec.connection_id,
            client_order_id=level.entry,
            broker_order_id=broker_order_id,
            broker_position_id=symbol,
            fills=parse.executions(trades, client.market(symbol)),
            close_cause=CAUSES[level.leg],
        )
    is_ours = bool(CLIENT_ORDER_ID.fullmatch(client_order_id))
    is_external_close = not is_ours and await _reduces_position(
        client, spec, order_cache, key, trades[0]
    )
    return OrderReport(
        kind=ReportKind.FILLED,
        connection_id=spec.connection_id,
        client_order_id="" if is_external_close else client_order_id,
        broker_order_id=broker_order_id,
        broker_position_id=symbol,
        fills=parse.executions(trades, client.market(symbol)),
        close_cause=parse.cause_of(trades[0], client_order_id) if is_external_close else None,
    )


async def _read_orders(
    client: Client,
    spec: ConnectionSpec,
    order_cache: OrderCache,
    keys: Iterable[tuple[str, str]],
) -> None:
    """Read the orders of trades together, where an exchange lists no client order id with a trade
    and an order costs as much as many (Kraken). What is missing is then read one by one."""
    if client.rules.fills_paging is not Paging.TIME:
        return
    symbols = {number: symbol for symbol, number in keys}
    unknown = [
        number for number, symbol in symbols.items()
        if (record := order_cache.by_broker_id(spec.connection_id, symbol, number)) is None
        or record.client_order_id is None
    ]  # fmt: skip
    for first in range(0, len(unknown), QUERIED_ORDERS):
        asked = unknown[first : first + QUERIED_ORDERS]
        try:
            orders = await call_method(client, "fetch_orders_by_ids", asked)
        except importlib.import_module("ccxt").ExchangeError:
            return  # of one that it does not keep, perhaps
        for order in orders:
            number, name = str(order["id"]), str(order.get("clientOrderId") or "")
            ended = parse.has_ended(order) or not unlisted.is_our_id(name)
            order_cache.set_client_order_id(
                spec.connection_id, symbols[number], number, name, ended=ended
            )


async def _client_order_id(
    client: Client,
    spec: ConnectionSpec,
    order_cache: OrderCache,
    key: tuple[str, str],
    trade: Trade,
) -> str:
    """Return the client order id of a trade's order. OKX and Bybit list it with the trade; from
    the others the order is read once."""
    info = trade.get("info") or {}
    for field in ("clOrdId", "orderLinkId"):
        stated = str(info.get(field) or "")
        is_certain = client.level_api is LevelApi.ORDERS or CLIENT_ORDER_ID.fullmatch(stated)
        if field in info and (is_certain or not has_levels(client)):
            return stated
    symbol, broker_order_id = key
    record = order_cache.by_broker_id(spec.connection_id, symbol, broker_order_id)
    if record is not None and record.client_order_id is not None:
        return record.client_order_id
    order = await _order_of(client, key, trade)
    # An order of OKX that a level made names it.
    algo_id = str((order.get("info") or {}).get("algoClOrdId") or "")
    client_order_id = algo_id or str(order.get("clientOrderId") or "")
    if algo_id:
        client_order_id = await okx_algo.triggered_level(client, algo_id)
    is_algo = client.level_api is LevelApi.BINANCE_ALGO and has_levels(client)
    if is_algo and not CLIENT_ORDER_ID.fullmatch(client_order_id) and parse.reduces(order):
        level = await binance_algo.level_of_order(client, symbol, broker_order_id)
        client_order_id = level or client_order_id
    ended = parse.has_ended(order) or not CLIENT_ORDER_ID.fullmatch(client_order_id)
    order_cache.set_client_order_id(
        spec.connection_id, symbol, broker_order_id, client_order_id, ended=ended
    )
    return client_order_id


async def _order_of(client: Client, key: tuple[str, str], trade: Trade) -> Mapping[str, Any]:
    """Return a trade's order as ccxt's; one without content if the exchange keeps none.

    Every exchange keeps an order of ours that was executed, and lists it within seconds of its
    trades. Raises OrderNotFound for a trade that is so recent: the next read shows whose it is."""
    symbol, broker_order_id = key
    try:
        order: Mapping[str, Any] = await call_method(client, "fetch_order", broker_order_id, symbol)
    except importlib.import_module("ccxt").OrderNotFound:
        if client.clock.now() - parse.moment(trade["timestamp"]) < LISTED_WITHIN:
            raise
        log.warning(
            "%s: order %s of %s is not kept: not ours", client.rules.name, broker_order_id, symbol
        )
        return {"status": "closed"}
    return order


async def _reduces_position(
    client: Client,
    spec: ConnectionSpec,
    order_cache: OrderCache,
    key: tuple[str, str],
    trade: Trade,
) -> bool:
    """Whether a trade that is not ours reduced a position. If the trade does not show it, its
    order is read, once."""
    is_spot = client.settings.market == "spot"
    closes = parse.closes(trade, spot=is_spot)
    if closes or is_spot or parse.reports_closed_size(trade):
        return closes
    symbol, broker_order_id = key
    record = order_cache.by_broker_id(spec.connection_id, symbol, broker_order_id)
    if record is not None and record.reduces is not None:
        return record.reduces
    reduces = parse.reduces(await _order_of(client, key, trade))
    order_cache.set_reduces(spec.connection_id, symbol, broker_order_id, reduces)
    return reduces
