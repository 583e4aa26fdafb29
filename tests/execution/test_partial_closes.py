"""A CLOSE of a part that comes before its entry has filled is applied once, when it has."""

from collections.abc import Callable
from decimal import Decimal as D
from typing import Any

import pytest

from brokers.base import OutcomeUnknown
from brokers.types import ReportKind
from common.failpoints import Failpoint, FailpointError, arm
from common.reason_codes import Code
from connections.models import ExecutionConnection
from execution.audit.counters import audit
from execution.models import Order
from execution.monitoring.pending_actions import process_pending_actions
from execution.runtime.trading_runtime import TradingRuntime
from execution.services import close_positions
from positions.models import ExecutionPosition
from signals.models import Feed, Signal
from tests.execution import factories
from tests.execution.submission.test_slices import TWAP, next_slice, refresh
from tests.execution.test_follow_ups import draft_of, publish_beside

pytestmark = [pytest.mark.usefixtures("inline_commits", "runtime")]


def entry() -> Order:
    return Order.objects.get(leg="entry")


def fill(quantity: int, fill_id: str) -> None:
    factories.apply(factories.fill_report(entry(), quantity, fill_id))


def settle() -> list[int]:
    """Return what the written exits close, and let the broker fill them."""
    factories.pass_time(2)
    written = process_pending_actions()
    quantities = [int(Order.objects.get(pk=pk).quantity or 0) for pk in written]
    fill_exits()
    return quantities


def fill_exits() -> None:
    factories.claim_all()
    for exit_ in Order.objects.exits().filter(status="SUBMITTING").order_by("id"):
        factories.apply(factories.fill_report(exit_, exit_.quantity or 0, f"x{exit_.pk}"))


def left() -> int:
    return int(ExecutionPosition.objects.get().quantity)


def claimed() -> None:
    factories.claim_all()


def unknown() -> None:
    (call,) = factories.claim_all()
    factories.answer(call, OutcomeUnknown(Code.REPLY_LOST))


def working() -> None:
    factories.claim_all()
    factories.apply(factories.report(entry(), ReportKind.ACCEPTED))


def cancelled() -> None:
    factories.claim_all()
    factories.apply(factories.report(entry(), ReportKind.CANCELLED))


@pytest.fixture
def opened(alice: ExecutionConnection, feed: Feed) -> Signal:
    """A signal whose entry is in flight."""
    signal = factories.signal(feed)
    factories.claim_all()
    return signal


# ---- applied once ------------------------------------------------------------------------------
@pytest.mark.parametrize("reach", [claimed, unknown, working])
def test_part_is_closed_when_the_entry_has_filled(
    alice: ExecutionConnection, feed: Feed, reach: Callable[[], None]
) -> None:
    opened = factories.signal(feed)
    reach()
    half = factories.close_signal(opened, "0.5")
    assert Signal.objects.get(pk=half.pk).candidate_count == 1
    assert settle() == []
    fill(100, "f1")
    assert [settle(), settle()] == [[50], []]
    assert left() == 50
    assert Order.objects.exits().get().signal_id == half.pk
    remembered = [line for line in factories.log_codes(entry().pk) if line[0].startswith("PARTIAL")]
    assert [code for code, _ in remembered] == [Code.PARTIAL_CLOSE_REMEMBERED]
    assert entry().close_fraction is None  # nothing more fills


def test_entry_that_is_not_sent_yet_remembers_it(alice: ExecutionConnection, feed: Feed) -> None:
    opened = factories.signal(feed)
    factories.close_signal(opened, "0.5")
    factories.fill_all()
    assert (settle(), left()) == ([50], 50)


def test_each_part_of_a_fill_counts_once(opened: Signal) -> None:
    """40 are open: 20 are closed at once. Half of the other 60 is closed when the order ends."""
    fill(40, "f1")
    factories.close_signal(opened, "0.5")
    fill_exits()
    assert (settle(), left()) == ([], 20)
    fill(30, "f2")
    assert (settle(), left()) == ([], 50)  # the order has not ended
    fill(30, "f3")
    assert (settle(), left()) == ([30], 50)


def test_several_closes_multiply(opened: Signal) -> None:
    factories.close_signal(opened, "0.5")
    factories.close_signal(opened, "0.6")
    fill(100, "f1")
    assert (settle(), left()) == ([80], 20)


def test_close_between_the_fill_and_its_exit_shrinks_the_part(opened: Signal) -> None:
    factories.close_signal(opened, "0.5")
    fill(100, "f1")
    factories.close_signal(opened, "0.6")  # 60 of what is open
    assert (settle(), left()) == ([20], 20)


def test_full_close_afterwards_closes_all(opened: Signal) -> None:
    factories.close_signal(opened, "0.5")
    factories.close_signal(opened)
    fill(100, "f1")
    settle()
    assert (settle(), left()) == ([], 0)


def test_part_of_what_filled_before_the_cancel_is_closed(opened: Signal) -> None:
    factories.close_signal(opened, "0.5")
    fill(40, "f1")
    factories.apply(factories.report(entry(), ReportKind.CANCELLED))
    assert (settle(), left()) == ([20], 20)
    fill(60, "late")
    assert (settle(), left()) == ([30], 50)


def test_late_fill_of_a_cancelled_entry_is_closed_in_part(
    alice: ExecutionConnection, feed: Feed
) -> None:
    opened = factories.signal(feed)
    cancelled()
    factories.close_signal(opened, "0.5")
    assert Signal.objects.get(action="CLOSE").candidate_count == 0
    fill(100, "late")
    assert (settle(), left()) == ([50], 50)


def test_late_fill_counts_as_lost_only_after_the_grace_time(
    alice: ExecutionConnection, feed: Feed
) -> None:
    opened = factories.signal(feed)
    cancelled()
    factories.close_signal(opened, "0.5")
    factories.pass_time(86_400)
    fill(100, "late")
    assert audit().counters["LOST"] == 0
    factories.pass_time(86_400)
    assert audit().counters["LOST"] == 1


def test_part_of_an_entry_that_still_works_is_not_lost(opened: Signal) -> None:
    """Its part is closed once the order has ended, however long that takes."""
    factories.close_signal(opened, "0.5")
    fill(40, "f1")
    factories.pass_time(600)
    assert (settle(), audit().counters["LOST"]) == ([], 0)


@pytest.mark.parametrize("filled", [0, 40])
def test_what_was_filled_in_part_is_forgotten_after_a_week(filled: int, opened: Signal) -> None:
    """An entry that has not filled is in no index: it may remember its part for good."""
    factories.close_signal(opened, "0.5")
    if filled:
        fill(filled, "f1")
    factories.apply(factories.report(entry(), ReportKind.CANCELLED))
    settle()
    assert entry().close_fraction == D("0.5")
    factories.pass_time(7 * 86_400)
    settle()
    assert entry().close_fraction == (None if filled else D("0.5"))


def test_position_that_was_closed_before_gets_no_exit(opened: Signal) -> None:
    factories.close_signal(opened, "0.5")
    fill(40, "f1")
    factories.close_signal(opened)
    fill_exits()
    fill(60, "f2")
    settle()
    settle()
    assert left() == 0


def test_part_is_one_of_what_others_have_left_open(opened: Signal) -> None:
    """A person closes the 40 that have filled. Of the other 60 a half is closed, not 50."""
    factories.close_signal(opened, "0.5")
    fill(40, "f1")
    close_positions([ExecutionPosition.objects.get().pk])
    fill_exits()
    fill(60, "f2")
    assert (settle(), left()) == ([30], 30)


# ---- kills and races ---------------------------------------------------------------------------
def test_kill_between_exit_and_mark_writes_one_exit(
    runtime: TradingRuntime, opened: Signal
) -> None:
    factories.close_signal(opened, "0.5")
    fill(100, "f1")
    arm([Failpoint("partial_closes.written", "raise")])
    try:
        with pytest.raises(FailpointError):
            process_pending_actions()
    finally:
        arm([])
    assert not Order.objects.exits().exists()
    assert [settle(), settle()] == [[50], []]


@pytest.mark.django_db(transaction=True)
def test_concurrent_part_and_fill_are_both_applied(opened: Signal) -> None:
    publish_beside(
        draft_of(opened, "CLOSE", close_fraction=D("0.5")),
        factories.fill_report(entry(), 100, "f1"),
    )
    settle()
    assert left() == 50


# ---- slices ------------------------------------------------------------------------------------
@pytest.fixture
def sliced(feed: Feed, request: Any) -> ExecutionConnection:
    return factories.account(
        feed, preset_fixed_quantity=D(120), preset_max_signal_age_seconds=15,
        snapshot_position_mode=request.param,
    )  # fmt: skip


@pytest.mark.parametrize("sliced", ["NETTING", "HEDGING"], indirect=True)
def test_slice_in_flight_is_closed_in_part_and_later_ones_are_not(
    feed: Feed, sliced: ExecutionConnection
) -> None:
    """As if the CLOSE had come after the first of the three slices of 40 had filled."""
    opened = factories.signal(feed, **TWAP)
    (call,) = factories.claim_all()
    factories.close_signal(opened, "0.5")
    factories.answer(call, factories.fake_broker().fill_at_once(call.request))
    assert settle() == [20]
    next_slice()
    assert settle() == []
    next_slice()
    assert settle() == []
    assert sum(p.quantity for p in ExecutionPosition.objects.all()) == 100


@pytest.mark.parametrize("sliced", ["NETTING"], indirect=True)
def test_part_of_open_slices_and_of_the_one_in_flight(
    feed: Feed, sliced: ExecutionConnection
) -> None:
    opened = factories.signal(feed, **TWAP)
    factories.fill_all()
    factories.pass_time(20)
    refresh()
    (call,) = factories.claim_all()
    factories.close_signal(opened, "0.5")
    fill_exits()
    assert left() == 20
    factories.answer(call, factories.fake_broker().fill_at_once(call.request))
    assert (settle(), left()) == ([20], 40)


@pytest.mark.parametrize("sliced", ["NETTING"], indirect=True)
def test_parts_of_two_slices_that_fill_at_once_are_closed_together(
    feed: Feed, sliced: ExecutionConnection
) -> None:
    opened = factories.signal(feed, **TWAP)
    calls = factories.claim_all()
    factories.pass_time(20)
    refresh()
    calls += factories.claim_all()
    assert [int(call.request.quantity) for call in calls] == [40, 40]
    factories.close_signal(opened, "0.5")
    for call in calls:
        factories.answer(call, factories.fake_broker().fill_at_once(call.request))
    assert (settle(), left()) == ([40], 40)
