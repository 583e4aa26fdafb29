"""What a check works with: it places, changes and closes orders on a harness."""

import secrets
import string
from dataclasses import replace
from decimal import Decimal
from typing import Any

from brokers.base import BrokerError, Guard, NotSent, OutcomeUnknown, Rejected
from brokers.types import (
    BrokerOrder,
    BrokerPosition,
    CancelRequest,
    ChangeRequest,
    ExitSafety,
    Instrument,
    ModifyRequest,
    OrderReport,
    OrderRequest,
    OrderType,
    ReportKind,
    Side,
    TimeInForce,
)
from common.reason_codes import Code
from conformance.assertions import describe_kinds, ended, filled, is_filled
from conformance.harness import Harness, HarnessFeature, InjectedFault
from conformance.observer import AccountObserver
from conformance.registry import CheckFailed, expect

LETTERS = string.ascii_lowercase + string.digits
TAG = "zcf"  # no installation's tag: an order with it was placed by a check


def new_id() -> str:
    """Return a client order id like ours: 18 characters, the last is the attempt's digit."""
    return TAG + "".join(secrets.choice(LETTERS) for _ in range(14)) + "0"


def allow(_: OrderRequest) -> None:
    """A guard that allows every order."""


class Scenario(AccountObserver):
    """The context of one check. It records what it placed, so that it can be undone."""

    def __init__(self, harness: Harness, instrument: Instrument) -> None:
        super().__init__(harness)
        self.instrument = instrument
        self.placed: list[OrderRequest] = []
        self._numbers = secrets.randbelow(10**9)

    @property
    def quantity(self) -> Decimal:
        """The usual quantity, in base units."""
        return self.harness.quantity

    # ---- orders -----------------------------------------------------------------------------
    def order(self, **changes: Any) -> OrderRequest:
        """Return a market order to buy the usual quantity, with the longest time in force."""
        self._numbers += 1
        client_order_id = new_id()
        usual = OrderRequest(
            client_order_id=client_order_id,
            connection_id=self.spec.connection_id,
            account=self.spec.account,
            symbol=self.harness.symbol,
            side=Side.BUY,
            order_type=OrderType.MARKET,
            time_in_force=self.longest_time_in_force(),
            quantity=self.quantity,
            order_id=self._numbers,
            oca_group=client_order_id[:-1] if self.can.exit_safety is ExitSafety.OCA else "",
        )
        return replace(usual, **changes)

    def longest_time_in_force(self) -> TimeInForce:
        """Return the longest time in force that the account claims."""
        preferred = (TimeInForce.GTC, TimeInForce.DAY, TimeInForce.IOC, TimeInForce.FOK)
        return next(tif for tif in preferred if tif in self.can.times_in_force)

    async def working_order(self, **changes: Any) -> OrderRequest:
        """Return a limit order to buy, far below the price."""
        price = await self.away(-1)
        return self.order(**{"order_type": OrderType.LIMIT, "limit_price": price, **changes})

    async def away(self, sign: int, times: Decimal = Decimal(1)) -> Decimal:
        """Return a price that the market does not reach; sign: 1 above, -1 below."""
        quote = await self.harness.quote()
        return self.rounded(quote.bid * (1 + sign * times * self.harness.far_fraction))

    def rounded(self, price: Decimal) -> Decimal:
        """Return the price rounded to the symbol's tick."""
        tick = self.harness.tick or Decimal(1).scaleb(-self.instrument.digits)
        return (price / tick).quantize(Decimal(1)) * tick

    def on_step(self, quantity: Decimal) -> Decimal:
        """Return the quantity rounded down to the symbol's step."""
        return quantity // self.instrument.quantity_step * self.instrument.quantity_step

    async def submit(self, request: OrderRequest, guard: Guard = allow) -> list[OrderReport]:
        """Place an order; it is undone after the check."""
        self.placed.append(request)
        answer = await self.call(self.harness.adapter.submit(self.spec, request, guard))
        self._is_about(answer, request.client_order_id)
        return answer

    async def sent(self, request: OrderRequest) -> list[OrderReport]:
        """Place an order; repeat it while it raises NotSent, and look it up if it is unknown."""
        answer: list[OrderReport] = []

        async def was_sent() -> bool:
            try:
                answer[:] = await self.submit(request)
            except NotSent:
                return False
            except OutcomeUnknown:
                answer[:] = await self.found(request.client_order_id)
            return True

        await self.until(was_sent, lambda: f"it cannot be sent: {self.errors[-1]}")
        return answer

    async def refusal(self, request: OrderRequest) -> tuple[Code | None, str]:
        """Place an order that must be refused; return its code and detail. Raises CheckFailed."""
        try:
            answer = await self.submit(request)
        except Rejected as error:
            return error.code, error.detail
        found = await self.reports_of(
            request, lambda reports: ended(reports) or is_filled(reports), answer
        )
        refused = [report for report in found if report.kind is ReportKind.REJECTED]
        expect(refused, f"it was not refused but {describe_kinds(found)}")
        return refused[0].code, refused[0].detail

    async def expect_refused(self, request: OrderRequest, *codes: Code) -> None:
        """Place an order that must be refused, with one of these codes if any are given.

        The broker's journal must not have accepted it, if the harness has one.
        """
        try:
            code, _ = await self.refusal(request)
        except NotSent as error:
            code = error.code
        except BrokerError as error:
            raise CheckFailed(f"it raised {type(error).__name__} {error}") from error
        expect(not codes or code in codes, f"its code is {code}, not {' or '.join(codes)}")
        if HarnessFeature.JOURNAL not in self.harness.unavailable:
            await self.expect_accepted(request, 0)

    async def left_unknown(self, request: OrderRequest, fault: InjectedFault) -> None:
        """Place an order with a fault: it must raise OutcomeUnknown. Ends the fault."""
        await self.harness.begin(fault)
        try:
            answer = await self.submit(request)
        except OutcomeUnknown:
            pass
        except BrokerError as error:
            raise CheckFailed(f"it was reported as {type(error).__name__} {error}") from error
        else:
            raise CheckFailed(f"it was reported as {describe_kinds(answer)}")
        await self.harness.end()

    async def buy(self, **changes: Any) -> OrderRequest:
        """Buy, and wait until reports show the order as filled."""
        request = self.order(**changes)
        answer = await self.sent(request)
        await self.reports_of(request, lambda reports: filled(reports) >= request.quantity, answer)
        return request

    async def place_working(self, **changes: Any) -> OrderRequest:
        """Place a limit order away from the market, and wait until it is listed as open."""
        request = await self.working_order(**changes)
        await self.sent(request)
        await self.until(lambda: self.is_open(request), "it is not open")
        return request

    # ---- changes ----------------------------------------------------------------------------
    async def cancel(
        self, request: OrderRequest, send_by: float | None = None
    ) -> list[OrderReport]:
        """Cancel an order by our id and, if it is known, the broker's."""
        known = await self._try_find(request.client_order_id) or []
        broker_id = next((one.broker_order_id for one in known if one.broker_order_id), "")
        change = CancelRequest(request.client_order_id, broker_id, request.symbol, send_by)
        return await self.call(self.harness.adapter.cancel(self.spec, change))

    async def change(
        self, entry: OrderRequest, present: BrokerOrder, send_by: float | None = None,
        **terms: Decimal,
    ) -> list[OrderReport]:  # fmt: skip
        """Change the price or quantity of a working order. present: as the broker lists it."""
        request = ChangeRequest(
            client_order_id=entry.client_order_id,
            broker_order_id=present.broker_order_id,
            connection_id=entry.connection_id,
            symbol=entry.symbol,
            side=entry.side,
            order_type=entry.order_type,
            terms=replace(present.terms, **terms),
            present=present.terms,
            send_by=send_by,
        )
        return await self.call(self.harness.adapter.change_order(self.spec, request))

    async def modify(
        self, entry: OrderRequest, stop: Decimal | None, target: Decimal | None,
        send_by: float | None = None, position: str | None = None,
    ) -> list[OrderReport]:  # fmt: skip
        """Change the levels of the position that an entry opened."""
        if position is None:
            position = (await self.position()).broker_position_id
        change = ModifyRequest(
            entry.client_order_id, position, entry.symbol, stop, target, entry.quantity, send_by
        )
        return await self.call(self.harness.adapter.modify(self.spec, change))

    def exit(self, entry: OrderRequest, held: BrokerPosition, **changes: Any) -> OrderRequest:
        """Return an order that closes a position, like our exits."""
        return self.order(
            **{
                "symbol": held.symbol,
                "side": held.side.opposite,
                "quantity": held.quantity,
                "reduce_only": True,
                "broker_position_id": held.broker_position_id,
                "closes": entry.client_order_id,
                "oca_group": entry.oca_group,
                **changes,
            }
        )

    async def close(self, entry: OrderRequest, **changes: Any) -> OrderRequest:
        """Close the symbol's position, and wait until reports show the exit as filled.

        Levels that would be in the exit's way are removed first, as the engine does."""
        held = await self.position()
        if self.can.exit_safety is ExitSafety.CANCEL_FIRST and _has_levels(held):
            await self.modify(entry, None, None, position=held.broker_position_id)
        request = self.exit(entry, held, **changes)
        answer = await self.submit(request)
        await self.reports_of(request, lambda reports: filled(reports) >= request.quantity, answer)
        return request


def _has_levels(held: BrokerPosition) -> bool:
    levels = [held.levels, *(held.entry_levels or {}).values()]
    return any(one and (one.stop_loss or one.take_profit) for one in levels)
