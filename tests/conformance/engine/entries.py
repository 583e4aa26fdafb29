"""C156–C167: entries that wait for a price, a time or another order, here or at the broker."""

from datetime import datetime, timedelta
from typing import Any, ClassVar
from uuid import uuid4

from brokers.types import OrderType
from common.clocks import market_now
from common.reason_codes import Code
from conformance.harness import NotApplicable
from conformance.registry import expect
from execution.submission.triggers import is_emulated
from signals import services
from signals.models import Approval, Signal
from signals.models import OrderType as SignalType
from tests.conformance.engine.account import EngineAccount
from tests.conformance.engine.case import (
    Case,
    Step,
    entry,
    expect_held,
    expect_sent_once,
    expect_status,
    is_held,
    outcome_text,
)


class WaitingEntry(Case):
    """An entry of a type that waits. order_type: of the signal. sent_as: what arrives.

    fires: the step at which the market reaches it. at_broker: the broker holds it, so that it
    arrives at once. other: the number of the check for the other way; '': there is none.
    """

    order_type: ClassVar[SignalType]
    sent_as: ClassVar[OrderType] = OrderType.MARKET
    fires: ClassVar[Step]
    at_broker: ClassVar[bool] = False
    other: ClassVar[str] = ""
    ends: ClassVar[tuple[str, ...]] = ("FILLED",)
    signal: Signal

    def applies(self, account: EngineAccount) -> None:
        if not self.other:
            return
        word = self.order_type.label.lower().replace(" ", "-")
        held = is_emulated(self.order_type, account.can)
        if held and self.at_broker:
            raise NotApplicable(f"emulated: the broker takes no {word} orders; see {self.other}")
        if not held and not self.at_broker:
            raise NotApplicable(f"native: the broker holds {word} orders itself; see {self.other}")

    def terms(self, account: EngineAccount) -> dict[str, Any]:
        raise NotImplementedError

    def begin(self, account: EngineAccount) -> None:
        self.signal = account.publish(order_type=self.order_type, **self.terms(account))

    def has_begun(self, account: EngineAccount) -> None:
        if self.at_broker:
            expect_sent_once(account, self.signal, OrderType(self.order_type.value))
            expect_status(account, self.signal, "SUBMITTED")
        else:
            account.until(lambda: is_held(self.signal), "it is not held")
            expect_held(account, self.signal)

    def at(self, account: EngineAccount, step: Step) -> None:
        if self.at_broker:
            expect_sent_once(account, self.signal, OrderType(self.order_type.value))
            if step < self.fires:
                expect(
                    entry(self.signal).status == "SUBMITTED", f"it is {outcome_text(self.signal)}"
                )
            elif step == self.fires:
                expect_status(account, self.signal, *self.ends)
        elif step < self.fires:
            expect_held(account, self.signal)
        else:
            expect_sent_once(account, self.signal, self.sent_as)
            expect_status(account, self.signal, *self.ends)

    def finish(self, account: EngineAccount) -> None:
        expect_status(account, self.signal, "FILLED")


class HeldStop(WaitingEntry):
    number, other = "C156", "C157"
    order_type, fires = SignalType.STOP, Step.TOP

    def terms(self, account: EngineAccount) -> dict[str, Any]:
        return {"stop_price": account.price("9.5")}


class NativeStop(HeldStop):
    number, other, at_broker = "C157", "C156", True


class HeldStopLimit(WaitingEntry):
    """Its limit is before its stop price: it is filled when the price comes back to it."""

    number, other = "C158", "C159"
    order_type, sent_as, fires = SignalType.STOP_LIMIT, OrderType.LIMIT, Step.TOP
    ends = ("SUBMITTED", "FILLED")

    def terms(self, account: EngineAccount) -> dict[str, Any]:
        return {"stop_price": account.price("9.5"), "open_price": account.price("8.5")}


class NativeStopLimit(HeldStopLimit):
    number, other, at_broker = "C159", "C158", True


class HeldTrailingStop(WaitingEntry):
    """It follows the ask down to the dip, and fires when that is 8 above it."""

    number, other = "C160", "C161"
    order_type, fires = SignalType.TRAILING_STOP, Step.TURN

    def terms(self, account: EngineAccount) -> dict[str, Any]:
        return {"trail_distance": account.distance(8)}


class NativeTrailingStop(HeldTrailingStop):
    number, other, at_broker = "C161", "C160", True


class TrailingPercent(HeldTrailingStop):
    number = "C162"

    def terms(self, account: EngineAccount) -> dict[str, Any]:
        return {"trail_percent": "0.8"}

    def applies(self, account: EngineAccount) -> None:
        if not is_emulated(self.order_type, account.can):
            raise NotApplicable("native: the broker holds the distance as a price; see C161")


class ActivatedTrailingStop(HeldTrailingStop):
    """No broker has one that begins to follow at a price. Beside it one with half of the distance
    whose activation price is never reached: it is still held at the end."""

    number, other = "C163", ""
    unreached: Signal

    def terms(self, account: EngineAccount) -> dict[str, Any]:
        return {"trail_distance": account.distance(8), "activation_price": account.price("-7.5")}

    def begin(self, account: EngineAccount) -> None:
        super().begin(account)
        self.unreached = account.publish(
            order_type=self.order_type, trail_distance=account.distance(4),
            activation_price=account.price(-20),
        )  # fmt: skip

    def has_begun(self, account: EngineAccount) -> None:
        super().has_begun(account)
        account.until(lambda: is_held(self.unreached), "the other one is not held")

    def at(self, account: EngineAccount, step: Step) -> None:
        super().at(account, step)
        expect_held(account, self.unreached)


class IfTouched(WaitingEntry):
    number, order_type, fires = "C164", SignalType.IF_TOUCHED, Step.DIP

    def terms(self, account: EngineAccount) -> dict[str, Any]:
        return {"stop_price": account.price("-9.5")}


class AfterTime(Case):
    """Its time comes anywhere on the path. What counts is when it was sent."""

    number = "C165"
    signal: Signal
    time: datetime

    def begin(self, account: EngineAccount) -> None:
        self.time = market_now() + timedelta(seconds=3)
        self.signal = account.publish(not_before=self.time)

    def has_begun(self, account: EngineAccount) -> None:
        account.until(lambda: is_held(self.signal) or market_now() >= self.time, "it is not held")

    def at(self, account: EngineAccount, step: Step) -> None:
        arrived = account.arrivals(self.signal)
        expect(not arrived or market_now() >= self.time, f"{arrived} arrived before its time")

    def finish(self, account: EngineAccount) -> None:
        expect_sent_once(account, self.signal, OrderType.MARKET)
        expect_status(account, self.signal, "FILLED")
        sent = entry(self.signal).submitted_at
        assert sent is not None
        expect(sent >= self.time, f"it was sent at {sent}, before {self.time}")


class AfterOther(Case):
    """It waits for an if-touched entry, which the dip fills."""

    number = "C166"
    first: Signal
    signal: Signal

    def begin(self, account: EngineAccount) -> None:
        self.first = account.publish(order_type="IF_TOUCHED", stop_price=account.price("-9.5"))
        self.signal = account.publish(after_signal=self.first, after_state="FILLED")

    def has_begun(self, account: EngineAccount) -> None:
        account.until(lambda: is_held(self.first) and is_held(self.signal), "they are not held")

    def at(self, account: EngineAccount, step: Step) -> None:
        if step < Step.DIP:
            expect_held(account, self.signal)
            return
        expect_sent_once(account, self.signal, OrderType.MARKET)
        expect_status(account, self.signal, "FILLED")
        filled, sent = entry(self.first).done_at, entry(self.signal).submitted_at
        assert filled is not None
        assert sent is not None
        expect(sent >= filled, "it was sent before the other entry had filled")


class OcoPair(Case):
    """A limit below the market and a stop above it: the dip sends the limit, the top nothing. A
    broker that refuses a limit which the market has reached gets a market order for it."""

    number = "C167"
    limit: Signal
    stop: Signal
    sent_as: OrderType

    def begin(self, account: EngineAccount) -> None:
        usual: dict[str, Any] = {
            "feed": account.feed, "currency_pair": account.instrument.pair, "direction": "BUY",
            "approval": Approval.APPROVED, "oco_group": uuid4(),
        }  # fmt: skip
        below: dict[str, Any] = {"order_type": "LIMIT", "open_price": account.price("-9.5")}
        is_refused = OrderType.LIMIT in account.can.refuses_reached
        self.sent_as = OrderType.MARKET if is_refused else OrderType.LIMIT
        self.limit = Signal.objects.create(**usual, **below)
        self.stop = Signal.objects.create(
            **usual, order_type="STOP", stop_price=account.price("9.5")
        )
        expect(services.publish(self.stop.pk, by=None), "the pair is not published")

    def has_begun(self, account: EngineAccount) -> None:
        account.until(lambda: is_held(self.limit) and is_held(self.stop), "it is not held")

    def at(self, account: EngineAccount, step: Step) -> None:
        if step < Step.DIP:
            expect_held(account, self.limit)
            expect_held(account, self.stop)
            return
        expect_sent_once(account, self.limit, self.sent_as)
        expect_status(account, self.limit, "FILLED")
        other = entry(self.stop)
        ended = (other.status, other.reason)
        expect(ended == ("CANCELLED", Code.OCO_OTHER_LEG_TRIGGERED), f"the other is {ended}")
        expect(not account.arrivals(self.stop), "both legs arrived")


ENTRIES: tuple[type[Case], ...] = (
    HeldStop, NativeStop, HeldStopLimit, NativeStopLimit, HeldTrailingStop, NativeTrailingStop,
    TrailingPercent, ActivatedTrailingStop, IfTouched, AfterTime, AfterOther, OcoPair,
)  # fmt: skip
