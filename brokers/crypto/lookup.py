"""Look up one order by our client order id, and its executions.

Reads raise ccxt's errors, and ValueError for an invalid answer.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from brokers.base import ReadFailed
from brokers.crypto import parse
from brokers.crypto.client import Client
from brokers.crypto.exchanges import LAG_SECONDS, Lookup
from brokers.crypto.paging import read_pages
from brokers.types import Execution
from common.clocks import machine_time
from common.reason_codes import Code

QUERIED_TRADES = 20  # docs "Query Trades Info": the most that one request may name
MAY_STILL_ARRIVE = "it is not there yet, and may still arrive"


async def find(
    client: Client, client_order_id: str, symbols: Sequence[str], not_found_error: type[Exception]
) -> Mapping[str, Any] | None:
    """Return ccxt's order; None if no list of the exchange has it.

    symbols: where it may be, for an exchange that requires the symbol; not_found_error: ccxt's
    class OrderNotFound, since ccxt is imported only when it is used.
    """
    match client.rules.lookup:
        case Lookup.BY_SYMBOL:
            return await _by_symbol(client, client_order_id, symbols, not_found_error)
        case Lookup.REALTIME_HISTORY:
            return await _bybit(client, client_order_id)
        case Lookup.OPEN_CLOSED:
            return await _kraken(client, client_order_id)
        case Lookup.NONE:
            raise ValueError(f"{client.rules.name} is not looked up by our id")


async def _by_symbol(
    client: Client, client_order_id: str, symbols: Sequence[str], not_found_error: type[Exception]
) -> Mapping[str, Any] | None:
    """Query each symbol for the order."""
    params = {client.rules.cancel_name: client_order_id}  # look-ups use the cancel's parameter
    for symbol in symbols:
        try:
            order = await client.exchange.fetch_order(None, symbol, params)
        except not_found_error:
            continue
        return require_named(order, client_order_id)
    return None


async def _bybit(client: Client, client_order_id: str) -> Mapping[str, Any] | None:
    """Query the open orders, the last 500 that have ended, and the history.

    The history may be late, but after a restart of the exchange it is the only list of what has
    ended. An order may move out of the open ones between these reads, so they are read once more
    at the end. Source: Bybit v5 "Get Open & Closed Orders", "Get Order History"."""
    swap = client.settings.market == "swap"
    params: dict[str, Any] = {
        "category": "linear" if swap else "spot", "orderLinkId": client_order_id,
    }  # fmt: skip
    if swap:
        params["settleCoin"] = client.settings.currency
    exchange = client.exchange
    for method, parameters in (
        (exchange.privateGetV5OrderRealtime, {"openOnly": 0}),
        (exchange.privateGetV5OrderRealtime, {"openOnly": 1}),
        (exchange.privateGetV5OrderHistory, {}),
        (exchange.privateGetV5OrderRealtime, {"openOnly": 0}),
    ):
        answer = await method({**params, **parameters})
        orders = answer["result"]["list"]
        if orders:
            # One market per symbol: only those of the account's market type are loaded.
            name = orders[0]["symbol"]
            market = (exchange.markets_by_id.get(name) or [client.market(name)])[0]
            return require_named(exchange.parse_order(orders[0], market), client_order_id)
    return None


async def _kraken(client: Client, client_order_id: str) -> Mapping[str, Any] | None:
    """Query the open orders, the closed ones, and the open ones again: an order may have moved
    from one list to the other between the reads."""
    exchange = client.exchange
    params = {"clientOrderId": client_order_id, "trades": True}
    for method in (
        exchange.fetch_open_orders,
        exchange.fetch_closed_orders,
        exchange.fetch_open_orders,
    ):
        orders = await method(None, None, None, params)
        matching = [one for one in orders if one.get("clientOrderId") == client_order_id]
        if matching:
            return require_named(matching[0], client_order_id)
    return None


async def require_expired(client: Client, expires_ms: int, looked_up_at: float) -> None:
    """Raise ReadFailed if an order could still arrive at the time of a look-up that did not find
    it, so that its absence proves nothing.

    expires_ms: when the exchange stops accepting the order, in ms since 1970 on its own clock.
    looked_up_at: machine_time() at the start of the look-up.
    """
    await client.clock.compare(client.exchange)
    exchange_ms = client.clock.now_ms() - (machine_time() - looked_up_at) * 1000  # at the look-up
    if exchange_ms < expires_ms + LAG_SECONDS * 1000:
        raise ReadFailed(Code.REPLY_LOST, MAY_STILL_ARRIVE)


def require_named(order: Any, client_order_id: str) -> Mapping[str, Any]:
    """Return an order that the exchange sent, if it is the requested one. Raises ValueError.

    ccxt turns any answer into an order, if need be one without content.
    """
    if (
        not isinstance(order, dict)
        or not order.get("id")
        or not isinstance(order.get("info"), dict)
    ):
        raise ValueError("no order in the answer")
    stated_id = order.get("clientOrderId")
    if stated_id is not None and stated_id != client_order_id:
        raise ValueError(f"order {stated_id} instead of {client_order_id}")
    return order


async def executions(
    client: Client, order: Mapping[str, Any], symbol: str
) -> tuple[Execution, ...]:
    """Return an order's trades as far as the exchange lists them now. order: ccxt's."""
    market, broker_order_id = client.market(symbol), str(order["id"])
    if parse.states_filled(order) and not parse.number(order["filled"]):
        return ()
    if client.rules.lookup is Lookup.OPEN_CLOSED:
        trades = await _kraken_trades(client, order, symbol)
    else:
        trades = await _trades_of(client, broker_order_id, symbol)
    own_trades = [trade for trade in trades if str(trade.get("order")) == broker_order_id]
    return parse.executions(own_trades, market)


async def _kraken_trades(
    client: Client, order: Mapping[str, Any], symbol: str
) -> Sequence[Mapping[str, Any]]:
    """Query the trades that an order names.

    Not by ccxt's fetch_order_trades: if their number is a multiple of its batch, it asks for no
    trades at last, which Kraken refuses."""
    ids = [str(trade["id"]) for trade in order.get("trades") or ()]
    lines: list[Mapping[str, Any]] = []
    for first in range(0, len(ids), QUERIED_TRADES):
        txid = ",".join(ids[first : first + QUERIED_TRADES])
        answer = await client.exchange.privatePostQueryTrades({"txid": txid})
        lines += [{**line, "id": name} for name, line in answer["result"].items()]
    trades: list[Any] = client.exchange.parse_trades(lines, client.market(symbol))
    return trades


async def _trades_of(
    client: Client, broker_order_id: str, symbol: str
) -> Sequence[Mapping[str, Any]]:
    """Query an order's trades, page by page."""
    exchange, page = client.exchange, client.rules.fills_page

    async def by_symbol(further: Mapping[str, Any]) -> Any:
        # ccxt's binance has fetchOrderTrades for spot only.
        asked = {"orderId": broker_order_id, **further}
        return await exchange.fetch_my_trades(symbol, None, page, asked)

    async def recent(further: Mapping[str, Any]) -> Any:
        asked = {"ordId": broker_order_id, "limit": page, **further}
        return await recent_trades(client, symbol, asked)

    async def of_order(further: Mapping[str, Any]) -> Any:
        return await exchange.fetch_order_trades(broker_order_id, symbol, None, None, further)

    reads = [of_order] if exchange.has.get("fetchOrderTrades") else []
    if client.rules.recent_fills:
        reads = [recent, of_order]
    if client.rules.fills_by_symbol:
        reads = [by_symbol]
    trades: Sequence[Mapping[str, Any]] = ()
    for read in reads:
        trades, _ = await read_pages(client.rules.fills_paging, page, read)
        if trades:
            break
    return trades


async def recent_trades(
    client: Client, symbol: str | None, parameters: Mapping[str, Any]
) -> list[Any]:
    """Return the trades of an exchange's list of recent executions, as ccxt's trades.

    symbol: None for all; parameters: further ones of the exchange's own endpoint.
    """
    exchange = client.exchange
    instrument_type = exchange.convert_to_instrument_type(client.settings.market)
    answer = await getattr(exchange, client.rules.recent_fills)(
        {"instType": instrument_type, **parameters}
    )
    market = client.market(symbol) if symbol else None
    trades: list[Any] = exchange.parse_trades(answer["data"], market)
    return trades
