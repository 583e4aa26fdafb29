"""What each engine check does along the path of prices. All of them run side by side on one
account, so that all broker types need one engine and one path."""

from collections.abc import Sequence
from enum import IntEnum
from typing import ClassVar

from brokers.types import OrderType, Side
from common.reason_codes import Code
from conformance.harness import JournalEntry
from conformance.registry import expect
from execution.models import Order
from signals.models import Signal
from tests.conformance.engine.account import EngineAccount


class Step(IntEnum):
    """The steps of the path, in order. PATH has the bid at each, in thousandths of the first."""

    BEGIN, FALL, DIP, BACK, TURN, RISE, TOP, EBB, END = range(9)


PATH = {
    Step.BEGIN: 0, Step.FALL: -5, Step.DIP: -10, Step.BACK: -4, Step.TURN: -1, Step.RISE: 4,
    Step.TOP: 10, Step.EBB: 6, Step.END: -3,
}  # fmt: skip
WAITS = (Code.AWAITING_TRIGGER, Code.AWAITING_CONDITION)
OVER = ("FILLED", "CANCELLED", "DENIED", "REJECTED", "FAILED", "EXPIRED", "SKIPPED")


class Case:
    """One numbered check. begins: the step at which its signals are published."""

    number: ClassVar[str]
    begins: ClassVar[Step] = Step.BEGIN

    def applies(self, account: EngineAccount) -> None:
        """Raise NotApplicable if the account's broker does it in another way."""

    def begin(self, account: EngineAccount) -> None:
        """Publish its signals."""
        raise NotImplementedError

    def has_begun(self, account: EngineAccount) -> None:
        """Wait until the engine has done what it does at once."""

    def at(self, account: EngineAccount, step: Step) -> None:
        """Look, at a step after that at which it began, at what the engine has done."""
        raise NotImplementedError

    def finish(self, account: EngineAccount) -> None:
        """Look at the end of the path."""


def entry(signal: Signal) -> Order:
    """Return the order of a signal's only entry."""
    return Order.objects.get(signal=signal, leg="entry")


def is_held(signal: Signal) -> bool:
    """Whether the engine holds the entry: its trigger or condition has not come."""
    order = entry(signal)
    return order.status == "PENDING" and order.reason in WAITS


def expect_held(account: EngineAccount, signal: Signal) -> None:
    """Raise CheckFailed if anything of a held entry has reached the broker."""
    expect(is_held(signal), f"it is {outcome_text(signal)}")
    arrived = account.arrivals(signal)
    expect(not arrived, f"{arrived} arrived before its trigger")


def expect_sent_once(
    account: EngineAccount, signal: Signal, order_type: OrderType, side: Side = Side.BUY
) -> JournalEntry:
    """Raise CheckFailed if not exactly the right order has arrived; wait for it first."""
    account.until(
        lambda: account.arrivals(signal), f"nothing has arrived: it is {outcome_text(signal)}"
    )
    arrived: Sequence[JournalEntry] = account.arrivals(signal)
    expect(len(arrived) == 1, f"{len(arrived)} orders arrived: {arrived}")
    [one] = arrived
    expect(one.order_type is order_type, f"a {one.order_type} order arrived, no {order_type}")
    expect(one.side is side, f"the order that arrived is a {one.side}")
    wanted = account.quantity
    expect(one.quantity == wanted, f"{one.quantity} arrived instead of {wanted}")
    return one


def expect_status(account: EngineAccount, signal: Signal, *statuses: str) -> None:
    """Wait until the entry has one of these states. Raises CheckFailed."""
    account.until(
        lambda: entry(signal).status in statuses,
        f"it is {outcome_text(signal)} instead of {' or '.join(statuses)}",
    )


def outcome_text(signal: Signal) -> str:
    """Describe what has become of a signal's orders."""
    orders = Order.objects.filter(signal=signal).order_by("id")
    return ", ".join(f"{one.leg} {one.status} {one.reason} {one.detail}".strip() for one in orders)
