"""Adapters whose reads, prices, events or sessions are wrong on purpose."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from typing import Any

from brokers.base import BrokerAdapter, Guard, ReadFailed
from brokers.types import (
    AccountState,
    Check,
    ConnectionSpec,
    Instrument,
    OrderRequest,
    Quote,
)
from common.reason_codes import Code
from tests.conformance.wrong import Reports, Wrong


class HidesCauses(Wrong):
    async def fills_since(self, spec: ConnectionSpec, since: datetime) -> Reports:
        told = await self.right.fills_since(spec, since)
        return [replace(one, close_cause=None) for one in told]


class CountsInFloats(Wrong):
    async def account(self, spec: ConnectionSpec) -> AccountState:
        state = await self.right.account(spec)
        return replace(state, equity=float(state.equity))  # type: ignore[arg-type]


class HasNoSteps(Wrong):
    async def instruments(self, spec: ConnectionSpec) -> list[Instrument]:
        return [replace(one, quantity_step=D(0)) for one in await self.right.instruments(spec)]


class RemembersOnly(Wrong):
    """Looks an order up in its own memory."""

    def __init__(self, right: BrokerAdapter) -> None:
        super().__init__(right)
        self.sent: set[str] = set()

    async def submit(self, spec: ConnectionSpec, request: OrderRequest, guard: Guard) -> Reports:
        self.sent.add(request.client_order_id)
        return await self.right.submit(spec, request, guard)

    async def find_order(
        self, spec: ConnectionSpec, client_order_id: str, symbol: str = ""
    ) -> Reports | None:
        if client_order_id not in self.sent:
            return None
        return await self.right.find_order(spec, client_order_id, symbol)


class IsNeverSure(Wrong):
    async def find_order(
        self, spec: ConnectionSpec, client_order_id: str, symbol: str = ""
    ) -> Reports | None:
        if found := await self.right.find_order(spec, client_order_id, symbol):
            return found
        raise ReadFailed(Code.LOOKUP_WINDOW_EXCEEDED)


class ReadsNothing(Wrong):
    """A read that failed is an empty list."""

    async def positions(self, spec: ConnectionSpec) -> list[Any]:
        try:
            return list(await self.right.positions(spec))
        except ReadFailed:
            return []


class LeavesOneOut(Wrong):
    async def fills_since(self, spec: ConnectionSpec, since: datetime) -> Reports:
        return (await self.right.fills_since(spec, since))[:-1]


class HasOtherIds(Wrong):
    async def fills_since(self, spec: ConnectionSpec, since: datetime) -> Reports:
        told = await self.right.fills_since(spec, since)
        return [
            replace(one, fills=tuple(replace(f, broker_fill_id=f"x{n}") for f in one.fills))
            for n, one in enumerate(told)
        ]


class TurnsPrices(Wrong):
    async def quote(self, spec: ConnectionSpec, symbol: str) -> Quote:
        told = await self.right.quote(spec, symbol)
        return replace(told, bid=told.ask, ask=told.bid)


class HasNoZone(Wrong):
    async def quote(self, spec: ConnectionSpec, symbol: str) -> Quote:
        told = await self.right.quote(spec, symbol)
        return replace(told, time=told.time.replace(tzinfo=None))


class TriesIt(Wrong):
    """Knows what an order costs because it has placed it."""

    async def what_if(self, spec: ConnectionSpec, request: OrderRequest) -> Any:
        told = await self.right.what_if(spec, request)
        await self.right.submit(spec, request, lambda _: None)
        return told


class TellsOnce(Wrong):
    async def events(self, limit: int, after: str = "") -> Reports:
        told = await self.right.events(limit, after)
        await self.right.acknowledge([one.event_id for one in told])
        return told


class NeverRings(Wrong):
    async def stream_events(self) -> AsyncIterator[None]:
        await asyncio.Event().wait()
        yield


class HintsNothing(Wrong):
    async def test(self, spec: ConnectionSpec) -> Sequence[Check]:
        return [replace(one, hint="") for one in await self.right.test(spec)]


class TellsSecrets(Wrong):
    async def account(self, spec: ConnectionSpec) -> AccountState:
        try:
            return await self.right.account(spec)
        except ReadFailed as error:
            words = f"refused: {spec.account} {spec.credentials['password']}"
            raise ReadFailed(error.code, words) from error


class StaysAway(Wrong):
    """Ends for good."""

    def __init__(self, right: BrokerAdapter) -> None:
        super().__init__(right)
        self.gone = False

    async def disconnect(self, spec: ConnectionSpec | None = None) -> None:
        self.gone = True
        await self.right.disconnect(spec)

    async def positions(self, spec: ConnectionSpec) -> list[Any]:
        if self.gone:
            raise ReadFailed(Code.NOT_CONNECTED)
        return list(await self.right.positions(spec))


class FindsTheFirst(Wrong):
    """Of orders under one id it tells one."""

    async def find_order(
        self, spec: ConnectionSpec, client_order_id: str, symbol: str = ""
    ) -> Reports | None:
        found = await self.right.find_order(spec, client_order_id, symbol)
        return found[:1] if found else found


class MixesAccounts(Wrong):
    """Reads whatever account was there first."""

    def __init__(self, right: BrokerAdapter) -> None:
        super().__init__(right)
        self.first: ConnectionSpec | None = None

    async def positions(self, spec: ConnectionSpec) -> list[Any]:
        self.first = self.first or spec
        return list(await self.right.positions(self.first))


class ReadsUpToOurNow(Wrong):
    """Leaves out what a clock ahead of ours calls later than now."""

    async def fills_since(self, spec: ConnectionSpec, since: datetime) -> Reports:
        told = await self.right.fills_since(spec, since)
        now = datetime.now(UTC) + timedelta(seconds=5)
        return [one for one in told if all(fill.time <= now for fill in one.fills)]


class ReadsSinceOurTime(Wrong):
    """Leaves out what a clock behind ours calls earlier than what was asked for."""

    async def fills_since(self, spec: ConnectionSpec, since: datetime) -> Reports:
        told = await self.right.fills_since(spec, since)
        return [one for one in told if all(fill.time >= since for fill in one.fills)]


class HasNoClock(Wrong):
    async def test(self, spec: ConnectionSpec) -> list[Check]:
        return [one for one in await self.right.test(spec) if one.name != "clock"]


class TellsOrdersOnce(Wrong):
    """Of orders with the same id it reads one."""

    async def fills_since(self, spec: ConnectionSpec, since: datetime) -> Reports:
        told = await self.right.fills_since(spec, since)
        return list({one.client_order_id: one for one in told}.values())
