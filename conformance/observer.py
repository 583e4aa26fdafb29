"""What is known of an account while a check plays: every answer is looked at."""

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
    """Reads an account on a stage, and waits for what must come to be."""

    def __init__(self, stage: Harness) -> None:
        self.harness = stage
        self.can = stage.adapter.capabilities(stage.spec)
        self.received: list[OrderReport] = []
        self.errors: list[BrokerError] = []

    @property
    def spec(self) -> ConnectionSpec:
        return self.harness.spec

    # ---- every answer is looked at ----------------------------------------------------------
    async def call(self, call: Awaitable[T], spec: ConnectionSpec | None = None) -> T:
        """Make a call. Raises Failed if its answer or its error breaks a rule of all answers."""
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

    # ---- what is known ----------------------------------------------------------------------
    async def find(self, client_order_id: str) -> list[OrderReport] | None:
        adapter, symbol = self.harness.adapter, self.harness.symbol
        found = await self.call(adapter.find_order(self.spec, client_order_id, symbol))
        self._is_about(found or [], client_order_id)
        return found

    async def reports_of(
        self, request: OrderRequest, is_enough: Callable[[Sequence[OrderReport]], object],
        already: Sequence[OrderReport] = (),
    ) -> Sequence[OrderReport]:  # fmt: skip
        """Everything told of an order by reply, events or look-up, as soon as it is enough."""
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

        await self.until(enough, lambda: f"only this was told: {describe_kinds(known)}")
        return known

    async def _try_find(self, client_order_id: str) -> list[OrderReport] | None:
        try:
            return await self.find(client_order_id)
        except ReadFailed:
            return None

    async def found(self, client_order_id: str) -> list[OrderReport]:
        """Look an order up until the broker tells it."""
        known: list[OrderReport] = []

        async def there() -> bool:
            known[:] = await self._try_find(client_order_id) or []
            return bool(known)

        await self.until(there, "the look-up does not find it")
        return known

    async def absent(self, client_order_id: str) -> None:
        """Look an order up until it is certain that the broker does not have it."""

        async def surely_not() -> bool:
            try:
                answer = await self.find(client_order_id)
            except ReadFailed:
                return False
            expect(answer is None, f"the look-up finds it: {describe_kinds(answer or [])}")
            return True

        failure = "the look-up is never sure that it is absent"
        await self.until(surely_not, failure, self.harness.absence)

    async def receive_events(self) -> list[OrderReport]:
        """Take what was told of this account as a worker does, and return all that ever was."""
        if self.can.event_stream:
            answer = await self.harness.adapter.events(500)
            mine = [one for one in answer if one.connection_id == self.spec.connection_id]
            for wrong in wrong_shapes(mine):
                raise CheckFailed(wrong)
            self.received += mine
            await self.harness.adapter.acknowledge([one.event_id for one in mine])
        return self.received

    async def positions(self) -> list[BrokerPosition]:
        """What is held of the symbol."""
        answer = await self.call(self.harness.adapter.positions(self.spec))
        return [one for one in answer if one.symbol == self.harness.symbol and one.quantity]

    async def held(self) -> Decimal:
        """What is held of the symbol, signed, base units."""
        return sum((one.quantity * one.side.sign for one in await self.positions()), Decimal(0))

    async def wait_until_held(self, quantity: Decimal) -> None:
        """Wait until so much is held."""
        seen: list[Decimal] = []

        async def so_much() -> bool:
            seen[:] = [await self.held()]
            return seen[0] == quantity

        await self.until(so_much, lambda: f"{seen} is held, not {quantity}")

    async def position(self) -> BrokerPosition:
        """The one position of the symbol, as soon as it is told."""
        await self.until(self.positions, "no position is told")
        found = await self.positions()
        expect(len(found) == 1, f"{len(found)} positions are told, not 1")
        return found[0]

    async def open_order(self, request: OrderRequest) -> BrokerOrder | None:
        """How an order rests at the broker."""
        answer = await self.call(self.harness.adapter.open_orders(self.spec))
        name = request.client_order_id
        return next((one for one in answer if one.client_order_id == name), None)

    async def is_open(self, request: OrderRequest) -> bool:
        return await self.open_order(request) is not None

    async def accepted(self, request: OrderRequest, times: int) -> None:
        """Look into the broker's journal."""
        found = await self.harness.accepted(request.client_order_id)
        expect(found == times, f"the broker accepted it {found} times, not {times}")

    # ---- waiting ----------------------------------------------------------------------------
    async def until(
        self,
        is_so: Callable[[], Awaitable[object]],
        failure: str | Callable[[], str],
        seconds: float | None = None,
    ) -> None:
        """Wait for a state. A read that fails meanwhile proves nothing. Raises Failed."""
        loop = asyncio.get_running_loop()
        end = loop.time() + (seconds or self.harness.patience)
        pause, trouble = POLL_SECONDS, ""
        while True:
            try:
                if await is_so():
                    return
                trouble = ""
            except ReadFailed as error:
                trouble = f" ({error})"
            if loop.time() > end:
                raise CheckFailed((failure if isinstance(failure, str) else failure()) + trouble)
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, MAX_PAUSE)

    def _is_about(self, answer: Sequence[OrderReport], client_order_id: str) -> None:
        other = next((r for r in answer if r.client_order_id != client_order_id), None)
        expect(other is None, f"a report of {other and other.client_order_id} among them")
