"""Convert what an exchange returns about an order to reports."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from brokers.crypto import parse
from brokers.crypto.client import Client
from brokers.types import ConnectionSpec, Execution, OrderReport, OrderRequest


def reply_trades(order: Mapping[str, Any], request: OrderRequest) -> list[dict[str, Any]]:
    """Return the trades in the reply to an order, with fields that Binance's spot omits."""
    known = {"order": order["id"], "symbol": request.symbol, "side": request.side.value.lower()}
    at = order.get("timestamp") or order.get("lastTradeTimestamp")
    return [
        {**trade, **known, "timestamp": trade.get("timestamp") or at}
        for trade in order.get("trades") or ()
        if trade.get("price") and trade.get("id")
    ]


def reports_of(
    client: Client,
    spec: ConnectionSpec,
    name: str,
    order: Mapping[str, Any],
    fills: Sequence[Execution],
    request: OrderRequest | None = None,
    requested: Decimal | None = None,
) -> list[OrderReport]:
    """Report an order and its executions. request: ours, if the reply does not name the symbol.

    requested: its quantity, if that is known. Raises ValueError or KeyError.
    """
    requested = request.quantity if request else requested
    symbol = request.symbol if request else str(order["symbol"])
    size = parse.contract_size(client.market(symbol))
    now = datetime.now(UTC)
    return parse.reports(
        spec.connection_id, name, order, fills, size=size, now=now, position=symbol,
        requested=requested,
    )  # fmt: skip
