"""What every adapter answers where its broker lacks something: no stream, no list, no change.

An adapter inherits `AdapterBase` and implements what its broker has, as `BrokerAdapter` states it.
Its capabilities say the same: where they have a `price_stream`, it has a `stream_quotes`.
"""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any

from brokers.base import BrokerAdapter, Guard, OnOutcome, ReadFailed, Rejected, submit_each
from brokers.connection_form import Form
from brokers.types import (
    BrokerCashFlow,
    BrokerFunding,
    ChangeRequest,
    ConnectionSpec,
    ModifyRequest,
    OrderReport,
    OrderRequest,
    Quote,
    WhatIf,
)
from common.reason_codes import Code


class AdapterBase:
    """The part of an adapter that its broker has nothing for."""

    broker_type: str
    form: Form

    def instrument_book(self, spec: ConnectionSpec) -> str:
        """Return a name for this connection only: it shares its instruments with no other."""
        return f"{self.broker_type} {spec.connection_id}"

    async def connect(self, spec: ConnectionSpec) -> None:
        """Keep nothing open: each call opens what it needs."""

    async def disconnect(self, spec: ConnectionSpec | None = None) -> None:
        """Close nothing: nothing stays open."""

    async def submit_many(
        self: BrokerAdapter,
        requests: Sequence[tuple[ConnectionSpec, OrderRequest]],
        guard: Guard,
        on_outcome: OnOutcome,
    ) -> None:
        """Place each order in a call of its own, all at the same time."""
        await submit_each(self, requests, guard, on_outcome)

    async def change_order(self, spec: ConnectionSpec, request: ChangeRequest) -> list[OrderReport]:
        """Raise Rejected CHANGE_UNSUPPORTED."""
        raise Rejected(Code.CHANGE_UNSUPPORTED, f"{self._name(spec)} changes no working orders")

    async def modify(self, spec: ConnectionSpec, request: ModifyRequest) -> list[OrderReport]:
        """Raise Rejected NOT_SUPPORTED."""
        raise Rejected(Code.NOT_SUPPORTED, f"{self._name(spec)} keeps no stops and targets")

    async def what_if(self, spec: ConnectionSpec, request: OrderRequest) -> WhatIf:
        """Raise ReadFailed NOT_SUPPORTED."""
        raise ReadFailed(Code.NOT_SUPPORTED, f"{self._name(spec)} does not say what an order costs")

    async def quote(self, spec: ConnectionSpec, symbol: str) -> Quote:
        """Raise ReadFailed NOT_SUPPORTED."""
        raise ReadFailed(Code.NOT_SUPPORTED, f"{self._name(spec)} states no prices")

    def stream_quotes(self, spec: ConnectionSpec, symbols: Sequence[str]) -> AsyncIterator[Quote]:
        """Raise ReadFailed NOT_SUPPORTED at the first step."""
        return _no_stream(f"{self._name(spec)} streams no prices")

    async def cash_flows(self, spec: ConnectionSpec, since: datetime) -> list[BrokerCashFlow]:
        """Raise ReadFailed NOT_SUPPORTED."""
        raise ReadFailed(
            Code.NOT_SUPPORTED, f"{self._name(spec)} lists no deposits and withdrawals"
        )

    async def funding(
        self, spec: ConnectionSpec, since: datetime, until: datetime
    ) -> list[BrokerFunding]:
        """Raise ReadFailed NOT_SUPPORTED."""
        raise ReadFailed(Code.NOT_SUPPORTED, f"{self._name(spec)} lists no funding")

    def stream_events(self) -> AsyncIterator[None]:
        """Raise ReadFailed NOT_SUPPORTED at the first step: orders and fills are polled."""
        return _no_stream(f"{self.form.label} is polled for orders and fills")

    async def events(self, limit: int, after: str = "") -> list[OrderReport]:
        """Return nothing: the broker pushes no reports."""
        return []

    async def acknowledge(self, event_ids: Sequence[str]) -> None:
        """Drop nothing: there are no events."""

    async def clock(self) -> datetime | None:
        """Return None: the broker states no time of its own, or each account's another."""
        return None

    def _name(self, spec: ConnectionSpec) -> str:
        return spec.exchange_name or self.form.label


async def _no_stream(detail: str) -> AsyncIterator[Any]:
    """Raise ReadFailed NOT_SUPPORTED at the first step."""
    no_items: tuple[Any, ...] = ()
    for item in no_items:  # the `yield` makes this an async generator
        yield item
    raise ReadFailed(Code.NOT_SUPPORTED, detail)
