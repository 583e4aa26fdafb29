"""Read what was executed since a time, completely: a full page is read again in two halves."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

from brokers.base import ReadFailed
from brokers.crypto import binance_algo, okx_algo, parse
from brokers.crypto.client import Client
from brokers.crypto.exchanges import RECENT, LevelApi
from brokers.crypto.level_orders import CAUSES, LevelName
from brokers.crypto.level_reads import has_levels
from brokers.crypto.lookup import recent_trades
from brokers.crypto.order_cache import OrderCache
from brokers.crypto.order_encoding import CLIENT_ORDER_ID
from brokers.crypto.reads import call_method
from brokers.types import CloseCause, ConnectionSpec, OrderReport, ReportKind
from common.reason_codes import Code

MIN_SPAN = timedelta(seconds=2)  # some count in seconds
SLACK = timedelta(seconds=5)  # a fill that is reported twice does no harm
COMPARED_SECONDS = 60.0  # as long as the engine's own overlap: after a jump nothing is left out
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
    symbols: Sequence[str | None] = [None]
    if client.rules.fills_by_symbol:
        symbols = client.settings.symbols
    by_order: dict[tuple[str, str], dict[tuple[str, str], Trade]] = {}
    kinds = client.rules.swap_fills if client.settings.market == "swap" else ({},)
    for symbol, kind in product(symbols, kinds):
        for trade in await _spans(client, symbol, kind, since - SLACK, now):
            order = by_order.setdefault((str(trade["symbol"]), str(trade["order"])), {})
            order[(str(trade["id"]), str(trade["side"]))] = trade
    return [
        await _report(client, spec, order_cache, key, sorted(trades.values(), key=_time))
        for key, trades in by_order.items()
    ]


async def _spans(
    client: Client, symbol: str | None, kind: Mapping[str, Any], start: datetime, now: datetime
) -> list[Trade]:
    """Return all trades since a time. The last request has no end, so no clock can cut it."""
    end = max(now, start) + SLACK
    span = client.rules.fills_span or (end - start)
    found: list[Trade] = []
    while start < end:
        until = min(end, start + span)
        found += await _between(client, symbol, kind, start, until, is_last=until == end)
        start = until
    return found


async def _between(
    client: Client,
    symbol: str | None,
    kind: Mapping[str, Any],
    start: datetime,
    end: datetime,
    *,
    is_last: bool,
) -> list[Trade]:
    """Return all trades of a time: some exchanges list the oldest of a page, some the newest.

    is_last: also those after its end, which is what their clock should show by now.
    """
    page = client.rules.fills_page
    since, until = _ms(start), {} if is_last else {"until": _ms(end)}
    trades: list[Trade]
    if client.rules.recent_fills and client.clock.now() - start < RECENT:
        ends = {} if is_last else {"end": _ms(end)}
        trades = await recent_trades(client, symbol, {"begin": since, **ends, "limit": page})
    else:
        trades = await call_method(
            client, "fetch_my_trades", symbol, since, page, {**kind, **until}
        )
    if len(trades) < page:
        return trades
    if is_last:
        newest = datetime.fromtimestamp(max(map(_time, trades)) / 1000, UTC)
        end = max(end, newest)
    if end - start < MIN_SPAN:
        raise ValueError(f"{page} executions within {end - start}")
    middle = start + (end - start) / 2
    return [
        *await _between(client, symbol, kind, start, middle, is_last=False),
        *await _between(client, symbol, kind, middle, end, is_last=is_last),
    ]


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
        close_cause=CloseCause.EXTERNAL if is_external_close else None,
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
    order = await call_method(client, "fetch_order", broker_order_id, symbol)
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
    reduces = parse.reduces(await call_method(client, "fetch_order", broker_order_id, symbol))
    order_cache.set_reduces(spec.connection_id, symbol, broker_order_id, reduces)
    return reduces
