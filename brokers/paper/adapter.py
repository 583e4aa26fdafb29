"""The adapter of the paper broker: the same interface as every other broker's."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Any, ParamSpec, TypeVar

import psycopg

from brokers.account_capabilities import Capabilities
from brokers.adapter_base import AdapterBase
from brokers.base import (
    BrokerAdapter,
    Guard,
    NotSent,
    OnOutcome,
    OutcomeUnknown,
    ReadFailed,
    Rejected,
    check_deadline,
    submit_one,
)
from brokers.broker_books import BrokerBooks
from brokers.paper import (
    account_actions,
    broker_books,
    connection_checks,
    notifications,
    order_changes,
    reads,
)
from brokers.paper.capabilities import capabilities_of
from brokers.paper.db_sessions import sessions
from brokers.paper.form import FORM, REPLY_TIMEOUT
from brokers.paper.network_simulator import Delivery, Sending, WorkerThreads
from brokers.paper.reads import AccountAccess
from brokers.paper.what_if import what_if
from brokers.types import (
    AccountState,
    BrokerOrder,
    BrokerPosition,
    CancelRequest,
    ChangeRequest,
    Check,
    ConnectionSpec,
    Instrument,
    ModifyRequest,
    OrderReport,
    OrderRequest,
    Quote,
    WhatIf,
)
from common.clocks import market_now
from common.reason_codes import Code

P = ParamSpec("P")
T = TypeVar("T")
AnyRequest = TypeVar("AnyRequest", CancelRequest, ChangeRequest, ModifyRequest)


def create() -> BrokerAdapter:
    """Make the adapter, for the registry."""
    return PaperAdapter()


class PaperAdapter(AdapterBase):
    """All paper accounts of one process.

    Its prices come from our prices process, so it has no price stream.
    """

    broker_type = "paper"
    form = FORM

    def __init__(self) -> None:
        self._threads = WorkerThreads()
        self._in_flight: set[asyncio.Task[Any]] = set()

    def capabilities(self, spec: ConnectionSpec) -> Capabilities:
        """Return what the account can do, by its connection's settings."""
        return capabilities_of(spec)

    def instrument_book(self, spec: ConnectionSpec) -> str:
        return "paper"

    async def connect(self, spec: ConnectionSpec) -> None:
        """Log in once; nothing is kept open. Raises ReadFailed with the reason."""
        await self._log_in(spec)

    async def test(self, spec: ConnectionSpec) -> list[Check]:
        """Check reach, password, permission, mode and prices, one line for each."""
        return await self._threads.run(connection_checks.run, spec)

    async def account(self, spec: ConnectionSpec) -> AccountState:
        access = await self._log_in(spec)
        return await self._read(reads.account_state, access.account_id)

    async def instruments(self, spec: ConnectionSpec) -> list[Instrument]:
        return await self._read(reads.instruments)

    async def quote(self, spec: ConnectionSpec, symbol: str) -> Quote:
        await self._log_in(spec)
        return await self._read(reads.quote, symbol)

    async def what_if(self, spec: ConnectionSpec, request: OrderRequest) -> WhatIf:
        access = await self._log_in(spec)
        return await self._read(what_if, access.account_id, request)

    async def submit(
        self, spec: ConnectionSpec, request: OrderRequest, guard: Guard
    ) -> list[OrderReport]:
        """Place one order. Raises NotSent, Rejected or OutcomeUnknown."""
        return await submit_one(self, spec, request, guard)

    async def submit_many(
        self,
        requests: Sequence[tuple[ConnectionSpec, OrderRequest]],
        guard: Guard,
        on_outcome: OnOutcome,
    ) -> None:
        """Place many at once. guard runs when an order is sent and, in a thread, when it arrives.

        Returns when each outcome is reported; for a lost reply that is OutcomeUnknown, after
        `reply_timeout`. Cancelling the call does not recall orders that were sent.
        """
        try:
            access_by_account = await self._threads.run(
                reads.account_access, {spec.account for spec, _ in requests}
            )
        except psycopg.Error as error:  # the accounts were not read: nothing was sent
            for _, request in requests:
                on_outcome(request, NotSent(Code.NOT_CONNECTED, type(error).__name__))
            return
        sendings: list[Sending] = []
        for spec, request in requests:
            if access := access_by_account.get(spec.account):
                sendings.append((spec, request, access))
            else:
                on_outcome(request, Rejected(Code.UNKNOWN_ACCOUNT, spec.account))
        await Delivery(self._threads, guard, on_outcome, self._in_flight).send(sendings)

    async def cancel(self, spec: ConnectionSpec, request: CancelRequest) -> list[OrderReport]:
        """Cancel an order. CANCEL_REFUSED, with its fills, if it was filled before."""
        work = partial(account_actions.cancel, connection_id=spec.connection_id)
        return await self._change(spec, work, request)

    async def change_order(self, spec: ConnectionSpec, request: ChangeRequest) -> list[OrderReport]:
        """Give a working order another price or quantity; it may execute at once."""
        return await self._change(spec, order_changes.change_order, request)

    async def modify(self, spec: ConnectionSpec, request: ModifyRequest) -> list[OrderReport]:
        """Set both levels of a position or of a working entry; None removes one."""
        return await self._change(spec, account_actions.modify, request)

    async def find_order(
        self, spec: ConnectionSpec, client_order_id: str, symbol: str = ""
    ) -> list[OrderReport] | None:
        access = await self._log_in(spec)
        return await self._read(reads.find_order, access.account_id, client_order_id)

    async def positions(self, spec: ConnectionSpec) -> list[BrokerPosition]:
        access = await self._log_in(spec)
        return await self._read(reads.positions, access.account_id)

    async def open_orders(self, spec: ConnectionSpec) -> list[BrokerOrder]:
        access = await self._log_in(spec)
        return await self._read(reads.open_orders, access.account_id)

    async def fills_since(self, spec: ConnectionSpec, since: datetime) -> list[OrderReport]:
        access = await self._log_in(spec)
        return await self._read(reads.fills_since, access.account_id, spec.connection_id, since)

    async def journal(self, id_prefix: str) -> BrokerBooks:
        """Return the books, for the audit. Raises ReadFailed."""
        return await self._read(broker_books.read, id_prefix)

    async def events(self, limit: int, after: str = "") -> list[OrderReport]:
        return await self._read(reads.events, limit, after)

    async def acknowledge(self, event_ids: Sequence[str]) -> None:
        await self._read(reads.acknowledge, event_ids)

    def stream_events(self) -> AsyncIterator[None]:
        return notifications.notifications()

    async def clock(self) -> datetime | None:
        return market_now()

    async def disconnect(self, spec: ConnectionSpec | None = None) -> None:
        """Close the connections to the books; the next call opens them again. All accounts share
        them."""
        if spec is None:
            await self._threads.run(sessions.close)

    async def _change(
        self,
        spec: ConnectionSpec,
        work: Callable[[int, AnyRequest], list[OrderReport]],
        request: AnyRequest,
    ) -> list[OrderReport]:
        """Cancel, change or modify, with the account's delays and faults.

        The deadline is checked when the request is sent and, as for an order, when it is written.
        """
        try:
            access = await self._log_in(spec)
        except ReadFailed as error:
            raise NotSent(error.code, error.detail) from error
        check_deadline(request)
        await asyncio.sleep(access.latency_ms / 1000)
        if not access.silent_before:
            try:
                answer = await self._threads.run(work, access.account_id, request)
            except psycopg.Error as error:
                raise OutcomeUnknown(Code.REPLY_LOST, type(error).__name__) from error
        if access.silent_before or access.silent_after:
            await asyncio.sleep(float(spec.settings.get("reply_timeout", REPLY_TIMEOUT)))
            raise OutcomeUnknown(Code.REPLY_LOST, "no answer")
        await asyncio.sleep(access.reply_delay_ms / 1000)
        return answer

    async def _log_in(self, spec: ConnectionSpec) -> AccountAccess:
        """Return the account's access if the password is right. Raises ReadFailed."""
        known = await self._read(reads.account_access, [spec.account])
        access = known.get(spec.account)
        if access is None:
            raise ReadFailed(Code.UNKNOWN_ACCOUNT, spec.account)
        if access.unreachable:
            raise ReadFailed(Code.BROKER_UNREACHABLE, "the paper broker cannot be reached")
        if not access.admits(spec.credentials.get("password", "")):
            raise ReadFailed(Code.CREDENTIALS_REFUSED)
        return access

    async def _read(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await self._threads.run(work, *args, **kwargs)
        except psycopg.Error as error:
            raise ReadFailed(Code.BROKER_UNREACHABLE, type(error).__name__) from error
