"""One order by our client order id, and its executions. Raises ccxt's errors or ValueError."""

from collections.abc import Mapping, Sequence
from typing import Any

from brokers.base import ReadFailed
from brokers.crypto import parse
from brokers.crypto.client import Client
from brokers.crypto.exchanges import LAG_SECONDS, Lookup
from brokers.types import Execution
from common.clocks import machine_time
from common.reason_codes import Code

MAY_STILL_ARRIVE = "it is not there yet, and may still arrive"


async def find(
    client: Client, client_order_id: str, symbols: Sequence[str], missing: type[Exception]
) -> Mapping[str, Any] | None:
    """Return ccxt's order; None: the exchange was asked everywhere and has none.

    symbols: where it may be, for an exchange that wants to know; missing: ccxt's OrderNotFound.
    """
    match client.rules.lookup:
        case Lookup.BY_SYMBOL:
            return await _by_symbol(client, client_order_id, symbols, missing)
        case Lookup.REALTIME_HISTORY:
            return await _bybit(client, client_order_id)
        case Lookup.OPEN_CLOSED:
            return await _kraken(client, client_order_id)
        case Lookup.NONE:
            raise ValueError(f"{client.rules.name} is not looked up by our id")


async def _by_symbol(
    client: Client, client_order_id: str, symbols: Sequence[str], missing: type[Exception]
) -> Mapping[str, Any] | None:
    params = {client.rules.cancel_name: client_order_id}  # in a look-up it has the cancel's name
    for symbol in symbols:
        try:
            order = await client.exchange.fetch_order(None, symbol, params)
        except missing:
            continue
        return require_named(order, client_order_id)
    return None


async def _bybit(client: Client, client_order_id: str) -> Mapping[str, Any] | None:
    """Among the open ones, the last 500 that have ended, and the history, which may be late and is
    all there is after a restart of theirs. An order moves from the first to the others meanwhile,
    so the open ones are asked again. docs v5 "Get Open & Closed Orders", "Get Order History"."""
    swap = client.settings.market == "swap"
    params: dict[str, Any] = {
        "category": "linear" if swap else "spot", "orderLinkId": client_order_id,
    }  # fmt: skip
    if swap:
        params["settleCoin"] = client.settings.currency
    exchange = client.exchange
    for ask, which in (
        (exchange.privateGetV5OrderRealtime, {"openOnly": 0}),
        (exchange.privateGetV5OrderRealtime, {"openOnly": 1}),
        (exchange.privateGetV5OrderHistory, {}),
        (exchange.privateGetV5OrderRealtime, {"openOnly": 0}),
    ):
        answer = await ask({**params, **which})
        found = answer["result"]["list"]
        if found:
            market = exchange.markets_by_id[found[0]["symbol"]][0]  # of one kind: all we loaded
            return require_named(exchange.parse_order(found[0], market), client_order_id)
    return None


async def _kraken(client: Client, client_order_id: str) -> Mapping[str, Any] | None:
    """Open, closed, and open again: an order may just be moving from one list to the other."""
    exchange = client.exchange
    params = {"clientOrderId": client_order_id, "trades": True}
    for ask in (
        exchange.fetch_open_orders,
        exchange.fetch_closed_orders,
        exchange.fetch_open_orders,
    ):
        orders = await ask(None, None, None, params)
        mine = [one for one in orders if one.get("clientOrderId") == client_order_id]
        if mine:
            return require_named(mine[0], client_order_id)
    return None


async def check_too_late(client: Client, until: int, asked_at: float) -> None:
    """Raise ReadFailed if the exchange could still take what was not there, by its own clock when
    it was asked. until: what that shows when it takes the order no more, in ms; asked_at: our
    machine_time()."""
    await client.clock.compare(client.exchange)
    then = client.clock.now_ms() - (machine_time() - asked_at) * 1000
    if then < until + LAG_SECONDS * 1000:
        raise ReadFailed(Code.REPLY_LOST, MAY_STILL_ARRIVE)


def require_named(order: Any, client_order_id: str) -> Mapping[str, Any]:
    """Return an order that the exchange sent, if it is the requested one. Raises ValueError.

    ccxt makes an order of whatever text came back, with nothing in it.
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
    """Return an order's trades as far as the exchange lists them now. Raises ValueError."""
    market = client.market(symbol)
    exchange, number = client.exchange, str(order["id"])
    trades: list[Any] = []
    if not parse.optional_number(order.get("filled")):
        return ()
    if client.rules.lookup is Lookup.OPEN_CLOSED:
        ids = [trade["id"] for trade in order.get("trades") or ()]
        if not ids:
            return ()
        trades = await exchange.fetch_order_trades(number, symbol, None, None, {"trades": ids})
    elif client.rules.fills_by_symbol:  # ccxt's binance has fetchOrderTrades for spot only
        trades = await exchange.fetch_my_trades(symbol, None, None, {"orderId": number})
    elif exchange.has.get("fetchOrderTrades"):
        if client.rules.recent_fills:
            trades = await recent(client, symbol, {"ordId": number})
        if not trades:
            trades = await exchange.fetch_order_trades(number, symbol)
    else:
        return ()
    mine = [trade for trade in trades if str(trade.get("order")) == number]
    return parse.executions(mine, market)


async def recent(client: Client, symbol: str | None, which: Mapping[str, Any]) -> list[Any]:
    """Return ccxt's trades of an exchange's list of the latest ones. which: its own parameters."""
    exchange = client.exchange
    kind = exchange.convert_to_instrument_type(client.settings.market)
    answer = await getattr(exchange, client.rules.recent_fills)({"instType": kind, **which})
    market = client.market(symbol) if symbol else None
    found: list[Any] = exchange.parse_trades(answer["data"], market)
    return found
