"""Make the levels that rest at an exchange those that a position shall have.

Each round reads which levels of the entry rest there, and sends what is missing; nothing is sent
twice in one call. A new level has a name that the exchange takes once, so a request whose answer
was lost cannot make a second one, also in another process.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal
from functools import partial
from typing import Any

from brokers.base import (
    BrokerError,
    NotSent,
    OutcomeUnknown,
    ReadFailed,
    Rejected,
    check_deadline,
    outcome_of,
)
from brokers.crypto import level_reads, level_requests, orders, parse
from brokers.crypto.ccxt_hooks import expires_ms
from brokers.crypto.client import Client
from brokers.crypto.guarded_call import GuardedCall
from brokers.crypto.level_orders import (
    Action,
    Leg,
    LevelName,
    LevelOrder,
    Step,
    held_levels,
    next_number,
    plan,
)
from brokers.crypto.order_cache import OrderCache
from brokers.types import (
    ConnectionSpec,
    ModifyRequest,
    OrderReport,
    OrderRequest,
    OrderType,
    ReportKind,
    Side,
    TimeInForce,
)
from common.reason_codes import Code

PAUSES = (0.0, 0.1, 0.4, 1.0)  # seconds before each round: a change is listed after a moment
MAX_NAMES = 20  # names that are tried for a new level: that many levels of the entry have ended
NO_LEVEL = frozenset({Code.PRICE_INVALID, Code.VOLUME_INVALID, Code.REJECTED_BY_BROKER})
"""Refusals after which we guard the level ourselves; others may pass."""

Look = Callable[[str, str], Awaitable[Any]]


class LevelChange:
    """One change of an entry's levels.

    read: makes a read of the account, raises ReadFailed. look_up: finds an order by its name and
    symbol, as ccxt returns it; None: the exchange does not have it. renew: loads the markets again
    if they are doubted; raises ccxt's errors.
    """

    def __init__(
        self,
        client: Client,
        spec: ConnectionSpec,
        request: ModifyRequest,
        order_cache: OrderCache,
        *,
        read: Callable[[Callable[[Client], Awaitable[Any]]], Awaitable[Any]],
        look_up: Look,
        renew: Callable[[], Awaitable[None]],
    ) -> None:
        self._client, self._spec, self._request = client, spec, request
        self._order_cache, self._read, self._look_up = order_cache, read, look_up
        self._renew, self._is_renewed = renew, False
        self._wanted = level_requests.wanted(client, request)
        self._quantity = level_requests.quantity(client, request)
        self._done: set[Step] = set()
        self._touched: dict[Leg, LevelName] = {}  # the level that must be listed
        self._wrote = False
        self._refused = ""
        self._refusal: Code | None = None  # STOPS_INVALID: we guard what is not listed

    async def apply(self) -> list[OrderReport]:
        """Set the levels and return a LEVELS report of what the exchange then lists.

        Raises NotSent, Rejected or OutcomeUnknown.
        """
        live: Sequence[LevelOrder] = ()
        for pause in PAUSES:
            await asyncio.sleep(pause)
            live = await self._live()
            steps = self._plan(live)
            if not steps:
                await self._settle(live)
                return [self._report(live)]
            for step in steps:
                if step not in self._done and not self._has_vanished(step):
                    self._done.add(step)
                    await self._do(step, live)
        await self._require_ended(live)
        return [self._report(live)]

    def _plan(self, live: Sequence[LevelOrder]) -> list[Step]:
        amends = self._client.rules.amends_levels
        return plan(live, self._wanted, self._quantity, amends=amends)

    async def _settle(self, live: Sequence[LevelOrder]) -> None:
        """Check that nothing else is on its way. Raises OutcomeUnknown."""

    # ---- reads ------------------------------------------------------------------------------
    async def _live(self) -> list[LevelOrder]:
        found = await self._ask(
            self._read(partial(level_reads.live_levels, symbol=self._request.symbol))
        )
        entry = self._request.client_order_id
        return [one for one in found if one.name.entry == entry]

    async def _ask(self, answer: Awaitable[Any]) -> Any:
        """Await a read. Raises NotSent, or OutcomeUnknown if something was sent before it."""
        try:
            return await answer
        except ReadFailed as error:
            error_class = OutcomeUnknown if self._wrote else NotSent
            raise error_class(error.code, error.detail) from error

    async def _closing_side(self, live: Sequence[LevelOrder]) -> Side:
        """Return the side of a new level. Raises Rejected NO_POSITION."""
        symbol = self._request.symbol
        needs_mode = self._client.exit_mode(symbol) and self._client.held_modes is None
        if live and not needs_mode:
            return live[0].side
        side: Side | None = await self._ask(
            self._read(partial(level_reads.position_side, symbol=symbol))
        )
        if side is None:
            raise Rejected(Code.NO_POSITION, f"nothing of {symbol} is open")
        return side.opposite

    # ---- writes -----------------------------------------------------------------------------
    async def _do(self, step: Step, live: Sequence[LevelOrder]) -> None:
        """Send one request. Raises NotSent, Rejected or OutcomeUnknown."""
        try:
            match step.action:
                case Action.PLACE:
                    await self._place(step, live)
                case Action.AMEND:
                    assert step.order is not None
                    self._touched[step.leg] = step.order.name
                    await self._amend(step.order, step.price)
                case Action.CANCEL:
                    assert step.order is not None
                    await self._cancel(step.order)
        except Rejected as error:
            if error.code not in NO_LEVEL:
                raise
            if await self._is_recomputed():
                self._done.discard(step)
                self._touched.pop(step.leg, None)
                return  # the next round sends what the market takes now
            if not self._wrote:
                raise Rejected(Code.STOPS_INVALID, error.detail) from error
            self._refused, self._refusal = error.detail, Code.STOPS_INVALID
            self._touched.pop(step.leg, None)

    async def _is_recomputed(self) -> bool:
        """Load the markets again after a refusal, once; return whether that changes the levels."""
        before = self._wanted, self._quantity
        if self._is_renewed or isinstance(await outcome_of(self._renew()), Exception):
            return False
        self._is_renewed = True
        self._wanted = level_requests.wanted(self._client, self._request)
        self._quantity = level_requests.quantity(self._client, self._request)
        return before != (self._wanted, self._quantity)

    async def _place(self, step: Step, live: Sequence[LevelOrder]) -> None:
        side = await self._closing_side(live)
        first = next_number(live, step.leg)
        for number in range(first, first + MAX_NAMES):
            name = LevelName(self._request.client_order_id, step.leg, number)
            self._touched[step.leg] = name
            if not self._client.rules.unique_ids and await self._has_ended(name):
                continue
            try:
                await self._create(name, side, step.price)
            except orders.DuplicateId:
                if await self._has_ended(name):
                    continue
            return
        raise NotSent(Code.REJECTED_BY_BROKER, f"{MAX_NAMES} levels of the entry have ended")

    async def _has_ended(self, name: LevelName) -> bool:
        """Whether an earlier level of this name has ended, so that a new one needs another name.

        Raises NotSent if it was executed and the caller does not know it yet: the position is
        smaller than the level that was asked for."""
        order = await self._ask(self._look_up(str(name), self._request.symbol))
        if order is None or not parse.has_ended(order):
            return False
        size = parse.contract_size(self._client.market(self._request.symbol))
        filled = parse.optional_number(order.get("filled")) * size
        if filled and self._quantity + filled > parse.number(order["amount"]) * size:
            raise NotSent(Code.NO_POSITION, f"{name} has closed {filled:f}")
        return True

    async def _create(self, name: LevelName, side: Side, price: Decimal | None) -> None:
        assert price is not None
        request = OrderRequest(
            str(name), self._spec.connection_id, self._spec.account, self._request.symbol, side,
            OrderType.STOP, TimeInForce.GTC, self._quantity, stop_price=price, reduce_only=True,
        )  # fmt: skip

        def check_and_record() -> None:
            check_deadline(self._request)
            self._order_cache.record_send(request, expires_ms=expires_ms(self._client.clock))
            self._wrote = True

        await self._send(
            GuardedCall(check_and_record, is_urgent=True, send_by=self._request.send_by),
            partial(level_requests.create, self._client, request, name.leg),
        )

    async def _amend(self, order: LevelOrder, price: Decimal | None) -> None:
        assert price is not None
        await self._send(
            self._repeatable(),
            partial(level_requests.amend, self._client, order, price, self._quantity),
        )

    async def _cancel(self, order: LevelOrder) -> None:
        await self._send(self._repeatable(), partial(level_requests.cancel, self._client, order))

    def _repeatable(self) -> GuardedCall:
        def check() -> None:
            check_deadline(self._request)
            self._wrote = True

        return GuardedCall(check, is_repeatable=True, is_urgent=True, send_by=self._request.send_by)

    async def _send(self, guarded: GuardedCall, call: Callable[[], Awaitable[Any]]) -> None:
        had_written = self._wrote
        try:
            await orders.send(self._client, self._spec, guarded, call)
        except (orders.NoSuchOrder, orders.Unchanged):
            return  # the next read and look-up show what became of it
        except (NotSent, Rejected) as error:
            self._wrote = had_written
            if had_written and isinstance(error, NotSent):
                raise OutcomeUnknown(error.code, error.detail) from error
            raise

    # ---- the result -------------------------------------------------------------------------
    def _has_vanished(self, step: Step) -> bool:
        """Whether a level that this call has changed or placed is gone: it may have been executed,
        and another one could close what belongs to another position."""
        return step.action is Action.PLACE and step.leg in self._touched

    async def _require_ended(self, live: Sequence[LevelOrder]) -> None:
        """Raise OutcomeUnknown unless each level that is not listed as asked for has ended without
        an execution: then what is listed is all there is."""
        listed = {one.name for one in live}
        missing = [name for name in self._touched.values() if name not in listed]
        if not missing and not self._refused:
            raise OutcomeUnknown(Code.REPLY_LOST, "the change was taken and is not listed yet")
        for name in missing:
            order = await self._ask(self._look_up(str(name), self._request.symbol))
            if order is None or not parse.has_ended(order):
                raise OutcomeUnknown(Code.REPLY_LOST, f"{name} was sent and is not listed yet")
            if parse.optional_number(order.get("filled")):
                raise OutcomeUnknown(Code.REPLY_LOST, f"{name} was executed meanwhile")

    def _report(self, live: Sequence[LevelOrder]) -> OrderReport:
        request = self._request
        return OrderReport(
            ReportKind.LEVELS,
            self._spec.connection_id,
            request.client_order_id,
            broker_position_id=request.broker_position_id or request.symbol,
            levels=held_levels(live),
            code=self._refusal,
            detail=self._refused,
        )


def refused_report(spec: ConnectionSpec, request: OrderRequest, error: BrokerError) -> OrderReport:
    """Return the LEVELS report of a new position whose stop the exchange does not hold."""
    return OrderReport(
        ReportKind.LEVELS, spec.connection_id, request.client_order_id,
        broker_position_id=request.symbol, levels=held_levels(()), code=Code.STOPS_INVALID,
        detail=error.detail,
    )  # fmt: skip
