"""The adapter for the broker of `broker.py`, as a third party would write it: one POST an order.

The broker type is `slow`. Balances are those of the paper account of the same number.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any
from weakref import WeakKeyDictionary

import aiohttp

from brokers import base, types
from brokers.account_capabilities import Capabilities
from brokers.adapter_base import AdapterBase
from brokers.paper import capabilities
from brokers.paper.adapter import PaperAdapter
from brokers.paper.form import FORM as PAPER_FORM
from brokers.types import ConnectionSpec, OrderReport, OrderRequest
from common.reason_codes import Code

ADDRESS = "SLOW_HTTP_BROKER"  # the environment variable with the broker's address
FORM = replace(PAPER_FORM, label="Slow", account="The number of a paper account.")


def create() -> "SlowAdapter":
    """Make the adapter, for the registry."""
    return SlowAdapter()


def capabilities_of(spec: ConnectionSpec) -> Capabilities:
    """Return what an account can do: market orders, answered with their fill."""
    return replace(
        capabilities.capabilities_of(spec), event_stream=False, native_stops=False,
        submit_many=False, fills_horizon=None, quotes=False, what_if=False, modify=False,
        changes_orders=frozenset(),
    )  # fmt: skip


def message_of(request: OrderRequest) -> dict[str, str]:
    """Return the JSON that places an order."""
    return {
        "id": request.client_order_id, "account": request.account, "symbol": request.symbol,
        "side": request.side.value, "quantity": str(request.quantity),
        "closes": request.broker_position_id,
    }  # fmt: skip


def report_of(connection_id: str, order: Mapping[str, Any]) -> OrderReport:
    """Return the report of an executed order."""
    fill = types.Execution(
        broker_fill_id=f"f{order['number']}", quantity=Decimal(order["quantity"]),
        price=Decimal(order["price"]), time=datetime.fromisoformat(order["time"]),
    )  # fmt: skip
    return OrderReport(
        kind=types.ReportKind.FILLED, connection_id=connection_id, client_order_id=order["id"],
        broker_order_id=order["number"], broker_position_id=order["closes"] or order["number"],
        fills=(fill,),
    )  # fmt: skip


class SlowAdapter(PaperAdapter):
    """All accounts at the broker; they share one session of HTTP connections per event loop."""

    broker_type = "slow"
    form = FORM

    def __init__(self) -> None:
        super().__init__()
        self._sessions: WeakKeyDictionary[Any, aiohttp.ClientSession] = WeakKeyDictionary()

    def capabilities(self, spec: ConnectionSpec) -> Capabilities:
        return capabilities_of(spec)

    async def submit(
        self, spec: ConnectionSpec, request: OrderRequest, guard: base.Guard
    ) -> list[OrderReport]:
        """Place an order by one POST."""
        session = self._session()
        guard(request)
        try:
            async with session.post("/orders", json=message_of(request)) as response:
                order = await response.json()
        except (aiohttp.ClientError, OSError) as error:
            raise base.OutcomeUnknown(Code.REPLY_LOST, f"{type(error).__name__} {error}") from error
        return [report_of(spec.connection_id, order)]

    async def submit_many(
        self, requests: Sequence[tuple[ConnectionSpec, OrderRequest]], guard: base.Guard,
        on_outcome: base.OnOutcome,
    ) -> None:  # fmt: skip
        await base.submit_each(self, requests, guard, on_outcome)

    async def find_order(
        self, spec: ConnectionSpec, client_order_id: str, symbol: str = ""
    ) -> list[OrderReport] | None:
        order = await self._get("/order", {"id": client_order_id})
        return None if order is None else [report_of(spec.connection_id, order)]

    async def positions(self, spec: ConnectionSpec) -> list[types.BrokerPosition]:
        return [
            types.BrokerPosition(
                broker_position_id=order["number"], symbol=order["symbol"],
                side=types.Side(order["side"]), quantity=Decimal(order["quantity"]),
                entry_price=Decimal(order["price"]), client_order_id=order["id"],
                opened_at=datetime.fromisoformat(order["time"]),
            )
            for order in await self._get("/orders", {"account": spec.account})
        ]  # fmt: skip

    async def open_orders(self, spec: ConnectionSpec) -> list[types.BrokerOrder]:
        return []

    def stream_events(self) -> AsyncIterator[None]:
        return AdapterBase.stream_events(self)

    async def events(self, limit: int, after: str = "") -> list[OrderReport]:
        return []

    async def disconnect(self, spec: ConnectionSpec | None = None) -> None:
        session = self._sessions.pop(asyncio.get_running_loop(), None) if spec is None else None
        if session is not None:
            await session.close()

    async def _get(self, path: str, query: Mapping[str, str]) -> Any:
        try:
            async with self._session().get(path, params=query) as response:
                return await response.json()
        except (aiohttp.ClientError, OSError) as error:
            raise base.ReadFailed(Code.BROKER_UNREACHABLE, type(error).__name__) from error

    def _session(self) -> aiohttp.ClientSession:
        loop = asyncio.get_running_loop()
        if loop not in self._sessions:
            connector = aiohttp.TCPConnector(limit=0)
            self._sessions[loop] = aiohttp.ClientSession(os.environ[ADDRESS], connector=connector)
        return self._sessions[loop]
