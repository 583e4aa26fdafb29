"""Adapters with deliberate faults in reads, prices, events or sessions."""

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
from tests.conformance.faulty_adapters import FaultyAdapter, Reports


class OmitsCloseCauses(FaultyAdapter):
    async def fills_since(self, spec: ConnectionSpec, since: datetime) -> Reports:
        reports = await self.inner.fills_since(spec, since)
        return [replace(report, close_cause=None) for report in reports]


class ReturnsFloats(FaultyAdapter):
    async def account(self, spec: ConnectionSpec) -> AccountState:
        state = await self.inner.account(spec)
        return replace(state, equity=float(state.equity))  # type: ignore[arg-type]


class ReturnsZeroSteps(FaultyAdapter):
    async def instruments(self, spec: ConnectionSpec) -> list[Instrument]:
        return [
            replace(instrument, quantity_step=D(0))
            for instrument in await self.inner.instruments(spec)
        ]


class FindsOnlyCachedOrders(FaultyAdapter):
    """Finds only the orders that this process sent."""

    def __init__(self, inner: BrokerAdapter) -> None:
        super().__init__(inner)
        self.sent: set[str] = set()

    async def submit(self, spec: ConnectionSpec, request: OrderRequest, guard: Guard) -> Reports:
        self.sent.add(request.client_order_id)
        return await self.inner.submit(spec, request, guard)

    async def find_order(
        self, spec: ConnectionSpec, client_order_id: str, symbol: str = ""
    ) -> Reports | None:
        if client_order_id not in self.sent:
            return None
        return await self.inner.find_order(spec, client_order_id, symbol)


class NeverConfirmsAbsence(FaultyAdapter):
    async def find_order(
        self, spec: ConnectionSpec, client_order_id: str, symbol: str = ""
    ) -> Reports | None:
        if reports := await self.inner.find_order(spec, client_order_id, symbol):
            return reports
        raise ReadFailed(Code.LOOKUP_WINDOW_EXCEEDED)


class HidesReadFailures(FaultyAdapter):
    """Returns an empty list for a failed read."""

    async def positions(self, spec: ConnectionSpec) -> list[Any]:
        try:
            return list(await self.inner.positions(spec))
        except ReadFailed:
            return []


class OmitsLastFill(FaultyAdapter):
    async def fills_since(self, spec: ConnectionSpec, since: datetime) -> Reports:
        return (await self.inner.fills_since(spec, since))[:-1]


class ChangesFillIds(FaultyAdapter):
    async def fills_since(self, spec: ConnectionSpec, since: datetime) -> Reports:
        reports = await self.inner.fills_since(spec, since)
        return [
            replace(report, fills=tuple(replace(f, broker_fill_id=f"x{n}") for f in report.fills))
            for n, report in enumerate(reports)
        ]


class SwapsBidAndAsk(FaultyAdapter):
    async def quote(self, spec: ConnectionSpec, symbol: str) -> Quote:
        quote = await self.inner.quote(spec, symbol)
        return replace(quote, bid=quote.ask, ask=quote.bid)


class ReturnsNaiveTime(FaultyAdapter):
    async def quote(self, spec: ConnectionSpec, symbol: str) -> Quote:
        quote = await self.inner.quote(spec, symbol)
        return replace(quote, time=quote.time.replace(tzinfo=None))


class PlacesWhatIf(FaultyAdapter):
    """Places the order to learn its cost."""

    async def what_if(self, spec: ConnectionSpec, request: OrderRequest) -> Any:
        estimate = await self.inner.what_if(spec, request)
        await self.inner.submit(spec, request, lambda _: None)
        return estimate


class AcknowledgesEvents(FaultyAdapter):
    async def events(self, limit: int, after: str = "") -> Reports:
        reports = await self.inner.events(limit, after)
        await self.inner.acknowledge([report.event_id for report in reports])
        return reports


class NeverNotifies(FaultyAdapter):
    async def stream_events(self) -> AsyncIterator[None]:
        await asyncio.Event().wait()
        yield


class OmitsHints(FaultyAdapter):
    async def test(self, spec: ConnectionSpec) -> Sequence[Check]:
        return [replace(check, hint="") for check in await self.inner.test(spec)]


class LeaksSecrets(FaultyAdapter):
    async def account(self, spec: ConnectionSpec) -> AccountState:
        try:
            return await self.inner.account(spec)
        except ReadFailed as error:
            words = f"refused: {spec.account} {spec.credentials['password']}"
            raise ReadFailed(error.code, words) from error


class StaysDisconnected(FaultyAdapter):
    """Does not reconnect."""

    def __init__(self, inner: BrokerAdapter) -> None:
        super().__init__(inner)
        self.gone = False

    async def disconnect(self, spec: ConnectionSpec | None = None) -> None:
        self.gone = True
        await self.inner.disconnect(spec)

    async def positions(self, spec: ConnectionSpec) -> list[Any]:
        if self.gone:
            raise ReadFailed(Code.NOT_CONNECTED)
        return list(await self.inner.positions(spec))


class FindsOnlyTheFirst(FaultyAdapter):
    """Finds one of several orders with the same id."""

    async def find_order(
        self, spec: ConnectionSpec, client_order_id: str, symbol: str = ""
    ) -> Reports | None:
        reports = await self.inner.find_order(spec, client_order_id, symbol)
        return reports[:1] if reports else reports


class ReadsOnlyFirstAccount(FaultyAdapter):
    """Reads the account of the first call for every account."""

    def __init__(self, inner: BrokerAdapter) -> None:
        super().__init__(inner)
        self.first: ConnectionSpec | None = None

    async def positions(self, spec: ConnectionSpec) -> list[Any]:
        self.first = self.first or spec
        return list(await self.inner.positions(self.first))


class ReadsUpToOurTime(FaultyAdapter):
    """Leaves out what a clock ahead of ours calls later than now."""

    async def fills_since(self, spec: ConnectionSpec, since: datetime) -> Reports:
        reports = await self.inner.fills_since(spec, since)
        now = datetime.now(UTC) + timedelta(seconds=5)
        return [report for report in reports if all(fill.time <= now for fill in report.fills)]


class ReadsSinceOurTime(FaultyAdapter):
    """Omits fills that a clock behind ours dates before the requested time."""

    async def fills_since(self, spec: ConnectionSpec, since: datetime) -> Reports:
        reports = await self.inner.fills_since(spec, since)
        return [report for report in reports if all(fill.time >= since for fill in report.fills)]


class OmitsClockCheck(FaultyAdapter):
    async def test(self, spec: ConnectionSpec) -> list[Check]:
        return [check for check in await self.inner.test(spec) if check.name != "clock"]


class ReportsRepeatedIdOnce(FaultyAdapter):
    """Reads one of several orders with the same id."""

    async def fills_since(self, spec: ConnectionSpec, since: datetime) -> Reports:
        reports = await self.inner.fills_since(spec, since)
        return list({report.client_order_id: report for report in reports}.values())
