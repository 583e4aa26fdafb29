"""Reads an account during a check and validates every reply."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal
from typing import TypeVar

from brokers.base import BrokerError, ReadFailed
from brokers.types import (
    BrokerOrder,
    BrokerPosition,
    ConnectionSpec,
    OrderReport,
    OrderRequest,
)
from conformance.assertions import check_error, describe_kinds
from conformance.harness import Harness
from conformance.registry import CheckFailed, expect
from conformance.value_checks import wrong_reports, wrong_shapes

T = TypeVar("T")
POLL_SECONDS, MAX_PAUSE = 0.01, 0.5


class AccountObserver:
    """Reads the account of a harness, validates replies and waits for expected states."""

    def __init__(self, harness: Harness) -> None:
        self.harness = harness
        self.can = harness.adapter.capabilities(harness.spec)
        self.received: list[OrderReport] = []
        self.errors: list[BrokerError] = []

    @property
    def spec(self) -> ConnectionSpec:
        """The connection under test."""
        return self.harness.spec

    # ---- every reply is validated -----------------------------------------------------------
    async def call(self, call: Awaitable[T], spec: ConnectionSpec | None = None) -> T:
        """Make a call. Raises CheckFailed if its reply or error breaks a rule for all replies."""
        spec = spec or self.spec
        try:
            answer = await call
        except BrokerError as error:
            self.errors.append(error)
            check_error(error, spec)
            raise
        for wrong in wrong_shapes(answer):
            raise CheckFailed(wrong)
        reports = [one for one in answer if isinstance(one, OrderReport)] if isinstance(
            answer, list) else []  # fmt: skip
        for wrong in wrong_reports(reports, spec):
            raise CheckFailed(wrong)
        return answer

    # ---- reads ------------------------------------------------------------------------------
    async def find(self, client_order_id: str) -> list[OrderReport] | None:
        """Look an order up once. Raises ReadFailed."""
        adapter, symbol = self.harness.adapter, self.harness.symbol
        found = await self.call(adapter.find_order(self.spec, client_order_id, symbol))
        self._is_about(found or [], client_order_id)
        return found

    async def reports_of(
        self, request: OrderRequest, is_enough: Callable[[Sequence[OrderReport]], object],
        already: Sequence[OrderReport] = (),
    ) -> Sequence[OrderReport]:  # fmt: skip
        """Wait until an order's reports by reply, events and look-up are enough; return them."""
        known: Sequence[OrderReport] = already

        async def enough() -> bool:
            nonlocal known
            if is_enough(known):
                return True
            name = request.client_order_id
            own = [
                report for report in await self.receive_events() if report.client_order_id == name
            ]
            known = [*already, *own, *(await self._try_find(name) or [])]
            return bool(is_enough(known))

        await self.until(enough, lambda: f"only this was reported: {describe_kinds(known)}")
        return known

    async def _try_find(self, client_order_id: str) -> list[OrderReport] | None:
        try:
            return await self.find(client_order_id)
        except ReadFailed:
            return None

    async def found(self, client_order_id: str) -> list[OrderReport]:
        """Look an order up until the broker reports it."""
        known: list[OrderReport] = []

        async def there() -> bool:
            known[:] = await self._try_find(client_order_id) or []
            return bool(known)

        await self.until(there, "the look-up does not find it")
        return known

    async def absent(self, client_order_id: str) -> None:
        """Look an order up until its absence is proven."""

        async def is_absent() -> bool:
            try:
                answer = await self.find(client_order_id)
            except ReadFailed:
                return False
            expect(answer is None, f"the look-up finds it: {describe_kinds(answer or [])}")
            return True

        failure = "the look-up never proves the absence"
        await self.until(is_absent, failure, self.harness.absence_seconds)

    async def receive_events(self) -> list[OrderReport]:
        """Read and acknowledge new events as a worker does; return all events so far."""
        if self.can.event_stream:
            answer = await self.harness.adapter.events(500)
            own = [report for report in answer if report.connection_id == self.spec.connection_id]
            for wrong in wrong_shapes(own):
                raise CheckFailed(wrong)
            self.received += own
            await self.harness.adapter.acknowledge([report.event_id for report in own])
        return self.received

    async def positions(self) -> list[BrokerPosition]:
        """Return the open positions of the symbol."""
        answer = await self.call(self.harness.adapter.positions(self.spec))
        return [one for one in answer if one.symbol == self.harness.symbol and one.quantity]

    async def held(self) -> Decimal:
        """Return the signed open quantity of the symbol, in base units."""
        return sum((one.quantity * one.side.sign for one in await self.positions()), Decimal(0))

    async def wait_until_held(self, quantity: Decimal) -> None:
        """Wait until this signed quantity is open."""
        seen: list[Decimal] = []

        async def matches() -> bool:
            seen[:] = [await self.held()]
            return seen[0] == quantity

        await self.until(matches, lambda: f"the open quantity is {seen}, not {quantity}")

    async def position(self) -> BrokerPosition:
        """Wait for the only position of the symbol and return it."""
        await self.until(self.positions, "no position is reported")
        found = await self.positions()
        expect(len(found) == 1, f"{len(found)} positions are reported, not 1")
        return found[0]

    async def open_order(self, request: OrderRequest) -> BrokerOrder | None:
        """Return a working order as the broker lists it; None if it is not listed."""
        answer = await self.call(self.harness.adapter.open_orders(self.spec))
        name = request.client_order_id
        return next((one for one in answer if one.client_order_id == name), None)

    async def is_open(self, request: OrderRequest) -> bool:
        """Return whether the broker lists an order as open."""
        return await self.open_order(request) is not None

    async def expect_accepted(self, request: OrderRequest, times: int) -> None:
        """Check how often the broker's journal accepted an order."""
        found = await self.harness.accepted(request.client_order_id)
        expect(found == times, f"the broker accepted it {found} times, not {times}")

    # ---- waiting ----------------------------------------------------------------------------
    async def until(
        self,
        is_so: Callable[[], Awaitable[object]],
        failure: str | Callable[[], str],
        seconds: float | None = None,
    ) -> None:
        """Wait for a state; ignore failed reads. Raises CheckFailed after `seconds`."""
        loop = asyncio.get_running_loop()
        end = loop.time() + (seconds or self.harness.read_seconds)
        pause, last_error = POLL_SECONDS, ""
        while True:
            try:
                if await is_so():
                    return
                last_error = ""
            except ReadFailed as error:
                last_error = f" ({error})"
            if loop.time() > end:
                raise CheckFailed((failure if isinstance(failure, str) else failure()) + last_error)
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, MAX_PAUSE)

    def _is_about(self, answer: Sequence[OrderReport], client_order_id: str) -> None:
        other = next((r for r in answer if r.client_order_id != client_order_id), None)
        expect(other is None, f"a report of {other and other.client_order_id} among them")
