"""What is known of an account while a check plays: every answer is looked at."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal
from typing import TypeVar

from brokers.base import BrokerError, ReadFailed
from brokers.conformance.case import Failed, expect
from brokers.conformance.shapes import wrong_reports, wrong_shapes
from brokers.conformance.stage import Stage
from brokers.conformance.words import kinds, look_at_error
from brokers.messages import (
    BrokerOrder,
    BrokerPosition,
    ConnectionSpec,
    OrderReport,
    OrderRequest,
)

T = TypeVar("T")
LOOK_SECONDS, LONGEST_PAUSE = 0.01, 0.5


class Known:
    """Reads an account on a stage, and waits for what must come to be."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.can = stage.adapter.capabilities(stage.spec)
        self.heard: list[OrderReport] = []
        self.errors: list[BrokerError] = []

    @property
    def spec(self) -> ConnectionSpec:
        return self.stage.spec

    # ---- every answer is looked at ----------------------------------------------------------
    async def ask(self, call: Awaitable[T], spec: ConnectionSpec | None = None) -> T:
        """Make a call. Raises Failed if its answer or its error breaks a rule of all answers."""
        spec = spec or self.spec
        try:
            answer = await call
        except BrokerError as error:
            self.errors.append(error)
            look_at_error(error, spec)
            raise
        for wrong in wrong_shapes(answer):
            raise Failed(wrong)
        reports = [one for one in answer if isinstance(one, OrderReport)] if isinstance(
            answer, list) else []  # fmt: skip
        for wrong in wrong_reports(reports, spec):
            raise Failed(wrong)
        return answer

    # ---- what is known ----------------------------------------------------------------------
    async def find(self, client_order_id: str) -> list[OrderReport] | None:
        adapter, symbol = self.stage.adapter, self.stage.symbol
        found = await self.ask(adapter.find_order(self.spec, client_order_id, symbol))
        self._is_about(found or [], client_order_id)
        return found

    async def told(
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
            own = [report for report in await self.hear() if report.client_order_id == name]
            known = [*already, *own, *(await self._look(name) or [])]
            return bool(is_enough(known))

        await self.until(enough, lambda: f"only this was told: {kinds(known)}")
        return known

    async def _look(self, client_order_id: str) -> list[OrderReport] | None:
        try:
            return await self.find(client_order_id)
        except ReadFailed:
            return None

    async def found(self, client_order_id: str) -> list[OrderReport]:
        """Look an order up until the broker tells it."""
        known: list[OrderReport] = []

        async def there() -> bool:
            known[:] = await self._look(client_order_id) or []
            return bool(known)

        await self.until(there, "the look-up does not find it")
        return known

    async def absent(self, client_order_id: str) -> None:
        """Look an order up until it is certain that the broker does not have it."""

        async def surely_not() -> bool:
            try:
                told = await self.find(client_order_id)
            except ReadFailed:
                return False
            expect(told is None, f"the look-up finds it: {kinds(told or [])}")
            return True

        words = "the look-up is never sure that it is absent"
        await self.until(surely_not, words, self.stage.absence)

    async def hear(self) -> list[OrderReport]:
        """Take what was told of this account as a worker does, and return all that ever was."""
        if self.can.event_stream:
            told = await self.stage.adapter.events(500)
            mine = [one for one in told if one.connection_id == self.spec.connection_id]
            for wrong in wrong_shapes(mine):
                raise Failed(wrong)
            self.heard += mine
            await self.stage.adapter.acknowledge([one.event_id for one in mine])
        return self.heard

    async def positions(self) -> list[BrokerPosition]:
        """What is held of the symbol."""
        told = await self.ask(self.stage.adapter.positions(self.spec))
        return [one for one in told if one.symbol == self.stage.symbol and one.quantity]

    async def held(self) -> Decimal:
        """What is held of the symbol, signed, base units."""
        return sum((one.quantity * one.side.sign for one in await self.positions()), Decimal(0))

    async def holds(self, quantity: Decimal) -> None:
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
        told = await self.ask(self.stage.adapter.open_orders(self.spec))
        name = request.client_order_id
        return next((one for one in told if one.client_order_id == name), None)

    async def is_open(self, request: OrderRequest) -> bool:
        return await self.open_order(request) is not None

    async def accepted(self, request: OrderRequest, times: int) -> None:
        """Look into the broker's journal."""
        found = await self.stage.accepted(request.client_order_id)
        expect(found == times, f"the broker accepted it {found} times, not {times}")

    # ---- waiting ----------------------------------------------------------------------------
    async def until(
        self,
        is_so: Callable[[], Awaitable[object]],
        words: str | Callable[[], str],
        seconds: float | None = None,
    ) -> None:
        """Wait for a state. A read that fails meanwhile proves nothing. Raises Failed."""
        loop = asyncio.get_running_loop()
        end = loop.time() + (seconds or self.stage.patience)
        pause, trouble = LOOK_SECONDS, ""
        while True:
            try:
                if await is_so():
                    return
                trouble = ""
            except ReadFailed as error:
                trouble = f" ({error})"
            if loop.time() > end:
                raise Failed((words if isinstance(words, str) else words()) + trouble)
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, LONGEST_PAUSE)

    def _is_about(self, told: Sequence[OrderReport], client_order_id: str) -> None:
        other = next((r for r in told if r.client_order_id != client_order_id), None)
        expect(other is None, f"a report of {other and other.client_order_id} among them")
