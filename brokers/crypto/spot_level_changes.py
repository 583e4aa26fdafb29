"""Change the levels of a spot position. They reserve its coins, so the old ones go first.

Both levels are sent together and have the same number. Nothing is placed while an earlier pair may
rest, arrive or have been executed without the caller's knowledge. Between the cancel and the new
pair the position is without a stop at the exchange for one request; what would be refused for its
price is refused before that.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import partial
from typing import Any

from brokers.base import NotSent, OutcomeUnknown, Rejected, check_deadline
from brokers.crypto import level_requests, orders, parse, prepaid, prices
from brokers.crypto.ccxt_hooks import expires_ms
from brokers.crypto.guarded_call import GuardedCall
from brokers.crypto.level_changes import NO_LEVEL, LevelChange
from brokers.crypto.level_orders import Action, Leg, LevelName, LevelOrder, Step, plan_pair
from brokers.types import OrderRequest, OrderType, Side, TimeInForce
from common.reason_codes import Code

CANCEL_SECONDS = 2.0  # of the time that a call has, for a cancel and the check of what rests then
PROBED_NUMBERS = 4096  # an entry that has had more pairs gets no other one


class SpotLevelChange(LevelChange):
    """One change of a spot position's levels. is_first: the entry has had no level before."""

    def __init__(self, *arguments: Any, is_first: bool = False, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._is_first = is_first
        self._is_checked = False
        for leg, price in self._wanted.items():
            if price is not None and not level_requests.takes(
                self._client, self._request.symbol, leg
            ):
                self._leave_to_us(leg, f"{self._request.symbol} takes no {leg.name.lower()} order")

    def _leave_to_us(self, leg: Leg, why: str) -> None:
        """Have the engine guard a level: the exchange does not take it."""
        self._wanted[leg] = None
        self._touched.pop(leg, None)
        self._refused, self._refusal = why, Code.STOPS_INVALID

    def _plan(self, live: Sequence[LevelOrder]) -> list[Step]:
        return plan_pair(live, self._wanted, self._quantity)

    async def _settle(self, live: Sequence[LevelOrder]) -> None:
        """Raise OutcomeUnknown if a level that was sent before may still arrive.

        The coins that are free now would be reserved then, and an exit refused."""
        entry, symbol = self._request.client_order_id, self._request.symbol
        name = self._order_cache.early_level(self._spec.connection_id, entry)
        if name and not live:
            order = await self._ask(self._look_up(name, symbol))
            if order is None or not parse.has_ended(order):
                raise OutcomeUnknown(Code.REPLY_LOST, f"{name} was sent and may still arrive")

    # ---- writes -----------------------------------------------------------------------------
    async def _do(self, step: Step, live: Sequence[LevelOrder]) -> None:
        if step.action is Action.CANCEL and not self._is_checked:
            self._is_checked = True
            if any(self._wanted.values()):
                await self._require_unreached()
            elif self._quantity > 0:  # for an exit; else the position has ended
                until = self._request.send_by
                await self._client.rate_limits.prepay_exit(until and until - CANCEL_SECONDS)
                prepaid.begin_removal()
        await super()._do(step, live)

    async def _require_unreached(self) -> None:
        """Raise Rejected, before anything is cancelled, if the market has reached a new level."""
        stop, target = self._wanted[Leg.STOP], self._wanted[Leg.TARGET]
        quote = await self._ask(self._read(partial(prices.quote, symbol=self._request.symbol)))
        if (stop is not None and stop >= quote.bid) or (target is not None and target <= quote.bid):
            detail = f"{stop or ''} {target or ''}: the market is at {quote.bid:f}"
            raise Rejected(Code.STOPS_INVALID, detail.strip())

    async def _place(self, step: Step, live: Sequence[LevelOrder]) -> None:
        side = await self._closing_side(live)
        number = await self._free_number(live)
        if number is None:
            self._done.discard(step)  # the next round looks again
            return
        entry = self._request.client_order_id
        pair = {
            LevelName(entry, leg, number): price
            for leg, price in self._wanted.items()
            if price is not None
        }
        self._touched = {name.leg: name for name in pair}
        try:
            await self._send_or_stop_only(pair, side)
        except orders.DuplicateId:
            return  # an earlier request has arrived after all: the next round reads it
        except Rejected as error:
            if not self._wrote:
                raise
            if error.code in NO_LEVEL and await self._is_recomputed():
                self._done.discard(step)
                self._touched.clear()
                return  # the next round sends what the market takes now
            self._end_without_levels(error)

    async def _send_or_stop_only(self, pair: Mapping[LevelName, Decimal], side: Side) -> None:
        """Send a pair; if it is refused, its stop alone. We guard the target then."""
        try:
            await self._send_pair(pair, side)
        except Rejected as error:
            if len(pair) < 2 or error.code not in NO_LEVEL:
                raise
            self._leave_to_us(Leg.TARGET, error.detail)
            stop = {name: price for name, price in pair.items() if name.leg is Leg.STOP}
            await self._send_pair(stop, side)

    def _end_without_levels(self, error: Rejected) -> None:
        """Report that nothing rests any more: the old pair is gone, and the new one was refused."""
        self._touched.clear()
        self._wanted = dict.fromkeys(Leg)
        self._refused = error.detail
        if error.code in NO_LEVEL:
            self._refusal = Code.STOPS_INVALID

    async def _free_number(self, live: Sequence[LevelOrder]) -> int | None:
        """Return the number for a new pair; None: the last one has not ended yet.

        Raises NotSent or OutcomeUnknown if the last one was executed and the caller does not know
        it: what is left of the coins may belong to another position."""
        last = max((one.name.number for one in live), default=-1)
        if not live and not self._is_first:
            last = await self._last_number()
        if last < 0:
            return 0
        found = await self._orders_of(last)
        if not found or not all(parse.has_ended(order) for order in found.values()):
            return None
        for leg, order in found.items():
            filled = parse.optional_number(order.get("filled"))
            if filled and self._quantity + filled > parse.number(order["amount"]):
                error_class = OutcomeUnknown if self._wrote else NotSent
                detail = f"{self._name(leg, last)} has sold {filled:f}"
                raise error_class(Code.NO_POSITION, detail)
        return last + 1

    async def _last_number(self) -> int:
        """Return the last number that the entry's levels have had; -1: it has had none.

        They are used one after the other, so the last one is between two that are looked up."""
        used, free = -1, 0
        while free < PROBED_NUMBERS and await self._orders_of(free):
            used, free = free, 2 * free + 1
        while free - used > 1:
            middle = (used + free) // 2
            used, free = (middle, free) if await self._orders_of(middle) else (used, middle)
        return used

    async def _orders_of(self, number: int) -> dict[Leg, Mapping[str, Any]]:
        """Return the orders that were placed under a number, as ccxt's."""
        found: dict[Leg, Mapping[str, Any]] = {}
        for leg in Leg:
            name = str(self._name(leg, number))
            if (order := await self._ask(self._look_up(name, self._request.symbol))) is not None:
                found[leg] = order
        return found

    def _name(self, leg: Leg, number: int) -> LevelName:
        return LevelName(self._request.client_order_id, leg, number)

    async def _send_pair(self, pair: Mapping[LevelName, Decimal], side: Side) -> None:
        symbol = self._request.symbol

        def check_and_record() -> None:
            check_deadline(self._request)
            for name, price in pair.items():
                self._order_cache.record_send(
                    OrderRequest(
                        str(name), self._spec.connection_id, self._spec.account, symbol, side,
                        OrderType.STOP, TimeInForce.GTC, self._quantity, stop_price=price,
                        reduce_only=True,
                    ),
                    expires_ms=expires_ms(self._client.clock),
                )  # fmt: skip
            self._wrote = True

        guarded = GuardedCall(check_and_record, is_urgent=True, send_by=self._request.send_by)
        create = partial(
            level_requests.create_pair, self._client, symbol, side, self._quantity, pair
        )
        try:
            await self._send(guarded, create)
        except (NotSent, Rejected):
            for name in pair:
                self._order_cache.record_ended(self._spec.connection_id, str(name))
            raise
