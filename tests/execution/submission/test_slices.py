"""An entry in slices at the fake broker: never twice, never more than planned, and who ends it."""

from dataclasses import replace
from datetime import datetime
from decimal import Decimal as D
from typing import Any

import pytest
from django.db import transaction

from analytics.orders.slices import slice_result
from brokers.base import NotSent, OutcomeUnknown, Rejected
from brokers.types import CloseCause
from common.db.sql import rows, run
from common.errors import ConflictError
from common.failpoints import Failpoint, FailpointError, arm
from common.reason_codes import Code
from connections import services as connections
from connections.models import ExecutionConnection
from execution.audit.counters import audit
from execution.exits.orders import ExitRequest, open_exits
from execution.fan_out import withdraw
from execution.models import DriftItem, Order, SlicePlan
from execution.monitoring import broker_positions
from execution.reconciliation import open_positions
from execution.services import cancel_order, close_position, retry_order
from positions.models import ExecutionPosition
from prices.models import PriceBar
from signals.models import Feed, Signal
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker

pytestmark = pytest.mark.usefixtures("inline_commits")
TWAP: dict[str, Any] = {"execution_style": "TWAP", "duration_seconds": 60, "slice_count": 3}


@pytest.fixture
def account(feed: Feed, broker: FakeBroker) -> ExecutionConnection:
    """It enters 90 EUR/USD, in three slices of 30."""
    return factories.account(
        feed, preset_fixed_quantity=D(90), snapshot_position_mode="NETTING",
        preset_max_signal_age_seconds=15,
    )  # fmt: skip


def seen() -> list[tuple[str, str, str, D | None]]:
    """Return leg, status, reason and quantity of all entries."""
    entries = Order.objects.entries().order_by("id")
    return [(o.leg, o.status, o.reason, o.quantity) for o in entries]


def statuses() -> list[str]:
    return [status for _, status, _, _ in seen()]


def next_slice(**quote: Any) -> None:
    """Let the time until the next slice pass, and fill what is due."""
    until_next_slice(**quote)
    factories.fill_all()


def until_next_slice(**quote: Any) -> None:
    factories.pass_time(20)
    refresh(**quote)


def refresh(**quote: Any) -> None:
    for account in ExecutionConnection.objects.exclude(data_connection=None):
        factories.quote(account, **quote)
    run("UPDATE connections_accountsnapshot SET read_at = clock_timestamp()")


def test_slices_are_sent_one_after_the_other(feed: Feed, account: ExecutionConnection) -> None:
    signal = factories.signal(feed, **TWAP)
    factories.fill_all()
    waiting = ("PENDING", "SLICE_SCHEDULED", D(30))
    assert seen() == [("entry", "FILLED", "", D(30)), ("entry-2", *waiting), ("entry-3", *waiting)]
    factories.fill_all()
    assert statuses() == ["FILLED", "PENDING", "PENDING"]
    next_slice()
    assert statuses() == ["FILLED", "FILLED", "PENDING"]
    next_slice()
    assert statuses() == ["FILLED", "FILLED", "FILLED"]
    position = ExecutionPosition.objects.get(signal=signal)
    assert (position.quantity, position.sl, position.sl_guardian) == (90, D("1.09"), "ENGINE")
    plan = SlicePlan.objects.get()
    assert (plan.quantity, plan.quantities) == (D(90), [D(30)] * 3)
    assert plan.offsets == [0, 20, 40]
    assert (plan.arrival_price, plan.seed) == (D("1.10000"), plan.order_id)


def test_whole_plan_counts_in_limits_from_the_beginning(feed: Feed, broker: FakeBroker) -> None:
    """90 at 1.1 are 99 USD, 0.99 % of the equity."""
    factories.account(
        feed, preset_fixed_quantity=D(90), snapshot_position_mode="NETTING",
        preset_max_symbol_exposure_percent=D("1.9"),
    )  # fmt: skip
    factories.signal(feed, **TWAP)
    factories.fill_all()
    later = factories.signal(feed)
    factories.fill_all()
    assert Order.objects.get(signal=later).reason == "SYMBOL_EXPOSURE"
    whole = factories.signal(feed, **TWAP)
    factories.fill_all()
    assert Order.objects.get(signal=whole).reason == "SYMBOL_EXPOSURE"
    next_slice()
    next_slice()
    assert ExecutionPosition.objects.get().quantity == 90  # slices are not checked again


def test_one_position_is_allowed_for_all_slices(feed: Feed, broker: FakeBroker) -> None:
    factories.account(
        feed, preset_fixed_quantity=D(90), snapshot_position_mode="NETTING",
        preset_max_open_positions=1, preset_max_open_orders=1,
        preset_same_trade_window_seconds=600,
    )  # fmt: skip
    factories.signal(feed, **TWAP)
    factories.fill_all()
    next_slice()
    next_slice()
    assert statuses() == ["FILLED"] * 3


def test_account_of_unknown_mode_is_denied(feed: Feed, broker: FakeBroker) -> None:
    factories.account(feed, snapshot_position_mode="")
    factories.signal(feed, **TWAP)
    factories.fill_all()
    assert seen() == [("entry", "DENIED", "SLICES_UNSUPPORTED", None)]
    assert not SlicePlan.objects.exists()


@pytest.mark.parametrize(
    ("fields", "quantities"),
    [
        ({}, [30, 60]),  # entry-2, entry-3: caught up
        ({"catch_up": "SKIP"}, [30, 30]),
        ({"catch_up": "SKIP", "at_end": "MARKET"}, [30, 30, 30]),
    ],
)
def test_slice_beyond_the_price_limit_is_caught_up_or_left_out(
    feed: Feed, account: ExecutionConnection, fields: dict[str, Any], quantities: list[int]
) -> None:
    factories.signal(feed, **TWAP, **fields, price_limit=D("1.10050"))
    factories.fill_all()
    next_slice(bid="1.10041")  # the ask is 1.10051
    assert seen()[1][1:3] == ("DENIED", "SLICE_PRICE_LIMIT")
    next_slice(bid="1.10040")
    next_slice()
    filled = Order.objects.filter(status="FILLED").order_by("id")
    assert [order.quantity for order in filled] == [30, *quantities[1:]]
    assert ExecutionPosition.objects.get().quantity == 30 + sum(quantities[1:])


def test_target_that_has_closed_its_part_stops_no_slice(
    feed: Feed, account: ExecutionConnection
) -> None:
    """The market stays above the first target, and is below the second."""
    signal = factories.signal(feed, [("1.12", "0.3"), ("1.14", "0.7")], **TWAP)
    factories.fill_all()
    next_slice(bid="1.1210")
    assert seen()[1][1:3] == ("DENIED", "TARGET_WRONG_SIDE")  # its part is not closed yet
    hit_target(signal, 1)
    next_slice(bid="1.1210")
    assert seen()[2][1:] == ("FILLED", "", D(60))  # caught up
    assert ExecutionPosition.objects.get().quantity == 80


def test_slice_after_all_targets_is_compared_with_none(
    feed: Feed, account: ExecutionConnection
) -> None:
    signal = factories.signal(feed, [("1.12", "0.4"), ("1.125", "0.3")], **TWAP)
    factories.fill_all()
    hit_target(signal, 1)
    hit_target(signal, 2)
    next_slice(bid="1.1260")
    assert seen()[1][1:] == ("FILLED", "", D(30))


def hit_target(signal: Signal, number: int) -> None:
    """Let the engine close what a target closes of the position."""
    position = ExecutionPosition.objects.get(signal=signal)
    assert position.tp_number == number
    with transaction.atomic():
        fraction = signal.target_fractions[number - 1]
        assert open_exits([ExitRequest(position.pk, f"tp-{number}", fraction)])
    factories.fill_all()


@pytest.mark.parametrize(
    ("prepared", "quote", "code"),
    [
        ("UPDATE connections_instrument SET stops_level = 0.0005", "1.0902", "STOP_TOO_NEAR"),
        ("UPDATE connections_instrument SET stops_level = 0.0005", "1.1197", "STOP_TOO_NEAR"),
        ("SELECT 1", "1.1200", "TARGET_WRONG_SIDE"),
        (
            "UPDATE connections_tradingpreset SET max_level_deviation_percent = 1.9",
            "1.0990", "PRICE_UNREASONABLE",
        ),
    ],
)  # fmt: skip
def test_slice_near_a_level_is_caught_up(
    feed: Feed, account: ExecutionConnection, prepared: str, quote: str, code: str
) -> None:
    factories.signal(feed, [("1.12", "1")], **TWAP)
    factories.fill_all()
    run(prepared)
    next_slice(bid=quote)
    assert seen()[1][1:3] == ("DENIED", code)
    next_slice(bid="1.1000")
    assert seen()[2][1:] == ("FILLED", "", D(60))


def test_slice_of_an_account_that_was_not_read_is_caught_up(
    feed: Feed, account: ExecutionConnection
) -> None:
    factories.signal(feed, **TWAP)
    factories.fill_all()
    until_next_slice()
    run("UPDATE connections_accountsnapshot SET read_at = now() - interval '1 hour'")
    factories.fill_all()
    assert seen()[1][1:3] == ("DENIED", "ACCOUNT_DATA_STALE")
    next_slice()
    assert seen()[2][1:] == ("FILLED", "", D(60))


def test_slice_beyond_the_stop_ends_the_entry(feed: Feed, account: ExecutionConnection) -> None:
    factories.signal(feed, **TWAP)
    factories.fill_all()
    next_slice(bid="1.0899")
    assert seen()[1][1:3] == ("DENIED", "STOP_AT_ENTRY")
    next_slice()
    assert seen()[2][1:3] == ("CANCELLED", "SLICES_ENDED")


def test_slices_end_when_a_modify_moves_the_stop_past_the_market(
    feed: Feed, account: ExecutionConnection
) -> None:
    signal = factories.signal(feed, **TWAP)
    factories.fill_all()
    modify(signal, sl=D("1.2"))
    next_slice()
    assert seen()[1][1:3] == ("DENIED", "STOP_AT_ENTRY")
    assert seen()[0][1] == "FILLED"
    next_slice()
    assert seen()[2][1:3] == ("CANCELLED", "SLICES_ENDED")


def test_modify_changes_the_price_limit_of_slices_not_yet_sent(
    feed: Feed, account: ExecutionConnection
) -> None:
    """The newest one counts, and a MODIFY without a limit changes none."""
    signal = factories.signal(feed, **TWAP, price_limit=D("1.10050"))
    factories.fill_all()
    modify(signal, price_limit=D("1.09990"))
    next_slice()
    assert seen()[1][1:3] == ("DENIED", "SLICE_PRICE_LIMIT")
    modify(signal, price_limit=D("1.10100"))
    modify(signal, sl=D("1.08"))
    next_slice(bid="1.1009")
    assert seen()[2][1:] == ("FILLED", "", D(60))
    assert Order.objects.get(leg="entry").status == "FILLED"  # the first one stays as it was


def test_modify_sets_a_price_limit_where_there_was_none(
    feed: Feed, account: ExecutionConnection
) -> None:
    signal = factories.signal(feed, **TWAP)
    factories.fill_all()
    modify(signal, price_limit=D("1.10009"))
    next_slice()
    assert seen()[1][1:3] == ("FILLED", "")
    next_slice(bid="1.1")
    assert seen()[2][1:3] == ("DENIED", "SLICE_PRICE_LIMIT")


def test_price_limit_of_a_modify_is_stated_on_each_order_of_the_entry(
    feed: Feed, account: ExecutionConnection
) -> None:
    """From what to what and by which signal; a slice that is sent already says why it is not its.

    The same limit again is no change.
    """
    signal = factories.signal(feed, **TWAP, price_limit=D("1.10050"))
    factories.fill_all()
    until_next_slice()
    assert len(factories.claim_all()) == 1  # the second is being sent
    moved = modify(signal, price_limit=D("1.10100"))
    modify(signal, price_limit=D("1.10100"))
    entry, second, third = Order.objects.order_by("id")
    text = "price limit 1.1005 to 1.101"
    assert factories.log_texts(entry.pk, "ORDER_CHANGED") == [
        f"{text}, for the slices that are not sent yet; by {moved.number}"
    ]
    assert factories.log_texts(third.pk, "ORDER_CHANGED") == [f"{text}; by {moved.number}"]
    assert factories.log_texts(second.pk, "ORDER_CHANGED") == []
    assert factories.log_texts(second.pk, "CHANGE_UNSUPPORTED") == [
        f"{text}: it counts for slices that are not sent yet, and this one is; by {moved.number}"
    ]


def test_price_limit_of_an_entry_that_waits_is_stated_on_it(
    feed: Feed, account: ExecutionConnection
) -> None:
    """Also of one that waits for another signal."""
    other = factories.signal(feed)
    factories.fill_all()
    waits: dict[str, Any] = {"after_signal": other, "after_state": "CLOSED"}
    cases: list[dict[str, Any]] = [{}, waits]
    for fields in cases:
        signal = factories.signal(feed, **TWAP, **fields)
        moved = modify(signal, price_limit=D("1.10100"))
        entry = Order.objects.get(signal=signal)
        text = f"price limit none to 1.101; by {moved.number}"
        assert factories.log_texts(entry.pk, "ORDER_CHANGED") == [text]


def test_price_limit_after_the_last_slice_leaves_no_line(
    feed: Feed, account: ExecutionConnection
) -> None:
    signal = factories.signal(feed, **TWAP)
    factories.fill_all()
    next_slice()
    next_slice()
    modify(signal, price_limit=D("1.10100"))
    for order in Order.objects.all():
        assert factories.log_texts(order.pk, "ORDER_CHANGED") == []


def test_price_limit_that_waits_for_approval_does_not_count(
    feed: Feed, account: ExecutionConnection
) -> None:
    signal = factories.signal(feed, **TWAP)
    factories.fill_all()
    moved = modify(signal, price_limit=D("1.09990"))
    Signal.objects.filter(pk=moved.pk).update(published_at=None)
    next_slice()
    assert seen()[1][1:3] == ("FILLED", "")


def modify(of: Signal, **changes: Any) -> Signal:
    return factories.signal(
        of.feed, action="MODIFY", refers_to=of, direction=of.direction, **{"sl": None} | changes
    )


def test_price_limit_at_the_beginning_denies_the_entry(
    feed: Feed, account: ExecutionConnection
) -> None:
    factories.signal(feed, **TWAP, price_limit=D("1.09999"))
    factories.fill_all()
    assert seen() == [("entry", "DENIED", "SLICE_PRICE_LIMIT", None)]


def test_slices_that_were_due_while_no_process_ran_become_one(
    feed: Feed, account: ExecutionConnection
) -> None:
    factories.signal(feed, **TWAP)
    factories.fill_all()
    factories.pass_time(45)
    refresh()
    factories.fill_all()
    assert seen()[1:] == [
        ("entry-2", "EXPIRED", "SLICE_MISSED", D(30)), ("entry-3", "FILLED", "", D(60)),
    ]  # fmt: skip


def test_nothing_is_sent_long_after_the_end(feed: Feed, account: ExecutionConnection) -> None:
    factories.signal(feed, **TWAP, at_end="MARKET")
    factories.fill_all()
    factories.pass_time(121)
    refresh()
    factories.fill_all()
    assert [reason for _, _, reason, _ in seen()] == ["", *["SLICE_MISSED"] * 3]


def test_unknown_slice_stops_the_plan_until_it_is_settled(
    feed: Feed, account: ExecutionConnection, broker: FakeBroker
) -> None:
    factories.signal(feed, **TWAP)
    (outgoing,) = factories.claim_all()
    factories.answer(outgoing, OutcomeUnknown(Code.REPLY_LOST))
    until_next_slice()
    assert factories.claim_all() == []
    assert seen()[1][1:3] == ("PENDING", "SLICE_UNKNOWN")
    factories.answer(outgoing, broker.fill_at_once(outgoing.request))
    factories.pass_time(2)
    factories.fill_all()
    assert statuses() == ["FILLED", "FILLED", "PENDING"]


def test_slice_that_never_arrived_is_not_sent_again(
    feed: Feed, account: ExecutionConnection, broker: FakeBroker
) -> None:
    factories.signal(feed, **TWAP, at_end="MARKET")
    (outgoing,) = factories.claim_all()
    factories.answer(outgoing, OutcomeUnknown(Code.REPLY_LOST))
    factories.force("UPDATE execution_order SET status = 'FAILED', reason = 'NEVER_ARRIVED',"
                    " done_at = clock_timestamp(), lookup_after = NULL"
                    " WHERE leg = 'entry'")  # fmt: skip
    next_slice()
    next_slice()
    next_slice()
    assert [(s, q) for _, s, _, q in seen()][1:3] == [("FILLED", D(30)), ("FILLED", D(30))]
    assert seen()[3][1:3] == ("CANCELLED", "SLICE_NOT_NEEDED")
    with pytest.raises(ConflictError):
        retry_order(Order.objects.get(leg="entry").pk)
    close_position(ExecutionPosition.objects.get().pk)
    known = Order.objects.get(leg="entry-2").client_order_id  # an entry that the broker knows
    (closing,) = factories.claim_all()
    assert closing.request.closes == known
    (read,) = rows(broker_positions.OURS, ([account.pk],))
    (compared,) = rows(open_positions.OURS, {"connections": [account.pk], "before": []})
    assert (read.client_order_id, compared.client_order_id) == (known, known)


def test_exit_waits_for_the_fill_of_a_later_slice(
    feed: Feed, account: ExecutionConnection, broker: FakeBroker
) -> None:
    """The broker holds more than is stored: what an exit closes beyond it is no overfill."""
    factories.signal(feed, **TWAP)
    factories.fill_all()
    until_next_slice()
    (second,) = factories.claim_all()
    position = ExecutionPosition.objects.get()
    close_position(position.pk)
    factories.claim_all()
    by_hand = factories.fill_report(factories.order(leg="entry"), 20, "h1", broker_order_id="H")
    factories.apply(replace(by_hand, close_cause=CloseCause.EXTERNAL))
    exit_fill = factories.fill_report(factories.order(leg="close-1"), 30, "x1")
    assert factories.apply(exit_fill) == [exit_fill]
    factories.answer(second, broker.fill_at_once(second.request))
    assert factories.apply(exit_fill) == []
    position.refresh_from_db()
    assert (position.quantity, DriftItem.objects.count()) == (D(10), 0)


def test_rejected_slice_ends_the_plan(feed: Feed, account: ExecutionConnection) -> None:
    factories.signal(feed, **TWAP)
    factories.fill_all()
    until_next_slice()
    (outgoing,) = factories.claim_all()
    factories.answer(outgoing, Rejected(Code.NO_MONEY))
    next_slice()
    assert seen()[2][1:3] == ("CANCELLED", "SLICES_ENDED")
    assert Order.objects.get(leg="entry-3").detail == "NO_MONEY"


def test_slice_that_was_not_sent_is_tried_again_once(
    feed: Feed, account: ExecutionConnection
) -> None:
    factories.signal(feed, **TWAP)
    (outgoing,) = factories.claim_all()
    factories.answer(outgoing, NotSent(Code.NOT_CONNECTED))
    factories.pass_time(5)
    refresh()
    factories.fill_all()
    assert seen()[0] == ("entry", "FILLED", "", D(30))
    assert SlicePlan.objects.count() == 1
    assert len(seen()) == 3


def test_halt_in_the_middle_ends_the_plan(feed: Feed, account: ExecutionConnection) -> None:
    factories.signal(feed, **TWAP)
    factories.fill_all()
    halt = connections.set_kill_switch(scope="ALL", mode="HALTED", reason="test", by=None)
    next_slice()
    connections.release_kill_switch(halt.pk, by=None)
    next_slice()
    assert [row[1:3] for row in seen()[1:]] == [
        ("DENIED", "TRADING_HALTED"), ("CANCELLED", "SLICES_ENDED"),
    ]  # fmt: skip


def test_close_in_the_middle_cancels_the_rest(feed: Feed, account: ExecutionConnection) -> None:
    signal = factories.signal(feed, **TWAP)
    factories.fill_all()
    factories.close_signal(signal)
    assert [row[1:3] for row in seen()[1:]] == [("CANCELLED", "CLOSED_BEFORE_SENT")] * 2
    factories.fill_all()
    assert ExecutionPosition.objects.get().quantity == 0


def test_cancelled_signal_cancels_the_rest(feed: Feed, account: ExecutionConnection) -> None:
    signal = factories.signal(feed, **TWAP)
    factories.fill_all()
    Signal.objects.filter(pk=signal.pk).update(cancelled_at="2026-01-01T00:00Z")
    with transaction.atomic():
        withdraw(signal)
    assert [row[1:3] for row in seen()[1:]] == [("CANCELLED", "SIGNAL_CANCELLED")] * 2
    assert ExecutionPosition.objects.get().quantity == 30


@pytest.mark.parametrize("leg", ["entry", "entry-2", "entry-3"])
def test_cancelling_one_order_cancels_the_plan(
    feed: Feed, account: ExecutionConnection, leg: str
) -> None:
    factories.signal(feed, **TWAP)
    factories.fill_all()
    order = Order.objects.get(leg=leg)
    assert cancel_order(order.pk) == "CANCELLED"
    assert [row[1:3] for row in seen()[1:]] == [("CANCELLED", "OWNER_CANCELLED")] * 2
    with pytest.raises(ConflictError):
        cancel_order(order.pk)


def test_closed_position_is_not_entered_again(feed: Feed, account: ExecutionConnection) -> None:
    signal = factories.signal(feed, **TWAP)
    position = factories.filled(signal)
    close_position(position.pk)
    next_slice()  # the exit and the slice are due together
    next_slice()
    assert [row[1:3] for row in seen()[1:]] == [("CANCELLED", "SLICES_ENDED")] * 2
    assert Order.objects.get(leg="entry-2").detail == "SLICES_POSITION_CLOSED"
    assert ExecutionPosition.objects.get().quantity == 0


def test_killed_claim_leaves_no_half_plan(feed: Feed, account: ExecutionConnection) -> None:
    factories.signal(feed, **TWAP)
    arm([Failpoint("claim.written", "raise")])
    try:
        with pytest.raises(FailpointError):
            factories.claim_all()
    finally:
        arm([])
    assert seen() == [("entry", "PENDING", "", None)]
    assert not SlicePlan.objects.exists()
    factories.fill_all()
    assert statuses() == ["FILLED", "PENDING", "PENDING"]


def test_audit_counts_the_candidate_once(feed: Feed, account: ExecutionConnection) -> None:
    signal = factories.signal(feed, **TWAP)
    factories.fill_all()
    next_slice()
    next_slice()
    report = audit(signal.pk)
    assert report.is_clean, report
    assert (report.candidates, report.states["filled"]) == (1, 1)


def test_result_compares_with_arrival_and_market(feed: Feed, account: ExecutionConnection) -> None:
    factories.signal(feed, **TWAP)
    factories.fill_all()
    next_slice()
    next_slice()
    plan = SlicePlan.objects.get()
    store_bar(account, plan.starts_at, "1.10020")
    for order in Order.objects.entries():
        result = slice_result(order)
        assert result is not None
        assert (result.filled, result.sent, result.state) == (D(90), 3, "FILLED")
        assert (result.average, result.market_average) == (D("1.1"), D("1.1002"))
        assert (result.against_arrival, result.against_market) == (D(0), D("-0.0002"))
        assert (result.market_vwap, result.against_vwap) == (D("1.1002"), D("-0.0002"))
    assert slice_result(Order(leg="sl", side="SELL")) is None


def store_bar(account: ExecutionConnection, start: datetime, mid: str) -> None:
    """Store the bar of EUR/USD of a minute, with this mid price."""
    prices = {f"{side}_{name}": D(mid) for side in ("bid", "ask")
              for name in ("open", "high", "low", "close")}  # fmt: skip
    source = account.data_connection
    assert source is not None
    PriceBar.objects.create(
        data_connection=source, symbol="EUR/USD",
        minute=start.replace(second=0, microsecond=0), spread_sum=0, quote_count=1,
        first_at=start, last_at=start, **prices,
    )  # fmt: skip


def test_running_and_ended_results(feed: Feed, account: ExecutionConnection) -> None:
    factories.signal(feed, **TWAP)
    factories.fill_all()
    order = Order.objects.get(leg="entry")
    running = slice_result(order)
    assert running is not None
    assert (running.state, running.filled) == ("RUNNING", D(30))
    assert running.market_average is None
    cancel_order(order.pk)
    ended = slice_result(order)
    assert ended is not None
    assert (ended.state, ended.ended_by) == ("ENDED", Code.OWNER_CANCELLED)
