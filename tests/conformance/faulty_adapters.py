"""Adapters with one deliberate fault each, which a check must detect."""

import asyncio
from dataclasses import replace
from decimal import ROUND_CEILING, Decimal
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
    BrokerOrder,
    BrokerPosition,
    CancelRequest,
    ChangeRequest,
    ConnectionSpec,
    HeldLevels,
    ModifyRequest,
    OrderReport,
    OrderRequest,
    OrderType,
    ReportKind,
    Side,
    TimeInForce,
)
from brokers.worst_price import is_worse_than
from common.reason_codes import Code

Reports = list[OrderReport]


class FaultyAdapter:
    """Forwards every call to another adapter."""

    def __init__(self, inner: BrokerAdapter) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


class ChangesOrders(FaultyAdapter):
    """Changes the order before it is sent."""

    async def submit(self, spec: ConnectionSpec, request: OrderRequest, guard: Guard) -> Reports:
        return await self.inner.submit(spec, self.changed(request), guard)

    def changed(self, request: OrderRequest) -> OrderRequest:
        return request


class SendsNoWorstPrice(ChangesOrders):
    """Checks the worst price before sending, and does not send it."""

    async def submit(self, spec: ConnectionSpec, request: OrderRequest, guard: Guard) -> Reports:
        if request.worst_price is not None:
            now = await self.inner.quote(spec, request.symbol)
            if is_worse_than(now.ask, request.worst_price, Side.BUY):
                raise Rejected(Code.SLIPPAGE_LIMIT)
        return await super().submit(spec, request, guard)

    def changed(self, request: OrderRequest) -> OrderRequest:
        return replace(request, worst_price=None)


class ClaimsWorstPriceSupport(FaultyAdapter):
    def capabilities(self, spec: ConnectionSpec) -> Capabilities:
        return replace(self.inner.capabilities(spec), checks_worst_price=False)


class ReportsHalf(FaultyAdapter):
    async def submit(self, spec: ConnectionSpec, request: OrderRequest, guard: Guard) -> Reports:
        return [_halved(report) for report in await self.inner.submit(spec, request, guard)]

    async def find_order(
        self, spec: ConnectionSpec, client_order_id: str, symbol: str = ""
    ) -> Reports | None:
        reports = await self.inner.find_order(spec, client_order_id, symbol)
        return None if reports is None else [_halved(report) for report in reports]


def _halved(report: OrderReport) -> OrderReport:
    return replace(
        report, fills=tuple(replace(fill, quantity=fill.quantity / 2) for fill in report.fills)
    )


class DropsLevels(ChangesOrders):
    def changed(self, request: OrderRequest) -> OrderRequest:
        return replace(request, stop_loss=None, take_profit=None)


class OmitsBrokerMessage(FaultyAdapter):
    async def submit(self, spec: ConnectionSpec, request: OrderRequest, guard: Guard) -> Reports:
        try:
            return await self.inner.submit(spec, request, guard)
        except Rejected as error:
            raise Rejected(error.code) from error


class RejectsLostReplies(FaultyAdapter):
    async def submit(self, spec: ConnectionSpec, request: OrderRequest, guard: Guard) -> Reports:
        try:
            return await self.inner.submit(spec, request, guard)
        except OutcomeUnknown as error:
            raise Rejected(error.code, "no answer, so it does not exist") from error


class ResendsUnknown(FaultyAdapter):
    async def submit(self, spec: ConnectionSpec, request: OrderRequest, guard: Guard) -> Reports:
        try:
            return await self.inner.submit(spec, request, guard)
        except OutcomeUnknown:
            return await self.inner.submit(spec, request, guard)


class ResendsUnknownLater(FaultyAdapter):
    """Keeps orders without a reply, and sends them before the next one."""

    def __init__(self, inner: BrokerAdapter) -> None:
        super().__init__(inner)
        self.kept: list[OrderRequest] = []

    async def submit(self, spec: ConnectionSpec, request: OrderRequest, guard: Guard) -> Reports:
        while self.kept:
            await self.inner.submit(spec, self.kept.pop(), lambda _: None)
        try:
            return await self.inner.submit(spec, request, guard)
        except (OutcomeUnknown, asyncio.CancelledError):
            self.kept.append(request)
            raise


class SkipsGuard(FaultyAdapter):
    async def submit(self, spec: ConnectionSpec, request: OrderRequest, guard: Guard) -> Reports:
        return await self.inner.submit(spec, request, lambda _: None)


class GuardsAnotherOrder(FaultyAdapter):
    async def submit(self, spec: ConnectionSpec, request: OrderRequest, guard: Guard) -> Reports:
        other = replace(request, quantity=request.quantity + 1)
        return await self.inner.submit(spec, request, lambda _: guard(other))


class RoundsUp(ChangesOrders):
    def changed(self, request: OrderRequest) -> OrderRequest:
        steps = (request.quantity / 1000).to_integral_value(ROUND_CEILING)
        return replace(request, quantity=steps * 1000)


class RaisesUnknownForRejection(FaultyAdapter):
    """Reports a plain rejection as unknown."""

    async def submit(self, spec: ConnectionSpec, request: OrderRequest, guard: Guard) -> Reports:
        try:
            return await self.inner.submit(spec, request, guard)
        except Rejected as error:
            raise OutcomeUnknown(error.code, error.detail) from error


class UsesOrderIdAsFillId(FaultyAdapter):
    """Uses the order id as the id of all its fills."""

    async def find_order(
        self, spec: ConnectionSpec, client_order_id: str, symbol: str = ""
    ) -> Reports | None:
        reports = await self.inner.find_order(spec, client_order_id, symbol)
        return None if reports is None else [self._with_order_id(report) for report in reports]

    async def submit(self, spec: ConnectionSpec, request: OrderRequest, guard: Guard) -> Reports:
        return [
            self._with_order_id(report) for report in await self.inner.submit(spec, request, guard)
        ]

    async def events(self, limit: int, after: str = "") -> Reports:
        return [self._with_order_id(report) for report in await self.inner.events(limit, after)]

    def _with_order_id(self, report: OrderReport) -> OrderReport:
        number = report.broker_order_id
        return replace(
            report, fills=tuple(replace(fill, broker_fill_id=number) for fill in report.fills)
        )


class CancelsNothing(FaultyAdapter):
    """Reports a cancel without sending one."""

    async def cancel(self, spec: ConnectionSpec, request: CancelRequest) -> Reports:
        check_deadline(request)
        head = (ReportKind.CANCELLED, spec.connection_id, request.client_order_id)
        return [OrderReport(*head)]


class CancelsPastDeadline(FaultyAdapter):
    async def cancel(self, spec: ConnectionSpec, request: CancelRequest) -> Reports:
        return await self.inner.cancel(spec, replace(request, send_by=None))


class ModifiesPastDeadline(FaultyAdapter):
    async def modify(self, spec: ConnectionSpec, request: ModifyRequest) -> Reports:
        return await self.inner.modify(spec, replace(request, send_by=None))


class ChangesPastDeadline(FaultyAdapter):
    async def change_order(self, spec: ConnectionSpec, request: ChangeRequest) -> Reports:
        return await self.inner.change_order(spec, replace(request, send_by=None))


class ChangesNoOrders(FaultyAdapter):
    """Reports a change without sending one."""

    async def change_order(self, spec: ConnectionSpec, request: ChangeRequest) -> Reports:
        check_deadline(request)
        head = (ReportKind.CHANGED, spec.connection_id, request.client_order_id)
        return [OrderReport(*head, request.broker_order_id, terms=request.terms)]


class ReplacesOrders(FaultyAdapter):
    """Cancels the order and places another one under the same id."""

    async def change_order(self, spec: ConnectionSpec, request: ChangeRequest) -> Reports:
        check_deadline(request)
        ids = request.client_order_id, request.broker_order_id
        await self.inner.cancel(spec, CancelRequest(*ids, request.symbol))
        entry = OrderRequest(
            request.client_order_id, request.connection_id, spec.account, request.symbol,
            request.side, request.order_type, TimeInForce.GTC, request.terms.quantity,
            limit_price=request.terms.limit_price,
        )  # fmt: skip
        await self.inner.submit(spec, entry, lambda _: None)
        head = (ReportKind.CHANGED, spec.connection_id, request.client_order_id)
        return [OrderReport(*head, request.broker_order_id, terms=request.terms)]


class ChangesNoLevels(FaultyAdapter):
    async def modify(self, spec: ConnectionSpec, request: ModifyRequest) -> Reports:
        head = (ReportKind.LEVELS, spec.connection_id, request.client_order_id)
        return [OrderReport(*head, levels=HeldLevels(request.stop_loss, request.take_profit))]


class AssumesSentLevels(FaultyAdapter):
    """Reports the levels that it sent, not those that the broker holds."""

    async def submit(self, spec: ConnectionSpec, request: OrderRequest, guard: Guard) -> Reports:
        sent = HeldLevels(request.stop_loss, request.take_profit)
        reports = await self.inner.submit(spec, request, guard)
        return [replace(report, levels=sent) if report.fills else report for report in reports]


class ClosesByOpposite(ChangesOrders):
    """Sends an exit as a plain opposite order."""

    def changed(self, request: OrderRequest) -> OrderRequest:
        return replace(request, reduce_only=False, broker_position_id="")


class ClosesTheOldest(ChangesOrders):
    """Sends an exit without its position id."""

    def changed(self, request: OrderRequest) -> OrderRequest:
        return replace(request, broker_position_id="")


class ClosesAll(FaultyAdapter):
    async def submit(self, spec: ConnectionSpec, request: OrderRequest, guard: Guard) -> Reports:
        if request.reduce_only:
            request = replace(request, quantity=request.quantity * 2)
        return await self.inner.submit(spec, request, guard)


class ClaimsIdRefusal(FaultyAdapter):
    """Claims to refuse repeated ids."""

    def capabilities(self, spec: ConnectionSpec) -> Capabilities:
        return replace(self.inner.capabilities(spec), refuses_repeated_ids=True)


class BelievesHalts(FaultyAdapter):
    """Refuses an exit by a trading flag that it has read earlier."""

    async def submit(self, spec: ConnectionSpec, request: OrderRequest, guard: Guard) -> Reports:
        if request.reduce_only:
            raise Rejected(Code.MARKET_CLOSED)
        return await self.inner.submit(spec, request, guard)


class HidesDelisted(FaultyAdapter):
    """Lists no position of a symbol without a market."""

    async def positions(self, spec: ConnectionSpec) -> list[BrokerPosition]:
        return [one for one in await self.inner.positions(spec) if one.is_tradable]


class HidesDust(FaultyAdapter):
    """Lists nothing that is too small to be sold."""

    async def positions(self, spec: ConnectionSpec) -> list[BrokerPosition]:
        return [one for one in await self.inner.positions(spec) if one.entry_price]


class SaysNothingOfTheRest(FaultyAdapter):
    """Reports what a shortened exit has filled, and not that it has ended."""

    async def submit(self, spec: ConnectionSpec, request: OrderRequest, guard: Guard) -> Reports:
        reports = await self.inner.submit(spec, request, guard)
        return [one for one in reports if one.kind is not ReportKind.CANCELLED]

    async def find_order(
        self, spec: ConnectionSpec, client_order_id: str, symbol: str = ""
    ) -> Reports | None:
        reports = await self.inner.find_order(spec, client_order_id, symbol)
        return reports and [one for one in reports if one.kind is not ReportKind.CANCELLED]


class HidesStopOrders(FaultyAdapter):
    """Does not claim stop orders, and accepts them."""

    def capabilities(self, spec: ConnectionSpec) -> Capabilities:
        can = self.inner.capabilities(spec)
        return replace(can, order_types=can.order_types - {"STOP"})


class SendsTrailingAsStop(ChangesOrders):
    """Places a stop order where a trailing stop begins."""

    def changed(self, request: OrderRequest) -> OrderRequest:
        if request.order_type is not OrderType.TRAILING_STOP:
            return request
        return replace(request, order_type=OrderType.STOP, trail_distance=None)


class ListsFirstStopPrice(FaultyAdapter):
    """Lists a trailing stop as it was sent, not as it is now."""

    async def submit(self, spec: ConnectionSpec, request: OrderRequest, guard: Guard) -> Reports:
        self.first = request.stop_price
        return await self.inner.submit(spec, request, guard)

    async def open_orders(self, spec: ConnectionSpec) -> list[BrokerOrder]:
        return [replace(one, stop_price=self.first) for one in await self.inner.open_orders(spec)]


class DefaultsDistances(ChangesOrders):
    """Invents the distance of a trailing stop that has none."""

    def changed(self, request: OrderRequest) -> OrderRequest:
        if request.order_type is not OrderType.TRAILING_STOP:
            return request
        return replace(request, trail_distance=request.trail_distance or Decimal("0.01"))


class ReportsForAnotherConnection(FaultyAdapter):
    async def submit(self, spec: ConnectionSpec, request: OrderRequest, guard: Guard) -> Reports:
        reports = await self.inner.submit(spec, request, guard)
        return [replace(report, connection_id="c-other") for report in reports]
