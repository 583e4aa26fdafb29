"""Values that the tests of the MetaTrader 5 adapter share."""

import asyncio
from collections.abc import Coroutine
from decimal import Decimal
from typing import Any, TypeVar

import pytest

from brokers.base import BrokerError
from brokers.mt5.adapter import Mt5Adapter
from brokers.types import (
    ConnectionSpec,
    OrderReport,
    OrderRequest,
    OrderType,
    ReportKind,
    Side,
    TimeInForce,
)

T = TypeVar("T")
CID = "fcxabcdefghijklmn0"
EXIT = "fcxzyxwvutsrqponm0"
D = Decimal
LIMIT: dict[str, Any] = {
    "order_type": OrderType.LIMIT,
    "limit_price": D("1.05"),
    "time_in_force": TimeInForce.GTC,
}


def run(call: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(call)


def spec(login: int = 1001, **settings: Any) -> ConnectionSpec:
    return ConnectionSpec(
        connection_id=f"c{login}",
        account=str(login),
        settings={
            "server": "Double-Demo",
            "server_timezone": "UTC",
            "settle_seconds": 0,
            "reply_timeout": 30,
            **settings,
        },
        credentials={"password": "secret"},
    )


def order(client_order_id: str = CID, **changes: Any) -> OrderRequest:
    words: dict[str, Any] = {
        "client_order_id": client_order_id,
        "connection_id": "c1001",
        "account": "1001",
        "symbol": "EURUSD",
        "side": Side.BUY,
        "order_type": OrderType.MARKET,
        "time_in_force": TimeInForce.IOC,
        "quantity": Decimal(10_000),
        "order_id": 7,
    }
    return OrderRequest(**{**words, **changes})


def no_guard(request: OrderRequest) -> None:
    return None


def submit(adapter: Mt5Adapter, request: OrderRequest, **of: Any) -> list[OrderReport]:
    return run(adapter.submit(spec(**of), request, no_guard))


def bought(adapter: Mt5Adapter, **changes: Any) -> str:
    """Buy and return the position's number."""
    return submit(adapter, order(**changes))[-1].broker_position_id


def outcome(adapter: Mt5Adapter, request: OrderRequest, **of: Any) -> BrokerError:
    with pytest.raises(BrokerError) as ended:
        submit(adapter, request, **of)
    return ended.value


def kinds(adapter: Mt5Adapter, client_order_id: str = CID) -> list[ReportKind] | None:
    found = run(adapter.find_order(spec(), client_order_id))
    return None if found is None else [report.kind for report in found]
