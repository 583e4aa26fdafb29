"""Adapters that are wrong on purpose, each in one thing: a check must see it."""

import asyncio
from dataclasses import replace
from decimal import ROUND_CEILING
from typing import Any

from brokers.account_capabilities import Capabilities
from brokers.base import (
    BrokerAdapter,
    Guard,
    OutcomeUnknown,
    Rejected,
    check_deadline,
)
from brokers.types import (
    CancelRequest,
    ConnectionSpec,
    HeldLevels,
    ModifyRequest,
    OrderReport,
    OrderRequest,
    ReportKind,
    Side,
)
from brokers.worst_price import is_worse_than
from common.reason_codes import Code

Reports = list[OrderReport]


class Wrong:
    """Does everything as the adapter that it stands before."""

    def __init__(self, right: BrokerAdapter) -> None:
        self.right = right

    def __getattr__(self, name: str) -> Any:
        return getattr(self.right, name)


class Submits(Wrong):
    """Changes the order before it leaves."""

    async def submit(self, spec: ConnectionSpec, request: OrderRequest, guard: Guard) -> Reports:
        return await self.right.submit(spec, self.changed(request), guard)

    def changed(self, request: OrderRequest) -> OrderRequest:
        return request


class BoundsNothing(Submits):
    """Compares the price with the worst one before it sends, and sends no bound."""

    async def submit(self, spec: ConnectionSpec, request: OrderRequest, guard: Guard) -> Reports:
        if request.worst_price is not None:
            now = await self.right.quote(spec, request.symbol)
            if is_worse_than(now.ask, request.worst_price, Side.BUY):
                raise Rejected(Code.SLIPPAGE_LIMIT)
        return await super().submit(spec, request, guard)

    def changed(self, request: OrderRequest) -> OrderRequest:
        return replace(request, worst_price=None)


class ClaimsEveryBound(Wrong):
    def capabilities(self, spec: ConnectionSpec) -> Capabilities:
        return replace(self.right.capabilities(spec), checks_worst_price=False)


class TellsHalf(Wrong):
    async def submit(self, spec: ConnectionSpec, request: OrderRequest, guard: Guard) -> Reports:
        return [_halved(one) for one in await self.right.submit(spec, request, guard)]

    async def find_order(
        self, spec: ConnectionSpec, client_order_id: str, symbol: str = ""
    ) -> Reports | None:
        found = await self.right.find_order(spec, client_order_id, symbol)
        return None if found is None else [_halved(one) for one in found]


def _halved(report: OrderReport) -> OrderReport:
    return replace(
        report, fills=tuple(replace(one, quantity=one.quantity / 2) for one in report.fills)
    )


class ForgetsStops(Submits):
    def changed(self, request: OrderRequest) -> OrderRequest:
        return replace(request, stop_loss=None, take_profit=None)


class GivesNoReason(Wrong):
    async def submit(self, spec: ConnectionSpec, request: OrderRequest, guard: Guard) -> Reports:
        try:
            return await self.right.submit(spec, request, guard)
        except Rejected as error:
            raise Rejected(error.code) from error


class BelievesSilence(Wrong):
    async def submit(self, spec: ConnectionSpec, request: OrderRequest, guard: Guard) -> Reports:
        try:
            return await self.right.submit(spec, request, guard)
        except OutcomeUnknown as error:
            raise Rejected(error.code, "no answer, so it is not there") from error


class SendsAgain(Wrong):
    async def submit(self, spec: ConnectionSpec, request: OrderRequest, guard: Guard) -> Reports:
        try:
            return await self.right.submit(spec, request, guard)
        except OutcomeUnknown:
            return await self.right.submit(spec, request, guard)


class SendsAgainLater(Wrong):
    """Keeps what was not answered, and sends it before the next order."""

    def __init__(self, right: BrokerAdapter) -> None:
        super().__init__(right)
        self.kept: list[OrderRequest] = []

    async def submit(self, spec: ConnectionSpec, request: OrderRequest, guard: Guard) -> Reports:
        while self.kept:
            await self.right.submit(spec, self.kept.pop(), lambda _: None)
        try:
            return await self.right.submit(spec, request, guard)
        except (OutcomeUnknown, asyncio.CancelledError):
            self.kept.append(request)
            raise


class AsksNobody(Wrong):
    async def submit(self, spec: ConnectionSpec, request: OrderRequest, guard: Guard) -> Reports:
        return await self.right.submit(spec, request, lambda _: None)


class AsksAboutAnother(Wrong):
    async def submit(self, spec: ConnectionSpec, request: OrderRequest, guard: Guard) -> Reports:
        other = replace(request, quantity=request.quantity + 1)
        return await self.right.submit(spec, request, lambda _: guard(other))


class RoundsUp(Submits):
    def changed(self, request: OrderRequest) -> OrderRequest:
        steps = (request.quantity / 1000).to_integral_value(ROUND_CEILING)
        return replace(request, quantity=steps * 1000)


class IsUnsure(Wrong):
    """Takes a plain refusal for something unknown."""

    async def submit(self, spec: ConnectionSpec, request: OrderRequest, guard: Guard) -> Reports:
        try:
            return await self.right.submit(spec, request, guard)
        except Rejected as error:
            raise OutcomeUnknown(error.code, error.detail) from error


class NumbersByOrder(Wrong):
    """All executions of an order have its number as their id."""

    async def find_order(
        self, spec: ConnectionSpec, client_order_id: str, symbol: str = ""
    ) -> Reports | None:
        found = await self.right.find_order(spec, client_order_id, symbol)
        return None if found is None else [self.numbered(one) for one in found]

    async def submit(self, spec: ConnectionSpec, request: OrderRequest, guard: Guard) -> Reports:
        return [self.numbered(one) for one in await self.right.submit(spec, request, guard)]

    async def events(self, limit: int, after: str = "") -> Reports:
        return [self.numbered(one) for one in await self.right.events(limit, after)]

    def numbered(self, report: OrderReport) -> OrderReport:
        number = report.broker_order_id
        return replace(
            report, fills=tuple(replace(one, broker_fill_id=number) for one in report.fills)
        )


class CancelsNothing(Wrong):
    """Says that it is done without a look at what happened."""

    async def cancel(self, spec: ConnectionSpec, request: CancelRequest) -> Reports:
        check_deadline(request)
        told = (ReportKind.CANCELLED, spec.connection_id, request.client_order_id)
        return [OrderReport(*told)]


class CancelsLate(Wrong):
    async def cancel(self, spec: ConnectionSpec, request: CancelRequest) -> Reports:
        return await self.right.cancel(spec, replace(request, send_by=None))


class ModifiesLate(Wrong):
    async def modify(self, spec: ConnectionSpec, request: ModifyRequest) -> Reports:
        return await self.right.modify(spec, replace(request, send_by=None))


class MovesNothing(Wrong):
    async def modify(self, spec: ConnectionSpec, request: ModifyRequest) -> Reports:
        told = (ReportKind.LEVELS, spec.connection_id, request.client_order_id)
        return [OrderReport(*told, levels=HeldLevels(request.stop_loss, request.take_profit))]


class BelievesWhatItSent(Wrong):
    """Says that the broker holds what was sent to it."""

    async def submit(self, spec: ConnectionSpec, request: OrderRequest, guard: Guard) -> Reports:
        sent = HeldLevels(request.stop_loss, request.take_profit)
        told = await self.right.submit(spec, request, guard)
        return [replace(one, levels=sent) if one.fills else one for one in told]


class ClosesByOpposite(Submits):
    """An exit is an order the other way, as where nothing names a position."""

    def changed(self, request: OrderRequest) -> OrderRequest:
        return replace(request, reduce_only=False, broker_position_id="")


class ClosesTheOldest(Submits):
    """An exit that names no position."""

    def changed(self, request: OrderRequest) -> OrderRequest:
        return replace(request, broker_position_id="")


class ClosesAll(Wrong):
    async def submit(self, spec: ConnectionSpec, request: OrderRequest, guard: Guard) -> Reports:
        if request.reduce_only:
            request = replace(request, quantity=request.quantity * 2)
        return await self.right.submit(spec, request, guard)


class ClaimsMore(Wrong):
    """Claims to refuse repeated ids."""

    def capabilities(self, spec: ConnectionSpec) -> Capabilities:
        return replace(self.right.capabilities(spec), refuses_repeated_ids=True)


class ClaimsLess(Wrong):
    """Does not claim stop orders, and takes them all the same."""

    def capabilities(self, spec: ConnectionSpec) -> Capabilities:
        can = self.right.capabilities(spec)
        return replace(can, order_types=can.order_types - {"STOP"})


class SpeaksForAnother(Wrong):
    async def submit(self, spec: ConnectionSpec, request: OrderRequest, guard: Guard) -> Reports:
        told = await self.right.submit(spec, request, guard)
        return [replace(one, connection_id="c-somebody") for one in told]
